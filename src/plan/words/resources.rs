//! The words of steps about resources.

use super::Advice;
use crate::plan::step::ResourceStep;
use crate::sys::{self, Errno};
use std::fmt;

impl fmt::Display for ResourceStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ResourceStep::SetLimit { resource, limit } => {
                write!(f, "set limit {resource}: soft {} hard {}", limit.soft, limit.hard)
            }
            ResourceStep::SetOomScoreAdj { value } => write!(f, "set oom_score_adj {}", value.to_string_lossy()),
            ResourceStep::SetPersonality { domain } => write!(f, "set personality {domain:#x}"),
            ResourceStep::SetScheduling(scheduling) => write!(f, "set {scheduling:?}"),
            ResourceStep::SetIoPriority { class, level } => write!(f, "set io priority class {class} level {level}"),
            ResourceStep::SetAffinity { cpus } => match cpus.iter().all(|cpus| *cpus == u64::MAX) {
                true => f.write_str("set affinity to all CPUs of the cgroup"),
                false => write!(f, "set affinity {cpus:x?}"),
            },
            ResourceStep::SetMemoryPolicy { mode, nodes } => write!(f, "set memory policy {mode:#x} nodes {nodes:x?}"),
        }
    }
}

impl ResourceStep {
    pub(super) fn advise(&self, sys::Error { errno, .. }: sys::Error) -> Option<Advice> {
        Some(match (self, errno) {
            (ResourceStep::SetLimit { .. }, Errno::EPERM) => {
                ("a hard limit may only be lowered", "lower it in process.rlimits")
            }
            (ResourceStep::SetOomScoreAdj { .. }, Errno::EACCES | Errno::EPERM) => {
                ("the value may only be raised", "raise process.oomScoreAdj")
            }
            (ResourceStep::SetScheduling(scheduling), Errno::EBUSY) if scheduling.policy == 6 => (
                "the processors are not free enough for runtime in each period",
                "lower runtime, or raise deadline and period, in process.scheduler",
            ),
            (ResourceStep::SetScheduling(_), Errno::EINVAL) => (
                "the policy does not exist in this kernel, or does not go with nice, priority or the times",
                "see sched_setattr(2); SCHED_DEADLINE needs runtime <= deadline <= period, all above 1024",
            ),
            (ResourceStep::SetScheduling(_), Errno::EPERM) => (
                "only privileged users may use that policy, priority or nice value",
                "leave process.scheduler out, or raise nice",
            ),
            (ResourceStep::SetIoPriority { .. }, Errno::EPERM) => {
                ("the realtime class is for privileged users", "write \"IOPRIO_CLASS_BE\"")
            }
            (ResourceStep::SetMemoryPolicy { .. }, Errno::ENOSYS) => {
                ("this kernel was built without NUMA", "leave linux.memoryPolicy out")
            }
            (ResourceStep::SetMemoryPolicy { .. }, Errno::EINVAL) => (
                "the mode needs other nodes or flags, or a node is not there",
                "see set_mempolicy(2) and /sys/devices/system/node/online",
            ),
            (
                ResourceStep::SetLimit { .. }
                | ResourceStep::SetOomScoreAdj { .. }
                | ResourceStep::SetPersonality { .. }
                | ResourceStep::SetScheduling(_)
                | ResourceStep::SetIoPriority { .. }
                | ResourceStep::SetAffinity { .. }
                | ResourceStep::SetMemoryPolicy { .. },
                _,
            ) => return None,
        })
    }
}
