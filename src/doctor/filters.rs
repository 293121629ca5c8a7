//! What a process can be forbidden: system call filters, their listeners, and Landlock.

use super::trial::{self, Trial};
use super::{Finding, Need};
use crate::host::Host;
use crate::sys::creds;
use crate::sys::seccomp::{self, Instruction, SECCOMP_FILTER_FLAG_NEW_LISTENER};

/// BPF_RET | BPF_K of SECCOMP_RET_ALLOW.
const ALLOW: Instruction = Instruction { code: 0x06, jump_true: 0, jump_false: 0, operand: 0x7fff_0000 };

pub fn probe(host: &Host) -> Vec<Finding> {
    let privileges = || creds::set_no_new_privileges();
    let filter = || seccomp::install(&[ALLOW], 0).map(drop);
    let listener = || seccomp::install(&[ALLOW], SECCOMP_FILTER_FLAG_NEW_LISTENER).map(drop);
    let trials: [Trial; 3] = [&privileges, &filter, &listener];
    let tried = trial::run(0, &trials).unwrap_or_default();
    let mut findings = Vec::new();
    findings.push(match tried.get(1) {
        Some(Ok(())) => Finding::ok("system call filters", Need::Filter, "can be installed"),
        Some(Err(error)) => Finding::missing(
            "system call filters",
            Need::Filter,
            format!("{:?}", error.errno),
            "configs with linux.seccomp are refused",
        )
        .mended("boot a kernel with CONFIG_SECCOMP_FILTER, or have the outer container allow seccomp(2)"),
        None => return findings,
    });
    findings.push(match tried.get(2) {
        Some(Ok(())) => Finding::ok(
            "filters that ask",
            Need::Annotation("org.rootlet.fake-root"),
            "a listener can be had: --fake-root works",
        ),
        _ => Finding::missing(
            "filters that ask",
            Need::Annotation("org.rootlet.fake-root"),
            "no listener can be had",
            "--fake-root and SCMP_ACT_NOTIFY are refused",
        )
        .mended("boot Linux 5.5 or newer; inside another runtime's fake root or agent, there is one listener for all"),
    });
    findings.push(match host.landlock() {
        Ok(Some(version)) => {
            Finding::ok("Landlock", Need::Annotation("org.rootlet.landlock"), format!("version {version}"))
        }
        Ok(None) => Finding::limited(
            "Landlock",
            Need::Annotation("org.rootlet.landlock"),
            "none",
            "`sandbox --landlock` is refused",
        )
        .mended("boot Linux 5.13 or newer with lsm=landlock,... on its command line"),
        Err(error) => Finding::limited(
            "Landlock",
            Need::Annotation("org.rootlet.landlock"),
            error.to_string(),
            "`sandbox --landlock` is refused",
        ),
    });
    findings
}
