//! `run`: create, start, and in the foreground stay until the end.

use super::beside::console::Relay;
use super::beside::hooks;
use super::checkpoint::restore;
use super::create::{Created, Options, create};
use super::foreground::{Event, Foreground, Watch};
use super::interrupt;
use super::state::identity::has_executed;
use crate::error::{Error, Result};
use crate::log::Log;
use crate::sys::process::{Ended, Process};
use crate::sys::{creds, signal};
use std::os::fd::{AsFd, OwnedFd};

/// Runs a container in the foreground; the exit code of its program, or 128 + the signal that ended it, or 124 when its time is up.
pub fn run(options: &Options, foreground: &Foreground, log: &Log) -> Result<i32> {
    let system = |error| Error::from_call("run", error);
    signal::block_all().map_err(system)?;
    if foreground.subreaper {
        creds::become_subreaper().map_err(system)?;
    }
    let mut created = create(options, log).inspect_err(|error| interrupt::obey(error, log))?;
    let mut begun = match foreground.begin() {
        Ok(begun) => begun,
        Err(error) => {
            created.destroy();
            return Err(error);
        }
    };
    // A first process that reaps has a child that is the program.
    begun.has_program = created.container.state.as_ref().is_some_and(|state| !state.has_init);
    foreground.tell(&Event::Created { id: &created.container.id, process: &created.process });
    if let Some(wait) = &foreground.before_start {
        if let Err(error) = wait() {
            created.destroy();
            return Err(error);
        }
        created = created.start(log)?;
    }
    if let Err(error) = hooks::run_poststart(&created.container, &interrupt::Interrupt::default()) {
        created.destroy();
        remove_pid_file(options);
        return Err(error);
    }
    stay(created, foreground, begun, log)
}

/// Makes a container again from images, and stays with it in the foreground; its exit code.
pub fn restore(options: &restore::Options, as_created: &Options, foreground: &Foreground, log: &Log) -> Result<i32> {
    let system = |error| Error::from_call("restore", error);
    signal::block_all().map_err(system)?;
    if foreground.subreaper {
        creds::become_subreaper().map_err(system)?;
    }
    let begun = foreground.begin()?;
    stay(restore::restore(options, as_created, log)?, foreground, begun, log)
}

/// Stays with a container in the foreground, and deletes it at its end.
pub fn stay(mut created: Created, foreground: &Foreground, mut watch: Watch, log: &Log) -> Result<i32> {
    if let Some(notify) = created.notify.take()
        && let Err(error) = notify.run_beside()
    {
        created.destroy();
        return Err(error);
    }
    if let Err(error) = created.note_that_it_is_followed() {
        log.warn(&error);
    }
    if !(watch.has_program && foreground.reports() && has_not_executed(&created.process)) {
        foreground.tell(&Event::Started);
    }
    watch.helper = created.audit;
    let was_relayed = created.terminal.is_some();
    let followed = watch
        .look_at_parent(&created.process)
        .and_then(|_| follow(&created.process, created.terminal.take(), &mut watch));
    let ended = match followed {
        Ok(ended) => ended,
        Err(error) => {
            created.destroy();
            return Err(error);
        }
    };
    if let (true, Some(error)) = (ended.code() != 0, created.explain_out_of_memory()) {
        log.error(&error);
        foreground.tell(&Event::OutOfMemory);
    }
    foreground.tell(&watch.exited(ended));
    let audited = watch.wait_for_helper();
    let listed = foreground.before_end.as_ref().map_or(Ok(()), |act| act()).and(audited);
    // Whatever becomes of its state: the exit code is the program's.
    if foreground.keep {
        created.keep().unwrap_or_else(|error| log.warn(&error));
    } else {
        created.forget().unwrap_or_else(|error| vec![error]).iter().for_each(|failure| log.warn(failure));
    }
    if foreground.dies_interrupted && watch.was_interrupted(ended, was_relayed) {
        signal::die_of(signal::SIGINT);
    }
    listed.map(|()| watch.code(ended))
}

/// Creates a container and starts it, and leaves it alone.
pub fn run_detached(options: &Options, log: &Log) -> Result<()> {
    interrupt::hold(log, || create(options, log)?.start(log).inspect_err(|_| remove_pid_file(options)).map(drop))
}

/// Then it has ended, which is told as what it is.
fn has_not_executed(process: &Process) -> bool {
    matches!(has_executed(process.pid, process.pidfd.as_fd()), Ok(Some(false)))
}

/// It names nobody any more.
fn remove_pid_file(options: &Options) {
    if let Some(path) = &options.pid_file {
        let _ = std::fs::remove_file(path);
    }
}

/// Passes signals on, and bytes if there is a terminal, until the first process has ended.
pub fn follow(process: &Process, terminal: Option<OwnedFd>, watch: &mut Watch) -> Result<Ended> {
    match terminal {
        Some(master) => Relay::new(master)?.relay(process, watch),
        None => loop {
            if let Some(ended) = watch.handle(signal::next(), process)? {
                return Ok(ended);
            }
        },
    }
}
