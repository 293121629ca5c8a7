//! `root`: the directory that becomes `/`.

use super::{Planner, Property, Scope, propagation};
use crate::error::{Error, Result};
use crate::plan::Phase;
use crate::plan::step::MountStep;
use crate::plan::step::trees::Attributes;
use crate::sys::mount;

/// A procfs that the container cannot have shaped, for the labels of security modules.
pub const PROC: Property =
    Property { paths: &["root.path"], phase: Phase::Outside, scope: Scope::Exec, plan: plan_proc };
pub const PROPERTY: Property = Property { paths: &["root.path"], phase: Phase::Inside, scope: Scope::Both, plan };
pub const ENTER: Property =
    Property { paths: &["root.path"], phase: Phase::Jailed, scope: Scope::Create, plan: plan_enter };
pub const READONLY: Property =
    Property { paths: &["root.readonly"], phase: Phase::Jailed, scope: Scope::Create, plan: plan_readonly };

fn plan_proc(planner: &mut Planner) -> Result<()> {
    // In a user namespace, a container that masks parts of its /proc gets no other; but there, nobody can look into the
    // process, and so the host's is out of reach.
    if needs_proc(planner) && planner.has_other_user_namespace() {
        planner.step(MountStep::OpenProc);
    }
    Ok(())
}

/// True if a process that is added writes to /proc.
fn needs_proc(planner: &Planner) -> bool {
    let process = planner.spec.process();
    [&process.apparmor_profile, &process.selinux_label]
        .iter()
        .any(|label| label.as_ref().is_some_and(|label| !label.is_empty()))
}

fn plan(planner: &mut Planner) -> Result<()> {
    if planner.entered.is_some() {
        if needs_proc(planner) {
            if !planner.has_other_user_namespace() {
                planner.step(MountStep::MakeProc);
            }
            planner.step(MountStep::EnterDescriptors);
        }
        planner.step(MountStep::OpenRoot);
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
    let source = planner.c_string(&path)?;
    // An ordinary user's child is still that user.
    planner.plan.opens_sources = planner.has_other_user_namespace() && !planner.host.is_ordinary_user();
    planner.step(MountStep::EnterDescriptors);
    let set = if planner.shuts_devices { mount::MOUNT_ATTR_NODEV } else { 0 };
    planner.step(MountStep::BindRoot { source, set });
    Ok(())
}

fn plan_enter(planner: &mut Planner) -> Result<()> {
    match planner.request.no_pivot {
        true => plan_move(planner)?,
        false => planner.step(MountStep::PivotRoot),
    }
    let wanted = planner.spec.linux().rootfs_propagation.as_deref().and_then(propagation::flags);
    if let Some(flags) = wanted {
        let (recursive, propagation) = (flags & mount::MS_REC != 0, flags & !mount::MS_REC);
        if propagation == mount::MS_SHARED {
            // Until then it is the host's slave, and would stay that besides.
            set_attributes(planner, Attributes { propagation: mount::MS_PRIVATE, recursive, ..Attributes::default() });
        }
        set_attributes(planner, Attributes { propagation, recursive, ..Attributes::default() });
    }
    Ok(())
}

/// The host's tree stays below the container's root.
fn plan_move(planner: &mut Planner) -> Result<()> {
    let revealing = planner.host.revealing_mounts()?;
    let revealing = revealing.iter().map(|path| planner.c_string(path)).collect::<Result<_>>()?;
    planner.step(MountStep::MoveRoot { revealing });
    planner.plan.warnings.push(
        Error::in_config("root.path", "--no-pivot leaves the host's mounts below the container's root")
            .because("only without CAP_SYS_ADMIN can it not take its root away to see them")
            .remedy("leave --no-pivot out, unless the host runs from an initramfs"),
    );
    Ok(())
}

/// The root is known by its descriptor.
fn set_attributes(planner: &mut Planner, attributes: Attributes) {
    planner.step(MountStep::SetMountAttributes { target: c"/".into(), attributes, itself: false });
}

fn plan_readonly(planner: &mut Planner) -> Result<()> {
    if planner.spec.root.as_ref().is_some_and(|root| root.readonly) {
        set_attributes(planner, Attributes { set: mount::MOUNT_ATTR_RDONLY, ..Attributes::default() });
    }
    Ok(())
}
