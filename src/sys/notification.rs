//! System calls of others that a filter asks about (seccomp_unotify(2)), and answers to them.

use super::{Call, Errno, Error, Result, syscall};
use core::mem::size_of;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

/// ioctl(2) requests of linux/seccomp.h, which libc lacks.
mod request {
    pub const RECEIVE: u32 = of::<libc::seccomp_notif>(READ | WRITE, 0);
    pub const SEND: u32 = of::<libc::seccomp_notif_resp>(READ | WRITE, 1);
    pub const IS_VALID: u32 = of::<u64>(WRITE, 2);
    pub const ADD_DESCRIPTOR: u32 = of::<super::Added>(WRITE, 3);
    pub const SET_FLAGS: u32 = of::<u64>(WRITE, 4);

    /// _IOC_WRITE and _IOC_READ of asm-generic/ioctl.h.
    const WRITE: u32 = 1;
    const READ: u32 = 2;

    const fn of<T>(direction: u32, number: u32) -> u32 {
        direction << 30 | (size_of::<T>() as u32) << 16 | (b'!' as u32) << 8 | number
    }
}

/// SECCOMP_USER_NOTIF_FLAG_CONTINUE.
const CONTINUE: u32 = 1;

/// SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP (Linux 6.6).
const SYNC_WAKE_UP: u64 = 1;

/// A call that waits for its answer.
#[derive(Clone, Copy, Debug)]
pub struct Asked {
    /// By which it is answered.
    pub id: u64,
    /// The thread, in the pid namespace of who answers.
    pub pid: i32,
    /// AUDIT_ARCH_*.
    pub architecture: u32,
    /// Of the call, in that architecture.
    pub number: u32,
    /// As the registers have them.
    pub arguments: [u64; 6],
}

/// What the caller gets to see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// What the kernel does.
    Kernels,
    /// A result.
    Value(i64),
    /// An errno.
    Error(Errno),
    /// It has been given.
    Given,
}

