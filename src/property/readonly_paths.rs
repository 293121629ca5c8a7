//! `linux.readonlyPaths`.

use super::{Planner, Property, Scope, mounts};
use crate::error::Result;
use crate::plan::Phase;
use crate::plan::step::MountStep;
use crate::plan::step::trees::Attributes;
use crate::sys::mount;

pub const PROPERTY: Property =
    Property { paths: &["linux.readonlyPaths"], phase: Phase::Jailed, scope: Scope::Create, plan };

fn plan(planner: &mut Planner) -> Result<()> {
    planner.each(&planner.spec.linux().readonly_paths, |planner, path| {
        let path = absolute(planner, path)?;
        if is_root(&path) {
            // A copy over the root would be seen by nobody: the root itself is changed, with all that is below.
            let attributes = Attributes { set: mount::MOUNT_ATTR_RDONLY, recursive: true, ..Attributes::default() };
            planner.step(MountStep::SetMountAttributes { target: c"/".into(), attributes, itself: false });
            return Ok(());
        }
        planner.step(MountStep::MakeReadonly { path });
        Ok(())
    })
}

/// An absolute path in the container.
pub fn absolute(planner: &Planner, path: &str) -> Result<std::ffi::CString> {
    if !path.starts_with('/') {
        return Err(planner.error(format!("{path:?} is not an absolute path")).remedy("start it with /"));
    }
    planner.c_string(path)
}

/// True for `/` and what comes to the same, such as `/etc/..`.
pub fn is_root(path: &std::ffi::CStr) -> bool {
    mounts::clean(&path.to_string_lossy()) == "/"
}
