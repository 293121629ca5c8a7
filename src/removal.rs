//! Removal of a directory in which a container or an image could do what it likes: whatever modes are there, and however deep.

use crate::error::found;
use crate::sys::{Call, Errno, Error, Result, fd};
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::time::{Duration, Instant};

/// Removes a directory and all below it, if it is there. Directories are moved up before they are emptied, so that no depth
/// takes more descriptors than another. `patience`: how long that may take where others may write.
pub fn remove_tree(parent: BorrowedFd, name: &CStr, patience: Option<Duration>) -> Result<()> {
    let Some(top) = regain(parent, name)? else { return Ok(()) };
    let (mut number, start) = (0u64, Instant::now());
    loop {
        if patience.is_some_and(|patience| start.elapsed() > patience) {
            // Somebody who is left there writes faster than this removes.
            return Err(Error::new(Call::Unlink, Errno::EBUSY));
        }
        let names = names(&top)?;
        if names.is_empty() {
            return found(fd::remove_dir_at(parent, name)).map(drop);
        }
        for name in names {
            if is_removed(top.as_fd(), &name)? {
                continue;
            }
            let Some(directory) = regain(top.as_fd(), &name)? else { continue };
            for below in self::names(&directory)? {
                if !is_removed(directory.as_fd(), &below)? {
                    move_up(&directory, &below, &top, &mut number)?;
                }
            }
            found(fd::remove_dir_at(top.as_fd(), &name))?;
        }
    }
}

/// Opens a directory, and gives it back to its owner; `None` if it is gone.
fn regain(parent: BorrowedFd, name: &CStr) -> Result<Option<OwnedFd>> {
    let Some(directory) = found(fd::open_at(parent, name, fd::O_PATH | fd::O_DIRECTORY | fd::O_NOFOLLOW, 0))? else {
        return Ok(None);
    };
    // By the name of its descriptor: what its own name means may change.
    let path = CString::new(path_of(&directory)).unwrap_or_default();
    fd::chmod_at(directory.as_fd(), &path, 0o700)?;
    Ok(Some(directory))
}

fn path_of(directory: &OwnedFd) -> String {
    format!("/proc/self/fd/{}", directory.as_raw_fd())
}

/// The names in a directory.
pub fn names(directory: &OwnedFd) -> Result<Vec<CString>> {
    let read = || -> std::io::Result<Vec<CString>> {
        let name = |entry: std::fs::DirEntry| CString::new(entry.file_name().into_vec()).unwrap_or_default();
        std::fs::read_dir(path_of(directory))?.map(|entry| entry.map(name)).collect()
    };
    read().map_err(|error| Error::new(Call::Getdents, error.raw_os_error().map_or(Errno::EIO, Errno::from_raw)))
}

/// Removes what is no directory, or an empty one.
fn is_removed(parent: BorrowedFd, name: &CStr) -> Result<bool> {
    match found(fd::unlink_at(parent, name)) {
        // Why it is not is for who opens it to find out.
        Err(Error { errno: Errno::EISDIR | Errno::EPERM, .. }) => Ok(fd::remove_dir_at(parent, name).is_ok()),
        other => other.map(|_| true),
    }
}

fn move_up(directory: &OwnedFd, name: &CStr, top: &OwnedFd, number: &mut u64) -> Result<()> {
    // Its `..` changes, and so it must be writable.
    regain(directory.as_fd(), name)?;
    loop {
        let free = CString::new(format!("~{number}")).unwrap_or_default();
        *number += 1;
        match found(fd::move_to(directory.as_fd(), name, top.as_fd(), &free)) {
            Err(Error { errno: Errno::EEXIST | Errno::ENOTEMPTY | Errno::ENOTDIR, .. }) => {}
            other => return other.map(drop),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    #[test]
    fn modes_links_and_depth_are_no_hindrance() {
        let temporary = tempfile::tempdir().unwrap();
        let kept = temporary.path().join("kept");
        fs::create_dir_all(kept.join("below")).unwrap();
        let mut path = temporary.path().join("tree");
        for _ in 0..30 {
            path.push("d");
        }
        fs::create_dir_all(&path).unwrap();
        fs::write(path.join("file"), "").unwrap();
        symlink(&kept, path.join("link")).unwrap();
        fs::create_dir_all(temporary.path().join("tree/~0/d")).unwrap();
        fs::set_permissions(path.parent().unwrap(), fs::Permissions::from_mode(0o000)).unwrap();
        let parent = OwnedFd::from(fs::File::open(temporary.path()).unwrap());
        remove_tree(parent.as_fd(), c"tree", None).unwrap();
        remove_tree(parent.as_fd(), c"tree", None).unwrap();
        assert!(!temporary.path().join("tree").exists() && kept.join("below").exists());
    }
}
