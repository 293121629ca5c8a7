//! Steps about programs: the container's own, what it starts with, and hooks.

use super::{nodes, reaper};
use crate::passwd;
use crate::plan::Slots;
use crate::plan::slots::Home;
use crate::sys::fd::{self, Kind, Status};
use crate::sys::process::{self};
use crate::sys::program::{Invocation, Strings};
use crate::sys::{Call, Errno, Error, Result, program, resolve, signal, tty};
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd};

/// What is done for the program, up to becoming it.
#[derive(Debug, PartialEq)]
#[allow(missing_docs)] // the fields are the arguments of the system calls
pub enum ProgramStep {
    /// Runs a hook in the container's namespaces.
    RunHook(Box<Program>),
    /// Opens /dev/null again, in the container, for standard streams that are the host's; `may_stay`: where it has none.
    ReopenNull { may_stay: bool },
    /// Gives standard streams that are pipes, or files to write to, to a user.
    GiveStreams { uid: u32 },
    /// A session of its own, with the pty as its terminal if there is one.
    StartSession { keeps_error: bool },
    /// Makes a directory that is missing, with those above it.
    MakeDirectory { path: CString },
    /// Enters a directory.
    Chdir { path: CString },
    /// Reads HOME from the container's passwd.
    FindHome { uid: u32 },
    /// Finds the program among these paths, in their order.
    FindExecutable { name: CString, candidates: Box<[CString]> },
    /// Goes on as a child of the process, which stays: the first one of a pid namespace, that reaps, passes signals on, ends with it, and has these files locked.
    LeaveInit { locks: Box<[CString]> },
    /// What a new program expects of signals: none blocked, none ignored.
    ResetSignals,
    /// Becomes the program.
    Execute { candidates: Box<[CString]>, arguments: Strings, environment: Strings },
}

impl ProgramStep {
    /// Does the step.
    pub fn run(&self, slots: &mut Slots) -> Result<()> {
        match self {
            ProgramStep::RunHook(program) => run_hook(program, slots),
            ProgramStep::ReopenNull { may_stay } => nodes::reopen_null(slots.root()?, *may_stay),
            ProgramStep::GiveStreams { uid } => (0..3).try_for_each(|number| fd::give(fd::borrow(number), *uid)),
            ProgramStep::StartSession { keeps_error } => {
                process::start_session()?;
                let Some(terminal) = &slots.terminal else { return Ok(()) };
                tty::take_control(terminal.as_fd())?;
                let streams = if *keeps_error { 2 } else { 3 };
                (0..streams).try_for_each(|number| fd::dup_to(terminal.as_fd(), number))
            }
            ProgramStep::MakeDirectory { path } => {
                resolve::make_in_root(slots.root()?, path, Kind::Directory).map(drop)
            }
            ProgramStep::Chdir { path } => {
                // CVE-2024-21626: a directory outside the root, reached by /proc/self/fd/N, is never entered.
                let directory = resolve::open_in_root(slots.root()?, path, fd::O_PATH | fd::O_DIRECTORY)?;
                fd::chdir(directory.as_fd())
            }
            ProgramStep::FindHome { uid } => {
                slots.home = Some(find_home(*uid, slots.root()?)?);
                Ok(())
            }
            ProgramStep::FindExecutable { candidates, .. } => {
                slots.executable = find_executable(candidates)?;
                Ok(())
            }
            ProgramStep::LeaveInit { locks } => reaper::leave(locks),
            ProgramStep::ResetSignals => signal::reset(),
            ProgramStep::Execute { candidates, arguments, environment } => {
                let home = slots.home.as_ref().and_then(Home::as_cstr);
                let path = candidates.get(slots.executable).ok_or(Error::new(Call::Execve, Errno::ENOENT))?;
                Err(program::execute(path, arguments, environment, home))
            }
        }
    }
}

/// A program to run beside the container's.
#[derive(Debug, PartialEq)]
pub struct Program {
    /// Absolute path.
    pub path: CString,
    /// Arguments, of which the first is argument 0.
    pub arguments: Strings,
    /// The whole environment; `None`: the runtime's own.
    pub environment: Option<Strings>,
    /// Whether HOME is added to it, if it was found.
    pub takes_home: bool,
    /// Milliseconds, or -1.
    pub timeout: i32,
    /// The state on its standard input, up to its pid and from there on.
    pub input: (CString, CString),
}

