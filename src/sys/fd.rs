//! File descriptors: opening (also inside a root), creating, reading, writing.

use super::{Call, Errno, Error, Result, check, syscall};
use core::ffi::CStr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

pub use libc::{O_CLOEXEC, O_CREAT, O_DIRECTORY, O_EXCL, O_NOFOLLOW, O_PATH, O_RDONLY, O_RDWR, O_TRUNC, O_WRONLY};

/// Longest path, with its NUL.
pub const PATH_MAX: usize = 4096;

/// What an object in a file system is, from `st_mode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A regular file, device, socket or fifo.
    File,
}

/// The parts of `struct stat` that rootlet looks at.
#[derive(Clone, Copy, Debug)]
pub struct Status {
    /// Type and permissions.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Owning group.
    pub gid: u32,
    /// Device number of a device node.
    pub rdev: u64,
}

impl Status {
    /// Directory, symlink or something else.
    pub fn kind(&self) -> Kind {
        match self.mode & libc::S_IFMT {
            libc::S_IFDIR => Kind::Directory,
            libc::S_IFLNK => Kind::Symlink,
            _ => Kind::File,
        }
    }

    /// True for the character device `major:minor`.
    pub fn is_char_device(&self, major: u32, minor: u32) -> bool {
        self.mode & libc::S_IFMT == libc::S_IFCHR && self.rdev == libc::makedev(major, minor)
    }

    /// True for a regular file.
    pub fn is_regular(&self) -> bool {
        self.mode & libc::S_IFMT == libc::S_IFREG
    }
}

/// Takes a descriptor that a system call has just returned.
pub(super) fn own(raw: i64) -> OwnedFd {
    // SAFETY: the caller got `raw` from a successful system call and gives it to nobody else.
    unsafe { OwnedFd::from_raw_fd(raw as RawFd) }
}

/// Lends a descriptor by its number.
pub fn borrow<'a>(raw: RawFd) -> BorrowedFd<'a> {
    // SAFETY: a number that is not open makes the calls it is given to fail with EBADF; no memory depends on it.
    unsafe { BorrowedFd::borrow_raw(raw) }
}

/// Takes over a descriptor that was inherited from another process.
pub fn adopt(raw: RawFd) -> Result<OwnedFd> {
    // SAFETY: F_GETFD takes no pointer.
    check(Call::Fcntl, unsafe { libc::fcntl(raw, libc::F_GETFD) })?;
    Ok(own(raw.into()))
}

/// True if `raw` is an open descriptor.
pub fn is_open(raw: RawFd) -> bool {
    // SAFETY: F_GETFD takes no pointer.
    unsafe { libc::fcntl(raw, libc::F_GETFD) != -1 }
}

/// openat(2) from the current directory, close-on-exec.
pub fn open(path: &CStr, flags: i32, mode: u32) -> Result<OwnedFd> {
    open_at(borrow_cwd(), path, flags, mode)
}

/// openat(2), close-on-exec.
pub fn open_at(dir: BorrowedFd, path: &CStr, flags: i32, mode: u32) -> Result<OwnedFd> {
    let ret = syscall!(Call::Open, libc::SYS_openat, dir.as_raw_fd(), path.as_ptr(), flags | O_CLOEXEC, mode)?;
    Ok(own(ret))
}

fn borrow_cwd<'a>() -> BorrowedFd<'a> {
    // SAFETY: AT_FDCWD is the kernel's name for the current directory and is never closed.
    unsafe { BorrowedFd::borrow_raw(libc::AT_FDCWD) }
}

/// openat2(2) with `RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS`: `path` cannot leave `root`, whatever the image's symlinks say.
pub fn open_in_root(root: BorrowedFd, path: &CStr, flags: i32) -> Result<OwnedFd> {
    openat2(root, path, flags, libc::RESOLVE_IN_ROOT | libc::RESOLVE_NO_MAGICLINKS)
}

