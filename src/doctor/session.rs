//! What a login brings: a bus, a terminal, keyrings.

use super::trial::{self, Trial};
use super::{Finding, Need};
use crate::host::Host;
use crate::sys::{Errno, creds, tty};
use std::os::unix::net::UnixStream;

pub fn probe(host: &Host) -> Vec<Finding> {
    vec![bus(host), terminal(), keyring()]
}

fn bus(host: &Host) -> Finding {
    const SUBJECT: &str = "D-Bus";
    let means = "systemd makes no cgroups for containers: limits need a cgroup of your own";
    match host.bus() {
        Ok(Some(path)) => match UnixStream::connect(&path) {
            Ok(_) => Finding::ok(SUBJECT, Need::Nothing, format!("{} answers", path.display())),
            Err(error) => Finding::limited(SUBJECT, Need::Nothing, format!("{}: {error}", path.display()), means)
                .mended("systemctl --user start dbus.socket; and see whether a sandbox around forbids it"),
        },
        Ok(None) => Finding::limited(SUBJECT, Need::Nothing, "none of yours", means).mended(super::by_systemd(
            "apt-get install dbus-user-session, and log in again; or `loginctl enable-linger`",
        )),
        Err(error) => Finding::limited(SUBJECT, Need::Nothing, error.in_one_line(), means),
    }
}

fn terminal() -> Finding {
    const SUBJECT: &str = "terminal";
    match tty::find_own() {
        Ok(Some(_)) => Finding::ok(SUBJECT, Need::Nothing, "there is one"),
        _ => Finding::limited(
            SUBJECT,
            Need::Nothing,
            "none",
            "configs with process.terminal are refused in the foreground",
        )
        .mended("give --no-tty to `run`, or call rootlet under a terminal (`script -qc 'rootlet ...'`)"),
    }
}

fn keyring() -> Finding {
    const SUBJECT: &str = "session keyring";
    let join = || creds::join_new_session_keyring();
    let trials: [Trial; 1] = [&join];
    match trial::run(0, &trials).unwrap_or_default().into_iter().next() {
        Some(Ok(())) => Finding::ok(SUBJECT, Need::Nothing, "a new one can be joined"),
        Some(Err(error)) if error.errno == Errno::EDQUOT => Finding::missing(
            SUBJECT,
            Need::All,
            "you have as many keys as kernel.keys.maxkeys allows",
            "containers are refused, unless --no-new-keyring is given",
        )
        .mended(
            "give --no-new-keyring, end containers that you do not need, or as root: sysctl kernel.keys.maxkeys=20000",
        ),
        Some(Err(error)) => Finding::missing(
            SUBJECT,
            Need::All,
            format!("{:?}", error.errno),
            "containers are refused, unless --no-new-keyring is given",
        )
        .mended("give --no-new-keyring; or have the outer container's seccomp profile allow keyctl"),
        None => Finding::limited(
            SUBJECT,
            Need::Nothing,
            "it could not be tried",
            "it may be that --no-new-keyring is needed",
        ),
    }
}
