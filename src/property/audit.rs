//! `--seccomp-audit`: a filter that asks about every system call, for who writes them down.

use super::{Planner, Property, Scope};
use crate::error::{Error, Result};
use crate::plan::Phase;
use crate::plan::step::PrivilegeStep;
use crate::seccomp::{Action, Architecture, Profile, Rule};
use crate::sys::seccomp as sys;

pub const PROPERTY: Property = Property { paths: &["linux.seccomp"], phase: Phase::Last, scope: Scope::Create, plan };

const ENOSYS: u16 = 38;

/// By the first two the process hands the filter over, when nobody answers yet. The others are interrupted by the end of a child, while
/// they wait to be asked about, where a handler has no SA_RESTART; a shell takes that for the end.
pub const NOT_ASKED_ABOUT: [&str; 6] = ["recvmsg", "sendmsg", "clone", "clone3", "fork", "vfork"];

fn plan(planner: &mut Planner) -> Result<()> {
    let Some(file) = &planner.request.audit else { return Ok(()) };
    let wrong = |what: &str| Error::new(format!("--seccomp-audit {}: {what}", file.display()));
    if !planner.spec.process().no_new_privileges {
        return Err(wrong("process.noNewPrivileges is false")
            .because("without it, a filter needs CAP_SYS_ADMIN, which the program has not by then")
            .remedy("set process.noNewPrivileges to true"));
    }
    let asks = |rule: &crate::spec::Syscall| rule.action == "SCMP_ACT_NOTIFY";
    let has_agent = planner.spec.linux().seccomp.as_ref().is_some_and(|seccomp| seccomp.syscalls.iter().any(asks));
    if has_agent || planner.plan.fake_root.is_some() {
        return Err(wrong("somebody else is asked about system calls already")
            .because("the kernel asks one process alone")
            .remedy("leave --fake-root, and SCMP_ACT_NOTIFY, out"));
    }
    // Each is named: what no table here knows could not be written down, and fails as it will by the profile.
    let others = crate::seccomp::names().filter(|name| !NOT_ASKED_ABOUT.contains(name)).collect();
    let rule = |names, action| Rule { names, action, conditions: Vec::new() };
    let rules = vec![rule(NOT_ASKED_ABOUT.to_vec(), Action::ALLOW), rule(others, Action::NOTIFY)];
    let profile = Profile { default: Action::errno(ENOSYS), architectures: Architecture::family().to_vec(), rules };
    let filter = profile.compile().into_boxed_slice();
    planner.plan.is_audited = true;
    let mut flags = sys::SECCOMP_FILTER_FLAG_NEW_LISTENER | sys::SECCOMP_FILTER_FLAG_SPEC_ALLOW;
    if planner.host.kernel_version()? >= (5, 19) {
        flags |= sys::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV;
    }
    planner.step(PrivilegeStep::InstallFilter { filter, flags });
    Ok(())
}
