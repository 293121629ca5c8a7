//! Who has a cgroup: a lock on it, its inode, and a mark that it is a container's.

use super::PATIENCE;
use crate::error::{Error, Result, found};
use crate::sys::{self, Errno, attribute, fd};
use std::ffi::{CStr, CString};
use std::fs;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::{Duration, Instant};

/// A cgroup, and a lock on it. Whoever may read it may lock its directory, so that the lock is on a file that only its owner opens.
#[derive(Debug)]
pub struct Hold {
    directory: OwnedFd,
    /// `cgroup.kill`, from Linux 5.14 on.
    file: Option<OwnedFd>,
}

impl Hold {
    fn locked(&self) -> BorrowedFd<'_> {
        self.file.as_ref().unwrap_or(&self.directory).as_fd()
    }

    /// The directory's inode.
    pub fn inode(&self) -> Result<u64> {
        fd::status(self.directory.as_fd()).map(|status| status.inode).map_err(|error| Error::from_call("cgroup", error))
    }

    /// The directory.
    pub fn directory(&self) -> BorrowedFd<'_> {
        self.directory.as_fd()
    }

    /// Gives the lock back, for all who have a copy of it.
    pub fn let_go(&self) -> Result<()> {
        fd::unlock(self.locked()).map_err(|error| Error::from_call("the container's cgroup", error))
    }
}

/// Locks a cgroup; `None` if somebody else has, or if it was removed meanwhile.
pub fn take(path: &Path) -> Result<Option<Hold>> {
    let system = |error| Error::from_call(path.display(), error);
    let name = CString::new(path.as_os_str().as_bytes()).unwrap_or_default();
    let opened = open_own(fd::borrow_cwd(), &name).map_err(system)?;
    let Some(directory) = opened else { return Ok(None) };
    let file = match fd::open_at(directory.as_fd(), c"cgroup.kill", fd::O_WRONLY, 0) {
        Err(error) if matches!(error.errno, Errno::ENOENT | Errno::ENODEV | Errno::EACCES | Errno::EPERM) => None,
        other => Some(other.map_err(system)?),
    };
    let hold = Hold { directory, file };
    let is_taken = fd::try_lock(hold.locked()).map_err(system)?;
    let is_there = inode(path)? == Some(hold.inode()?);
    Ok((is_taken && is_there).then_some(hold))
}

/// Keeps others from removing a cgroup and making another at its place, as long as the handle lives; `None` if that has
/// happened: it is no longer the one with this inode.
pub fn hold(path: &Path, inode: u64) -> Result<Option<Hold>> {
    let start = Instant::now();
    while self::inode(path)? == Some(inode) {
        if let Some(handle) = take(path)? {
            return Ok((handle.inode()? == inode).then_some(handle));
        }
        if start.elapsed() > PATIENCE {
            return Err(Error::new(format!("cgroup {} is locked", path.display()))
                .because("another rootlet looks at it, or makes a container there")
                .remedy("try again"));
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(None)
}

/// What tells a container's cgroup from one that somebody has made ready.
const MARK: &CStr = c"user.rootlet";

/// Says in the cgroup itself that a container has it.
pub fn mark(cgroup: &Hold) -> Result<()> {
    match attribute::set(cgroup.directory(), MARK, b"1") {
        // Linux before 5.7.
        Err(error) if error.errno == Errno::EOPNOTSUPP => Ok(()),
        other => other.map_err(|error| Error::from_call("cgroup", error)),
    }
}

/// True if a container has it, or had it; where that cannot be seen, too.
pub fn is_marked(cgroup: &Hold) -> Result<bool> {
    match attribute::has(cgroup.directory(), MARK) {
        Err(error) if error.errno == Errno::EOPNOTSUPP => Ok(true),
        other => other.map_err(|error| Error::from_call("cgroup", error)),
    }
}

/// The inode of a cgroup's directory; `None` if there is none.
pub fn inode(path: &Path) -> Result<Option<u64>> {
    use std::os::unix::fs::MetadataExt;
    let metadata = found(fs::metadata(path))
        .map_err(|error| Error::from_io(format!("cgroup {}: stat", path.display()), &error))?;
    Ok(metadata.map(|metadata| metadata.ino()))
}

/// Opens a directory of a cgroup; `None` if it is gone.
pub fn open_own(directory: BorrowedFd, name: &CStr) -> sys::Result<Option<OwnedFd>> {
    let open = || fd::open_at(directory, name, fd::O_RDONLY | fd::O_DIRECTORY, 0);
    let opened = match open() {
        Err(error) if error.errno == Errno::EACCES => fd::chmod_at(directory, name, 0o755).and_then(|()| open()),
        other => other,
    };
    found(opened)
}