/// Runs a hook in the container's namespaces, with the state on its standard input.
fn run_hook(hook: &Program, slots: &mut Slots) -> Result<()> {
    let input = fd::memory_file(c"state")?;
    fd::write(input.as_fd(), hook.input.0.to_bytes())?;
    fd::write(input.as_fd(), fd::Name::of_number(process::own_pid()).as_cstr().to_bytes())?;
    fd::write(input.as_fd(), hook.input.1.to_bytes())?;
    fd::rewind(input.as_fd())?;
    let output = slots.hook_output.as_ref().map_or(fd::borrow(2), AsFd::as_fd);
    let home = slots.home.as_ref().filter(|_| hook.takes_home).and_then(Home::as_cstr);
    let invocation = Invocation {
        path: &hook.path,
        arguments: &hook.arguments,
        environment: hook.environment.as_ref().map(|environment| (environment, home)),
        // Before the root is entered, it is where hooks begin; later, they begin where the program does.
        directory: slots.root.as_ref().map(AsFd::as_fd),
        input: input.as_fd(),
        output,
        error: output,
    };
    let ended = program::run_to_end(&invocation, hook.timeout)?.code();
    if ended == 0 {
        return Ok(());
    }
    slots.hook_status = ended as u16;
    // It has ended, and not well.
    Err(Error::new(Call::Wait, Errno::ECHILD))
}

/// An /etc/passwd is not read further than that.
const LARGEST_PASSWD: usize = 4 << 20;

/// The home directory of `uid` in /etc/passwd, read piece by piece through a fixed buffer; `/` if there is none.
fn find_home(uid: u32, root: BorrowedFd) -> Result<Home> {
    let mut text = *b"HOME=/\0";
    let mut home = Home([0; 512]);
    let mut set = |parts: [&[u8]; 2]| {
        home.0 = [0; 512];
        for (slot, byte) in home.0.iter_mut().take(511).zip(parts.iter().flat_map(|part| part.iter())) {
            *slot = *byte;
        }
    };
    set([&mut text, b""]);
    // What is no file, or is missing, names nobody.
    let file = match resolve::open_file_in_root(root, c"/etc/passwd") {
        Err(Error { errno: Errno::EACCES | Errno::EINVAL | Errno::ELOOP | Errno::ENOENT | Errno::ENOTDIR, .. }) => None,
        other => Some(other?),
    };
    let mut left = LARGEST_PASSWD;
    let mut buffer = [0u8; 2048];
    let mut line = [0u8; 1024];
    let mut length = 0;
    'file: while let Some(file) = &file {
        let count = fd::read(file.as_fd(), &mut buffer)?;
        // The last line may lack its end.
        let bytes = if count == 0 { b"\n" } else { buffer.get(..count).unwrap_or_default() };
        for byte in bytes {
            if *byte != b'\n' {
                if let Some(slot) = line.get_mut(length) {
                    *slot = *byte;
                }
                length += 1;
                continue;
            }
            let user = passwd::User::of(line.get(..length).unwrap_or_default());
            length = 0;
            if user.uid == Some(uid) {
                if !user.home.is_empty() && user.home.len() < 500 {
                    set([b"HOME=", user.home]);
                }
                break 'file;
            }
        }
        left = left.saturating_sub(count);
        if count == 0 || left == 0 {
            break;
        }
    }
    Ok(home)
}

/// The first candidate that may be executed, or the most telling error: one that exists but may not be run over ENOENT.
fn find_executable(candidates: &[CString]) -> Result<usize> {
    let mut error = Error::new(Call::Access, Errno::ENOENT);
    for (index, candidate) in candidates.iter().enumerate() {
        match check_executable(candidate) {
            Ok(()) => return Ok(index),
            Err(other) if matches!(other.errno, Errno::ENOENT | Errno::ENOTDIR) => {}
            Err(other @ Error { errno: Errno::ELOOP, .. }) => error = other,
            Err(other) => error = Error::new(Call::Access, other.errno),
        }
    }
    Err(error)
}

fn check_executable(path: &CStr) -> Result<()> {
    let file = resolve::open_program(path)?;
    let status: Status = fd::status(file.as_fd())?;
    if status.kind() == Kind::Directory {
        return Err(Error::new(Call::Access, Errno::EISDIR));
    }
    if !status.is_regular() {
        return Err(Error::new(Call::Access, Errno::EACCES));
    }
    match fd::check_executable(file.as_fd()) {
        // A filter that hides this call: execve will say it.
        Err(Error { errno: Errno::EPERM | Errno::ENOSYS, .. }) => Ok(()),
        other => other,
    }
}
