//! `process.scheduler`.

use super::{Planner, Property, Scope};
use crate::error::Result;
use crate::plan::Phase;
use crate::plan::step::ResourceStep;
use crate::sys::sched::Scheduling;

pub const PROPERTY: Property =
    Property { paths: &["process.scheduler"], phase: Phase::Jailed, scope: Scope::Both, plan };

/// linux/sched.h.
const POLICIES: [(&str, u32); 7] = [
    ("SCHED_OTHER", 0),
    ("SCHED_FIFO", 1),
    ("SCHED_RR", 2),
    ("SCHED_BATCH", 3),
    ("SCHED_ISO", 4),
    ("SCHED_IDLE", 5),
    ("SCHED_DEADLINE", 6),
];

/// linux/sched.h.
const FLAGS: [(&str, u64); 7] = [
    ("SCHED_FLAG_RESET_ON_FORK", 1),
    ("SCHED_FLAG_RECLAIM", 2),
    ("SCHED_FLAG_DL_OVERRUN", 4),
    ("SCHED_FLAG_KEEP_POLICY", 8),
    ("SCHED_FLAG_KEEP_PARAMS", 16),
    ("SCHED_FLAG_UTIL_CLAMP_MIN", 32),
    ("SCHED_FLAG_UTIL_CLAMP_MAX", 64),
];

fn plan(planner: &mut Planner) -> Result<()> {
    let Some(scheduler) = &planner.spec.process().scheduler else { return Ok(()) };
    let find = |name: &str, names: &[(&str, u64)]| {
        let number = names.iter().find(|(known, _)| *known == name).map(|(_, number)| *number);
        number.ok_or_else(|| {
            let known: Vec<_> = names.iter().map(|(name, _)| *name).collect();
            planner.error(format!("{name:?} is not known")).remedy(format!("write one of {}", known.join(", ")))
        })
    };
    let policies = POLICIES.map(|(name, number)| (name, u64::from(number)));
    let policy = find(&scheduler.policy, &policies)? as u32;
    let flags = scheduler.flags.iter().try_fold(0, |flags, flag| find(flag, &FLAGS).map(|bit| flags | bit))?;
    let priority = u32::try_from(scheduler.priority)
        .map_err(|_| planner.error(format!("priority {} is negative", scheduler.priority)))?;
    planner.step(ResourceStep::SetScheduling(Scheduling {
        policy,
        flags,
        nice: scheduler.nice,
        priority,
        runtime: scheduler.runtime,
        deadline: scheduler.deadline,
        period: scheduler.period,
        ..Scheduling::default()
    }));
    Ok(())
}
