//! `pause` and `resume`: by the cgroup's freezer, or without one by stopping each process.

use super::processes::{Members, processes};
use super::state::identity::{is_exiting, is_stopped};
use super::state::{Container, not_running};
use super::status::Status;
use crate::cgroup::tree;
use crate::error::{Error, Result, found};
use crate::log::Log;
use crate::sys::{process, signal};
use std::os::fd::AsFd;
use std::time::Duration;

/// Stops all processes of a container.
pub fn pause(container: &mut Container) -> Result<()> {
    let _turn = container.directory.take_turn()?;
    let _held = signal::Held::new().map_err(|error| Error::from_call("signals", error))?;
    match container.status()? {
        Status::Running | Status::Created => {}
        // Who paused it may have been killed before all were stopped.
        Status::Paused if container.state()?.is_suspended && !are_all_stopped(&processes(container)?)? => {}
        Status::Paused => {
            return Err(Error::new("container is paused already").remedy(format!("`rootlet resume {}`", container.id)));
        }
        Status::Creating => return Err(Error::new("the container is being created").remedy("wait until it is created")),
        Status::Stopped => return Err(not_running()),
    }
    match container.state()?.cgroup.clone() {
        Some(cgroup) => {
            let path = cgroup.require()?;
            if !tree::processes(path)?.contains(&container.state()?.pid) {
                if is_exiting(container.state()?.pid)? {
                    return Err(Error::new("the container is ending")
                        .because("its first process has been killed, and waits for one of its pid namespace that its parent has not reaped")
                        .remedy("see `ps -eo pid,ppid,stat,args`"));
                }
                return Err(Error::new("the container's first process is not in its cgroup")
                    .because(format!(
                        "somebody has moved it out of {}, which would be frozen without it",
                        path.display()
                    ))
                    .remedy("move it back: write its pid into cgroup.procs there"));
            }
            unless_ended(container, tree::freeze(path))
        }
        None => suspend(container),
    }
}

/// Lets the processes of a paused container go on.
pub fn resume(container: &mut Container, log: &Log) -> Result<()> {
    let _turn = container.directory.take_turn()?;
    let _held = signal::Held::new().map_err(|error| Error::from_call("signals", error))?;
    match container.status()? {
        Status::Paused => {}
        Status::Stopped => return Err(not_running()),
        // Who paused or resumed it was killed half-way.
        Status::Running | Status::Created if container.state()?.is_suspended => {}
        _ => return Err(Error::new("container not paused").remedy("see `rootlet list`")),
    }
    match container.state()?.cgroup.clone() {
        Some(cgroup) => {
            let path = cgroup.require()?;
            unless_ended(container, tree::thaw(path))?;
            if let Some(frozen) = tree::find_frozen(path, path)? {
                log.warn(
                    &Error::new(format!(
                        "the container does not go on: cgroup {}, in which it is, is frozen",
                        frozen.display()
                    ))
                    .remedy("write 0 to cgroup.freeze there"),
                );
            }
            Ok(())
        }
        None => {
            send_to_all(&Members::of(container)?, signal::SIGCONT)?;
            mark(container, false)
        }
    }
}

/// What failed is not worth a word if the container has ended meanwhile.
fn unless_ended(container: &Container, done: Result<()>) -> Result<()> {
    match done {
        Err(_) if container.pidfd()?.is_none() => Err(not_running()),
        other => other,
    }
}

/// Stops every process of the pid namespace, or none.
fn suspend(container: &mut Container) -> Result<()> {
    // Before anything is changed: there may be no telling which they are.
    processes(container)?;
    mark(container, true)?;
    let members = Members::of(container)?;
    let stopped = stop_all(&members).inspect_err(|_| drop(send_to_all(&members, signal::SIGCONT)));
    drop(members);
    stopped.inspect_err(|_| drop(mark(container, false)))
}

/// How often all must be found stopped: one that was missed in the list may wake the others.
const LOOKS: usize = 5;

/// Sends a signal while all are stopped, and lets them go on.
pub fn send_to_stopped(container: &Container, signal: i32) -> Result<()> {
    let members = Members::of(container)?;
    let sent = stop_all(&members).and_then(|()| send_to_all(&members, signal));
    send_to_all(&members, signal::SIGCONT).and(sent).map(drop)
}

/// Sends SIGSTOP until all are stopped: one that is about to fork would leave a running child.
fn stop_all(members: &Members) -> Result<()> {
    let mut looks = 0;
    for _ in 0..1000 {
        let pids = if looks == 0 { send_to_all(members, signal::SIGSTOP)? } else { members.list()? };
        looks = if are_all_stopped(&pids)? && members.list()? == pids { looks + 1 } else { 0 };
        if looks == LOOKS {
            return Ok(());
        }
        // No event tells when a process of somebody else's stops.
        std::thread::sleep(Duration::from_millis(1));
    }
    Err(Error::new("the container's processes do not stop")
        .because("one of them hangs in the kernel (as who waits for its vfork does), is traced, or is about to end, or they wake each other, or fork faster than they can be stopped")
        .remedy("start it with a cgroup of its own, which is frozen as a whole"))
}

fn are_all_stopped(pids: &[i32]) -> Result<bool> {
    pids.iter().try_fold(true, |all, pid| Ok(all && is_stopped(*pid)?.unwrap_or(true)))
}

/// To the first process last: as long as that has not got it, the container is what it was, and this can be done again.
fn send_to_all(members: &Members, signal: i32) -> Result<Vec<i32>> {
    let pids = members.list()?;
    let first = members.first()?;
    let (own, others): (Vec<i32>, Vec<i32>) = pids.iter().partition(|pid| **pid == first);
    for pid in others.iter().chain(&own) {
        let Some(pidfd) = members.find(*pid)? else { continue };
        // It may have ended since.
        found(process::send_signal(pidfd.as_fd(), signal)).map_err(|error| Error::from_call("container", error))?;
    }
    Ok(pids)
}

fn mark(container: &mut Container, is_suspended: bool) -> Result<()> {
    // A foreground run holds the lock to its end, and does not write the state meanwhile.
    let _lock = match container.state()?.is_attached {
        true => None,
        false => Some(container.directory.wait_for_lock()?.ok_or_else(not_running)?),
    };
    *container = container.reload()?;
    if container.state.is_none() {
        return Err(not_running());
    }
    container.change(|state| state.is_suspended = is_suspended)
}
