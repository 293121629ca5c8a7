//! Processes: clone, execve, wait, signals by pidfd.

use super::fd::own;
use super::{Call, Errno, Error, Result, check, raw, syscall};
use core::ffi::CStr;
use core::mem::ManuallyDrop;
use core::ptr;
use core::sync::atomic::{AtomicU32, Ordering};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

/// Both sides of a clone.
#[derive(Debug)]
pub enum Cloned {
    /// The new process. It shares no memory with its parent, and no lock of the allocator may be taken in it.
    Child,
    /// The old process.
    Parent(Process),
}

/// Another process.
#[derive(Debug)]
pub struct Process {
    /// In the caller's pid namespace.
    pub pid: i32,
    /// Safe from reuse of the pid.
    pub pidfd: OwnedFd,
}

impl Process {
    /// A process by its pid, which must not have been reaped.
    pub fn open(pid: i32) -> Result<Process> {
        Ok(Process { pid, pidfd: open_pidfd(pid)? })
    }

    /// Another handle on it.
    pub fn duplicate(&self) -> Result<Process> {
        Ok(Process { pid: self.pid, pidfd: super::fd::duplicate_above(self.pidfd.as_fd(), 0)? })
    }

    /// Its directory in /proc.
    pub fn directory(&self) -> Result<OwnedFd> {
        directory_of(self.pidfd.as_fd())
    }

    /// Maps the ids of its new user namespace, and opens that. The caller needs the privilege to map them.
    pub fn map_and_open(&self, uid_map: &[u8], gid_map: &[u8]) -> Result<OwnedFd> {
        use super::fd;
        let directory = self.directory()?;
        fd::write_file(directory.as_fd(), c"uid_map", uid_map)?;
        fd::write_file(directory.as_fd(), c"gid_map", gid_map)?;
        fd::open_at(directory.as_fd(), c"ns/user", fd::O_RDONLY, 0)
    }

    /// Opens its user namespace.
    pub fn open_user_namespace(&self) -> Result<OwnedFd> {
        super::fd::open_at(self.directory()?.as_fd(), c"ns/user", super::fd::O_RDONLY, 0)
    }

    /// Ends a child and waits until it is gone.
    pub fn end(&self) {
        let _ = send_signal(self.pidfd.as_fd(), libc::SIGKILL);
        let _ = wait(self.pid, true);
    }
}

/// The directory of a process in /proc, which may be that of another pid namespace (`unshare -p` alone): there its number is another,
/// or it is not there (ESRCH).
pub fn directory_of(pidfd: BorrowedFd) -> Result<OwnedFd> {
    use super::fd;
    let descriptors = fd::open(c"/proc/self/fdinfo", fd::O_PATH | fd::O_DIRECTORY, 0)?;
    let name = fd::Name::of_number(pidfd.as_raw_fd());
    let about = fd::open_at(descriptors.as_fd(), name.as_cstr(), fd::O_RDONLY, 0)?;
    let mut text = [0; 512];
    let length = fd::read(about.as_fd(), &mut text)?;
    let lines = text.get(..length).unwrap_or_default().split(|byte| *byte == b'\n');
    let number = lines.filter_map(|line| line.strip_prefix(b"Pid:\t")).next();
    let number = number.and_then(|digits| core::str::from_utf8(digits).ok()?.parse().ok()).filter(|pid| *pid > 0);
    let number = number.ok_or(Error::new(Call::PidfdOpen, Errno::ESRCH))?;
    let proc = fd::open(c"/proc", fd::O_PATH | fd::O_DIRECTORY, 0)?;
    fd::open_at(proc.as_fd(), fd::Name::of_number(number).as_cstr(), fd::O_PATH | fd::O_DIRECTORY, 0)
}

/// linux/sched.h; libc has it in a type that is too small.
const CLONE_INTO_CGROUP: u64 = 1 << 33;

