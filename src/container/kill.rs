//! Signals to a container.

use super::processes::Members;
use super::state::directory::{SIGNALLED, START};
use super::state::{Container, not_running};
use super::status::Status;
use super::{entrance, pause};
use crate::cgroup::tree;
use crate::error::{Error, Result, found};
use crate::sys::{Errno, fd, process, signal};
use std::collections::BTreeSet;
use std::os::fd::AsFd;

/// Sends a signal to the first process. Where others do not end with it, SIGKILL is for all of its cgroup, as in runc.
pub fn kill(container: &Container, signal: i32) -> Result<()> {
    let status = container.status()?;
    let pidfd = match status {
        Status::Stopped => None,
        _ => container.pidfd()?,
    };
    let Some(pidfd) = pidfd else { return end_the_rest(container, signal) };
    let failed = |error| Error::from_call("container", error);
    // Its program has not begun, and nothing handles the signal: then the kernel keeps it from the first process of a pid
    // namespace (pid_namespaces(7)).
    let is_waiting = container.directory.has(START)? && entrance::is_waiting(container)?;
    let signal = match is_waiting {
        true if signal::ends_by_default(signal) => signal::SIGKILL,
        _ => signal,
    };
    let state = container.state()?;
    check_pause(container, status, signal)?;
    process::send_signal(pidfd.as_fd(), signal).map_err(|error| match error.errno {
        Errno::ESRCH => not_running(),
        _ => failed(error),
    })?;
    match &state.cgroup {
        Some(cgroup) if signal == signal::SIGKILL && !state.has_own_pids => cgroup.kill(),
        _ => Ok(()),
    }
}

/// Refuses what would end a pause in silence.
fn check_pause(container: &Container, status: Status, signal: i32) -> Result<()> {
    if signal == signal::SIGCONT && status == Status::Paused && container.state()?.is_suspended {
        return Err(Error::new("SIGCONT would end the pause of its processes")
            .because("without a cgroup, a container is paused by SIGSTOP")
            .remedy(format!("`rootlet resume {}`", container.id)));
    }
    Ok(())
}

/// Of a container without a pid namespace of its own, others may be left when its first process has ended.
fn end_the_rest(container: &Container, signal: i32) -> Result<()> {
    let state = container.state()?;
    let Some(cgroup) = state.cgroup.as_ref().filter(|_| signal == signal::SIGKILL && !state.has_own_pids) else {
        return Err(not_running());
    };
    match cgroup.path()? {
        Some(path) if !tree::processes(path)?.is_empty() => cgroup.kill(),
        _ => Err(not_running()),
    }
}

/// Sends a signal to every process of the container.
pub fn kill_all(container: &Container, signal: i32) -> Result<()> {
    let state = container.state()?;
    match (&state.cgroup, signal) {
        // All of its pid namespace ends with the first one; what else is in its cgroup is not the container's.
        (_, signal::SIGKILL) if state.has_own_pids => {
            let Some(pidfd) = container.pidfd()? else { return Ok(()) };
            return found(process::send_signal(pidfd.as_fd(), signal))
                .map(drop)
                .map_err(|error| Error::from_call("container", error));
        }
        (Some(cgroup), signal::SIGKILL) => return cgroup.kill(),
        _ => {}
    }
    let status = container.status()?;
    check_pause(container, status, signal)?;
    if status == Status::Stopped && state.cgroup.is_none() {
        // With their first process, all others of a pid namespace are gone.
        return if state.has_own_pids { Ok(()) } else { Err(not_running()) };
    }
    // Nobody pauses or resumes it meanwhile, and this command does not end half-way.
    let _turn = container.directory.take_turn()?;
    let _held = signal::Held::new().map_err(|error| Error::from_call("signals", error))?;
    let frozen = match &state.cgroup {
        Some(cgroup) if !container.is_paused()? => cgroup.path()?,
        _ => None,
    };
    // Who looks is not to take it for paused.
    let lock = if frozen.is_some() { container.directory.open_lock(SIGNALLED)? } else { None };
    let (Some(path), Some(lock)) = (frozen, lock) else { return send_to_each(container, signal) };
    // Only who looks has it for a moment.
    fd::lock(lock.as_fd()).map_err(|error| Error::from_call(SIGNALLED, error))?;
    // Those that are frozen do not fork. Where they cannot be, they are looked for again.
    let is_frozen = tree::freeze(path).is_ok();
    let sent = send_to_each(container, signal);
    if is_frozen { sent.and(tree::thaw(path)) } else { sent }
}

/// How often new processes are looked for.
const LOOKS: usize = 20;

/// Sends a signal to one process after the other, until there is none that has not got it: they may fork meanwhile.
fn send_to_each(container: &Container, signal: i32) -> Result<()> {
    let mut reached = BTreeSet::new();
    let mut quiet = 0;
    let members = Members::of(container)?;
    for _ in 0..LOOKS {
        let new: Vec<_> = members.list()?.into_iter().filter(|pid| reached.insert(*pid)).collect();
        // One whose pid is lower than that of its maker was perhaps passed by.
        quiet = if new.is_empty() { quiet + 1 } else { 0 };
        if quiet == 3 {
            return Ok(());
        }
        for pid in new {
            let Some(pidfd) = members.find(pid)? else { continue };
            found(process::send_signal(pidfd.as_fd(), signal)).map_err(|error| Error::from_call("container", error))?;
        }
    }
    // They fork faster than signals can be sent.
    pause::send_to_stopped(container, signal)
}
