//! Extended attributes (xattr(7)).

use super::{Call, Errno, Error, Result, syscall};
use core::ffi::CStr;
use std::os::fd::{AsRawFd, BorrowedFd};

/// Writes one of an opened file (fsetxattr(2)).
pub fn set(file: BorrowedFd, name: &CStr, value: &[u8]) -> Result<()> {
    syscall!(Call::Setxattr, libc::SYS_fsetxattr, file.as_raw_fd(), name.as_ptr(), value.as_ptr(), value.len(), 0)
        .map(drop)
}

/// Whether an opened file has one (fgetxattr(2)).
pub fn has(file: BorrowedFd, name: &CStr) -> Result<bool> {
    match syscall!(Call::Getxattr, libc::SYS_fgetxattr, file.as_raw_fd(), name.as_ptr(), core::ptr::null::<u8>(), 0) {
        Err(Error { errno: Errno::ENODATA, .. }) => Ok(false),
        other => other.map(|_| true),
    }
}

/// Reads one of what a path leads to (getxattr(2)); its length, or `None` where there is none, or the file system has none.
pub fn get_by_path(path: &CStr, name: &CStr, buffer: &mut [u8]) -> Result<Option<usize>> {
    match syscall!(Call::Getxattr, libc::SYS_getxattr, path.as_ptr(), name.as_ptr(), buffer.as_mut_ptr(), buffer.len())
    {
        Err(Error { errno: Errno::ENODATA | Errno::EOPNOTSUPP | Errno::EPERM, .. }) => Ok(None),
        other => other.map(|length| Some(length as usize)),
    }
}

/// The names of all of what a path leads to, each with a NUL behind it (listxattr(2)).
pub fn list_by_path(path: &CStr, names: &mut [u8]) -> Result<usize> {
    syscall!(Call::Getxattr, libc::SYS_listxattr, path.as_ptr(), names.as_mut_ptr(), names.len())
        .map(|length| length as usize)
}

/// XATTR_LIST_MAX of linux/limits.h.
pub const LONGEST_LIST: usize = 65536;

/// Writes one of what a path leads to (setxattr(2)).
pub fn set_by_path(path: &CStr, name: &CStr, value: &[u8], flags: i32) -> Result<()> {
    syscall!(Call::Setxattr, libc::SYS_setxattr, path.as_ptr(), name.as_ptr(), value.as_ptr(), value.len(), flags)
        .map(drop)
}

/// Removes one of what a path leads to, if it is there (removexattr(2)).
pub fn remove_by_path(path: &CStr, name: &CStr) -> Result<()> {
    match syscall!(Call::Setxattr, libc::SYS_removexattr, path.as_ptr(), name.as_ptr()) {
        Err(Error { errno: Errno::ENODATA | Errno::EOPNOTSUPP, .. }) => Ok(()),
        other => other.map(drop),
    }
}