/// clone3(2) like fork: `namespaces` are CLONE_NEW* flags. With `sibling`, the new process is a child of the caller's
/// parent. Where a sandbox hides clone3 (Docker's seccomp profile answers ENOSYS, older ones EPERM) clone(2) serves.
/// With `cgroup`, the directory of one, the new process is born there (CLONE_INTO_CGROUP, Linux 5.7).
pub fn clone(namespaces: i32, sibling: bool, cgroup: Option<BorrowedFd>) -> Result<Cloned> {
    let mut pidfd: RawFd = -1;
    let (parent, exit_signal) = of_parent(sibling);
    let flags = namespaces | libc::CLONE_PIDFD | parent;
    // SAFETY: an all-zero clone_args is a valid value.
    let mut arguments: libc::clone_args = unsafe { core::mem::zeroed() };
    arguments.flags = flags as u32 as u64;
    arguments.pidfd = (&raw mut pidfd) as u64;
    arguments.exit_signal = exit_signal;
    if let Some(cgroup) = cgroup {
        arguments.flags |= CLONE_INTO_CGROUP;
        arguments.cgroup = cgroup.as_raw_fd() as u64;
    }
    // Without CLONE_VM the child has its own copy of this stack, so returning twice is sound, as from fork(2).
    let pid = match syscall!(Call::Clone, libc::SYS_clone3, &raw mut arguments, size_of::<libc::clone_args>()) {
        Err(Error { errno: Errno::ENOSYS | Errno::EPERM, .. }) if cgroup.is_none() => {
            clone_without_clone3(flags, exit_signal, &mut pidfd)
        }
        other => other,
    }?;
    Ok(if pid == 0 { Cloned::Child } else { Cloned::Parent(Process { pid: pid as i32, pidfd: own(pidfd.into()) }) })
}

/// The flag that makes a sibling, and the signal of its end. clone3(2): CLONE_PARENT takes that of the caller, so none may be given.
fn of_parent(sibling: bool) -> (i32, u64) {
    if sibling { (libc::CLONE_PARENT, 0) } else { (0, libc::SIGCHLD as u64) }
}

fn clone_without_clone3(flags: i32, exit_signal: u64, pidfd: &mut RawFd) -> Result<i64> {
    // Flags, stack, address of the pidfd: the first three arguments are the same on every architecture.
    syscall!(Call::Fork, libc::SYS_clone, flags as u32 as u64 | exit_signal, 0, &raw mut *pidfd, 0, 0)
}

/// A process as fork(2) makes it: it may allocate, where its maker has one thread.
pub fn fork() -> Result<Option<i32>> {
    // SAFETY: fork takes nothing, and the C library makes its own state whole again in the child.
    let pid = check(Call::Fork, unsafe { libc::fork() })?;
    Ok((pid != 0).then_some(pid))
}

/// Runs `work` in a process that shares this one's memory and descriptors, and returns when that has ended, as vfork(2).
/// Its namespaces, credentials and current directory are its own. Its pid; it is left to be reaped.
pub fn run_apart(work: &mut dyn FnMut()) -> Result<i32> {
    extern "C" fn begin(work: *mut libc::c_void) -> libc::c_int {
        // SAFETY: the pointer is that of `work` below, whose owner is suspended meanwhile.
        unsafe { (*work.cast::<&mut dyn FnMut()>())() };
        0
    }
    let mut work = work;
    // Whoever is cloned from there goes on living on its copy of the stack, so it has the usual size, and a guard page.
    let stack = Stack::new()?;
    let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::CLONE_FILES | libc::SIGCHLD;
    // SAFETY: the stack is aligned and mapped until the new process has ended: CLONE_VFORK suspends this one till then.
    check(Call::Fork, unsafe { libc::clone(begin, stack.top(), flags, (&raw mut work).cast()) })
}

/// A process that shares this one's memory until it executes a program or ends, and what it lives by, which is its own meanwhile.
/// Dropped before, that stays where it is for ever.
pub struct Sharing<T> {
    stack: ManuallyDrop<Stack>,
    life: *mut Life<T>,
}

/// At the top of the stack.
struct Life<T> {
    owned: T,
    live: fn(&mut T) -> !,
    /// The kernel makes it zero when the memory is shared no more (clone(2), CLONE_CHILD_CLEARTID).
    pid: AtomicU32,
}

