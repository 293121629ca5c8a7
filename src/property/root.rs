//! `root`: the directory that becomes `/`.

use super::{Planner, Property, Scope, propagation};
use crate::error::Result;
use crate::plan::{Phase, Step};
use crate::sys::mount;

/// A procfs that the container cannot have shaped.
pub const PROC: Property =
    Property { paths: &["root.path"], phase: Phase::Outside, scope: Scope::Exec, plan: plan_proc };
pub const PROPERTY: Property = Property { paths: &["root.path"], phase: Phase::Inside, scope: Scope::Both, plan };
pub const ENTER: Property =
    Property { paths: &["root.path"], phase: Phase::Jailed, scope: Scope::Create, plan: plan_enter };
pub const READONLY: Property =
    Property { paths: &["root.readonly"], phase: Phase::Jailed, scope: Scope::Create, plan: plan_readonly };

fn plan_proc(planner: &mut Planner) -> Result<()> {
    planner.step(Step::OpenProc);
    Ok(())
}

fn plan(planner: &mut Planner) -> Result<()> {
    if planner.entered.is_some() {
        planner.step(Step::EnterDescriptors);
        planner.step(Step::OpenRoot);
        return Ok(());
    }
    let Some(root) = planner.spec.root.as_ref().filter(|root| !root.path.is_empty()) else {
        return Err(planner.error("missing").remedy("add \"root\": {\"path\": \"rootfs\"}"));
    };
    let path = planner.request.bundle.join(&root.path);
    if path.as_os_str() == "/" {
        return Err(planner
            .error("the host's root cannot be the container's")
            .remedy("bind the directories that you need; see `rootlet spec --host`"));
    }
    let source = planner.c_string(&path.to_string_lossy())?;
    planner.step(Step::EnterDescriptors);
    planner.step(Step::BindRoot { source });
    Ok(())
}

fn plan_enter(planner: &mut Planner) -> Result<()> {
    planner.step(if planner.request.no_pivot { Step::MoveRoot } else { Step::PivotRoot });
    let wanted = planner.spec.linux().rootfs_propagation.as_deref().and_then(propagation::flags);
    if let Some(flags) = wanted.filter(|flags| flags & mount::MS_PRIVATE == 0) {
        let recursive = flags & mount::MS_REC != 0;
        let propagation = flags & !mount::MS_REC;
        planner.step(Step::SetMountAttributes {
            target: c"/".into(),
            set: 0,
            clear: 0,
            propagation,
            recursive,
            itself: false,
        });
    }
    Ok(())
}

fn plan_readonly(planner: &mut Planner) -> Result<()> {
    if planner.spec.root.as_ref().is_some_and(|root| root.readonly) {
        planner.step(Step::SetMountAttributes {
            target: c"/".into(),
            set: mount::MOUNT_ATTR_RDONLY,
            clear: 0,
            propagation: 0,
            recursive: false,
            itself: false,
        });
    }
    Ok(())
}
