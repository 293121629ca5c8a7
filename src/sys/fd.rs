//! File descriptors: opening (also inside a root), creating, reading, writing.

use super::{Call, Errno, Error, Result, check, syscall};
use core::ffi::CStr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

pub use libc::{
    O_CLOEXEC, O_CREAT, O_DIRECTORY, O_EXCL, O_NOCTTY, O_NOFOLLOW, O_NONBLOCK, O_PATH, O_RDONLY, O_RDWR, O_TMPFILE,
    O_TRUNC, O_WRONLY, S_IFIFO,
};

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
    /// Number of its file system.
    pub device: u64,
    /// Number in its file system.
    pub inode: u64,
    /// How many names it has.
    pub links: u64,
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
        self.is_device(libc::S_IFCHR, major, minor)
    }

    /// True for a device of that type (S_IFCHR or S_IFBLK) and number.
    pub fn is_device(&self, kind: u32, major: u32, minor: u32) -> bool {
        self.mode & libc::S_IFMT == kind && self.rdev == libc::makedev(major, minor)
    }

    /// True for a device node, whichever.
    pub fn is_any_device(&self) -> bool {
        matches!(self.mode & libc::S_IFMT, libc::S_IFCHR | libc::S_IFBLK)
    }

    /// True for a regular file.
    pub fn is_regular(&self) -> bool {
        self.mode & libc::S_IFMT == libc::S_IFREG
    }
}

/// A device's number, as `st_rdev` has it.
pub fn device_number(major: u32, minor: u32) -> u64 {
    libc::makedev(major, minor)
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
    fcntl(raw, libc::F_GETFD, 0)?;
    Ok(own(raw.into()))
}

/// True if `raw` is an open descriptor.
pub fn is_open(raw: RawFd) -> bool {
    fcntl(raw, libc::F_GETFD, 0).is_ok()
}

/// fcntl(2) with a number.
fn fcntl(fd: RawFd, operation: i32, argument: i32) -> Result<i32> {
    syscall!(Call::Fcntl, libc::SYS_fcntl, fd, operation, argument).map(|result| result as i32)
}

/// ppoll(2) for so many milliseconds (-1: without end); how many of them are ready.
pub(super) fn poll(polls: &mut [libc::pollfd], milliseconds: i32) -> Result<i64> {
    let time =
        libc::timespec { tv_sec: (milliseconds / 1000).into(), tv_nsec: (milliseconds % 1000 * 1_000_000).into() };
    let limit = if milliseconds < 0 { core::ptr::null() } else { &raw const time };
    let nothing = core::ptr::null::<u8>();
    syscall!(Call::Poll, libc::SYS_ppoll, polls.as_mut_ptr(), polls.len(), limit, nothing, size_of::<u64>())
}

