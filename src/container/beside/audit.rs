//! `--seccomp-audit`: who is asked about every system call, lets the kernel do it, and writes down which there were.

use crate::error::{Error, Result};
use crate::seccomp::{ARCHITECTURES, Architecture};
use crate::sys::notification::{self, Answer, Asked};
use crate::sys::{self, Call, Errno, creds, fd, process, signal};
use serde_json::json;
use std::collections::BTreeSet;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

/// Used by every program that is stopped and goes on, and not always asked about; and what the filter does not ask about.
const ALWAYS: [&str; 7] = ["clone", "clone3", "fork", "recvmsg", "restart_syscall", "sendmsg", "vfork"];

/// Starts it for a filter that was just installed. It ends with the last process that has the filter, and then the file is written. Its pid.
pub fn answer(listener: OwnedFd, output: &OwnedFd) -> Result<i32> {
    let failed = |error| Error::from_call("the process that writes system calls down", error);
    let output = std::fs::File::from(fd::duplicate_above(output.as_fd(), 3).map_err(failed)?);
    match process::fork().map_err(failed)? {
        Some(pid) => Ok(pid),
        None => {
            let done = write_down(&listener, output);
            sys::exit_now(done.err().map_or(0, |error| error.errno as i32))
        }
    }
}

fn write_down(listener: &OwnedFd, mut output: std::fs::File) -> sys::Result<()> {
    use std::io::Write;
    signal::block_all()?;
    creds::set_name(c"rootlet-audit")?;
    process::start_session()?;
    fd::close_all_but(0, || [listener.as_raw_fd(), output.as_raw_fd()].into_iter())?;
    notification::hurry(listener.as_fd());
    let mut calls = BTreeSet::new();
    let mut is_program = false;
    while notification::wait(listener.as_fd())? {
        let Some(asked) = notification::receive(listener.as_fd())? else { continue };
        // What comes before its execve is rootlet's own.
        is_program |= name(&asked).is_some_and(|name| name.starts_with("execve"));
        if is_program {
            calls.insert((asked.architecture, asked.number));
        }
        notification::answer(listener.as_fd(), asked.id, Answer::Kernels)?;
    }
    let written = output.write_all(profile(&calls).as_bytes());
    written.map_err(|error| sys::Error::new(Call::Write, Errno::from_raw(error.raw_os_error().unwrap_or(0))))
}

fn name(asked: &Asked) -> Option<&'static str> {
    find(asked.architecture, asked.number)
}

fn find(audit: u32, number: u32) -> Option<&'static str> {
    let mut family = Architecture::family().iter().filter(|architecture| architecture.audit() == audit);
    family
        .find_map(|architecture| architecture.system_calls().find(|(known, _)| *known == number))
        .map(|(_, name)| name)
}

/// As config.json has it in linux.seccomp.
fn profile(calls: &BTreeSet<(u32, u32)>) -> String {
    let mut names: BTreeSet<&str> = calls.iter().filter_map(|(audit, number)| find(*audit, *number)).collect();
    names.extend(ALWAYS);
    let used = |architecture: &Architecture| {
        let has = |number| architecture.system_calls().any(|(known, _)| known == number);
        architecture.runs_here() && calls.iter().any(|(audit, number)| *audit == architecture.audit() && has(*number))
    };
    let architectures = ARCHITECTURES.iter().filter(|(_, architecture)| architecture.as_ref().is_some_and(used));
    let document = json!({
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": 1,
        "architectures": architectures.map(|(name, _)| *name).collect::<Vec<_>>(),
        "syscalls": [{ "names": names, "action": "SCMP_ACT_ALLOW" }],
    });
    format!("{document:#}\n")
}
