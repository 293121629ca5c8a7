//! `linux.maskedPaths`.

use super::{Planner, Property, Scope, readonly_paths};
use crate::error::Result;
use crate::plan::Phase;
use crate::plan::step::MountStep;

pub const PROPERTY: Property =
    Property { paths: &["linux.maskedPaths"], phase: Phase::Jailed, scope: Scope::Create, plan };

fn plan(planner: &mut Planner) -> Result<()> {
    planner.each(&planner.spec.linux().masked_paths, |planner, path| {
        let path = readonly_paths::absolute(planner, path)?;
        if readonly_paths::is_root(&path) {
            return Err(planner.error("the root cannot be masked").remedy("name what is to be hidden in it"));
        }
        planner.step(MountStep::Mask { path });
        Ok(())
    })
}
