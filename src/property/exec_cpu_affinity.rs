//! `process.execCPUAffinity`: for processes that `exec` starts; of the container's own, only its form matters.

use super::{Planner, Property, number_list};
use crate::error::Result;
use crate::plan::Phase;

pub const PROPERTY: Property = Property { paths: &["process.execCPUAffinity"], phase: Phase::Host, plan };

/// CONFIG_NR_CPUS of the largest kernels.
const MOST_CPUS: u32 = 8192;

fn plan(planner: &mut Planner) -> Result<()> {
    let Some(affinity) = &planner.spec.process().exec_cpu_affinity else { return Ok(()) };
    for list in [&affinity.initial, &affinity.last].into_iter().flatten() {
        number_list::parse(planner, list, MOST_CPUS)?;
    }
    Ok(())
}
