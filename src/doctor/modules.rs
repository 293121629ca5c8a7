//! Security modules.

use super::causes::{apparmor, is_restricted_by_apparmor};
use super::{Finding, Need};
use crate::host::{self, Host};
use std::fs;

pub fn probe(host: &Host) -> Vec<Finding> {
    vec![of_apparmor(host), of_selinux(host)]
}

fn of_apparmor(host: &Host) -> Finding {
    const SUBJECT: &str = "AppArmor";
    let profile = host::apparmor_profile();
    match (host.has_apparmor().unwrap_or(false), profile, is_restricted_by_apparmor()) {
        (_, Some(profile), _) => Finding::limited(SUBJECT, Need::Nothing, format!("profile {profile:?} is in force around"), "it may forbid mounts, and profiles of containers are not changed to")
            .mended("start the outer container with `--security-opt apparmor=unconfined` (Docker, podman) or `appArmorProfile: {type: Unconfined}` (Kubernetes)"),
        (_, None, true) => {
            let cause = apparmor();
            Finding::limited(SUBJECT, Need::Nothing, cause.because, "user namespaces have no privileges, unless rootlet has a profile of its own").mended(cause.remedy)
        }
        (true, None, false) => Finding::ok(SUBJECT, Need::Nothing, "in use, and does not restrict user namespaces"),
        (false, None, false) => Finding::ok(SUBJECT, Need::Nothing, "not in use"),
    }
}

fn of_selinux(host: &Host) -> Finding {
    const SUBJECT: &str = "SELinux";
    if !host.has_selinux().unwrap_or(false) {
        return Finding::ok(SUBJECT, Need::Nothing, "not in use");
    }
    let enforces = fs::read_to_string("/sys/fs/selinux/enforce").is_ok_and(|text| text.trim() == "1");
    Finding::ok(
        SUBJECT,
        Need::Nothing,
        if enforces { "in use, and enforcing: labels are those of config.json" } else { "in use, and permissive" },
    )
}
