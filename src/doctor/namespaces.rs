//! Namespaces: the user namespace and, in it, each other one.

use super::causes::{LIMITS, of_id_maps, of_namespaces};
use super::trial::{self, Trial};
use super::{Finding, Need};
use crate::host::Host;
use crate::sys::namespace::{self, CLONE_NEWUSER};
use crate::sys::{Call, Errno};

const USER: &str = "user namespace";
const MAPS: &str = "id map";

/// Names of subjects, by the names of linux.namespaces.
const SUBJECTS: [(&str, &str); 7] = [
    ("mount", "mount namespace"),
    ("pid", "pid namespace"),
    ("ipc", "ipc namespace"),
    ("uts", "uts namespace"),
    ("network", "network namespace"),
    ("cgroup", "cgroup namespace"),
    ("time", "time namespace"),
];

pub fn probe(host: &Host) -> Vec<Finding> {
    let nothing = "no container of yours can be made";
    let map = trial::map_ids(host.uid, host.gid);
    let kinds: Vec<_> = LIMITS.iter().filter(|(kind, ..)| *kind != CLONE_NEWUSER).collect();
    let unshare: Vec<_> = kinds.iter().map(|(kind, ..)| move || namespace::unshare(*kind)).collect();
    let trials: Vec<Trial> = [&map as Trial].into_iter().chain(unshare.iter().map(|trial| trial as Trial)).collect();
    let mut tried = match trial::run(CLONE_NEWUSER, &trials) {
        Ok(tried) => tried.into_iter(),
        Err(error) => {
            let cause = of_namespaces(CLONE_NEWUSER, error.errno);
            return vec![match cause {
                Some(cause) => Finding::refused(USER, Need::All, nothing, cause),
                None => Finding::missing(USER, Need::All, format!("{}: {:?}", error.call.name(), error.errno), nothing),
            }];
        }
    };
    let mut findings = vec![Finding::ok(USER, Need::All, "can be made")];
    if let Some(Err(error)) = tried.next() {
        findings.push(match of_id_maps(error.errno) {
            Some(cause) => Finding::refused(MAPS, Need::All, nothing, cause),
            None => Finding::missing(MAPS, Need::All, format!("{}: {:?}", error.call.name(), error.errno), nothing),
        });
        return findings;
    }
    findings.push(Finding::ok(
        MAPS,
        Need::All,
        format!("your one id, {}:{}, without helpers; setgroups is denied", host.uid, host.gid),
    ));
    for ((kind, name, _), tried) in kinds.into_iter().zip(tried) {
        let subject = SUBJECTS.iter().find(|(known, _)| known == name).map_or("namespace", |(_, subject)| subject);
        let need = match *name {
            "mount" => Need::All,
            name => Need::Namespace(name),
        };
        findings.push(match tried {
            Ok(()) => Finding::ok(subject, need, "can be made"),
            Err(error) if error.errno == Errno::ECHILD && error.call == Call::Wait => {
                Finding::missing(subject, need, "who tried it was ended", "it cannot be had")
            }
            Err(error) => {
                let means = format!("no container can have one of its own: leave \"{name}\" out of linux.namespaces");
                match of_namespaces(*kind, error.errno) {
                    Some(cause) => Finding::refused(subject, need, &means, cause),
                    None => Finding::missing(subject, need, format!("unshare: {:?}", error.errno), means),
                }
            }
        });
    }
    findings
}
