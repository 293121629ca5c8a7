//! `process.execCPUAffinity`: for processes that `exec` starts; of the container's own, only its form matters. Who is not told
//! otherwise may use every CPU that its cgroup allows, whatever its caller is bound to, as in runc (from 1.4 on).

use super::{Planner, Property, Scope, number_list};
use crate::error::Result;
use crate::plan::Phase;
use crate::plan::step::ResourceStep;
use crate::sys::Errno;

pub const PROPERTY: Property =
    Property { paths: &["process.execCPUAffinity"], phase: Phase::Outside, scope: Scope::Both, plan };
pub const LAST: Property =
    Property { paths: &["process.execCPUAffinity"], phase: Phase::Jailed, scope: Scope::Both, plan: plan_last };

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
        planner.step(ResourceStep::SetAffinity { cpus });
    }
    Ok(())
}

fn plan_last(planner: &mut Planner) -> Result<()> {
    let affinity = planner.spec.process().exec_cpu_affinity.as_ref().filter(|_| planner.entered.is_some());
    let last = affinity.and_then(|affinity| affinity.last.as_deref()).filter(|list| !list.is_empty());
    match last {
        Some(list) => {
            let cpus = number_list::parse(planner, list, MOST_CPUS)?;
            planner.step(ResourceStep::SetAffinity { cpus });
        }
        // sched_setaffinity(2): of all CPUs, those that the cgroup allows.
        None => planner.step_tolerating(
            ResourceStep::SetAffinity { cpus: Box::new([u64::MAX; MOST_CPUS as usize / 64]) },
            &[Errno::EPERM, Errno::ENOSYS],
        ),
    }
    Ok(())
}