/// As [`clone`], but the new process shares this one's memory, and lives by `owned`; which comes back where none can be made. It has
/// a copy of all descriptors, also of those that `owned` has.
pub fn clone_sharing<T: 'static>(
    namespaces: i32,
    sibling: bool,
    cgroup: Option<BorrowedFd>,
    owned: T,
    live: fn(&mut T) -> !,
) -> core::result::Result<(Process, Sharing<T>), T> {
    extern "C" fn begin<T>(life: *mut libc::c_void) -> ! {
        // SAFETY: `life` is that of the `Sharing`, which lets nobody else at it until this process is gone.
        let life = unsafe { &mut *life.cast::<Life<T>>() };
        (life.live)(&mut life.owned)
    }
    let Ok(stack) = Stack::new() else { return Err(owned) };
    stack.populate();
    let life = stack.top().wrapping_byte_sub(size_of::<Life<T>>()).addr() & !(align_of::<Life<T>>().max(16) - 1);
    let life = stack.0.with_addr(life).cast::<Life<T>>();
    // SAFETY: the address is in the mapping, aligned, and nobody else's.
    unsafe { life.write(Life { owned, live, pid: AtomicU32::new(1) }) };
    let mut pidfd: RawFd = -1;
    let kinds = libc::CLONE_VM | libc::CLONE_PIDFD | libc::CLONE_PARENT_SETTID | libc::CLONE_CHILD_CLEARTID;
    // SAFETY: an all-zero clone_args is a valid value, and `life` was written.
    let (mut arguments, pid) = unsafe { (core::mem::zeroed::<libc::clone_args>(), (*life).pid.as_ptr()) };
    let (parent, exit_signal) = of_parent(sibling);
    arguments.flags = (namespaces | kinds | parent) as u32 as u64;
    arguments.pidfd = (&raw mut pidfd) as u64;
    (arguments.parent_tid, arguments.child_tid) = (pid as u64, pid as u64);
    arguments.exit_signal = exit_signal;
    arguments.stack = stack.0.addr() as u64;
    arguments.stack_size = (life.addr() - stack.0.addr()) as u64;
    if let Some(cgroup) = cgroup {
        arguments.flags |= CLONE_INTO_CGROUP;
        arguments.cgroup = cgroup.as_raw_fd() as u64;
    }
    // SAFETY: the stack ends below `life`, at a multiple of 16; `begin` does not return; `life` and the stack are there as long as the process
    // is, as `T` refers to nothing that could end before.
    let made = unsafe { raw::clone3(&raw const arguments, size_of::<libc::clone_args>(), begin::<T>, life.cast()) };
    if made < 0 {
        // SAFETY: there is no process, so this is the only one that has it.
        return Err(unsafe { life.read().owned });
    }
    Ok((Process { pid: made as i32, pidfd: own(pidfd.into()) }, Sharing { stack: ManuallyDrop::new(stack), life }))
}

impl<T> Sharing<T> {
    /// What it lived by, once it is at its program or gone; this waits for that.
    pub fn take_back(mut self) -> T {
        loop {
            // SAFETY: `life` was written, and this is an atomic of it.
            let pid = unsafe { (*self.life).pid.load(Ordering::Acquire) };
            if pid == 0 {
                break;
            }
            // SAFETY: as above.
            let word = unsafe { (*self.life).pid.as_ptr() };
            let _ = syscall!(Call::Wait, libc::SYS_futex, word, libc::FUTEX_WAIT, pid, ptr::null::<u8>());
        }
        // SAFETY: the other process has other memory by now; what is read is not looked at again, and its memory is given back.
        unsafe {
            let life = self.life.read();
            ManuallyDrop::drop(&mut self.stack);
            super::memory::allow();
            life.owned
        }
    }
}

/// Reads the maps of a user namespace as who joins it sees them; their lengths.
pub fn read_id_maps(namespace: BorrowedFd, uids: &mut [u8], gids: &mut [u8]) -> Result<[usize; 2]> {
    use super::{fd, namespace as ns};
    let mut read = Err(Error::new(Call::Setns, Errno::ECHILD));
    let fill = |path: &CStr, buffer: &mut [u8]| {
        let file = fd::open(path, fd::O_RDONLY, 0)?;
        let mut filled = 0;
        loop {
            match fd::read(file.as_fd(), buffer.get_mut(filled..).unwrap_or_default())? {
                0 => return Ok(filled),
                length => filled += length,
            }
        }
    };
    let mut look = || {
        read = ns::join(namespace, ns::CLONE_NEWUSER)
            .and_then(|()| Ok([fill(c"/proc/self/uid_map", uids)?, fill(c"/proc/self/gid_map", gids)?]));
    };
    let dumpable = super::creds::is_dumpable()?;
    let helper = run_apart(&mut look)?;
    wait(helper, true)?;
    // It belongs to the memory, and so it was this process's, too.
    super::creds::set_dumpable(dumpable)?;
    read
}

/// A stack, with a page below it that ends whoever runs over.
struct Stack(*mut libc::c_void);

