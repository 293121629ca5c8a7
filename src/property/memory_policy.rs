//! `linux.memoryPolicy`.

use super::{Planner, Property, Scope, number_list};
use crate::error::Result;
use crate::plan::Phase;
use crate::plan::step::ResourceStep;

pub const PROPERTY: Property =
    Property { paths: &["linux.memoryPolicy"], phase: Phase::Jailed, scope: Scope::Both, plan };

/// linux/mempolicy.h.
pub const MODES: [(&str, u32); 7] = [
    ("MPOL_DEFAULT", 0),
    ("MPOL_PREFERRED", 1),
    ("MPOL_BIND", 2),
    ("MPOL_INTERLEAVE", 3),
    ("MPOL_LOCAL", 4),
    ("MPOL_PREFERRED_MANY", 5),
    ("MPOL_WEIGHTED_INTERLEAVE", 6),
];

/// linux/mempolicy.h.
pub const FLAGS: [(&str, u32); 3] =
    [("MPOL_F_NUMA_BALANCING", 1 << 13), ("MPOL_F_RELATIVE_NODES", 1 << 14), ("MPOL_F_STATIC_NODES", 1 << 15)];

/// MAX_NUMNODES of the largest kernels.
const MOST_NODES: u32 = 1024;

fn plan(planner: &mut Planner) -> Result<()> {
    let Some(policy) = &planner.spec.linux().memory_policy else { return Ok(()) };
    let find = |what: &str, name: &str, names: &[(&str, u32)]| {
        names.iter().find(|(known, _)| *known == name).map(|(_, number)| *number).ok_or_else(|| {
            let known: Vec<_> = names.iter().map(|(name, _)| *name).collect();
            planner.error(format!("{what} {name:?}")).remedy(format!("write one of {}", known.join(", ")))
        })
    };
    let mut mode = find("mode", &policy.mode, &MODES)?;
    for flag in &policy.flags {
        mode |= find("flag", flag, &FLAGS)?;
    }
    let nodes = number_list::parse(planner, &policy.nodes, MOST_NODES)?;
    planner.step(ResourceStep::SetMemoryPolicy { mode, nodes });
    Ok(())
}
