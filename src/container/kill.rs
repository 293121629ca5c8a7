//! Signals to a container.

use super::processes::{is_one_of, processes};
use super::state::{Container, Status};
use crate::cgroup::tree;
use crate::error::{Error, Result};
use crate::sys::{Errno, process, signal};
use std::os::fd::AsFd;

/// Sends a signal to the first process.
pub fn kill(container: &Container, signal: i32) -> Result<()> {
    let pidfd = match container.status() {
        Status::Stopped => None,
        _ => container.pidfd()?,
    };
    let Some(pidfd) = pidfd else { return Err(not_running()) };
    send(pidfd.as_fd(), signal)
}

fn send(pidfd: std::os::fd::BorrowedFd, signal: i32) -> Result<()> {
    process::send_signal(pidfd, signal).map_err(|error| match error.errno {
        Errno::ESRCH => not_running(),
        _ => Error::from_call("container", error),
    })
}

/// What is said of a container whose first process has ended.
pub fn not_running() -> Error {
    Error::new("container not running").remedy("see `rootlet list`")
}

/// Sends a signal to every process of the container.
pub fn kill_all(container: &Container, signal: i32) -> Result<()> {
    let state = container.state()?;
    if let (Some(cgroup), signal::SIGKILL) = (&state.cgroup, signal) {
        return cgroup.path().map_or(Ok(()), tree::kill);
    }
    if container.status() == Status::Stopped && state.cgroup.is_none() {
        // With their first process, all others of a pid namespace are gone.
        return if state.has_own_pids { Ok(()) } else { Err(not_running()) };
    }
    let remedy = || format!("signal its first process: `rootlet kill {}`", container.id);
    for pid in processes(container).map_err(|error| error.remedy(remedy()))? {
        let Ok(pidfd) = process::open_pidfd(pid) else { continue };
        // Looked at again behind the pidfd: the pid may have been reused.
        if is_one_of(container, pid) {
            match send(pidfd.as_fd(), signal) {
                Err(error) if error.message != not_running().message => return Err(error),
                _ => {}
            }
        }
    }
    Ok(())
}
