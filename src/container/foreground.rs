//! What a signal to a command means that waits for the end of a container's process.

use crate::error::{Error, Result, found};
use crate::sys::process::{self, Ended, Process};
use crate::sys::signal;
use std::os::fd::AsFd;

/// Does what a signal to `run` means: the end of a child is looked at, everything else is passed on.
pub fn handle(signal: i32, process: &Process) -> Result<Option<Ended>> {
    let failed = |error| Error::from_call("container", error);
    match signal {
        // As a subreaper, `run` reaps what the container's hooks have left, too.
        signal::SIGCHLD => {
            while let Some((reaped, ended)) = process::reap_any().map_err(failed)? {
                if reaped == process.pid {
                    return Ok(Some(ended));
                }
            }
            Ok(None)
        }
        // Whoever stops and continues this command, as a shell's `fg` does, means this one.
        signal::SIGURG | signal::SIGCONT => Ok(None),
        // The process may have ended since.
        signal => found(process::send_signal(process.pidfd.as_fd(), signal)).map(|_| None).map_err(failed),
    }
}
