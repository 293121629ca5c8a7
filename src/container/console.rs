//! The terminal, from the caller's side: who gets the master, and the relay of a foreground `run`.

use super::run;
use crate::error::{Error, Result};
use crate::plan::Plan;
use crate::sys::process::{Ended, Process, wait_readable};
use crate::sys::tty::{self, Raw};
use crate::sys::{Errno, fd, signal};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

/// Refuses a terminal that nobody would get, and a socket without a terminal to send.
pub fn check(plan: &Plan, console_socket: Option<&Path>, in_foreground: bool) -> Result<()> {
    match (plan.has_terminal, console_socket, in_foreground) {
        (true, None, false) => Err(Error::in_config("process.terminal", "cannot allocate tty if rootlet will detach without setting console socket")
            .because("the terminal of a detached container is handed over by a socket")
            .remedy("give --console-socket PATH, or set process.terminal to false")),
        (true, None, true) if !tty::input_is_terminal() => Err(Error::in_config("process.terminal", "standard input is not a terminal")
            .because("a terminal is asked for, and in the foreground that is the caller's")
            .remedy("leave `-t` out, or set process.terminal to false; give --console-socket PATH; or call rootlet under a terminal (`script -qc 'rootlet ...'`)")),
        (false, Some(_), _) => Err(Error::in_config("process.terminal", "a console socket is given, but the config asks for no terminal")
            .remedy("ask for one (process.terminal, or `exec -t`), or leave --console-socket out")),
        _ => Ok(()),
    }
}

/// The caller's terminal and the container's, joined.
pub struct Relay {
    // Closed when the caller's terminal is gone: then the kernel hangs the container's up, too.
    master: Option<OwnedFd>,
    signals: OwnedFd,
    // Restores the caller's terminal on every way out.
    raw: Raw,
}

impl Relay {
    /// Takes the caller's terminal over.
    pub fn new(master: OwnedFd) -> Result<Relay> {
        let system = |error| Error::from_call("terminal", error);
        let relay = Relay {
            master: Some(master),
            signals: signal::open_queue().map_err(system)?,
            raw: Raw::enter().map_err(system)?,
        };
        relay.resize();
        Ok(relay)
    }

    fn resize(&self) {
        if let (Some(master), Ok(size)) = (&self.master, tty::size(tty::standard_input())) {
            let _ = tty::set_size(master.as_fd(), size);
        }
    }

    /// Relays until the first process has ended.
    pub fn attend(mut self, process: &Process) -> Result<Ended> {
        loop {
            let typing = self.master.is_some().then(tty::standard_input);
            let sources = [Some(self.signals.as_fd()), self.master.as_ref().map(AsFd::as_fd), typing];
            let [signaled, printed, typed] =
                tty::wait_for_any(sources).map_err(|error| Error::from_call("terminal", error))?;
            let goes_on = (!printed || self.print()) && (!typed || self.type_in());
            if !goes_on {
                self.master = None;
            }
            while let Some(number) = signaled.then(|| signal::take(&self.signals)).flatten() {
                if number == signal::SIGWINCH {
                    self.resize();
                } else if let Some(ended) = run::handle(number, process)? {
                    self.print_rest();
                    drop(self.raw);
                    return Ok(ended);
                }
            }
        }
    }

    /// Copies what the container has printed; false when nobody prints or reads any more.
    fn print(&self) -> bool {
        self.master.as_ref().is_some_and(|master| copy(master.as_fd(), tty::standard_output()))
    }

    /// Copies what the user has typed; false when the caller's terminal is gone.
    fn type_in(&self) -> bool {
        self.master.as_ref().is_some_and(|master| copy(tty::standard_input(), master.as_fd()))
    }

    /// What was printed just before the end.
    fn print_rest(&self) {
        let Some(master) = &self.master else { return };
        while wait_readable(master.as_fd(), 0).unwrap_or(false) && self.print() {}
    }
}

/// Copies what can be read; false at an end.
fn copy(from: BorrowedFd, to: BorrowedFd) -> bool {
    let mut buffer = [0; 16384];
    match fd::read(from, &mut buffer) {
        Ok(length) => length > 0 && fd::write_all(to, buffer.get(..length).unwrap_or_default()).is_ok(),
        Err(error) => matches!(error.errno, Errno::EINTR | Errno::EAGAIN),
    }
}
