//! `annotations`, org.rootlet.fake-root: what only root of the host may do seems to succeed.

use super::{Planner, Property, Scope, annotations, id_mappings, reach};
use crate::error::{Error, Result};
use crate::fake_root;
use crate::plan::step::PrivilegeStep;
use crate::plan::{Phase, Supervisor};
use crate::spec::IdMapping;
use crate::sys::seccomp as sys;

/// Without no_new_privs, a filter needs CAP_SYS_ADMIN.
pub const EARLY: Property =
    Property { paths: &["annotations"], phase: Phase::Bare, scope: Scope::Both, plan: plan_early };
/// With it, it comes when ids and capabilities are set: nobody has to answer for those.
pub const LATE: Property =
    Property { paths: &["annotations"], phase: Phase::Bare, scope: Scope::Both, plan: plan_late };

/// Whether it is asked for.
pub fn is_asked(planner: &Planner) -> bool {
    annotations::find(planner.spec, annotations::FAKE_ROOT) == Some("true")
}

fn plan_early(planner: &mut Planner) -> Result<()> {
    if planner.spec.process().no_new_privileges { Ok(()) } else { plan(planner) }
}

fn plan_late(planner: &mut Planner) -> Result<()> {
    if planner.spec.process().no_new_privileges { plan(planner) } else { Ok(()) }
}

fn plan(planner: &mut Planner) -> Result<()> {
    let wrong = |what: String| Error::in_config("annotations", format!("{}: {what}", annotations::FAKE_ROOT));
    match annotations::find(planner.spec, annotations::FAKE_ROOT) {
        None | Some("false") => return Ok(()),
        Some("true") => {}
        Some(other) => return Err(wrong(format!("{other:?}")).remedy("write \"true\" or \"false\"")),
    }
    if planner.entered.is_none() {
        reach::check(planner, "fake root", "the process that answers for it")?;
    }
    let linux = planner.spec.linux();
    let has_others = |mappings: &[IdMapping]| mappings.iter().map(|mapping| u64::from(mapping.size)).sum::<u64>() > 1;
    if has_others(&linux.uid_mappings) || has_others(&linux.gid_mappings) {
        return Err(wrong("more than one id is mapped".to_owned())
            .because("who answers has the rights of the container's root, and others are there who have not")
            .remedy("leave --fake-root out: ids that are mapped can be given"));
    }
    let seccomp = linux.seccomp.as_ref();
    if seccomp.is_some_and(|seccomp| seccomp.syscalls.iter().any(|rule| rule.action == "SCMP_ACT_NOTIFY")) {
        return Err(wrong("linux.seccomp asks an agent".to_owned())
            .because("the kernel asks one process alone")
            .remedy("take SCMP_ACT_NOTIFY out of linux.seccomp, or leave --fake-root out"));
    }
    let (uid, gid) = id_mappings::sets_up_as(planner);
    let drops_groups = id_mappings::may_set_groups(planner);
    let told = planner.plan.told.clone();
    planner.plan.fake_root = Some(Supervisor { uid, gid, drops_groups, told });
    let mut flags = sys::SECCOMP_FILTER_FLAG_NEW_LISTENER | sys::SECCOMP_FILTER_FLAG_SPEC_ALLOW;
    if planner.host.kernel_version()? >= (5, 19) {
        // Signals do not make a call that is answered begin again.
        flags |= sys::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV;
    }
    // A caller's own would say that the program is somebody.
    planner.step(PrivilegeStep::SetTimerSlack { nanoseconds: fake_root::PLAIN_SLACK });
    planner.step(PrivilegeStep::InstallFilter { filter: fake_root::filter().into_boxed_slice(), flags });
    Ok(())
}
