//! `linux.maskedPaths`.

use super::{Planner, Property, readonly_paths};
use crate::error::Result;
use crate::plan::{Phase, Step};

pub const PROPERTY: Property = Property { path: "linux.maskedPaths", phase: Phase::Jailed, plan };

fn plan(planner: &mut Planner) -> Result<()> {
    for (index, path) in planner.spec.linux().masked_paths.iter().enumerate() {
        planner.at(index);
        let path = readonly_paths::absolute(planner, path)?;
        planner.step(Step::Mask { path });
    }
    Ok(())
}
