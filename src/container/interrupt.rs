//! What ends a command before its container is ready: SIGTERM and SIGINT, which wait blocked until somebody
//! passes them on.

use crate::error::{Error, Result};
use crate::log::Log;
use crate::sys::tty::Event;
use crate::sys::{fd, process, signal};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

/// Whether one of them has come; `None` where signals are not blocked, and so end the command by themselves.
#[derive(Debug, Default)]
pub struct Interrupt(Option<OwnedFd>);

impl Interrupt {
    /// For a command that has blocked them.
    pub fn open() -> Result<Interrupt> {
        let queue = signal::open_queue_of(&signal::endings()).map_err(|error| Error::from_call("signals", error))?;
        Ok(Interrupt(Some(queue)))
    }

    /// That the signal has come, among other events.
    pub fn event(&self) -> Event<'_> {
        self.0.as_ref().map_or(Event::Never, |queue| Event::Readable(queue.as_fd()))
    }

    /// Waits until a descriptor can be read, or a process ends; `false` after `milliseconds` (-1: never).
    pub fn wait_readable(&self, other: BorrowedFd, milliseconds: i32) -> Result<bool> {
        let failed = |error| Error::from_call("container", error);
        let Some(queue) = &self.0 else { return process::wait_readable(other, milliseconds).map_err(failed) };
        let start = Instant::now();
        loop {
            let patience = Duration::from_millis(milliseconds.max(0) as u64);
            let left = patience.saturating_sub(start.elapsed()).as_millis() as i32;
            let left = if milliseconds < 0 { -1 } else { left };
            match fd::wait_for_either([other, queue.as_fd()], left).map_err(failed)? {
                None => {}
                // First: the program may have begun meanwhile, and then the signal is for it.
                Some([true, _]) => return Ok(true),
                Some([false, is_interrupted]) if is_interrupted => {
                    return Err(ended());
                }
                Some([false, _]) => return Ok(false),
            }
        }
    }
}

/// The error of a command that a signal ends.
pub fn ended() -> Error {
    Error::new("ended by a signal before it was ready")
}

/// Acts, and lets signals that end this command wait until then: what was done can be taken back.
pub fn hold<T>(log: &Log, act: impl FnOnce() -> Result<T>) -> Result<T> {
    let endings = signal::endings();
    let set_blocked =
        |blocked| signal::set_blocked(&endings, blocked).map_err(|error| Error::from_call("signals", error));
    set_blocked(true)?;
    let done = act().inspect_err(|error| obey(error, log));
    // Where that fails, nothing is wrong with what was done.
    let _ = set_blocked(false);
    done
}

/// Ends this command by the signal that has interrupted it, if one has. What was made is taken back by now.
pub fn obey(error: &Error, log: &Log) {
    if let Some(signal) = signal::endings().into_iter().find(|signal| signal::is_pending(*signal)) {
        log.error(error);
        signal::let_end(signal);
    }
}
