//! The end of a container: its process, its hooks, its state.

use super::root::{lock, wait_for_lock};
use super::state::{Container, Status};
use super::{hooks, kill};
use crate::error::{Error, Result};
use crate::log::Log;
use crate::sys::{process, signal};
use std::os::fd::AsFd;

/// How long SIGKILL may take; longer, and the process hangs in the kernel.
const PATIENCE_MILLISECONDS: i32 = 10_000;

/// How long the end of a process that was just killed may take: its namespaces are taken down first.
const GRACE_MILLISECONDS: i32 = 1000;

/// Deletes a container. One that runs is ended first if `force`, or if its program has not begun.
pub fn delete(container: &Container, force: bool, log: &Log) -> Result<()> {
    let status = container.status();
    match status {
        Status::Running | Status::Paused | Status::Creating if !force && !ends_by_itself(container)? => {
            return Err(Error::new(format!("cannot delete container {} that is not stopped: {status}", container.id))
                .remedy(format!("end it with `rootlet kill {} KILL`, or give --force", container.id)));
        }
        Status::Running | Status::Paused | Status::Creating if !force => {}
        Status::Running | Status::Paused | Status::Creating | Status::Created => end(container)?,
        Status::Stopped => {}
    }
    if container.state.is_none() {
        // Nobody knows its process: whoever still has the lock may be it, or its maker.
        let _lock = lock(&container.directory)?.ok_or_else(|| {
            Error::new(format!(
                "cannot delete container {}: a process still holds it, and its state does not say which",
                container.id
            ))
            .remedy(format!("end that process first (`fuser {}`)", container.directory.display()))
        })?;
        return container.forget();
    }
    // Whoever creates it, or runs it in the foreground, has it until then, and may delete it.
    let Some(_lock) = wait_for_lock(&container.directory)? else { return Ok(()) };
    for error in hooks::run_poststop(container) {
        log.warn(&error);
    }
    container.forget()
}

/// True if the container's process is about to end, as after `kill box KILL`.
fn ends_by_itself(container: &Container) -> Result<bool> {
    let Some(pidfd) = container.pidfd()? else { return Ok(true) };
    process::wait_readable(pidfd.as_fd(), GRACE_MILLISECONDS).map_err(|error| Error::from_call("container", error))
}

fn end(container: &Container) -> Result<()> {
    let Some(pidfd) = container.pidfd()? else { return Ok(()) };
    let _ = kill::kill(container, signal::SIGKILL);
    match process::wait_readable(pidfd.as_fd(), PATIENCE_MILLISECONDS) {
        Ok(true) => Ok(()),
        Ok(false) => Err(Error::new("the container's process does not end after SIGKILL")
            .because("it hangs in the kernel")
            .remedy("see `dmesg`")),
        Err(error) => Err(Error::from_call("container", error)),
    }
}
