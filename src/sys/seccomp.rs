//! System call filters: the instructions of the kernel's packet filter machine, and installing them.

use super::{Call, Errno, Error, Result, fd::own, syscall};
use std::os::fd::OwnedFd;

/// One instruction (struct sock_filter of linux/filter.h).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Instruction {
    /// What to do.
    pub code: u16,
    /// Instructions to skip if a comparison holds.
    pub jump_true: u8,
    /// Instructions to skip if not.
    pub jump_false: u8,
    /// Operand.
    pub operand: u32,
}

/// BPF_MAXINSNS.
pub const MOST_INSTRUCTIONS: usize = 4096;

pub use libc::{
    SECCOMP_FILTER_FLAG_LOG, SECCOMP_FILTER_FLAG_NEW_LISTENER, SECCOMP_FILTER_FLAG_SPEC_ALLOW,
    SECCOMP_FILTER_FLAG_TSYNC,
};

/// SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV (Linux 5.19), which libc lacks.
pub const SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV: u64 = 1 << 5;

/// Installs a filter for the caller (seccomp(2)); with SECCOMP_FILTER_FLAG_NEW_LISTENER, the listener.
pub fn install(filter: &[Instruction], flags: u64) -> Result<Option<OwnedFd>> {
    let length = u16::try_from(filter.len()).map_err(|_| Error::new(Call::Seccomp, Errno::E2BIG))?;
    let program = libc::sock_fprog { len: length, filter: filter.as_ptr().cast_mut().cast() };
    let listener =
        syscall!(Call::Seccomp, libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, &raw const program)?;
    Ok((flags & SECCOMP_FILTER_FLAG_NEW_LISTENER != 0).then(|| own(listener)))
}

/// Whether a filter is in force for the caller already (prctl(2), PR_GET_SECCOMP).
pub fn is_filtered() -> bool {
    const SECCOMP_MODE_FILTER: i64 = 2;
    syscall!(Call::Prctl, libc::SYS_prctl, libc::PR_GET_SECCOMP, 0, 0, 0, 0)
        .is_ok_and(|mode| mode == SECCOMP_MODE_FILTER)
}

/// True if this kernel can take that action (SECCOMP_GET_ACTION_AVAIL, Linux 4.14).
pub fn is_available(action: u32) -> bool {
    syscall!(Call::Seccomp, libc::SYS_seccomp, libc::SECCOMP_GET_ACTION_AVAIL, 0, &raw const action).is_ok()
}
