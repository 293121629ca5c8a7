//! The end of a container: its process, its hooks, its state.

use super::beside::hooks;
use super::kill;
use super::state::Container;
use super::status::Status;
use crate::error::{Error, Result};
use crate::log::Log;
use crate::sys::{process, signal};
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

/// How long SIGKILL may take; longer, and the process hangs in the kernel.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long the end of a process that was just killed may take: its namespaces are taken down first.
const GRACE: Duration = Duration::from_secs(1);

/// Deletes a container. One that runs is ended first if `force`, or if its program has not begun.
pub fn delete(container: &Container, force: bool, log: &Log) -> Result<()> {
    if container.state.is_none() {
        return delete_stateless(container, force, log);
    }
    let status = match container.status() {
        // Whoever gives --force for what cannot be seen from here has been told so.
        Err(error) if force && container.is_elsewhere()? => {
            log.warn(&ends_no_process(&error));
            Status::Stopped
        }
        status => status?,
    };
    if status == Status::Created && !force {
        // Its maker may be about to start it, as `run -d` does.
        let Some(_lock) = container.directory.wait_for_lock()? else { return Ok(()) };
        let container = container.reload()?;
        return match container.status()? {
            Status::Created => end(&container).and_then(|()| take_down(&container, log)),
            Status::Stopped => take_down(&container, log),
            status => Err(not_stopped(&container, status)),
        };
    }
    match status {
        Status::Stopped => {}
        _ if force => end(container)?,
        status if !ends_by_itself(container)? => return Err(not_stopped(container, status)),
        _ => {}
    }
    let Some(lock) = take(container, force)? else { return Ok(()) };
    let container = container.reload()?;
    // Whoever has the lock is alone, but for one who has come without it.
    if lock.is_some() && !hooks::has_poststop(&container) {
        return finish(&container, log);
    }
    take_down(&container, log)
}

/// Its lock: whoever creates it, or runs it in the foreground, has it until then, and may delete it. By force, it is not waited
/// for a run that does nothing any more but follow the container, and comes to no end, as who is stopped, or prints what nobody
/// reads.
fn take(container: &Container, force: bool) -> Result<Option<Option<OwnedFd>>> {
    let start = Instant::now();
    while force && container.state()?.is_attached {
        match container.directory.lock()? {
            Some(lock) => return Ok(Some(Some(lock))),
            None if !container.directory.is_there()? => return Ok(None),
            None if start.elapsed() < GRACE => std::thread::sleep(Duration::from_millis(10)),
            None if container.reload().is_ok_and(|container| is_only_followed(&container)) => return Ok(Some(None)),
            None => break,
        }
    }
    Ok(container.directory.wait_for_lock()?.map(Some))
}

fn is_only_followed(container: &Container) -> bool {
    let has_begun = container.state.as_ref().is_some_and(|state| !state.is_creating);
    let is_followed = container.state.as_ref().is_some_and(|state| state.is_followed);
    has_begun && (is_followed || !hooks::runs_some_before_its_end(container))
}

fn not_stopped(container: &Container, status: Status) -> Error {
    Error::new(format!("cannot delete container {} that is not stopped: {status}", container.id))
        .remedy(format!("end it with `rootlet kill {} KILL`, or give --force", container.id))
}

/// Deletes what has no state, or a damaged one: nobody knows its process, and whoever has the lock may be it, or its maker.
fn delete_stateless(container: &Container, force: bool, log: &Log) -> Result<()> {
    let start = Instant::now();
    let lock = loop {
        match container.directory.lock()? {
            Some(lock) => break lock,
            None if !container.directory.is_there()? => return Ok(()),
            // A maker that is at it has a state before long.
            None if force && start.elapsed() < GRACE => std::thread::sleep(Duration::from_millis(10)),
            None => {
                return Err(Error::new(format!("cannot delete container {}: it is being created", container.id))
                    .because("a process has the lock of its directory, and there is no state yet that says which")
                    .remedy(format!("wait, or end that process (`fuser {}`)", container.directory.path().display())));
            }
        }
    };
    let container = container.reload()?;
    if container.state.is_some() {
        drop(lock);
        return delete(&container, force, log);
    }
    match container.damage.clone() {
        Some(damage) if force => log.warn(&ends_no_process(&damage)),
        Some(damage) => return Err(damage),
        None => {}
    }
    container.forget()
}

fn ends_no_process(cause: &Error) -> Error {
    Error::new("the state is removed, and no process was ended").because(cause.to_string()).remedy("see `ps`")
}

fn take_down(container: &Container, log: &Log) -> Result<()> {
    let start = Instant::now();
    let _end = loop {
        match container.directory.claim_end()? {
            Some(end) => break end,
            None if !container.directory.is_there()? => return Ok(()),
            None if start.elapsed() < PATIENCE => std::thread::sleep(Duration::from_millis(10)),
            None => {
                return Err(Error::new(format!("container {} is being deleted", container.id))
                    .because("another process runs its last hooks, and one of them takes longer than 10 s")
                    .remedy("try again when they are over; see `ps`"));
            }
        }
    };
    for error in hooks::run_poststop(container) {
        log.warn(&error);
    }
    finish(container, log)
}

fn finish(container: &Container, log: &Log) -> Result<()> {
    container.forget()?;
    container.may_have_left().iter().for_each(|warning| log.warn(warning));
    Ok(())
}

/// True if the container's process is about to end, as after `kill box KILL`.
fn ends_by_itself(container: &Container) -> Result<bool> {
    let Some(pidfd) = container.pidfd()? else { return Ok(true) };
    process::wait_readable(pidfd.as_fd(), GRACE.as_millis() as i32)
        .map_err(|error| Error::from_call("container", error))
}

fn end(container: &Container) -> Result<()> {
    let Some(pidfd) = container.pidfd()? else { return Ok(()) };
    match kill::kill(container, signal::SIGKILL) {
        // It has ended meanwhile.
        Err(_) if container.pidfd()?.is_none() => return Ok(()),
        other => other?,
    }
    match process::wait_readable(pidfd.as_fd(), PATIENCE.as_millis() as i32) {
        Ok(true) => Ok(()),
        Ok(false) => Err(Error::new("the container's process does not end after SIGKILL")
            .because("it hangs in the kernel, or waits for a process of its pid namespace that has ended and is not reaped by its parent, such as pid 1 of an outer container")
            .remedy("see `ps -eo pid,ppid,stat,args`, and `dmesg`; start an outer container with an init that reaps (`docker run --init`)")),
        Err(error) => Err(Error::from_call("container", error)),
    }
}
