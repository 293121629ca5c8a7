//! `process.ioPriority`.

use super::{Planner, Property, Scope};
use crate::error::Result;
use crate::plan::Phase;
use crate::plan::step::ResourceStep;

pub const PROPERTY: Property =
    Property { paths: &["process.ioPriority"], phase: Phase::Jailed, scope: Scope::Both, plan };

fn plan(planner: &mut Planner) -> Result<()> {
    let Some(priority) = &planner.spec.process().io_priority else { return Ok(()) };
    // linux/ioprio.h.
    let class = match priority.class.as_str() {
        "IOPRIO_CLASS_RT" => 1,
        "IOPRIO_CLASS_BE" => 2,
        "IOPRIO_CLASS_IDLE" => 3,
        other => {
            let names = "IOPRIO_CLASS_RT, IOPRIO_CLASS_BE or IOPRIO_CLASS_IDLE";
            return Err(planner.error(format!("class {other:?}")).remedy(format!("write {names}")));
        }
    };
    let Some(level) = u16::try_from(priority.priority).ok().filter(|level| *level <= 7) else {
        return Err(planner.error(format!("priority {} is not from 0 to 7", priority.priority)));
    };
    planner.step(ResourceStep::SetIoPriority { class, level });
    Ok(())
}
