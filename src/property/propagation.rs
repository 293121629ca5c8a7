//! `linux.rootfsPropagation`.

use super::{Planner, Property, Scope};
use crate::error::Result;
use crate::plan::Phase;
use crate::plan::step::MountStep;
use crate::sys::mount;

pub const PROPERTY: Property =
    Property { paths: &["linux.rootfsPropagation"], phase: Phase::Inside, scope: Scope::Create, plan };

fn plan(planner: &mut Planner) -> Result<()> {
    if let Some(propagation) = planner.spec.linux().rootfs_propagation.as_deref().filter(|name| !name.is_empty()) {
        flags(propagation).ok_or_else(|| {
            planner
                .error(format!("{propagation:?} is not a propagation"))
                .remedy("write shared, slave, private, unbindable, or one of them with an r in front")
        })?;
    }
    // What the container mounts must not reach the host; what the host mounts may reach the container. Also pivot_root(2)
    // refuses a shared root, so what the config asks for is set on the root afterwards.
    planner.step(MountStep::Propagate { flags: mount::MS_SLAVE | mount::MS_REC });
    Ok(())
}

/// mount_namespaces(7).
pub const NAMES: [(&str, u64); 4] = [
    ("private", mount::MS_PRIVATE),
    ("shared", mount::MS_SHARED),
    ("slave", mount::MS_SLAVE),
    ("unbindable", mount::MS_UNBINDABLE),
];

/// The mount flag of a propagation by its name in config.json.
pub fn flags(name: &str) -> Option<u64> {
    let (recursive, name) = match name.strip_prefix('r') {
        Some(name) => (mount::MS_REC, name),
        None => (0, name),
    };
    NAMES.iter().find(|(known, _)| *known == name).map(|(_, flag)| flag | recursive)
}
