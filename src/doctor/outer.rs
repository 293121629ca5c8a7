//! What rootlet runs in itself: the kernel, and perhaps a container.

use super::causes::{self, Proc, of_proc};
use super::{Finding, Need};
use crate::host::{self, Host};
use std::path::Path;

/// mount_setattr(2).
const OLDEST: (u32, u32) = (5, 12);

pub fn probe(host: &Host) -> Vec<Finding> {
    vec![kernel(host), proc(host), surroundings(host)]
}

fn kernel(host: &Host) -> Finding {
    const SUBJECT: &str = "kernel";
    match (host.kernel(), host.kernel_version()) {
        (Ok(kernel), Ok(version)) if version >= OLDEST => Finding::ok(SUBJECT, Need::All, kernel.trim()),
        (Ok(kernel), _) => Finding::missing(
            SUBJECT,
            Need::All,
            kernel.to_owned(),
            "rootlet needs mount_setattr(2), which came with 5.12",
        )
        .mended("boot Linux 5.12 or newer"),
        (Err(error), _) => {
            Finding::limited(SUBJECT, Need::Nothing, error.to_string(), "it should be Linux 5.12 or newer")
        }
    }
}

fn proc(own: &Host) -> Finding {
    const SUBJECT: &str = "/proc";
    match of_proc() {
        None if host::hides_processes().is_ok_and(|hides| hides) => {
            let found = "it is mounted with hidepid, and does not name processes that you may not look into";
            // Before Linux 6.9, a process is known by what /proc shows of it, also one that may not be looked into yet.
            let finding = match own.kernel_version() {
                Ok(version) if version >= (6, 9) => {
                    let means = "`ps`, `pause` and `kill --all` of containers without a cgroup are refused";
                    Finding::limited(SUBJECT, Need::Nothing, found, means)
                }
                _ => Finding::missing(SUBJECT, Need::All, found, "no container can be made, before Linux 6.9"),
            };
            finding.mended("as root: mount -o remount,hidepid=0 /proc, and there in /etc/fstab")
        }
        None => Finding::ok(SUBJECT, Need::All, "as the kernel has it"),
        Some(masked @ Proc::Masked(_)) => {
            let cause = masked.cause();
            Finding::limited(SUBJECT, Need::Nothing, cause.because, "containers get no fresh /proc")
                .mended(cause.remedy)
        }
        // The one id that a user has is mapped by the process itself, which finds itself there.
        Some(Proc::Stale) => {
            let cause = Proc::Stale.cause();
            let means = "`exec`, `ps` and maps of more than one id take other processes for the container's";
            Finding::limited(SUBJECT, Need::Nothing, cause.because, means).mended(cause.remedy)
        }
        Some(Proc::Partial) => {
            let cause = Proc::Partial.cause();
            let means = "linux.sysctl cannot be set, and what only those files tell is not known";
            Finding::limited(SUBJECT, Need::Nothing, cause.because, means).mended(cause.remedy)
        }
        Some(wrong) => Finding::refused(SUBJECT, Need::All, "no container can be made", wrong.cause()),
    }
}

fn surroundings(host: &Host) -> Finding {
    const SUBJECT: &str = "surroundings";
    let mut found = Vec::new();
    if host::is_in_chroot() {
        let cause = causes::chroot();
        return Finding::missing(SUBJECT, Need::All, cause.because, "no container can be made").mended(cause.remedy);
    }
    for (mark, name) in [("/.dockerenv", "Docker"), ("/run/.containerenv", "podman")] {
        if Path::new(mark).exists() {
            found.push(format!("a container of {name}'s, as {mark} says"));
        }
    }
    if std::env::var_os("KUBERNETES_SERVICE_HOST").is_some() {
        found.push("a pod of Kubernetes".to_owned());
    }
    if let Ok(kind) = std::env::var("container") {
        found.push(format!("a container ({kind})"));
    }
    if host.in_initial_user_namespace().is_ok_and(|is_initial| !is_initial) {
        found.push("a user namespace".to_owned());
    }
    if causes::is_filtered() {
        found.push("a system call filter".to_owned());
    }
    match found.is_empty() {
        true => Finding::ok(SUBJECT, Need::Nothing, "no container and no filter around"),
        false => Finding::ok(SUBJECT, Need::Nothing, found.join(", ")),
    }
}