impl Stack {
    const SIZE: usize = 8 << 20;
    /// By a process from its clone to its execve.
    const USED: usize = 48 << 10;

    fn new() -> Result<Stack> {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE | libc::MAP_STACK;
        // SAFETY: a new mapping where the kernel chooses.
        let mapping =
            unsafe { libc::mmap(ptr::null_mut(), Stack::SIZE, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0) };
        if mapping == libc::MAP_FAILED {
            return Err(Error::last(Call::Fork));
        }
        let stack = Stack(mapping);
        let page = super::memory::page_size() as usize;
        // SAFETY: the first page of the mapping, which nobody uses.
        check(Call::Fork, unsafe { libc::mprotect(mapping, page, libc::PROT_NONE) })?;
        Ok(stack)
    }

    /// Has what is used of it made at once.
    fn populate(&self) {
        let used = self.top().wrapping_byte_sub(Stack::USED);
        // SAFETY: the pages are the mapping's.
        unsafe { libc::madvise(used, Stack::USED, libc::MADV_POPULATE_WRITE) };
    }

    fn top(&self) -> *mut libc::c_void {
        self.0.wrapping_byte_add(Stack::SIZE)
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        // SAFETY: the mapping that `new` made, and nobody runs on it any more.
        unsafe { libc::munmap(self.0, Stack::SIZE) };
    }
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// By exit(2), with this status.
    Exited(i32),
    /// By this signal.
    Signaled(i32),
}

impl Ended {
    /// The shell's convention: the status, or 128 + the signal.
    pub fn code(self) -> i32 {
        match self {
            Ended::Exited(status) => status,
            Ended::Signaled(signal) => 128 + signal,
        }
    }
}

/// waitid(2) of one child: `None` if `block` is false and it still runs.
pub fn wait(pid: i32, block: bool) -> Result<Option<Ended>> {
    wait_for(pid, if block { 0 } else { libc::WNOHANG })
}

/// How a child has ended, without reaping it; `None` if it still runs.
pub fn look_at_end(pid: i32) -> Result<Option<Ended>> {
    wait_for(pid, libc::WNOHANG | libc::WNOWAIT)
}

fn wait_for(pid: i32, flags: i32) -> Result<Option<Ended>> {
    // SAFETY: an all-zero siginfo is a valid value.
    let mut info: libc::siginfo_t = unsafe { core::mem::zeroed() };
    let flags = libc::WEXITED | libc::__WALL | flags;
    loop {
        match syscall!(Call::Wait, libc::SYS_waitid, libc::P_PID, pid, &raw mut info, flags, ptr::null::<u8>()) {
            Err(Error { errno: Errno::EINTR, .. }) => continue,
            other => other?,
        };
        break;
    }
    // SAFETY: waitid filled the fields of a SIGCHLD, or left the pid zero.
    let (ended, status) = unsafe { (info.si_pid(), info.si_status()) };
    Ok((ended != 0).then_some(if info.si_code == libc::CLD_EXITED {
        Ended::Exited(status)
    } else {
        Ended::Signaled(status)
    }))
}

/// The signal that has stopped a child, if one has since this was asked.
pub fn take_stop(pid: i32) -> Option<i32> {
    // SAFETY: an all-zero siginfo is a valid value.
    let mut info: libc::siginfo_t = unsafe { core::mem::zeroed() };
    let flags = libc::WSTOPPED | libc::WNOHANG;
    syscall!(Call::Wait, libc::SYS_waitid, libc::P_PID, pid, &raw mut info, flags, ptr::null::<u8>()).ok()?;
    // SAFETY: waitid filled the fields of a SIGCHLD, or left the pid zero.
    let (stopped, signal) = unsafe { (info.si_pid(), info.si_status()) };
    (stopped != 0).then_some(signal)
}

/// Reaps whatever child has ended, without waiting; its pid, or `None`. For a subreaper.
pub fn reap_any() -> Result<Option<(i32, Ended)>> {
    let mut status = 0;
    let pid = loop {
        // SAFETY: waitpid writes an int.
        match check(Call::Wait, unsafe { libc::waitpid(-1, &mut status, libc::WNOHANG | libc::__WALL) }) {
            Err(Error { errno: Errno::EINTR, .. }) => continue,
            Err(Error { errno: Errno::ECHILD, .. }) => return Ok(None),
            other => break other?,
        }
    };
    let ended = if libc::WIFEXITED(status) {
        Ended::Exited(libc::WEXITSTATUS(status))
    } else {
        Ended::Signaled(libc::WTERMSIG(status))
    };
    Ok((pid > 0).then_some((pid, ended)))
}

