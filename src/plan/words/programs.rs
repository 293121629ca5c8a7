//! The words of steps about programs.

use super::Advice;
use crate::error::{Error, Program};
use crate::plan::step::ProgramStep;
use crate::sys::{self, Call, Errno};
use std::ffi::CStr;
use std::fmt;

impl fmt::Display for ProgramStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ProgramStep::RunHook(program) => write!(f, "run hook {}", program.path.to_string_lossy()),
            ProgramStep::ReopenNull { .. } => f.write_str("open /dev/null again where it is a standard stream"),
            ProgramStep::GiveStreams { uid } => write!(f, "give pipes of standard streams to {uid}"),
            ProgramStep::StartSession { keeps_error: true } => {
                f.write_str("start a session, and leave standard error as it is")
            }
            ProgramStep::StartSession { .. } => f.write_str("start a session"),
            ProgramStep::MakeDirectory { path } => write!(f, "make directory {}", path.to_string_lossy()),
            ProgramStep::Chdir { path } => write!(f, "enter {}", path.to_string_lossy()),
            ProgramStep::FindHome { uid } => write!(f, "read HOME of uid {uid} from /etc/passwd"),
            ProgramStep::FindExecutable { name, .. } => write!(f, "find {}", name.to_string_lossy()),
            ProgramStep::LeaveInit { locks } => {
                f.write_str("leave a first process that reaps")?;
                locks.iter().try_for_each(|path| write!(f, ", with {} locked", path.to_string_lossy()))?;
                f.write_str(", and go on as its child")
            }
            ProgramStep::ResetSignals => f.write_str("reset signals"),
            ProgramStep::Execute { arguments, .. } => write!(f, "execute {arguments:?}"),
        }
    }
}

impl ProgramStep {
    pub(super) fn subject(&self) -> Option<&CStr> {
        match self {
            ProgramStep::MakeDirectory { path } | ProgramStep::Chdir { path } => Some(path),
            ProgramStep::RunHook(_)
            | ProgramStep::ReopenNull { .. }
            | ProgramStep::GiveStreams { .. }
            | ProgramStep::StartSession { .. }
            | ProgramStep::FindHome { .. }
            | ProgramStep::FindExecutable { .. }
            | ProgramStep::LeaveInit { .. }
            | ProgramStep::ResetSignals
            | ProgramStep::Execute { .. } => None,
        }
    }

    pub(super) fn advise(&self, sys::Error { call, errno, .. }: sys::Error) -> Option<Advice> {
        Some(match (self, call, errno) {
            (ProgramStep::MakeDirectory { .. } | ProgramStep::Chdir { .. }, _, Errno::ELOOP) => (
                "the directory is a link of procfs to something outside the container (CVE-2024-21626)",
                "write a plain path in process.cwd",
            ),
            (ProgramStep::Chdir { .. }, _, Errno::ENOENT) => {
                ("there is no such directory in the container", "make it, or correct --cwd")
            }
            (ProgramStep::MakeDirectory { .. } | ProgramStep::Chdir { .. }, _, Errno::ENOTDIR) => {
                ("it is not a directory", "correct process.cwd")
            }
            (ProgramStep::ReopenNull { .. }, Call::Mknod, Errno::EPERM) => (
                "a standard stream is the host's null device, whose mode the container's root could change; the container has no /dev/null in its place, and a user namespace makes none",
                "put /dev/null into the container (linux.devices has it by default), or give another standard stream",
            ),
            (ProgramStep::MakeDirectory { .. }, Call::Mkdir, _) => (
                "it is missing and cannot be made",
                "make the directory in the root file system, or correct process.cwd",
            ),
            (
                ProgramStep::RunHook(_)
                | ProgramStep::ReopenNull { .. }
                | ProgramStep::GiveStreams { .. }
                | ProgramStep::StartSession { .. }
                | ProgramStep::MakeDirectory { .. }
                | ProgramStep::Chdir { .. }
                | ProgramStep::FindHome { .. }
                | ProgramStep::FindExecutable { .. }
                | ProgramStep::LeaveInit { .. }
                | ProgramStep::ResetSignals
                | ProgramStep::Execute { .. },
                ..,
            ) => return None,
        })
    }

