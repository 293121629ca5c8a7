//! Steps about programs: hooks, the home directory, and finding the container's own.

use super::slots::{Home, Slots};
use crate::sys::fd::{self, Kind, Status};
use crate::sys::process::{self, Invocation, Strings};
use crate::sys::{Call, Errno, Error, Result, resolve};
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd};

/// A program to run beside the container's.
#[derive(Debug, PartialEq)]
pub struct Program {
    /// Absolute path.
    pub path: CString,
    /// Including argument 0.
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
pub fn run_hook(program: &Program, slots: &mut Slots) -> Result<()> {
    let input = fd::memory_file(c"state")?;
    fd::write(input.as_fd(), program.input.0.to_bytes())?;
    fd::write(input.as_fd(), fd::Name::of_number(process::own_pid()).as_cstr().to_bytes())?;
    fd::write(input.as_fd(), program.input.1.to_bytes())?;
    fd::rewind(input.as_fd())?;
    let output = slots.hook_output.as_ref().map_or(fd::borrow(2), AsFd::as_fd);
    let home = slots.home.as_ref().filter(|_| program.takes_home).and_then(Home::as_cstr);
    let invocation = Invocation {
        path: &program.path,
        arguments: &program.arguments,
        environment: program.environment.as_ref().map(|environment| (environment, home)),
        // Before the root is entered, it is where hooks begin; later, they begin where the program does.
        directory: slots.root.as_ref().map(AsFd::as_fd),
        input: input.as_fd(),
        output,
        error: output,
    };
    let ended = process::run_to_end(&invocation, program.timeout)?.code();
    if ended == 0 {
        return Ok(());
    }
    slots.hook_status = ended as u16;
    Err(Error::new(Call::HookExit, Errno::ECHILD))
}

/// An /etc/passwd is not read further than that.
const LARGEST_PASSWD: usize = 4 << 20;

/// The home directory of `uid` in /etc/passwd, read piece by piece through a fixed buffer; `/` if there is none.
pub fn find_home(uid: u32, root: BorrowedFd) -> Result<Home> {
    let mut text = *b"HOME=/\0";
    let mut home = Home([0; 512]);
    let mut set = |parts: [&[u8]; 2]| {
        home.0 = [0; 512];
        for (place, byte) in home.0.iter_mut().take(511).zip(parts.iter().flat_map(|part| part.iter())) {
            *place = *byte;
        }
    };
    set([&mut text, b""]);
    // What is no file, or is missing, names nobody.
    let passwd = match resolve::open_file_in_root(root, c"/etc/passwd") {
        Err(Error { errno: Errno::EACCES | Errno::EINVAL | Errno::ELOOP | Errno::ENOENT | Errno::ENOTDIR, .. }) => None,
        other => Some(other?),
    };
    let mut left = LARGEST_PASSWD;
    let mut buffer = [0u8; 2048];
    let mut line = [0u8; 1024];
    let mut length = 0;
    'file: while let Some(passwd) = &passwd {
        let count = fd::read(passwd.as_fd(), &mut buffer)?;
        // The last line may lack its end.
        let bytes = if count == 0 { b"\n" } else { buffer.get(..count).unwrap_or_default() };
        for byte in bytes {
            if *byte != b'\n' {
                if let Some(place) = line.get_mut(length) {
                    *place = *byte;
                }
                length += 1;
                continue;
            }
            // passwd(5): name:password:uid:gid:comment:home:shell
            let mut fields = line.get(..length).unwrap_or_default().split(|byte| *byte == b':');
            length = 0;
            let number =
                fields.nth(2).and_then(|field| str::from_utf8(field).ok()).and_then(|field| field.parse::<u32>().ok());
            if let (true, Some(directory)) = (number == Some(uid), fields.nth(2)) {
                if !directory.is_empty() && directory.len() < 500 {
                    set([b"HOME=", directory]);
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
pub fn find_executable(candidates: &[CString]) -> Result<usize> {
    let mut error = Error::new(Call::Lookup, Errno::ENOENT);
    for (index, candidate) in candidates.iter().enumerate() {
        match check_executable(candidate) {
            Ok(()) => return Ok(index),
            Err(other) if matches!(other.errno, Errno::ENOENT | Errno::ENOTDIR) => {}
            Err(other @ Error { errno: Errno::ELOOP, .. }) => error = other,
            Err(other) => error = Error::new(Call::Lookup, other.errno),
        }
    }
    Err(error)
}

fn check_executable(path: &CStr) -> Result<()> {
    let file = resolve::open_program(path)?;
    let status: Status = fd::status(file.as_fd())?;
    if status.kind() == Kind::Directory {
        return Err(Error::new(Call::Lookup, Errno::EISDIR));
    }
    if !status.is_regular() {
        return Err(Error::new(Call::Lookup, Errno::EACCES));
    }
    match fd::check_executable(file.as_fd()) {
        // A filter that hides this call: execve will say it.
        Err(Error { errno: Errno::EPERM | Errno::ENOSYS, .. }) => Ok(()),
        other => other,
    }
}
