//! Paths inside a root: resolved by the kernel, made where they are missing, without allocating.

use super::fd::{
    Kind, O_CLOEXEC, O_DIRECTORY, O_NOCTTY, O_NOFOLLOW, O_NONBLOCK, O_PATH, O_RDONLY, PATH_MAX, PROC_MAGIC,
};
use super::fd::{borrow_cwd, file_system, make_dir_at, make_file_at, open_at, own, readlink_at, status};
use super::{Call, Errno, Error, Result, syscall};
use core::ffi::CStr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// openat2(2) with `RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS`: `path` cannot leave `root`, whatever the image's symlinks say.
pub fn open_in_root(root: BorrowedFd, path: &CStr, flags: i32) -> Result<OwnedFd> {
    openat2(root, path, flags, libc::RESOLVE_IN_ROOT | libc::RESOLVE_NO_MAGICLINKS)
}

/// As [`open_in_root`], but no symlink at all is followed.
pub fn open_in_root_no_symlinks(root: BorrowedFd, path: &CStr, flags: i32) -> Result<OwnedFd> {
    openat2(root, path, flags, libc::RESOLVE_IN_ROOT | libc::RESOLVE_NO_SYMLINKS)
}

/// As [`open_in_root`], but nothing that leads out of the directory is followed: EXDEV.
pub fn open_beneath(directory: BorrowedFd, path: &CStr, flags: i32) -> Result<OwnedFd> {
    openat2(directory, path, flags, libc::RESOLVE_BENEATH | libc::RESOLVE_NO_MAGICLINKS)
}

/// Opens a single part of a path.
pub fn open_no_links(directory: BorrowedFd, part: &CStr, flags: i32) -> Result<OwnedFd> {
    openat2(directory, part, flags, libc::RESOLVE_NO_MAGICLINKS)
}

/// Opens a program of the process's own root as `O_PATH`, by no magic link of procfs (CVE-2024-21626).
pub fn open_program(path: &CStr) -> Result<OwnedFd> {
    openat2(borrow_cwd(), path, O_PATH, libc::RESOLVE_NO_MAGICLINKS)
}

/// Opens a regular file for reading that somebody else has put there: a fifo is not waited for, and no device is opened.
pub fn open_file_in_root(root: BorrowedFd, path: &CStr) -> Result<OwnedFd> {
    check_is_file(&open_in_root(root, path, O_PATH)?)?;
    let file = open_in_root(root, path, O_RDONLY | O_NONBLOCK | O_NOCTTY)?;
    check_is_file(&file).map(|()| file)
}

/// Files of the kernel's are none: to read one may do something, such as to take the kernel's log away from others.
fn check_is_file(file: &OwnedFd) -> Result<()> {
    let is_kernels = || Ok(matches!(file_system(file.as_fd())?, PROC_MAGIC | libc::SYSFS_MAGIC));
    match status(file.as_fd())?.is_regular() && !is_kernels()? {
        true => Ok(()),
        false => Err(Error::new(Call::Open, Errno::EINVAL)),
    }
}

/// A file below a root, for who trusts its /proc: what was looked at is what is opened, and no device in between.
pub fn open_same_file_in_root(root: BorrowedFd, path: &CStr) -> Result<OwnedFd> {
    let found = open_in_root(root, path, O_PATH)?;
    check_is_file(&found)?;
    let descriptors = super::fd::open(c"/proc/self/fd", O_PATH, 0)?;
    super::fd::open_at(descriptors.as_fd(), super::fd::Name::of(&found).as_cstr(), O_RDONLY | O_NONBLOCK | O_NOCTTY, 0)
}

fn openat2(dir: BorrowedFd, path: &CStr, flags: i32, resolve: u64) -> Result<OwnedFd> {
    let how = [(flags | O_CLOEXEC) as u64, 0, resolve];
    loop {
        match syscall!(
            Call::Openat2,
            libc::SYS_openat2,
            dir.as_raw_fd(),
            path.as_ptr(),
            how.as_ptr(),
            size_of_val(&how)
        ) {
            // openat2(2): EAGAIN is a rename or mount that raced with `..`; try again.
            Err(Error { errno: Errno::EAGAIN, .. }) => continue,
            other => return Ok(own(other?)),
        }
    }
}

