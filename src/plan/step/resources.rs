//! Steps about what a process gets of the machine: limits, processors, memory.

use crate::plan::Slots;
use crate::sys::sched::{self, Limit, Scheduling};
use crate::sys::{Result, fd};
use std::ffi::CString;
use std::os::fd::AsFd;

/// What is set of the kernel's treatment of a process.
#[derive(Debug, PartialEq)]
#[allow(missing_docs)] // the fields are the arguments of the system calls
pub enum ResourceStep {
    /// Sets a resource limit.
    SetLimit { resource: u32, limit: Limit },
    /// Writes /proc/PID/oom_score_adj.
    SetOomScoreAdj { value: CString },
    /// personality(2).
    SetPersonality { domain: u64 },
    /// sched_setattr(2).
    SetScheduling(Scheduling),
    /// ioprio_set(2).
    SetIoPriority { class: u16, level: u16 },
    /// sched_setaffinity(2); bit n is CPU n.
    SetAffinity { cpus: Box<[u64]> },
    /// set_mempolicy(2).
    SetMemoryPolicy { mode: u32, nodes: Box<[u64]> },
}

impl ResourceStep {
    /// Does the step.
    pub fn run(&self, slots: &mut Slots) -> Result<()> {
        match self {
            ResourceStep::SetLimit { resource, limit } => {
                // 0 is the caller.
                sched::set_limit(slots.process.as_ref().map_or(0, |process| process.pid), *resource, *limit)
            }
            ResourceStep::SetOomScoreAdj { value } => {
                fd::write_file(slots.proc_directory()?.as_fd(), c"oom_score_adj", value.to_bytes())
            }
            ResourceStep::SetPersonality { domain } => sched::set_personality(*domain),
            ResourceStep::SetScheduling(scheduling) => sched::set_scheduling(*scheduling),
            ResourceStep::SetIoPriority { class, level } => sched::set_io_priority(*class, *level),
            ResourceStep::SetAffinity { cpus } => sched::set_affinity(cpus),
            ResourceStep::SetMemoryPolicy { mode, nodes } => sched::set_memory_policy(*mode, nodes),
        }
    }
}
