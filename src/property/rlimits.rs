//! `process.rlimits`.

use super::{Planner, Property, Scope};
use crate::capability::CAP_SYS_RESOURCE;
use crate::error::Result;
use crate::plan::Phase;
use crate::plan::step::ResourceStep;
use crate::sys::sched::Limit;

pub const PROPERTY: Property = Property { paths: &["process.rlimits"], phase: Phase::Jailed, scope: Scope::Both, plan };

/// asm-generic/resource.h; the architectures that rootlet runs on have no other numbers.
const NAMES: [&str; 16] = [
    "CPU",
    "FSIZE",
    "DATA",
    "STACK",
    "CORE",
    "RSS",
    "NPROC",
    "NOFILE",
    "MEMLOCK",
    "AS",
    "LOCKS",
    "SIGPENDING",
    "MSGQUEUE",
    "NICE",
    "RTPRIO",
    "RTTIME",
];

fn plan(planner: &mut Planner) -> Result<()> {
    let rlimits = &planner.spec.process().rlimits;
    planner.each(rlimits, |planner, rlimit| {
        let name = rlimit.kind.strip_prefix("RLIMIT_").unwrap_or_default();
        let Some(resource) = NAMES.iter().position(|known| *known == name) else {
            return Err(planner
                .error(format!("{:?} is not a resource limit", rlimit.kind))
                .remedy("write RLIMIT_NOFILE or another name of getrlimit(2)"));
        };
        let index = planner.current.index.unwrap_or(0);
        if rlimits.iter().take(index).any(|other| other.kind == rlimit.kind) {
            return Err(planner.error(format!("{} is there twice", rlimit.kind)).remedy("keep one of them"));
        }
        if rlimit.soft > rlimit.hard {
            return Err(planner
                .error(format!("soft {} is above hard {}", rlimit.soft, rlimit.hard))
                .remedy("lower soft, or raise hard"));
        }
        let resource = resource as u32;
        let own = planner.host.limit(resource)?;
        let mut limit = Limit { soft: rlimit.soft, hard: rlimit.hard };
        if limit.hard > own.hard && !planner.host.may(CAP_SYS_RESOURCE) {
            limit = Limit { soft: limit.soft.min(own.hard), hard: own.hard };
            planner.decide(
                format!("{} is {} soft, {} hard", rlimit.kind, limit.soft, limit.hard),
                "an ordinary user cannot raise a hard limit",
            )?;
        }
        if limit.hard > own.hard && planner.has_other_user_namespace() {
            // In a user namespace the process has no privilege to raise it; its parent has.
            planner.step_in(Phase::Born, ResourceStep::SetLimit { resource, limit });
        } else {
            planner.step(ResourceStep::SetLimit { resource, limit });
        }
        Ok(())
    })
}