/// Opens `path` below `root` as `O_PATH`, making what is missing: directories on the way, and a directory or an empty
/// file at its end. Symlinks are followed inside `root` only, dangling ones too (an image's `/etc/resolv.conf` often is).
pub fn make_in_root(root: BorrowedFd, path: &CStr, kind: Kind) -> Result<OwnedFd> {
    match open_in_root(root, path, O_PATH) {
        Err(Error { errno: Errno::ENOENT, .. }) => match make_last(root, path, kind) {
            Err(Error { errno: Errno::ENOENT | Errno::EEXIST, .. }) => walk_and_make(root, path, kind),
            other => other,
        },
        other => other,
    }
}

/// The usual case: only the last part is missing.
fn make_last(root: BorrowedFd, path: &CStr, kind: Kind) -> Result<OwnedFd> {
    let (parent, name) = split(path)?;
    if matches!(name.to_bytes(), b"" | b"." | b"..") {
        return Err(Error::new(Call::Mkdir, Errno::EEXIST));
    }
    let parent = open_in_root(root, parent.as_cstr(), O_PATH | O_DIRECTORY)?;
    match kind {
        Kind::File => make_file_at(parent.as_fd(), name),
        _ => make_dir_at(parent.as_fd(), name, 0o755),
    }?;
    open_at(parent.as_fd(), name, O_PATH | O_NOFOLLOW, 0)
}

/// The directory part of a path, and the name in it.
pub fn split(path: &CStr) -> Result<(Path, &CStr)> {
    let bytes = path.to_bytes_with_nul();
    let cut = bytes.iter().rposition(|&byte| byte == b'/').map_or(0, |slash| slash + 1);
    let name = bytes.get(cut..).and_then(|name| CStr::from_bytes_with_nul(name).ok()).unwrap_or(c"");
    let parent = match bytes.get(..cut) {
        None | Some([]) => Path::new(b"."),
        Some(parent) => Path::new(parent),
    };
    Ok((parent.ok_or(Error::new(Call::Openat2, Errno::ENAMETOOLONG))?, name))
}

fn walk_and_make(root: BorrowedFd, path: &CStr, kind: Kind) -> Result<OwnedFd> {
    let too_long = Error::new(Call::Openat2, Errno::ENAMETOOLONG);
    let mut rest = Path::new(path.to_bytes()).ok_or(too_long)?;
    let mut done = Path::new(b".").ok_or(too_long)?;
    let mut at = openat2(root, c".", O_PATH, 0)?;
    let mut symlinks = 0;
    loop {
        let mut name = [0u8; 256];
        let last = match rest.take_component(&mut name)? {
            None => return Ok(at),
            Some(last) => last,
        };
        let name = CStr::from_bytes_until_nul(&name).map_err(|_| too_long)?;
        match name.to_bytes() {
            b"." => continue,
            b".." => {
                done.pop();
                at = open_in_root_no_symlinks(root, done.as_cstr(), O_PATH)?;
                continue;
            }
            _ => {}
        }
        let flags = O_PATH | O_NOFOLLOW;
        let next = match open_at(at.as_fd(), name, flags, 0) {
            Err(Error { errno: Errno::ENOENT, .. }) => {
                let made = if last && kind == Kind::File {
                    make_file_at(at.as_fd(), name)
                } else {
                    make_dir_at(at.as_fd(), name, 0o755)
                };
                match made {
                    Err(error) if error.errno != Errno::EEXIST => return Err(error),
                    _ => open_at(at.as_fd(), name, flags, 0)?,
                }
            }
            other => other?,
        };
        if status(next.as_fd())?.kind() == Kind::Symlink {
            symlinks += 1;
            // CVE-2024-21626: a link of procfs may lead to a descriptor of ours, and nothing can be made there anyway.
            if symlinks > 40 || file_system(next.as_fd())? == PROC_MAGIC {
                return Err(Error::new(Call::Openat2, Errno::ELOOP));
            }
            let mut target = [0u8; PATH_MAX];
            let length = readlink_at(at.as_fd(), name, &mut target)?;
            let target = target.get(..length).ok_or(too_long)?;
            if target.first() == Some(&b'/') {
                done = Path::new(b".").ok_or(too_long)?;
                at = openat2(root, c".", O_PATH, 0)?;
            }
            rest.prepend(target)?;
            continue;
        }
        done.push(name.to_bytes())?;
        at = next;
    }
}

/// A path in a fixed buffer, because its user may not allocate.
pub struct Path {
    bytes: [u8; PATH_MAX],
    length: usize,
}

impl PartialEq for Path {
    fn eq(&self, other: &Path) -> bool {
        self.as_cstr() == other.as_cstr()
    }
}

