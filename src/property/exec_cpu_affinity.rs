//! `process.execCPUAffinity`: for processes that `exec` starts; of the container's own, only its form matters.

use super::{Planner, Property, Scope, number_list};
use crate::error::Result;
use crate::plan::{Phase, Step};

pub const PROPERTY: Property =
    Property { paths: &["process.execCPUAffinity"], phase: Phase::Outside, scope: Scope::Both, plan };
pub const LAST: Property =
    Property { paths: &["process.execCPUAffinity"], phase: Phase::Jailed, scope: Scope::Exec, plan: plan_last };

/// CONFIG_NR_CPUS of the largest kernels.
const MOST_CPUS: u32 = 8192;

fn plan(planner: &mut Planner) -> Result<()> {
    let Some(affinity) = &planner.spec.process().exec_cpu_affinity else { return Ok(()) };
    for list in [&affinity.initial, &affinity.last].into_iter().flatten() {
        number_list::parse(planner, list, MOST_CPUS)?;
    }
    let initial = affinity.initial.as_deref().filter(|list| !list.is_empty() && planner.entered.is_some());
    if let Some(list) = initial {
        let cpus = number_list::parse(planner, list, MOST_CPUS)?;
        planner.step(Step::SetAffinity { cpus });
    }
    Ok(())
}

fn plan_last(planner: &mut Planner) -> Result<()> {
    let Some(affinity) = &planner.spec.process().exec_cpu_affinity else { return Ok(()) };
    let given = |list: &Option<String>| list.as_ref().is_some_and(|list| !list.is_empty());
    if let Some(list) = affinity.last.as_deref().filter(|list| !list.is_empty()) {
        let cpus = number_list::parse(planner, list, MOST_CPUS)?;
        planner.step(Step::SetAffinity { cpus });
    } else if given(&affinity.initial) {
        // sched_setaffinity(2): of all CPUs, those that the cgroup allows.
        planner.step(Step::SetAffinity { cpus: Box::new([u64::MAX; MOST_CPUS as usize / 64]) });
    }
    Ok(())
}