/// Waits until there is a call; false if nobody is left who could make one.
pub fn wait(listener: BorrowedFd) -> Result<bool> {
    let mut poll = libc::pollfd { fd: listener.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    loop {
        match super::fd::poll(core::slice::from_mut(&mut poll), -1) {
            Err(Error { errno: Errno::EINTR, .. }) => continue,
            other => return other.map(|_| poll.revents & libc::POLLIN != 0),
        }
    }
}

/// Waits until nobody is left who could make a call.
pub fn wait_for_end(listener: BorrowedFd) -> Result<()> {
    let mut poll = libc::pollfd { fd: listener.as_raw_fd(), events: 0, revents: 0 };
    loop {
        match super::fd::poll(core::slice::from_mut(&mut poll), -1) {
            Err(Error { errno: Errno::EINTR, .. }) => continue,
            other => return other.map(drop),
        }
    }
}

/// Receives a call, or waits for one for ever; `None` if its thread has ended meanwhile.
pub fn receive(listener: BorrowedFd) -> Result<Option<Asked>> {
    // SAFETY: an all-zero seccomp_notif is what the kernel wants to be given.
    let mut notif: libc::seccomp_notif = unsafe { core::mem::zeroed() };
    match syscall!(Call::Ioctl, libc::SYS_ioctl, listener.as_raw_fd(), request::RECEIVE, &raw mut notif) {
        Err(Error { errno: Errno::ENOENT | Errno::EINTR, .. }) => Ok(None),
        Err(error) => Err(error),
        Ok(_) => Ok(Some(Asked {
            id: notif.id,
            pid: notif.pid as i32,
            architecture: notif.data.arch,
            number: notif.data.nr as u32,
            arguments: notif.data.args,
        })),
    }
}

/// Whether the thread still waits: its pid was nobody else's until then.
pub fn is_valid(listener: BorrowedFd, id: u64) -> bool {
    syscall!(Call::Ioctl, libc::SYS_ioctl, listener.as_raw_fd(), request::IS_VALID, &raw const id).is_ok()
}

/// Answers. Who has ended meanwhile needs none.
pub fn answer(listener: BorrowedFd, id: u64, answer: Answer) -> Result<()> {
    let (val, error, flags) = match answer {
        Answer::Kernels => (0, 0, CONTINUE),
        Answer::Value(value) => (value, 0, 0),
        Answer::Error(errno) => (0, -(errno as i32), 0),
        Answer::Given => return Ok(()),
    };
    let response = libc::seccomp_notif_resp { id, val, error, flags };
    match syscall!(Call::Ioctl, libc::SYS_ioctl, listener.as_raw_fd(), request::SEND, &raw const response) {
        Err(Error { errno: Errno::ENOENT, .. }) => Ok(()),
        other => other.map(drop),
    }
}

/// An error if this process may not ask for calls, as an outer filter may say.
pub fn check(listener: BorrowedFd) -> Result<()> {
    let id = 0u64;
    match syscall!(Call::Ioctl, libc::SYS_ioctl, listener.as_raw_fd(), request::IS_VALID, &raw const id) {
        Err(Error { errno: Errno::ENOENT, .. }) => Ok(()),
        other => other.map(drop),
    }
}

/// Has the kernel pass the processor on with a call and its answer, where it can.
pub fn hurry(listener: BorrowedFd) {
    // Slower without, and not less right.
    let _ = syscall!(Call::Ioctl, libc::SYS_ioctl, listener.as_raw_fd(), request::SET_FLAGS, SYNC_WAKE_UP);
}

/// struct seccomp_notif_addfd.
#[repr(C)]
struct Added {
    id: u64,
    flags: u32,
    source: u32,
    wanted: u32,
    descriptor_flags: u32,
}

/// Answers with a descriptor, which the thread gets (Linux 5.14).
pub fn answer_with(listener: BorrowedFd, id: u64, file: BorrowedFd, closes_on_exec: bool) -> Result<()> {
    // SECCOMP_ADDFD_FLAG_SEND.
    const SEND: u32 = 2;
    let descriptor_flags = if closes_on_exec { libc::O_CLOEXEC as u32 } else { 0 };
    let added = Added { id, flags: SEND, source: file.as_raw_fd() as u32, wanted: 0, descriptor_flags };
    syscall!(Call::Ioctl, libc::SYS_ioctl, listener.as_raw_fd(), request::ADD_DESCRIPTOR, &raw const added).map(drop)
}

/// Reads another process's memory, by its opened /proc/PID/mem (pread(2)).
pub fn read_memory(memory: BorrowedFd, address: u64, buffer: &mut [u8]) -> Result<usize> {
    let (buffer, length) = (buffer.as_mut_ptr(), buffer.len());
    syscall!(Call::Read, libc::SYS_pread64, memory.as_raw_fd(), buffer, length, address).map(|read| read as usize)
}

/// Writes to another process's memory, as far as that may write to it itself (process_vm_writev(2); /proc/PID/mem does not ask).
pub fn write_memory(pid: i32, address: u64, bytes: &[u8]) -> Result<()> {
    let local = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    let remote = libc::iovec { iov_base: address as *mut libc::c_void, iov_len: bytes.len() };
    match syscall!(Call::Write, libc::SYS_process_vm_writev, pid, &raw const local, 1, &raw const remote, 1, 0)? {
        written if written as usize == bytes.len() => Ok(()),
        _ => Err(Error::new(Call::Write, Errno::EFAULT)),
    }
}

/// A copy of a descriptor of another process (pidfd_getfd(2)).
pub fn copy_descriptor(pidfd: BorrowedFd, number: i32) -> Result<OwnedFd> {
    syscall!(Call::Dup, libc::SYS_pidfd_getfd, pidfd.as_raw_fd(), number, 0).map(super::fd::own)
}

/// Who is at the other end of a unix socket: its process, or 0 (unix(7), SO_PEERCRED).
pub fn peer(socket: BorrowedFd) -> Result<i32> {
    // SAFETY: an all-zero ucred is a valid value; getsockopt fills it.
    let mut peer: libc::ucred = unsafe { core::mem::zeroed() };
    let mut length = size_of::<libc::ucred>() as libc::socklen_t;
    let (level, option) = (SOL_SOCKET, SO_PEERCRED);
    // SAFETY: `peer` has room for `length` bytes.
    let done = unsafe { libc::getsockopt(socket.as_raw_fd(), level, option, (&raw mut peer).cast(), &raw mut length) };
    super::check(Call::Socket, done).map(|_| peer.pid)
}

/// What is changed in an answer to stat(2).
#[derive(Clone, Copy, Debug)]
pub struct Shown {
    /// Its owner.
    pub owner: (u32, u32),
    /// Type and number of a device that a plain file stands for.
    pub device: Option<(u32, u64)>,
}

/// `struct stat` of an opened file with something else in it.
pub fn stat(file: BorrowedFd, shown: Shown) -> Result<[u8; size_of::<libc::stat>()]> {
    // SAFETY: an all-zero stat is a valid value; fstat fills it.
    let mut stat: libc::stat = unsafe { core::mem::zeroed() };
    // SAFETY: `stat` is a stat that fstat may write to.
    super::check(Call::Fstat, unsafe { libc::fstat(file.as_raw_fd(), &mut stat) })?;
    (stat.st_uid, stat.st_gid) = shown.owner;
    if let Some((kind, number)) = shown.device {
        stat.st_mode = stat.st_mode & !libc::S_IFMT | kind;
        stat.st_rdev = number;
    }
    // SAFETY: a stat is plain numbers; where it has padding, that was zeroed.
    Ok(unsafe { core::mem::transmute::<libc::stat, [u8; size_of::<libc::stat>()]>(stat) })
}

/// When a file was made, in seconds and nanoseconds; 0 where the file system does not keep it.
pub fn birth(file: BorrowedFd) -> Result<(i64, u32)> {
    // SAFETY: an all-zero statx is a valid value; statx fills it.
    let mut statx: libc::statx = unsafe { core::mem::zeroed() };
    let (path, flags) = (c"".as_ptr(), libc::AT_EMPTY_PATH);
    syscall!(Call::Stat, libc::SYS_statx, file.as_raw_fd(), path, flags, libc::STATX_BTIME, &raw mut statx)?;
    Ok((statx.stx_btime.tv_sec, statx.stx_btime.tv_nsec))
}

/// `struct statx` of an opened file with something else in it (statx(2)).
pub fn statx(file: BorrowedFd, mask: u32, shown: Shown) -> Result<[u8; size_of::<libc::statx>()]> {
    // SAFETY: an all-zero statx is a valid value; statx fills it.
    let mut statx: libc::statx = unsafe { core::mem::zeroed() };
    let (path, flags) = (c"".as_ptr(), libc::AT_EMPTY_PATH);
    syscall!(Call::Stat, libc::SYS_statx, file.as_raw_fd(), path, flags, mask, &raw mut statx)?;
    (statx.stx_uid, statx.stx_gid) = shown.owner;
    if let Some((kind, number)) = shown.device {
        statx.stx_mode = statx.stx_mode & !(libc::S_IFMT as u16) | kind as u16;
        (statx.stx_rdev_major, statx.stx_rdev_minor) = (libc::major(number), libc::minor(number));
    }
    // SAFETY: a statx is plain numbers; where it has padding, that was zeroed.
    Ok(unsafe { core::mem::transmute::<libc::statx, [u8; size_of::<libc::statx>()]>(statx) })
}

pub use libc::{
    AT_EMPTY_PATH, AT_FDCWD, AT_NO_AUTOMOUNT, AT_STATX_SYNC_TYPE, AT_SYMLINK_NOFOLLOW, S_IFBLK, S_IFCHR, S_IFMT,
    S_ISGID, SO_PEERCRED, SOL_SOCKET,
};