/// Closes a descriptor by its number, whose owner is another process's.
pub fn close(raw: RawFd) {
    let _ = syscall!(Call::CloseRange, libc::SYS_close, raw);
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

/// The current directory.
pub fn borrow_cwd<'a>() -> BorrowedFd<'a> {
    // SAFETY: AT_FDCWD is the kernel's name for the current directory and is never closed.
    unsafe { BorrowedFd::borrow_raw(libc::AT_FDCWD) }
}

/// fstat(2), also on `O_PATH` descriptors.
pub fn status(fd: BorrowedFd) -> Result<Status> {
    // SAFETY: an all-zero stat is a valid value; fstat fills it.
    let mut stat: libc::stat = unsafe { core::mem::zeroed() };
    syscall!(Call::Fstat, libc::SYS_fstat, fd.as_raw_fd(), &raw mut stat)?;
    Ok(Status {
        mode: stat.st_mode,
        uid: stat.st_uid,
        gid: stat.st_gid,
        rdev: stat.st_rdev,
        device: stat.st_dev,
        inode: stat.st_ino,
        links: stat.st_nlink as u64,
    })
}

/// The number of the mount that `fd` is on (statx(2), STATX_MNT_ID, Linux 5.8; 0 before).
pub fn mount_number(fd: BorrowedFd) -> Result<u64> {
    // SAFETY: an all-zero statx is a valid value; statx fills it.
    let mut found: libc::statx = unsafe { core::mem::zeroed() };
    let flags = libc::AT_EMPTY_PATH;
    syscall!(Call::Stat, libc::SYS_statx, fd.as_raw_fd(), c"".as_ptr(), flags, libc::STATX_MNT_ID, &raw mut found)?;
    Ok(found.stx_mnt_id)
}

/// Bytes of a [`handle`]: those of ext4, XFS, btrfs and tmpfs are shorter.
pub const HANDLE: usize = 64;

/// What a later file with the same inode number has otherwise (name_to_handle_at(2): the inode's generation is in it); zero where the file
/// system has no handles.
pub fn handle(fd: BorrowedFd) -> [u8; HANDLE] {
    /// struct file_handle of linux/fs.h.
    #[repr(C)]
    struct FileHandle {
        length: u32,
        kind: i32,
        bytes: [u8; HANDLE],
    }
    let mut handle = FileHandle { length: HANDLE as u32, kind: 0, bytes: [0; HANDLE] };
    let mut mount = 0i32;
    let flags = libc::AT_EMPTY_PATH;
    let (path, number) = (c"".as_ptr(), libc::SYS_name_to_handle_at);
    match syscall!(Call::Stat, number, fd.as_raw_fd(), path, &raw mut handle, &raw mut mount, flags) {
        Ok(_) => handle.bytes,
        Err(_) => [0; HANDLE],
    }
}

/// The magic number of the file system that `fd` is on (statfs(2), `f_type`).
pub fn file_system(fd: BorrowedFd) -> Result<i64> {
    // SAFETY: an all-zero statfs is a valid value; fstatfs fills it.
    let mut statfs: libc::statfs = unsafe { core::mem::zeroed() };
    syscall!(Call::Fstatfs, libc::SYS_fstatfs, fd.as_raw_fd(), &raw mut statfs)?;
    #[allow(clippy::unnecessary_cast)] // the type differs between architectures and C libraries
    Ok(statfs.f_type as i64)
}

/// The same of what is at a path.
pub fn file_system_at(path: &CStr) -> Result<i64> {
    // SAFETY: an all-zero statfs is a valid value; statfs fills it.
    let mut statfs: libc::statfs = unsafe { core::mem::zeroed() };
    syscall!(Call::Fstatfs, libc::SYS_statfs, path.as_ptr(), &raw mut statfs)?;
    #[allow(clippy::unnecessary_cast)] // the type differs between architectures and C libraries
    Ok(statfs.f_type as i64)
}

/// realpath(3) without its allocation: the C library's own allocator is as good as unused, and its first call costs five of the kernel's.
pub fn real_path<'a>(path: &CStr, buffer: &'a mut [u8; PATH_MAX]) -> Result<&'a CStr> {
    // SAFETY: `path` ends with a NUL, and realpath writes PATH_MAX bytes at most.
    let found = unsafe { libc::realpath(path.as_ptr(), buffer.as_mut_ptr().cast()) };
    if found.is_null() {
        return Err(Error::last(Call::Readlink));
    }
    CStr::from_bytes_until_nul(buffer).map_err(|_| Error::new(Call::Readlink, Errno::ENAMETOOLONG))
}

/// `f_type` of procfs.
pub const PROC_MAGIC: i64 = 0x9fa0;
/// `f_type` of devpts.
pub const DEVPTS_MAGIC: i64 = 0x1cd1;
/// `f_type` of pidfds (Linux 6.9).
pub const PIDFS_MAGIC: i64 = 0x5049_4446;
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

/// Makes an empty file, as a mount point.
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