/// As [`open_in_root`], but no symlink at all is followed.
pub fn open_in_root_no_symlinks(root: BorrowedFd, path: &CStr, flags: i32) -> Result<OwnedFd> {
    openat2(root, path, flags, libc::RESOLVE_IN_ROOT | libc::RESOLVE_NO_SYMLINKS)
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
        if let Some(place) = self.bytes.get_mut(self.length..end).and_then(<[u8]>::split_first_mut) {
            *place.0 = b'/';
            place.1.copy_from_slice(name);
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

/// fstat(2), also on `O_PATH` descriptors.
pub fn status(fd: BorrowedFd) -> Result<Status> {
    // SAFETY: an all-zero stat is a valid value; fstat fills it.
    let mut stat: libc::stat = unsafe { core::mem::zeroed() };
    // SAFETY: `stat` is a stat that fstat may write to.
    check(Call::Fstat, unsafe { libc::fstat(fd.as_raw_fd(), &mut stat) })?;
    Ok(Status { mode: stat.st_mode, uid: stat.st_uid, gid: stat.st_gid, rdev: stat.st_rdev })
}

/// The magic number of the file system that `fd` is on (statfs(2), `f_type`).
pub fn file_system(fd: BorrowedFd) -> Result<i64> {
    // SAFETY: an all-zero statfs is a valid value; fstatfs fills it.
    let mut statfs: libc::statfs = unsafe { core::mem::zeroed() };
    // SAFETY: `statfs` is a statfs that fstatfs may write to.
    check(Call::Fstatfs, unsafe { libc::fstatfs(fd.as_raw_fd(), &mut statfs) })?;
    #[allow(clippy::unnecessary_cast)] // the type differs between architectures and C libraries
    Ok(statfs.f_type as i64)
}

/// `f_type` of procfs.
pub const PROC_MAGIC: i64 = 0x9fa0;
/// `f_type` of devpts.
pub const DEVPTS_MAGIC: i64 = 0x1cd1;
/// `f_type` of cgroup v2.
pub const CGROUP2_MAGIC: i64 = 0x6367_7270;

/// fchdir(2).
pub fn chdir(fd: BorrowedFd) -> Result<()> {
    syscall!(Call::Chdir, libc::SYS_fchdir, fd.as_raw_fd()).map(drop)
}

/// readlinkat(2): the length of the target in `buffer`.
pub fn readlink_at(dir: BorrowedFd, name: &CStr, buffer: &mut [u8]) -> Result<usize> {
    let length = syscall!(
        Call::Readlink,
        libc::SYS_readlinkat,
        dir.as_raw_fd(),
        name.as_ptr(),
        buffer.as_mut_ptr(),
        buffer.len()
    )?;
    Ok(length as usize)
}

/// mkdirat(2).
pub fn make_dir_at(dir: BorrowedFd, name: &CStr, mode: u32) -> Result<()> {
    syscall!(Call::Mkdir, libc::SYS_mkdirat, dir.as_raw_fd(), name.as_ptr(), mode).map(drop)
}

/// Makes an empty file, as a place to mount on.
pub fn make_file_at(dir: BorrowedFd, name: &CStr) -> Result<()> {
    make_node_at(dir, name, libc::S_IFREG | 0o644, 0, 0)
}

/// mknodat(2).
pub fn make_node_at(dir: BorrowedFd, name: &CStr, mode: u32, major: u32, minor: u32) -> Result<()> {
    syscall!(Call::Mknod, libc::SYS_mknodat, dir.as_raw_fd(), name.as_ptr(), mode, libc::makedev(major, minor))
        .map(drop)
}

/// symlinkat(2).
pub fn symlink_at(target: &CStr, dir: BorrowedFd, name: &CStr) -> Result<()> {
    syscall!(Call::Symlink, libc::SYS_symlinkat, target.as_ptr(), dir.as_raw_fd(), name.as_ptr()).map(drop)
}

/// unlinkat(2).
pub fn unlink_at(dir: BorrowedFd, name: &CStr) -> Result<()> {
    syscall!(Call::Unlink, libc::SYS_unlinkat, dir.as_raw_fd(), name.as_ptr(), 0).map(drop)
}

/// fchownat(2) of the object itself, never of what it points to.
pub fn chown_at(dir: BorrowedFd, name: &CStr, uid: u32, gid: u32) -> Result<()> {
    let flags = libc::AT_SYMLINK_NOFOLLOW | libc::AT_EMPTY_PATH;
    syscall!(Call::Chown, libc::SYS_fchownat, dir.as_raw_fd(), name.as_ptr(), uid, gid, flags).map(drop)
}

/// fchmodat(2); `name` must not be a symlink.
pub fn chmod_at(dir: BorrowedFd, name: &CStr, mode: u32) -> Result<()> {
    syscall!(Call::Chmod, libc::SYS_fchmodat, dir.as_raw_fd(), name.as_ptr(), mode).map(drop)
}

/// True if the effective user may execute `fd`, a regular file (faccessat2(2), Linux 5.8).
pub fn check_executable(fd: BorrowedFd) -> Result<()> {
    let flags = libc::AT_EACCESS | libc::AT_EMPTY_PATH;
    syscall!(Call::Lookup, libc::SYS_faccessat2, fd.as_raw_fd(), c"".as_ptr(), libc::X_OK, flags).map(drop)
}

/// Writes all of `bytes` to the file `path`, in one write(2) as /proc wants it.
pub fn write_file(dir: BorrowedFd, path: &CStr, bytes: &[u8]) -> Result<()> {
    let file = open_at(dir, path, O_WRONLY, 0)?;
    write(file.as_fd(), bytes).map(drop)
}

/// write(2).
pub fn write(fd: BorrowedFd, bytes: &[u8]) -> Result<usize> {
    syscall!(Call::Write, libc::SYS_write, fd.as_raw_fd(), bytes.as_ptr(), bytes.len()).map(|length| length as usize)
}

/// write(2) until all is written.
pub fn write_all(fd: BorrowedFd, mut bytes: &[u8]) -> Result<()> {
    while !bytes.is_empty() {
        match write(fd, bytes) {
            Err(Error { errno: Errno::EINTR, .. }) => {}
            other => bytes = bytes.get(other?..).unwrap_or_default(),
        }
    }
    Ok(())
}

/// read(2).
pub fn read(fd: BorrowedFd, buffer: &mut [u8]) -> Result<usize> {
    syscall!(Call::Read, libc::SYS_read, fd.as_raw_fd(), buffer.as_mut_ptr(), buffer.len())
        .map(|length| length as usize)
}

/// dup3(2) without close-on-exec: `fd` becomes `number`, and is inherited.
pub fn dup_to(fd: BorrowedFd, number: RawFd) -> Result<()> {
    if fd.as_raw_fd() == number {
        // SAFETY: F_SETFD takes no pointer.
        return check(Call::Dup, unsafe { libc::fcntl(number, libc::F_SETFD, 0) }).map(drop);
    }
    syscall!(Call::Dup, libc::SYS_dup3, fd.as_raw_fd(), number, 0).map(drop)
}

/// Marks every descriptor from `first` on close-on-exec (close_range(2), Linux 5.11).
pub fn close_on_exec_from(first: u32) -> Result<()> {
    const CLOSE_RANGE_CLOEXEC: u32 = 4;
    syscall!(Call::CloseRange, libc::SYS_close_range, first, u32::MAX, CLOSE_RANGE_CLOEXEC).map(drop)
}

/// memfd_create(2), close-on-exec, executable and sealable.
pub fn memory_file(name: &CStr) -> Result<OwnedFd> {
    // Linux 6.3 warns without MFD_EXEC; older kernels refuse the flag.
    const MFD_EXEC: u32 = 0x10;
    let flags = libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING;
    match syscall!(Call::MemfdCreate, libc::SYS_memfd_create, name.as_ptr(), flags | MFD_EXEC) {
        Err(Error { errno: Errno::EINVAL, .. }) => {
            syscall!(Call::MemfdCreate, libc::SYS_memfd_create, name.as_ptr(), flags).map(own)
        }
        other => other.map(own),
    }
}

/// Forbids every later change of a memory file.
pub fn seal(fd: BorrowedFd) -> Result<()> {
    let seals = libc::F_SEAL_SEAL | libc::F_SEAL_SHRINK | libc::F_SEAL_GROW | libc::F_SEAL_WRITE;
    // SAFETY: F_ADD_SEALS takes no pointer.
    check(Call::Fcntl, unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_ADD_SEALS, seals) }).map(drop)
}

