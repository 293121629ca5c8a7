//! `start`: lets a created container become its program.

use super::beside::notify::Relay;
use super::beside::{hooks, listener};
use super::interrupt::Interrupt;
use super::state::Container;
use super::state::directory::START;
use super::state::identity::has_executed;
use super::status::Status;
use super::{delete, entrance};
use crate::error::{Error, Result};
use crate::init::Message;
use crate::log::Log;
use crate::plan::step::{PrivilegeStep, ProgramStep};
use crate::plan::{Entry, Origin, Phase, Step, hint};
use crate::property::without_process;
use crate::sys::program::Strings;
use crate::sys::{self, Errno, process};
use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};

/// How long the end of a container that answers no more may take.
pub const GRACE_MILLISECONDS: i32 = 100;

/// Starts a created container, and returns when its program runs. If a poststart hook fails, it is stopped and destroyed
/// (runtime.md, lifecycle).
pub fn start(container: &Container, log: &Log) -> Result<()> {
    let interrupt = Interrupt::default();
    let notify = begin(container, &interrupt, log)?;
    if let Err(error) = hooks::run_poststart(container, &interrupt) {
        if let Err(other) = delete::delete(container, true, log) {
            log.warn(&other);
        }
        return Err(error);
    }
    notify.map_or(Ok(()), |notify| notify.wait_until_ready(container, &interrupt))
}

/// Starts a container that whoever calls this destroys if that fails, or is interrupted.
pub fn start_own(container: &Container, interrupt: &Interrupt, log: &Log) -> Result<()> {
    let notify = begin(container, interrupt, log)?;
    hooks::run_poststart(container, interrupt)?;
    notify.map_or(Ok(()), |notify| notify.wait_until_ready(container, interrupt))
}

/// Lets the program begin; who is told when it is ready.
fn begin(container: &Container, interrupt: &Interrupt, log: &Log) -> Result<Option<Relay>> {
    match container.status()? {
        Status::Created => {}
        Status::Creating => {
            return Err(Error::new("cannot start a container that is being created").remedy("wait until it is created"));
        }
        Status::Paused => {
            return Err(Error::new("cannot start a paused container")
                .remedy(format!("`rootlet resume {}` first", container.id)));
        }
        Status::Running => {
            // It may be left by who has started it and was killed.
            let _ = container.directory.remove(START);
            return Err(already_running());
        }
        Status::Stopped => {
            return Err(Error::new("cannot start a container that has stopped")
                .remedy(format!("create it again after `rootlet delete {}`", container.id)));
        }
    }
    let state = container.state()?;
    if state.has_no_program {
        return Err(
            without_process().remedy(format!("`rootlet delete {}`, and create it again with one", container.id))
        );
    }
    let notify = Relay::open(&container.directory, log)?;
    let system = |error| Error::from_call("start.sock", error);
    let pidfd = container.pidfd()?.ok_or_else(super::state::not_running)?;
    let connection = take(container)?;
    // As long as it is there, the container looks as if it waited.
    let removed = container.directory.remove(START);
    let mut is_ready = false;
    loop {
        // Hooks in the container may take their time.
        interrupt.wait_readable(connection.as_fd(), -1)?;
        match Message::receive(connection.as_fd()).map_err(system)? {
            Some((Message::Notify, fd)) => {
                listener::hand_over(state.listener.as_ref(), container, "created", fd)?;
                Message::Go.send(connection.as_fd(), None).map_err(system)?;
            }
            Some((Message::Fail { step, error, status }, _)) => {
                return Err(hooks::with_status(explain(state, step, error), error, status));
            }
            Some((Message::Ready { .. }, _)) => is_ready = true,
            Some(_) => return Err(Error::new("start.sock: not a word of a container's")),
            // Its program has begun, or it has ended without a word. Who was seen by nobody has ended as a program does.
            // A first process that reaps has left the program to a child.
            None if state.has_init => break,
            None => match has_executed(state.pid, pidfd.as_fd())? {
                Some(true) => break,
                // Who is gone has said whether it came that far.
                None if is_ready => break,
                _ => return Err(super::state::has_not_begun(None)),
            },
        }
    }
    removed.map_err(|error| {
        Error::new(format!("container {:?} has started, but its start.sock is left", container.id))
            .because(error.in_one_line())
            .remedy(format!("remove {}", container.directory.path().join(START).display()))
    })?;
    Ok(notify)
}

fn already_running() -> Error {
    Error::new("cannot start an already running container").remedy("see `rootlet list`")
}

/// The connection by which the container is started: the first whom it answers has it, and for the others it is running.
fn take(container: &Container) -> Result<OwnedFd> {
    let system = |error| Error::from_call("start.sock", error);
    for _ in 0..TRIES {
        let Some(connection) = entrance::connect(container)? else {
            // Somebody else has started it, or it has ended.
            let Some(pidfd) = container.pidfd()? else { return Err(super::state::not_running()) };
            let has_ended = process::wait_readable(pidfd.as_fd(), GRACE_MILLISECONDS).map_err(system)?;
            if has_ended {
                return Err(super::state::not_running());
            }
            // Whoever has started it may have been killed before this.
            let _ = container.directory.remove(START);
            return Err(already_running());
        };
        match Message::Go.send(connection.as_fd(), None) {
            Err(error) if matches!(error.errno, Errno::EPIPE | Errno::ECONNRESET) => continue,
            other => other.map_err(system)?,
        }
        entrance::wait_for_answer(container, &connection)?;
        // Where it has let go of the connection, nothing was started by it.
        if let Some((Message::Go, _)) = Message::receive(connection.as_fd()).map_err(system)? {
            return Ok(connection);
        }
    }
    Err(Error::new(format!("container {:?} takes no start", container.id))
        .because("it is short of memory or descriptors, and lets go of whoever asks")
        .remedy("try again"))
}

/// How often the container is asked to start.
const TRIES: usize = 10;

/// The plan is gone with its maker; its Last steps have left their names in the state.
fn explain(state: &super::State, step: u32, error: sys::Error) -> Error {
    let Some((_, name)) = state.last_steps.iter().find(|(index, _)| *index == step) else {
        return Error::from_call("start", error);
    };
    let (property, step): (_, Step) = match error.call {
        sys::Call::Execve => {
            let words = name.split_once(": ").map_or(name.as_str(), |(_, program)| program);
            let arguments = Strings::new(vec![CString::new(words).unwrap_or_default()]);
            let nothing = Strings::new(Vec::new());
            ("process.args", ProgramStep::Execute { candidates: Box::new([]), arguments, environment: nothing }.into())
        }
        sys::Call::Seccomp => ("linux.seccomp", PrivilegeStep::InstallFilter { filter: Box::new([]), flags: 0 }.into()),
        sys::Call::Wait => {
            let how = if error.errno == Errno::ETIMEDOUT { "took too long and was ended" } else { "failed" };
            return Error::in_config(name.clone(), format!("the hook {how}"));
        }
        _ => return Error { errno: Some(error.errno), ..Error::in_config(name.clone(), error.call.name()) },
    };
    let origin = Origin { property, index: None };
    hint::explain(&Entry { phase: Phase::Last, origin, step, tolerate: &[] }, error, state.is_filtered)
}