/// linkat(2): another name for a file, and for a symlink itself.
pub fn link_at(dir: BorrowedFd, from: &CStr, to_dir: BorrowedFd, to: &CStr) -> Result<()> {
    let (dir, to_dir) = (dir.as_raw_fd(), to_dir.as_raw_fd());
    syscall!(Call::Link, libc::SYS_linkat, dir, from.as_ptr(), to_dir, to.as_ptr(), 0).map(drop)
}

/// utimensat(2): when the object itself was modified, in seconds and nanoseconds since 1970; an empty name is `dir`'s.
pub fn set_modified_at(dir: BorrowedFd, name: &CStr, (seconds, nanoseconds): (i64, u32)) -> Result<()> {
    // SAFETY: an all-zero timespec is a valid value.
    let mut times: [libc::timespec; 2] = unsafe { core::mem::zeroed() };
    for time in &mut times {
        (time.tv_sec, time.tv_nsec) = (seconds as _, nanoseconds as _);
    }
    let flags = libc::AT_SYMLINK_NOFOLLOW | if name.is_empty() { libc::AT_EMPTY_PATH } else { 0 };
    syscall!(Call::Utimens, libc::SYS_utimensat, dir.as_raw_fd(), name.as_ptr(), times.as_ptr(), flags).map(drop)
}

/// unlinkat(2).
pub fn unlink_at(dir: BorrowedFd, name: &CStr) -> Result<()> {
    syscall!(Call::Unlink, libc::SYS_unlinkat, dir.as_raw_fd(), name.as_ptr(), 0).map(drop)
}

/// unlinkat(2) of an empty directory.
pub fn remove_dir_at(dir: BorrowedFd, name: &CStr) -> Result<()> {
    syscall!(Call::Unlink, libc::SYS_unlinkat, dir.as_raw_fd(), name.as_ptr(), libc::AT_REMOVEDIR).map(drop)
}

/// fchownat(2) of the object itself, never of what it points to.
pub fn chown_at(dir: BorrowedFd, name: &CStr, uid: u32, gid: u32) -> Result<()> {
    let flags = libc::AT_SYMLINK_NOFOLLOW | libc::AT_EMPTY_PATH;
    syscall!(Call::Chown, libc::SYS_fchownat, dir.as_raw_fd(), name.as_ptr(), uid, gid, flags).map(drop)
}

/// fchmod(2) of an opened file.
pub fn chmod(file: BorrowedFd, mode: u32) -> Result<()> {
    syscall!(Call::Chmod, libc::SYS_fchmod, file.as_raw_fd(), mode).map(drop)
}

/// fchmodat(2), through a symlink if there is one.
pub fn chmod_at(dir: BorrowedFd, name: &CStr, mode: u32) -> Result<()> {
    syscall!(Call::Chmod, libc::SYS_fchmodat, dir.as_raw_fd(), name.as_ptr(), mode).map(drop)
}

/// Changes the mode of what an `O_PATH` descriptor stands for, where the current directory is /proc/self/fd. (fchmod(2)
/// takes no such descriptor, and fchmodat2(2) came with Linux 6.6.)
pub fn chmod_path(fd: &OwnedFd, mode: u32) -> Result<()> {
    let name = Name::of(fd);
    syscall!(Call::Chmod, libc::SYS_fchmodat, libc::AT_FDCWD, name.as_cstr().as_ptr(), mode).map(drop)
}

