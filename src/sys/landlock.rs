//! Landlock: what a process, and all that comes from it, may do with files (landlock(7)).

use super::{Call, Result, fd, syscall};
use core::ffi::CStr;
use core::ptr;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

/// The same on every architecture.
const SYS_CREATE_RULESET: libc::c_long = 444;
const SYS_ADD_RULE: libc::c_long = 445;
const SYS_RESTRICT_SELF: libc::c_long = 446;

/// LANDLOCK_ACCESS_FS_*: to execute, to read files, to list directories.
pub const READ: u64 = 1 | 1 << 2 | 1 << 3;
/// LANDLOCK_ACCESS_FS_* of the first version: all up to MAKE_SYM.
const FIRST: u64 = (1 << 13) - 1;
/// LANDLOCK_ACCESS_FS_REFER (2), TRUNCATE (3), IOCTL_DEV (5), with the version that has it.
const LATER: [(u32, u64); 3] = [(2, 1 << 13), (3, 1 << 14), (5, 1 << 15)];
/// What can be said of a file that is no directory: EXECUTE, WRITE_FILE, READ_FILE, TRUNCATE, IOCTL_DEV.
const OF_FILES: u64 = 1 | 1 << 1 | 1 << 2 | 1 << 14 | 1 << 15;
/// LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET and LANDLOCK_SCOPE_SIGNAL (version 6).
const SCOPES: u64 = 1 | 1 << 1;

#[repr(C)]
struct Ruleset {
    files: u64,
    network: u64,
    scopes: u64,
}

#[repr(C, packed)]
struct PathBeneath {
    allowed: u64,
    parent: i32,
}

/// The version of the kernel's Landlock.
pub fn version() -> Result<u32> {
    const LANDLOCK_CREATE_RULESET_VERSION: u32 = 1;
    let version = syscall!(Call::Landlock, SYS_CREATE_RULESET, ptr::null::<u8>(), 0, LANDLOCK_CREATE_RULESET_VERSION)?;
    Ok(version as u32)
}

/// All that a version can forbid with files.
pub fn all(version: u32) -> u64 {
    LATER.iter().filter(|(since, _)| *since <= version).fold(FIRST, |all, (_, right)| all | right)
}

/// The rules of a process, before they are in force.
#[derive(Debug)]
pub struct Rules(OwnedFd);

impl Rules {
    /// Nothing that the version knows is allowed.
    pub fn new(version: u32) -> Result<Rules> {
        let ruleset = Ruleset { files: all(version), network: 0, scopes: if version >= 6 { SCOPES } else { 0 } };
        // An older kernel takes a shorter structure.
        let size = if version >= 6 { size_of::<Ruleset>() } else { size_of::<u64>() };
        syscall!(Call::Landlock, SYS_CREATE_RULESET, &raw const ruleset, size, 0).map(|raw| Rules(fd::own(raw)))
    }

    /// Allows some of it below a path.
    pub fn allow(&self, path: &CStr, rights: u64) -> Result<()> {
        const LANDLOCK_RULE_PATH_BENEATH: u32 = 1;
        let opened = fd::open(path, fd::O_PATH, 0)?;
        let is_directory = fd::status(opened.as_fd())?.kind() == fd::Kind::Directory;
        let allowed = if is_directory { rights } else { rights & OF_FILES };
        let rule = PathBeneath { allowed, parent: opened.as_raw_fd() };
        let ruleset = self.0.as_raw_fd();
        syscall!(Call::Landlock, SYS_ADD_RULE, ruleset, LANDLOCK_RULE_PATH_BENEATH, &raw const rule, 0).map(drop)
    }

    /// From now on; without CAP_SYS_ADMIN it needs no_new_privs.
    pub fn enforce(self) -> Result<()> {
        syscall!(Call::Landlock, SYS_RESTRICT_SELF, self.0.as_raw_fd(), 0).map(drop)
    }
}