impl Path {
    fn new(bytes: &[u8]) -> Option<Path> {
        let mut path = Path { bytes: [0; PATH_MAX], length: bytes.len() };
        path.bytes.get_mut(..bytes.len())?.copy_from_slice(bytes);
        (bytes.len() < PATH_MAX).then_some(path)
    }

    /// The path.
    pub fn as_cstr(&self) -> &CStr {
        CStr::from_bytes_until_nul(&self.bytes).unwrap_or(c".")
    }

    fn push(&mut self, name: &[u8]) -> Result<()> {
        let end = self.length + 1 + name.len();
        let too_long = Error::new(Call::Openat2, Errno::ENAMETOOLONG);
        if end >= PATH_MAX {
            return Err(too_long);
        }
        if let Some(slot) = self.bytes.get_mut(self.length..end).and_then(<[u8]>::split_first_mut) {
            *slot.0 = b'/';
            slot.1.copy_from_slice(name);
        }
        self.length = end;
        Ok(())
    }

    fn pop(&mut self) {
        let kept = self.bytes.iter().take(self.length).rposition(|&byte| byte == b'/').unwrap_or(1);
        self.bytes.iter_mut().skip(kept).for_each(|byte| *byte = 0);
        self.length = kept;
    }

    /// Removes the first component into `name`; says whether it was the last one, or `None` if there was none.
    fn take_component(&mut self, name: &mut [u8; 256]) -> Result<Option<bool>> {
        let text = self.bytes.get(..self.length).unwrap_or_default();
        let Some(start) = text.iter().position(|&byte| byte != b'/') else { return Ok(None) };
        let end = text.iter().skip(start).position(|&byte| byte == b'/').map_or(self.length, |length| start + length);
        let component = text.get(start..end).unwrap_or_default();
        name.get_mut(..component.len())
            .filter(|_| component.len() < 256)
            .ok_or(Error::new(Call::Openat2, Errno::ENAMETOOLONG))?
            .copy_from_slice(component);
        let last = !text.iter().skip(end).any(|&byte| byte != b'/');
        self.bytes.copy_within(end..self.length, 0);
        self.length -= end;
        Ok(Some(last))
    }

    fn prepend(&mut self, target: &[u8]) -> Result<()> {
        let shift = target.len() + 1;
        if self.length + shift >= PATH_MAX {
            return Err(Error::new(Call::Openat2, Errno::ENAMETOOLONG));
        }
        self.bytes.copy_within(0..self.length, shift);
        if let Some((front, _)) = self.bytes.split_at_mut_checked(target.len()) {
            front.copy_from_slice(target);
        }
        if let Some(slash) = self.bytes.get_mut(target.len()) {
            *slash = b'/';
        }
        self.length += shift;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path as StdPath;

    fn open_dir(path: &StdPath) -> OwnedFd {
        OwnedFd::from(std::fs::File::open(path).unwrap())
    }

    #[test]
    fn missing_directories_are_made_inside_the_root_only() {
        let dir = tempfile::tempdir().unwrap();
        let outside = tempfile::tempdir().unwrap();
        let root = dir.path().join("root");
        std::fs::create_dir(&root).unwrap();
        std::os::unix::fs::symlink(outside.path(), root.join("escape")).unwrap();
        let fd = open_dir(&root);
        make_in_root(fd.as_fd(), c"/escape/made", Kind::Directory).unwrap();
        assert!(!outside.path().join("made").exists());
        assert!(root.join(outside.path().strip_prefix("/").unwrap()).join("made").is_dir());
    }

    #[test]
    fn dangling_symlinks_and_dots_end_in_the_root() {
        let dir = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("../../run/stub.conf", dir.path().join("resolv.conf")).unwrap();
        let fd = open_dir(dir.path());
        make_in_root(fd.as_fd(), c"/resolv.conf", Kind::File).unwrap();
        assert!(dir.path().join("run/stub.conf").is_file());
        make_in_root(fd.as_fd(), c"/../../a/./b/../c", Kind::Directory).unwrap();
        assert!(dir.path().join("a/c").is_dir());
    }

    #[test]
    fn a_loop_of_symlinks_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("b", dir.path().join("a")).unwrap();
        std::os::unix::fs::symlink("a", dir.path().join("b")).unwrap();
        let fd = open_dir(dir.path());
        assert_eq!(make_in_root(fd.as_fd(), c"/a", Kind::File).unwrap_err().errno, Errno::ELOOP);
    }
}
