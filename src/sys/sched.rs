//! Scheduling and resource limits of a process.

use super::{Call, Result, syscall};
use core::ptr;

/// A resource limit, soft and hard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// What is enforced.
    pub soft: u64,
    /// What the soft limit may be raised to.
    pub hard: u64,
}

/// prlimit(2): sets a limit of `pid`, or of the caller if it is 0.
pub fn set_limit(pid: i32, resource: u32, limit: Limit) -> Result<()> {
    let pair = [limit.soft, limit.hard];
    syscall!(Call::Prlimit, libc::SYS_prlimit64, pid, resource, pair.as_ptr(), ptr::null::<u8>()).map(drop)
}

/// As many descriptors as this process may have; how many that are.
pub fn raise_descriptors() -> Result<u64> {
    let resource = libc::RLIMIT_NOFILE as _;
    let hard = limit(resource)?.hard;
    set_limit(0, resource, Limit { soft: hard, hard })?;
    Ok(hard)
}

/// prlimit(2): the caller's limit.
pub fn limit(resource: u32) -> Result<Limit> {
    let mut pair = [0u64; 2];
    syscall!(Call::Prlimit, libc::SYS_prlimit64, 0, resource, ptr::null::<u8>(), pair.as_mut_ptr())?;
    Ok(Limit { soft: pair[0], hard: pair[1] })
}

/// personality(2).
pub fn set_personality(domain: u64) -> Result<()> {
    syscall!(Call::Personality, libc::SYS_personality, domain).map(drop)
}

/// Arguments of sched_setattr(2), in the kernel's layout.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Scheduling {
    /// Size of this structure; filled in by [`set_scheduling`].
    pub size: u32,
    /// SCHED_OTHER, ...
    pub policy: u32,
    /// SCHED_FLAG_*.
    pub flags: u64,
    /// For SCHED_OTHER and SCHED_BATCH.
    pub nice: i32,
    /// For SCHED_FIFO and SCHED_RR.
    pub priority: u32,
    /// For SCHED_DEADLINE, nanoseconds.
    pub runtime: u64,
    /// For SCHED_DEADLINE, nanoseconds.
    pub deadline: u64,
    /// For SCHED_DEADLINE, nanoseconds.
    pub period: u64,
}

/// sched_setattr(2) of the caller.
pub fn set_scheduling(mut scheduling: Scheduling) -> Result<()> {
    scheduling.size = size_of::<Scheduling>() as u32;
    syscall!(Call::SchedSetattr, libc::SYS_sched_setattr, 0, &raw const scheduling, 0).map(drop)
}

/// ioprio_set(2) of the caller; `class` as in the kernel, `level` 0 to 7.
pub fn set_io_priority(class: u16, level: u16) -> Result<()> {
    const IOPRIO_WHO_PROCESS: i32 = 1;
    syscall!(Call::IoprioSet, libc::SYS_ioprio_set, IOPRIO_WHO_PROCESS, 0, u32::from(class) << 13 | u32::from(level))
        .map(drop)
}

/// sched_setaffinity(2) of the caller; bit n is CPU n.
pub fn set_affinity(cpus: &[u64]) -> Result<()> {
    syscall!(Call::SchedSetaffinity, libc::SYS_sched_setaffinity, 0, size_of_val(cpus), cpus.as_ptr()).map(drop)
}

/// set_mempolicy(2) of the caller; bit n of `nodes` is node n.
pub fn set_memory_policy(mode: u32, nodes: &[u64]) -> Result<()> {
    let nothing = ptr::null();
    let (mask, bits) = if nodes.is_empty() { (nothing, 0) } else { (nodes.as_ptr(), nodes.len() * 64 + 1) };
    syscall!(Call::SetMempolicy, libc::SYS_set_mempolicy, mode, mask, bits).map(drop)
}
