//! Subordinate ids, which engines map by setuid helpers. rootlet needs none.

use super::{Finding, Need};
use crate::host::{self, Host};
use std::fs;

const SUBJECT: &str = "subordinate ids";

pub fn probe(host: &Host) -> Vec<Finding> {
    if !host.is_ordinary_user() {
        return Vec::new();
    }
    let name = host::name_of(host.uid);
    let own = host.uid.to_string();
    let has_range = |file: &str| {
        let text = fs::read_to_string(file).unwrap_or_default();
        text.lines().filter_map(|line| line.split(':').next()).any(|who| who == own || Some(who) == name.as_deref())
    };
    let (ranges, helper) = (has_range("/etc/subuid") && has_range("/etc/subgid"), host.find_program("newuidmap"));
    let means = "rootlet maps your one id without them, and `--fake-root` lets package managers work with it; engines such as podman map more by them";
    vec![match (ranges, helper) {
        (true, Some(_)) => Finding::ok(SUBJECT, Need::Nothing, "a range in /etc/subuid and /etc/subgid, and newuidmap"),
        (true, None) => Finding::limited(SUBJECT, Need::Nothing, "a range, but no newuidmap", means)
            .mended("as root: apt-get install uidmap"),
        (false, _) => {
            let finding = Finding::limited(SUBJECT, Need::Nothing, "none", means);
            match name {
                Some(name) => finding
                    .mended(format!("as root: usermod --add-subuids 100000-165535 --add-subgids 100000-165535 {name}")),
                None => finding,
            }
        }
    }]
}