/// True if the effective user may execute `fd`, a regular file (faccessat2(2), Linux 5.8).
pub fn check_executable(fd: BorrowedFd) -> Result<()> {
    let flags = libc::AT_EACCESS | libc::AT_EMPTY_PATH;
    syscall!(Call::Access, libc::SYS_faccessat2, fd.as_raw_fd(), c"".as_ptr(), libc::X_OK, flags).map(drop)
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

/// Waits until there is room to write (poll(2)); `false` after `milliseconds` (-1: never).
pub fn wait_for_room(fd: BorrowedFd, milliseconds: i32) -> Result<bool> {
    let mut poll = libc::pollfd { fd: fd.as_raw_fd(), events: libc::POLLOUT, revents: 0 };
    match self::poll(core::slice::from_mut(&mut poll), milliseconds) {
        Err(Error { errno: Errno::EINTR, .. }) => Ok(false),
        other => other.map(|ready| ready > 0),
    }
}

/// write(2) until all is written.
pub fn write_all(fd: BorrowedFd, mut bytes: &[u8]) -> Result<()> {
    while !bytes.is_empty() {
        match write(fd, bytes) {
            // The caller has made its output so, and shares it with this command.
            Err(Error { errno: Errno::EAGAIN, .. }) => wait_for_room(fd, -1).map(drop)?,
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
        return fcntl(number, libc::F_SETFD, 0).map(drop);
    }
    syscall!(Call::Dup, libc::SYS_dup3, fd.as_raw_fd(), number, 0).map(drop)
}

/// Takes O_NONBLOCK from an opened file.
pub fn set_blocking(fd: BorrowedFd) -> Result<()> {
    change_flags(fd, |flags| flags & !O_NONBLOCK)
}

/// Gives O_NONBLOCK to an opened file.
pub fn set_nonblocking(fd: BorrowedFd) -> Result<()> {
    change_flags(fd, |flags| flags | O_NONBLOCK)
}

fn change_flags(fd: BorrowedFd, change: impl Fn(i32) -> i32) -> Result<()> {
    let flags = fcntl(fd.as_raw_fd(), libc::F_GETFL, 0)?;
    fcntl(fd.as_raw_fd(), libc::F_SETFL, change(flags)).map(drop)
}

/// A copy of a descriptor, close-on-exec, with a number of `least` or more.
pub fn duplicate_above(fd: BorrowedFd, least: RawFd) -> Result<OwnedFd> {
    syscall!(Call::Dup, libc::SYS_fcntl, fd.as_raw_fd(), libc::F_DUPFD_CLOEXEC, least).map(own)
}

/// Closes every descriptor from `first` on but those that are `kept` (close_range(2), Linux 5.9).
pub fn close_all_but<I: Iterator<Item = RawFd>>(first: RawFd, kept: impl Fn() -> I) -> Result<()> {
    let mut from = first;
    loop {
        let next = kept().filter(|number| *number >= from).min();
        let last = next.map_or(u32::MAX, |next| next as u32 - 1);
        if last >= from as u32 {
            syscall!(Call::CloseRange, libc::SYS_close_range, from, last, 0)?;
        }
        match next {
            Some(next) => from = next + 1,
            None => return Ok(()),
        }
    }
}

/// Closes what is open from 3 to below `first` and is this program's own: what a caller hands over has come through an execve,
/// and so is not close-on-exec.
pub fn close_own_below<I: Iterator<Item = RawFd>>(first: RawFd, kept: impl Fn() -> I) -> Result<()> {
    // Nothing of this program's own has a number above the limit.
    let limit = super::sched::limit(libc::RLIMIT_NOFILE as _)?.soft;
    let end = RawFd::try_from(limit).map_or(first, |limit| first.min(limit));
    for number in 3..end {
        let is_own = fcntl(number, libc::F_GETFD, 0).is_ok_and(|flags| flags & libc::FD_CLOEXEC != 0);
        if is_own && kept().all(|own| own != number) {
            drop(own(number.into()));
        }
    }
    Ok(())
}

/// Gives what is behind a descriptor to a user, so that it can be opened again by its name: a pipe, or a file that is open for
/// writing. What others use, too, such as a device or a terminal, stays as it is; and what may not be given.
pub fn give(fd: BorrowedFd, uid: u32) -> Result<()> {
    let Status { mode, uid: owner, .. } = match status(fd) {
        // Nothing is open there.
        Err(Error { errno: Errno::EBADF, .. }) => return Ok(()),
        other => other?,
    };
    let flags = fcntl(fd.as_raw_fd(), libc::F_GETFL, 0)?;
    let is_given = match mode & libc::S_IFMT {
        libc::S_IFIFO => true,
        libc::S_IFREG => flags & libc::O_ACCMODE != libc::O_RDONLY,
        _ => false,
    };
    if !is_given || owner == uid {
        return Ok(());
    }
    match syscall!(Call::Fchown, libc::SYS_fchown, fd.as_raw_fd(), uid, u32::MAX) {
        // Its owner has no id in the container, or its disk cannot be written to: as with the peers, the program will see.
        Err(Error { errno: Errno::EPERM | Errno::EINVAL | Errno::EROFS | Errno::ENOSYS | Errno::EBADF, .. }) => Ok(()),
        other => other.map(drop),
    }
}

/// A tripwire of debug builds: ends the process if something above `first` is open that leads anywhere. A socket does not,
/// nor does a file of nsfs, nor a file in memory.
pub fn prove_seclusion(first: RawFd) {
    if !cfg!(debug_assertions) {
        return;
    }
    const NSFS_MAGIC: i64 = 0x6e73_6673;
    const TMPFS_MAGIC: i64 = 0x0102_1994;
    // The kernel gives the lowest number that is free.
    const FURTHEST: RawFd = 64;
    for number in first..first.saturating_add(FURTHEST) {
        let fd = borrow(number);
        let (Ok(status), Ok(file_system)) = (status(fd), file_system(fd)) else { continue };
        let is_socket = status.mode & libc::S_IFMT == libc::S_IFSOCK;
        let is_memory = status.is_regular() && status.links == 0 && file_system == TMPFS_MAGIC;
        if !is_socket && !is_memory && file_system != NSFS_MAGIC {
            let _ = write(borrow(2), b"rootlet: a descriptor is open that leads out of the container\n");
            super::exit_now(134);
        }
    }
}

/// pipe2(2): what is read from, and what is written to.
pub fn pipe() -> Result<(OwnedFd, OwnedFd)> {
    let mut ends = [0; 2];
    syscall!(Call::Socketpair, libc::SYS_pipe2, ends.as_mut_ptr(), libc::O_CLOEXEC)?;
    let [from, to]: [i32; 2] = ends;
    Ok((own(from.into()), own(to.into())))
}

/// Marks a descriptor close-on-exec.
pub fn close_on_execve(number: RawFd) -> Result<()> {
    fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC).map(drop)
}

/// Whether a descriptor is open and would outlive an execve, as those that this command was given.
pub fn outlives_execve(number: RawFd) -> bool {
    fcntl(number, libc::F_GETFD, 0).is_ok_and(|flags| flags & libc::FD_CLOEXEC == 0)
}

/// Marks every descriptor from `first` on close-on-exec (close_range(2), Linux 5.11).
pub fn close_on_exec_from(first: u32) -> Result<()> {
    const CLOSE_RANGE_CLOEXEC: u32 = 4;
    syscall!(Call::CloseRange, libc::SYS_close_range, first, u32::MAX, CLOSE_RANGE_CLOEXEC).map(drop)
}

/// Closes every descriptor, in a process that is to hold nothing (close_range(2), Linux 5.9).
pub fn close_all() -> Result<()> {
    syscall!(Call::CloseRange, libc::SYS_close_range, 0, u32::MAX, 0).map(drop)
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
    fcntl(fd.as_raw_fd(), libc::F_ADD_SEALS, seals).map(drop)
}

/// True if nobody can write to the file any more.
pub fn is_sealed(fd: BorrowedFd) -> bool {
    fcntl(fd.as_raw_fd(), libc::F_GET_SEALS, 0).is_ok_and(|seals| seals & libc::F_SEAL_WRITE != 0)
}

/// ftruncate(2).
pub fn truncate(fd: BorrowedFd, size: usize) -> Result<()> {
    syscall!(Call::Write, libc::SYS_ftruncate, fd.as_raw_fd(), size).map(drop)
}

/// Sets the position to the start.
pub fn rewind(fd: BorrowedFd) -> Result<()> {
    syscall!(Call::Read, libc::SYS_lseek, fd.as_raw_fd(), 0, libc::SEEK_SET).map(drop)
}

/// flock(2) for writing, without waiting. `Ok(false)`: somebody else has it.
pub fn try_lock(fd: BorrowedFd) -> Result<bool> {
    try_flock(fd, libc::LOCK_EX)
}

/// flock(2) for reading; `false` if somebody has it for writing.
pub fn try_share_lock(fd: BorrowedFd) -> Result<bool> {
    try_flock(fd, libc::LOCK_SH)
}

fn try_flock(fd: BorrowedFd, kind: i32) -> Result<bool> {
    match syscall!(Call::Flock, libc::SYS_flock, fd.as_raw_fd(), kind | libc::LOCK_NB) {
        Err(Error { errno: Errno::EWOULDBLOCK, .. }) => Ok(false),
        other => other.map(|_| true),
    }
}

/// Gives a lock back, for all who have a copy of the descriptor.
pub fn unlock(fd: BorrowedFd) -> Result<()> {
    syscall!(Call::Flock, libc::SYS_flock, fd.as_raw_fd(), libc::LOCK_UN).map(drop)
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

/// Takes a lock that others may have, too, for as long as the file is open (fcntl(2), F_OFD_SETLK, F_RDLCK); it is in the way of
/// who asks by F_SETLK.
pub fn lock_for_reading(fd: BorrowedFd) -> Result<()> {
    // SAFETY: an all-zero flock is a valid value: from the begin, to the end.
    let mut lock: libc::flock = unsafe { core::mem::zeroed() };
    lock.l_type = libc::F_RDLCK as libc::c_short;
    syscall!(Call::Fcntl, libc::SYS_fcntl, fd.as_raw_fd(), libc::F_OFD_SETLK, &raw const lock).map(drop)
}

/// Waits until the contents of a file of the kernel change after they were read (poll(2), POLLPRI); `false` after
/// `milliseconds`.
pub fn wait_for_change(fd: BorrowedFd, milliseconds: i32) -> Result<bool> {
    let mut poll = libc::pollfd { fd: fd.as_raw_fd(), events: libc::POLLPRI, revents: 0 };
    match self::poll(core::slice::from_mut(&mut poll), milliseconds) {
        Err(Error { errno: Errno::EINTR, .. }) => Ok(true),
        other => other.map(|ready| ready > 0),
    }
}

/// Waits for the end of a pidfd's process, or for [`wait_for_change`] of another file; which of them came.
pub fn wait_for_end_or_change(pidfd: BorrowedFd, file: Option<BorrowedFd>, milliseconds: i32) -> Result<[bool; 2]> {
    let poll = |fd: i32, events| libc::pollfd { fd, events, revents: 0 };
    let file = file.map_or(-1, |file| file.as_raw_fd());
    let mut polls = [poll(pidfd.as_raw_fd(), libc::POLLIN), poll(file, libc::POLLPRI)];
    match self::poll(&mut polls, milliseconds) {
        Err(Error { errno: Errno::EINTR, .. }) => Ok([false, false]),
        other => other.map(|_| polls.map(|poll| poll.revents != 0)),
    }
}

/// Waits until one of two can be read; which of them, or `None` after `milliseconds` (-1: never).
pub fn wait_for_either(fds: [BorrowedFd; 2], milliseconds: i32) -> Result<Option<[bool; 2]>> {
    let mut polls = fds.map(|fd| libc::pollfd { fd: fd.as_raw_fd(), events: libc::POLLIN, revents: 0 });
    match self::poll(&mut polls, milliseconds) {
        Err(Error { errno: Errno::EINTR, .. }) => Ok(None),
        other => other.map(|_| Some(polls.map(|poll| poll.revents != 0))),
    }
}

/// Opens a regular file for reading that somebody else may have put there: a fifo is not waited for.
pub fn open_file(path: &CStr) -> Result<OwnedFd> {
    let file = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY, 0)?;
    match status(file.as_fd())?.is_regular() {
        true => Ok(file),
        false => Err(Error::new(Call::Open, Errno::EINVAL)),
    }
}

/// renameat2(2) to a name that nobody has.
pub fn rename_to_new(from: &CStr, to: &CStr) -> Result<()> {
    let here = libc::AT_FDCWD;
    syscall!(Call::Rename, libc::SYS_renameat2, here, from.as_ptr(), here, to.as_ptr(), libc::RENAME_NOREPLACE)
        .map(drop)
}

/// renameat(2).
pub fn rename_at(dir: BorrowedFd, from: &CStr, to: &CStr) -> Result<()> {
    move_to(dir, from, dir, to)
}

/// renameat(2) into another directory. By the C library, as riscv64 has renameat2(2) alone, and some sandboxes renameat(2) alone.
pub fn move_to(dir: BorrowedFd, from: &CStr, to_dir: BorrowedFd, to: &CStr) -> Result<()> {
    let (dir, to_dir) = (dir.as_raw_fd(), to_dir.as_raw_fd());
    // SAFETY: both paths end with a NUL.
    check(Call::Rename, unsafe { libc::renameat(dir, from.as_ptr(), to_dir, to.as_ptr()) }).map(drop)
}

/// Whether there is something of that name (faccessat(2)).
pub fn exists_at(dir: BorrowedFd, name: &CStr) -> Result<bool> {
    match syscall!(Call::Access, libc::SYS_faccessat, dir.as_raw_fd(), name.as_ptr(), libc::F_OK) {
        Err(Error { errno: Errno::ENOENT | Errno::ENOTDIR, .. }) => Ok(false),
        other => other.map(|_| true),
    }
}

/// Whether the caller may write to `path` (faccessat2(2), Linux 5.8).
pub fn may_write(path: &CStr) -> Result<bool> {
    match check_writable(path) {
        Err(Error { errno: Errno::EACCES | Errno::EPERM | Errno::EROFS | Errno::ENOENT | Errno::ENOTDIR, .. }) => {
            Ok(false)
        }
        other => other.map(|()| true),
    }
}

/// Whether the caller may go to a directory.
pub fn may_search(path: &CStr) -> bool {
    let flags = libc::AT_EACCESS;
    syscall!(Call::Access, libc::SYS_faccessat2, libc::AT_FDCWD, path.as_ptr(), libc::X_OK, flags).is_ok()
}

/// Why the caller may not write to `path`, if it may not.
pub fn check_writable(path: &CStr) -> Result<()> {
    let (here, name) = (libc::AT_FDCWD, path.as_ptr());
    let asked = match syscall!(Call::Access, libc::SYS_faccessat2, here, name, libc::W_OK, libc::AT_EACCESS) {
        // An older kernel, or a sandbox that does not know the call, which asks as the real user: that is the same one.
        Err(Error { errno: Errno::ENOSYS | Errno::EPERM, .. }) => {
            syscall!(Call::Access, libc::SYS_faccessat, here, name, libc::W_OK)
        }
        other => other,
    };
    asked.map(drop)
}

/// The number of a descriptor as text, for the names in /proc/self/fd.
pub struct Name([u8; 12]);

impl Name {
    /// The number of `fd`.
    pub fn of(fd: &OwnedFd) -> Name {
        Name::of_number(fd.as_raw_fd())
    }

    /// The name of a descriptor by its number.
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
        for (slot, digit) in text.iter_mut().zip(digits.iter().take(count).rev()) {
            *slot = *digit;
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

    #[test]
    fn a_number_is_written_as_decimal() {
        for (number, text) in [(0, c"0"), (7, c"7"), (10, c"10"), (2147483647, c"2147483647")] {
            assert_eq!(Name::of_number(number).as_cstr(), text);
        }
    }
}
