//! Other programs: becoming one, and starting some of the host's.

use super::process::{Cloned, Ended, Process, clone, kill_group, send_signal, start_session, wait, wait_readable};
use super::{Call, Errno, Error, Result, syscall};
use core::cell::Cell;
use core::ffi::{CStr, c_char};
use core::ptr;
use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

/// Strings with the table of pointers that execve(2) wants, made ready before the clone. One slot is left free for a
/// string that is known only in the child.
pub struct Strings {
    strings: Vec<CString>,
    pointers: Vec<Cell<*const c_char>>,
}

impl Strings {
    /// A table of these strings.
    pub fn new(strings: Vec<CString>) -> Strings {
        let mut pointers: Vec<_> = strings.iter().map(|string| Cell::new(string.as_ptr())).collect();
        pointers.extend([Cell::new(ptr::null()), Cell::new(ptr::null())]);
        Strings { strings, pointers }
    }

    /// The strings.
    pub fn as_slice(&self) -> &[CString] {
        &self.strings
    }

    fn table(&self, last: Option<&CStr>) -> *const c_char {
        if let (Some(last), Some(slot)) = (last, self.pointers.get(self.strings.len())) {
            slot.set(last.as_ptr());
        }
        self.pointers.as_ptr().cast()
    }
}

impl PartialEq for Strings {
    fn eq(&self, other: &Strings) -> bool {
        self.strings == other.strings
    }
}

impl core::fmt::Debug for Strings {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        self.strings.fmt(formatter)
    }
}

/// execve(2), with `last` appended to the environment. Returns only to say why it failed.
pub fn execute(path: &CStr, arguments: &Strings, environment: &Strings, last: Option<&CStr>) -> Error {
    let (arguments, environment) = (arguments.table(None), environment.table(last));
    match syscall!(Call::Execve, libc::SYS_execve, path.as_ptr(), arguments, environment) {
        Ok(_) => Error::new(Call::Execve, Errno::UnknownErrno),
        Err(error) => error,
    }
}

/// execve(2) with the environment of this process. Returns only to say why it failed.
fn execute_with_own(path: &CStr, arguments: &Strings) -> Error {
    let (arguments, environment) = (arguments.table(None), super::memory::environment());
    match syscall!(Call::Execve, libc::SYS_execve, path.as_ptr(), arguments, environment) {
        Ok(_) => Error::new(Call::Execve, Errno::UnknownErrno),
        Err(error) => error,
    }
}

/// execveat(2) of an open file with the caller's environment.
pub fn execute_fd(file: BorrowedFd, arguments: &Strings, environment: &Strings) -> Error {
    let (arguments, environment) = (arguments.table(None), environment.table(None));
    let flags = libc::AT_EMPTY_PATH;
    match syscall!(Call::Execve, libc::SYS_execveat, file.as_raw_fd(), c"".as_ptr(), arguments, environment, flags) {
        Ok(_) => Error::new(Call::Execve, Errno::UnknownErrno),
        Err(error) => error,
    }
}

/// Who a program beside the caller is.
pub struct Credentials<'a> {
    /// Its user namespace.
    pub user_namespace: BorrowedFd<'a>,
    /// In that namespace.
    pub uid: u32,
    /// In that namespace.
    pub gid: u32,
    /// Whether the caller's supplementary groups are dropped.
    pub drops_groups: bool,
}

/// Starts a program beside the caller: with its files and processes, but in another user namespace. Its descriptors are
/// the null device, `output` twice, and `handed` as 3.
pub fn start_beside(
    path: &CStr,
    arguments: &Strings,
    environment: &Strings,
    output: BorrowedFd,
    handed: BorrowedFd,
    credentials: Credentials,
) -> Result<Process> {
    match clone(0, false, None)? {
        Cloned::Parent(process) => Ok(process),
        Cloned::Child => {
            let _ = become_beside(output, handed, credentials).map(|()| execute(path, arguments, environment, None));
            super::exit_now(126)
        }
    }
}

