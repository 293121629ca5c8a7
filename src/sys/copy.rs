//! Copies a directory tree between two descriptors, for `tmpcopyup`, without following a symlink and without allocating.

use super::fd::{self, Kind, O_CREAT, O_DIRECTORY, O_EXCL, O_NOFOLLOW, O_RDONLY, O_WRONLY};
use super::{Call, Errno, Error, Result, syscall};
use core::ffi::CStr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

/// Deeper trees are refused: each level takes a frame of the stack.
const DEEPEST: u32 = 64;

/// Copies what is in `from` into `to`: directories, regular files and symlinks with owner and mode; the rest is refused.
pub fn tree(from: BorrowedFd, to: BorrowedFd) -> Result<()> {
    directory(from, to, 0)
}

fn directory(from: BorrowedFd, to: BorrowedFd, depth: u32) -> Result<()> {
    if depth > DEEPEST {
        return Err(Error::new(Call::Getdents, Errno::ELOOP));
    }
    let mut buffer = [0u64; 256];
    loop {
        let length = syscall!(
            Call::Getdents,
            libc::SYS_getdents64,
            from.as_raw_fd(),
            buffer.as_mut_ptr(),
            size_of_val(&buffer)
        )?;
        if length == 0 {
            return Ok(());
        }
        // SAFETY: the kernel wrote `length` bytes of the buffer, and any u64 is eight valid bytes.
        let mut entries = unsafe { core::slice::from_raw_parts(buffer.as_ptr().cast::<u8>(), length as usize) };
        // struct linux_dirent64: ino, off (8 bytes each), reclen (2), type (1), name.
        while let Some(size) =
            entries.get(16..18).and_then(|bytes| bytes.first_chunk()).map(|bytes| u16::from_ne_bytes(*bytes))
        {
            let (entry, rest) = entries.split_at_checked(size.into()).ok_or(Error::new(Call::Getdents, Errno::EIO))?;
            entries = rest;
            let name = entry.get(19..).and_then(|name| CStr::from_bytes_until_nul(name).ok());
            if let Some(name) = name.filter(|name| !matches!(name.to_bytes(), b"." | b"..")) {
                object(from, to, name, depth)?;
            }
        }
    }
}

fn object(from: BorrowedFd, to: BorrowedFd, name: &CStr, depth: u32) -> Result<()> {
    let source = fd::open_at(from, name, fd::O_PATH | O_NOFOLLOW, 0)?;
    let status = fd::status(source.as_fd())?;
    let copy = match status.kind() {
        Kind::Directory => {
            fd::make_dir_at(to, name, 0o700)?;
            let flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW;
            let (below, copy) = (fd::open_at(from, name, flags, 0)?, fd::open_at(to, name, flags, 0)?);
            directory(below.as_fd(), copy.as_fd(), depth + 1)?;
            copy
        }
        Kind::Symlink => {
            let mut target = [0u8; fd::PATH_MAX];
            let length = fd::readlink_at(from, name, &mut target)?;
            if length == fd::PATH_MAX {
                return Err(Error::new(Call::Readlink, Errno::ENAMETOOLONG));
            }
            fd::symlink_at(CStr::from_bytes_until_nul(&target).unwrap_or(c"."), to, name)?;
            fd::open_at(to, name, fd::O_PATH | O_NOFOLLOW, 0)?
        }
        Kind::File if status.is_regular() => {
            let source = fd::open_at(from, name, O_RDONLY | O_NOFOLLOW | fd::O_NONBLOCK, 0)?;
            let copy = fd::open_at(to, name, O_WRONLY | O_CREAT | O_EXCL, 0o600)?;
            with_holes(source.as_fd(), copy.as_fd())?;
            copy
        }
        Kind::File => return Err(Error::new(Call::Open, Errno::ENOTSUP)),
    };
    match fd::chown_at(copy.as_fd(), c"", status.uid, status.gid) {
        // An owner that the user namespace does not map cannot be given.
        Err(Error { errno: Errno::EINVAL | Errno::EPERM, .. }) => {}
        other => other?,
    }
    match status.kind() {
        Kind::Symlink => Ok(()),
        _ => fd::chmod(copy.as_fd(), status.mode & 0o7777),
    }
}

/// Copies a file as sparse as it is: what it only says that it has must not fill a memory.
fn with_holes(from: BorrowedFd, to: BorrowedFd) -> Result<()> {
    let seek = |file: BorrowedFd, offset: i64, whence: i32| {
        // SAFETY: lseek takes numbers.
        super::check(Call::Read, unsafe { libc::lseek(file.as_raw_fd(), offset, whence) })
    };
    let size = seek(from, 0, libc::SEEK_END)?;
    let mut at = 0;
    while at < size {
        // lseek(2): ENXIO is a hole to the end.
        let data = match seek(from, at, libc::SEEK_DATA) {
            Err(Error { errno: Errno::ENXIO, .. }) => break,
            other => other?,
        };
        at = seek(from, data, libc::SEEK_HOLE)?;
        seek(from, data, libc::SEEK_SET)?;
        seek(to, data, libc::SEEK_SET)?;
        let mut left = at - data;
        while left > 0 {
            let count = syscall!(Call::Write, libc::SYS_sendfile, to.as_raw_fd(), from.as_raw_fd(), 0, left)?;
            // It has become shorter meanwhile.
            if count == 0 {
                return Ok(());
            }
            left -= count;
        }
    }
    syscall!(Call::Write, libc::SYS_ftruncate, to.as_raw_fd(), size).map(drop)
}

/// Copies the rest of a file.
pub fn contents(from: BorrowedFd, to: BorrowedFd) -> Result<()> {
    const AT_ONCE: usize = 1 << 30;
    while syscall!(Call::Write, libc::SYS_sendfile, to.as_raw_fd(), from.as_raw_fd(), 0, AT_ONCE)? > 0 {}
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::fd::AsFd;
    use std::os::unix::fs::{PermissionsExt, symlink};

    #[test]
    fn a_tree_is_copied_without_following_symlinks() {
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::create_dir_all(from.path().join("a/b")).unwrap();
        fs::write(from.path().join("a/b/file"), vec![7u8; 100_000]).unwrap();
        let sparse = fs::File::create(from.path().join("sparse")).unwrap();
        std::os::unix::fs::FileExt::write_at(&sparse, b"x", 64 << 20).unwrap();
        sparse.set_len(128 << 20).unwrap();
        fs::set_permissions(from.path().join("a/b/file"), fs::Permissions::from_mode(0o4755)).unwrap();
        symlink("/etc", from.path().join("a/link")).unwrap();
        for number in 0..200 {
            fs::write(from.path().join(format!("file-with-a-long-name-{number}")), b"x").unwrap();
        }
        let open = |path: &std::path::Path| fs::File::open(path).unwrap();
        super::tree(open(from.path()).as_fd(), open(to.path()).as_fd()).unwrap();
        assert_eq!(fs::read(to.path().join("a/b/file")).unwrap(), vec![7u8; 100_000]);
        assert_eq!(fs::metadata(to.path().join("a/b/file")).unwrap().permissions().mode() & 0o7777, 0o4755);
        assert_eq!(fs::read_link(to.path().join("a/link")).unwrap().to_str(), Some("/etc"));
        assert_eq!(fs::read_dir(to.path()).unwrap().count(), 202);
        let sparse = fs::metadata(to.path().join("sparse")).unwrap();
        assert!(sparse.len() == 128 << 20 && std::os::unix::fs::MetadataExt::blocks(&sparse) < 1000);
        assert_eq!(fs::read(to.path().join("sparse")).unwrap()[64 << 20], b'x');
    }
}