    /// The whole message, but for the property: failures of the user's own programs. Those of the container's are in the words
    /// that engines look for.
    pub(super) fn explain(&self, error: sys::Error) -> Option<Error> {
        match self {
            ProgramStep::FindExecutable { name, .. } => Some(judge_program(&name.to_string_lossy(), error)),
            ProgramStep::Execute { arguments, .. } => {
                Some(judge_program(&arguments.as_slice().first()?.to_string_lossy(), error))
            }
            ProgramStep::RunHook(hook) => {
                let path = hook.path.to_string_lossy();
                match (error.call, error.errno) {
                    (Call::Wait, Errno::ECHILD) => Some(Error::new(format!("hook {path} failed"))),
                    (Call::Wait, Errno::ETIMEDOUT) => Some(Error::new(format!(
                        "hook {path} took longer than {} s and was ended",
                        hook.timeout / 1000
                    ))),
                    _ => None,
                }
            }
            _ => None,
        }
    }
}

fn judge_program(name: &str, error: sys::Error) -> Error {
    let program = match error.errno {
        Errno::ENOENT if error.call == Call::Access => Program::Missing,
        _ => Program::Unusable,
    };
    Error { program: Some(program), ..explain_program(name, error) }
}

fn explain_program(name: &str, error: sys::Error) -> Error {
    match (error.call, error.errno) {
        (Call::Access, Errno::ENOENT) if name.contains(' ') => {
            Error::new(format!("exec: {name:?}: executable file not found in $PATH"))
                .because("the whole text is taken for the name of one program")
                .remedy("write each word as an argument of its own, or give the text to a shell: sh -c")
        }
        (Call::Access, Errno::ENOENT) if !name.contains('/') => {
            Error::new(format!("exec: {name:?}: executable file not found in $PATH"))
                .because("none of the directories of PATH in process.env has it in the container")
                .remedy("correct process.args, set PATH in process.env, or put the program into the root file system")
        }
        (Call::Access, Errno::ENOENT) => Error::new(format!("exec: {name:?}: stat {name}: no such file or directory"))
            .because("the container has no such program")
            .remedy("correct process.args, or put the program into the root file system"),
        (Call::Openat2, Errno::ELOOP) => Error::new(format!("exec: {name:?}: its path leads by a link of procfs, or by links in a circle"))
            .because("a link of procfs could lead out of the container (CVE-2024-21626)")
            .remedy("write the program's own path in process.args"),
        (Call::Access | Call::Open, Errno::EACCES) => Error::new(format!("exec: {name:?}: permission denied"))
            .because("process.user may not execute the file, or a directory on its path may not be searched, or it lies on a noexec mount")
            .remedy("chmod a+x it in the root file system; if that is on a noexec mount (`findmnt -T` it), put it elsewhere, or as root: mount -o remount,exec"),
        (Call::Access, Errno::EISDIR) => Error::new(format!("exec: {name:?}: is a directory"))
            .because("only a file can be executed")
            .remedy("name a program in it, in process.args"),
        (Call::Execve, Errno::E2BIG) => Error::new(format!("exec: {name:?}: argument list too long"))
            .because("execve(2) takes 128 KiB of one string, and of all a quarter of the stack's limit")
            .remedy("shorten process.args and process.env, or hand a file over"),
        (_, Errno::ENOENT) => Error::new(format!("exec: {name:?}: no such file or directory"))
            .because("the program exists, but not the interpreter or dynamic loader that it names")
            .remedy("put the loader (see `ldd` or the #! line) into the root file system, or use a static program"),
        (_, Errno::ENOEXEC) => Error::new(format!("exec: {name:?}: exec format error"))
            .because("the file is neither a program for this machine nor a script with a #! line")
            .remedy("see `file` of it, and `uname -m`"),
        (_, Errno::EACCES) => Error::new(format!("exec: {name:?}: permission denied")),
        (call, errno) => Error { errno: Some(errno), ..Error::new(format!("exec: {name:?}: {}", call.name())) },
    }
}