fn become_beside(output: BorrowedFd, handed: BorrowedFd, credentials: Credentials) -> Result<()> {
    use super::{creds, fd};
    // CVE-2016-9962: those who are there already must not trace who comes; execve lifts it.
    creds::set_dumpable(false)?;
    super::namespace::join(credentials.user_namespace, libc::CLONE_NEWUSER)?;
    if credentials.drops_groups {
        creds::set_groups(&[])?;
    }
    creds::set_gid(credentials.gid)?;
    creds::set_uid(credentials.uid)?;
    start_session()?;
    super::signal::reset()?;
    {
        let null = fd::open(c"/dev/null", fd::O_RDWR, 0)?;
        // Above all that is to be replaced.
        let [null, output, handed] =
            [fd::duplicate_above(null.as_fd(), 10), fd::duplicate_above(output, 10), fd::duplicate_above(handed, 10)];
        let (null, output, handed) = (null?, output?, handed?);
        for (number, fd) in [(0, &null), (1, &output), (2, &output), (3, &handed)] {
            fd::dup_to(fd.as_fd(), number)?;
        }
    }
    // Not only marked: the kernel follows links to what is open while it looks for an interpreter.
    fd::close_all_but(4, core::iter::empty)
}

/// How a program is run beside the container's.
pub struct Invocation<'a> {
    /// Absolute path.
    pub path: &'a CStr,
    /// Including argument 0.
    pub arguments: &'a Strings,
    /// The whole environment, but for a last variable; without, it has the caller's.
    pub environment: Option<(&'a Strings, Option<&'a CStr>)>,
    /// Where it begins; without, where the caller is.
    pub directory: Option<BorrowedFd<'a>>,
    /// Its standard input.
    pub input: BorrowedFd<'a>,
    /// Its standard output.
    pub output: BorrowedFd<'a>,
    /// Its standard error.
    pub error: BorrowedFd<'a>,
}

/// Runs a program, and waits for it. It has no other descriptors, and is ended with its process group after `milliseconds`
/// (-1: never).
pub fn run_to_end(invocation: &Invocation, milliseconds: i32) -> Result<Ended> {
    let Process { pid, pidfd } = start_program(invocation)?;
    if !wait_readable(std::os::fd::AsFd::as_fd(&pidfd), milliseconds)? {
        let _ = kill_group(pid, libc::SIGKILL);
        // It may not lead its group yet.
        send_signal(std::os::fd::AsFd::as_fd(&pidfd), libc::SIGKILL)?;
        wait(pid, true)?;
        return Err(Error::new(Call::Wait, Errno::ETIMEDOUT));
    }
    wait(pid, true)?.ok_or(Error::new(Call::Wait, Errno::ECHILD))
}

/// Starts a program, which leads a session of its own, and ends with who has started it.
pub fn start_program(invocation: &Invocation) -> Result<Process> {
    match clone(0, false, None)? {
        Cloned::Parent(process) => Ok(process),
        Cloned::Child => {
            let error = become_program(invocation);
            // As the shell says it.
            super::exit_now(if error.errno == Errno::ENOENT { 127 } else { 126 })
        }
    }
}

fn become_program(invocation: &Invocation) -> Error {
    let Invocation { path, arguments, environment, directory, input, output, error } = *invocation;
    let prepare = || {
        // Whoever waits for it may be killed.
        super::creds::die_with_parent(true)?;
        directory.map_or(Ok(()), super::fd::chdir)?;
        start_session()?;
        super::signal::reset()?;
        super::fd::dup_to(input, 0)?;
        super::fd::dup_to(output, 1)?;
        super::fd::dup_to(error, 2)?;
        // Not only marked: a hook of the image's may lead the kernel by its `#!` line to what is open.
        super::fd::close_all_but(3, core::iter::empty)
    };
    match prepare() {
        Err(error) => error,
        Ok(()) => match environment {
            Some((environment, home)) => execute(path, arguments, environment, home),
            None => execute_with_own(path, arguments),
        },
    }
}
