//! `process.selinuxLabel` and `linux.mountLabel`: an error where SELinux is off.

use super::{Planner, Property, Scope, annotations, apparmor};
use crate::error::{Error, Result};
use crate::plan::Phase;
use crate::plan::step::PrivilegeStep;

pub const PROPERTY: Property =
    Property { paths: &["process.selinuxLabel"], phase: Phase::Jailed, scope: Scope::Both, plan };
/// Said by [`mount_label`], which `mounts` asks.
pub const MOUNT_LABEL: Property =
    Property { paths: &["linux.mountLabel"], phase: Phase::Inside, scope: Scope::Create, plan: plan_mounts };

fn plan(planner: &mut Planner) -> Result<()> {
    let Some(label) = planner.spec.process().selinux_label.as_deref().filter(|label| !label.is_empty()) else {
        return Ok(());
    };
    if !planner.host.has_selinux()? {
        return Err(apparmor::refuse(planner, "SELinux"));
    }
    let value = planner.c_string(label)?;
    planner.step(PrivilegeStep::SetLabel { path: c"../attr/exec".into(), value });
    Ok(())
}

fn plan_mounts(planner: &mut Planner) -> Result<()> {
    let option = annotations::find(planner.spec, annotations::MOUNT_CONTEXT).unwrap_or("context");
    if !["context", "fscontext", "defcontext", "rootcontext"].contains(&option) {
        return Err(Error::in_config("annotations", format!("{}: {option:?}", annotations::MOUNT_CONTEXT))
            .remedy("write context, fscontext, defcontext or rootcontext"));
    }
    match mount_label(planner) {
        Some(_) if !planner.host.has_selinux()? => Err(apparmor::refuse(planner, "SELinux")),
        _ => Ok(()),
    }
}

/// The option that labels a new file system (mount(8), `context=`).
pub fn mount_label(planner: &Planner) -> Option<String> {
    let label = planner.spec.linux().mount_label.as_deref().filter(|label| !label.is_empty())?;
    let option = annotations::find(planner.spec, annotations::MOUNT_CONTEXT).unwrap_or("context");
    Some(format!("{option}=\"{label}\""))
}