/// Waits for all children, and reaps them. For a subreaper.
pub fn reap_all() {
    loop {
        // SAFETY: waitpid takes no status.
        match check(Call::Wait, unsafe { libc::waitpid(-1, ptr::null_mut(), libc::__WALL) }) {
            Err(Error { errno: Errno::EINTR, .. }) | Ok(_) => {}
            Err(_) => return,
        }
    }
}

/// pidfd_open(2).
pub fn open_pidfd(pid: i32) -> Result<OwnedFd> {
    syscall!(Call::PidfdOpen, libc::SYS_pidfd_open, pid, 0).map(own)
}

/// pidfd_open(2) of a process that may be gone: then its number is nobody's, or that of a thread.
pub fn find_pidfd(pid: i32) -> Result<Option<OwnedFd>> {
    match open_pidfd(pid) {
        Err(Error { errno: Errno::ESRCH | Errno::ENOENT | Errno::EINVAL, .. }) => Ok(None),
        other => other.map(Some),
    }
}

/// pidfd_send_signal(2).
pub fn send_signal(pidfd: BorrowedFd, signal: i32) -> Result<()> {
    syscall!(Call::Kill, libc::SYS_pidfd_send_signal, pidfd.as_raw_fd(), signal, ptr::null::<u8>(), 0).map(drop)
}

/// kill(2) of a whole process group.
pub fn kill_group(group: i32, signal: i32) -> Result<()> {
    syscall!(Call::Kill, libc::SYS_kill, -group, signal).map(drop)
}

/// Ends a child that nobody has reaped, by its pid.
pub fn end_child(pid: i32) {
    let _ = syscall!(Call::Kill, libc::SYS_kill, pid, libc::SIGKILL);
    let _ = wait(pid, true);
}

/// Waits for a pidfd's process to end, or any descriptor to be readable; `false` after `milliseconds` (-1: never).
pub fn wait_readable(fd: BorrowedFd, milliseconds: i32) -> Result<bool> {
    let mut poll = libc::pollfd { fd: fd.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    loop {
        match super::fd::poll(core::slice::from_mut(&mut poll), milliseconds) {
            Err(Error { errno: Errno::EINTR, .. }) => continue,
            other => return Ok(other? > 0),
        }
    }
}

/// Waits for so long.
pub fn sleep(milliseconds: i32) {
    let _ = super::fd::poll(&mut [], milliseconds);
}

/// Whether the other end of a socket is gone.
pub fn is_hung_up(fd: BorrowedFd) -> Result<bool> {
    let mut poll = libc::pollfd { fd: fd.as_raw_fd(), events: 0, revents: 0 };
    loop {
        match super::fd::poll(core::slice::from_mut(&mut poll), 0) {
            Err(Error { errno: Errno::EINTR, .. }) => continue,
            other => return other.map(|_| poll.revents & libc::POLLHUP != 0),
        }
    }
}

/// setpgid(2): a process group of its own.
pub fn lead_group() -> Result<()> {
    syscall!(Call::Setsid, libc::SYS_setpgid, 0, 0).map(drop)
}

/// setsid(2).
pub fn start_session() -> Result<()> {
    syscall!(Call::Setsid, libc::SYS_setsid).map(drop)
}

/// getpid(2) from the kernel, because libc may remember the parent's.
pub fn own_pid() -> i32 {
    syscall!(Call::Fork, libc::SYS_getpid).unwrap_or(0) as i32
}

/// A process that does nothing until it is killed, and ends with its parent; arguments as of [`clone`].
pub fn start_idle(namespaces: i32, sibling: bool, cgroup: Option<BorrowedFd>) -> Result<Process> {
    // In another pid namespace, getppid(2) does not tell.
    let own = open_pidfd(own_pid())?;
    match clone(namespaces, sibling, cgroup)? {
        Cloned::Child => {
            let _ = super::creds::die_with_parent(true);
            if !sibling && wait_readable(own.as_fd(), 0).unwrap_or(true) {
                // Its maker was killed before.
                super::exit_now(0);
            }
            // Whoever waits for the end of a socket or pipe must not wait for this process.
            let _ = super::fd::close_all();
            loop {
                // SAFETY: pause takes nothing.
                unsafe { libc::pause() };
            }
        }
        Cloned::Parent(process) => Ok(process),
    }
}
