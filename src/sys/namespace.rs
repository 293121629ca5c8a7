//! Namespaces: clone flags, joining, and what belongs to one.

use super::fd::own;
use super::{Call, Errno, Error, Result, syscall};
use core::ffi::CStr;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

pub use libc::{CLONE_NEWCGROUP, CLONE_NEWIPC, CLONE_NEWNET, CLONE_NEWNS, CLONE_NEWPID, CLONE_NEWUSER, CLONE_NEWUTS};

/// CLONE_NEWTIME (Linux 5.6); as clone(2) has its signal in that bit, it works in unshare(2), setns(2) and clone3(2) only.
pub const CLONE_NEWTIME: i32 = 0x80;

/// setns(2).
pub fn join(namespace: BorrowedFd, kind: i32) -> Result<()> {
    syscall!(Call::Setns, libc::SYS_setns, namespace.as_raw_fd(), kind).map(drop)
}

/// unshare(2).
pub fn unshare(kinds: i32) -> Result<()> {
    syscall!(Call::Unshare, libc::SYS_unshare, kinds).map(drop)
}

/// A root, a current directory and a umask of the calling thread's own (CLONE_FS).
pub fn unshare_directories() -> Result<()> {
    unshare(libc::CLONE_FS)
}

/// A table of descriptors of one's own, where it was shared (CLONE_FILES).
pub fn unshare_descriptors() -> Result<()> {
    unshare(libc::CLONE_FILES)
}

/// The namespace that a pid or user namespace was made in; EPERM if that is out of the caller's sight (ioctl_ns(2)).
pub fn parent(namespace: BorrowedFd) -> Result<OwnedFd> {
    syscall!(Call::Ioctl, libc::SYS_ioctl, namespace.as_raw_fd(), libc::NS_GET_PARENT).map(own)
}

/// Whether a process has a number in that pid namespace; `None` before Linux 6.11, which cannot say it.
pub fn has_process(namespace: BorrowedFd, pid: i32) -> Result<Option<bool>> {
    match syscall!(Call::Ioctl, libc::SYS_ioctl, namespace.as_raw_fd(), libc::NS_GET_TGID_IN_PIDNS, pid) {
        Ok(_) => Ok(Some(true)),
        Err(Error { errno: Errno::ESRCH, .. }) => Ok(Some(false)),
        Err(Error { errno: Errno::ENOTTY, .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// sethostname(2).
pub fn set_hostname(name: &CStr) -> Result<()> {
    syscall!(Call::Sethostname, libc::SYS_sethostname, name.as_ptr(), name.count_bytes()).map(drop)
}

/// Version of the kernel, as uname(2) has it.
pub fn kernel_release() -> Result<[u8; 65]> {
    const LENGTH: usize = 65;
    let mut fields = [[0; LENGTH]; 6];
    syscall!(Call::Uname, libc::SYS_uname, fields.as_mut_ptr())?;
    let [_system, _node, release, ..] = fields;
    Ok(release)
}

/// setdomainname(2).
pub fn set_domainname(name: &CStr) -> Result<()> {
    syscall!(Call::Setdomainname, libc::SYS_setdomainname, name.as_ptr(), name.count_bytes()).map(drop)
}