/// True if nobody can write to the file any more.
pub fn is_sealed(fd: BorrowedFd) -> bool {
    // SAFETY: F_GET_SEALS takes no pointer.
    let seals = unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GET_SEALS) };
    seals != -1 && seals & libc::F_SEAL_WRITE != 0
}

/// Sets the position to the start.
pub fn rewind(fd: BorrowedFd) -> Result<()> {
    syscall!(Call::Read, libc::SYS_lseek, fd.as_raw_fd(), 0, libc::SEEK_SET).map(drop)
}

/// flock(2) for writing, without waiting. `Ok(false)`: somebody else has it.
pub fn try_lock(fd: BorrowedFd) -> Result<bool> {
    match syscall!(Call::Flock, libc::SYS_flock, fd.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) {
        Err(Error { errno: Errno::EWOULDBLOCK, .. }) => Ok(false),
        other => other.map(|_| true),
    }
}

/// flock(2) for writing.
pub fn lock(fd: BorrowedFd) -> Result<()> {
    loop {
        match syscall!(Call::Flock, libc::SYS_flock, fd.as_raw_fd(), libc::LOCK_EX) {
            Err(Error { errno: Errno::EINTR, .. }) => continue,
            other => return other.map(drop),
        }
    }
}

/// The number of a descriptor as text, for the names in /proc/self/fd.
pub struct Name([u8; 12]);

impl Name {
    /// The number of `fd`.
    pub fn of(fd: &OwnedFd) -> Name {
        Name::of_number(fd.as_raw_fd())
    }

    /// That number.
    pub fn of_number(number: RawFd) -> Name {
        let mut text = [0u8; 12];
        let mut digits = [0u8; 11];
        let mut number = number.unsigned_abs();
        let mut count = 0;
        for digit in digits.iter_mut() {
            *digit = b'0' + (number % 10) as u8;
            number /= 10;
            count += 1;
            if number == 0 {
                break;
            }
        }
        for (place, digit) in text.iter_mut().zip(digits.iter().take(count).rev()) {
            *place = *digit;
        }
        Name(text)
    }

    /// As a path, to be used where the current directory is /proc/self/fd.
    pub fn as_cstr(&self) -> &CStr {
        CStr::from_bytes_until_nul(&self.0).unwrap_or(c"0")
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
    fn a_number_is_written_as_decimal() {
        for (number, text) in [(0, c"0"), (7, c"7"), (10, c"10"), (2147483647, c"2147483647")] {
            assert_eq!(Name::of_number(number).as_cstr(), text);
        }
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
