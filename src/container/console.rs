//! The terminal, from the caller's side: who gets the master, and the relay of a foreground `run`.

use super::create::{Options, Start};
use super::run;
use crate::error::{Error, Result};
use crate::init::Init;
use crate::plan::Plan;
use crate::sys::process::Ended;
use crate::sys::tty::{self, Raw};
use crate::sys::{Errno, fd, signal};
use std::os::fd::{AsFd, OwnedFd};

/// Refuses a terminal that nobody would get, and a socket without a terminal to send.
pub fn check(plan: &Plan, options: &Options) -> Result<()> {
    match (plan.has_terminal, &options.console_socket, options.start) {
        (true, None, Start::Later) => Err(Error::in_config("process.terminal", "cannot allocate tty if rootlet will detach without setting console socket")
            .because("the terminal of a detached container is handed over by a socket")
            .remedy("give --console-socket PATH, or set process.terminal to false")),
        (true, None, Start::Now) if !tty::input_is_terminal() => Err(Error::in_config("process.terminal", "standard input is not a terminal")
            .because("the config asks for a terminal, and in the foreground that is the caller's")
            .remedy("set process.terminal to false, give --console-socket PATH, or run it under a terminal (`script -qc 'rootlet run ID'`)")),
        (false, Some(_), _) => Err(Error::in_config("process.terminal", "a console socket is given, but the config asks for no terminal")
            .remedy("set process.terminal to true, or leave --console-socket out")),
        _ => Ok(()),
    }
}

/// The caller's terminal and the container's, joined.
pub struct Relay {
    master: OwnedFd,
    signals: OwnedFd,
    // Restores the caller's terminal on every way out.
    raw: Raw,
}

impl Relay {
    /// Takes the caller's terminal over.
    pub fn new(master: OwnedFd) -> Result<Relay> {
        let system = |error| Error::from_call("terminal", error);
        let relay =
            Relay { master, signals: signal::open_queue().map_err(system)?, raw: Raw::enter().map_err(system)? };
        relay.resize();
        Ok(relay)
    }

    fn resize(&self) {
        if let Ok(size) = tty::size(tty::standard_input()) {
            let _ = tty::set_size(self.master.as_fd(), size);
        }
    }

    /// Relays until the first process has ended.
    pub fn attend(self, init: &Init) -> Result<Ended> {
        let (mut listens, mut speaks) = (true, true);
        loop {
            let sources =
                [Some(self.signals.as_fd()), listens.then(tty::standard_input), speaks.then(|| self.master.as_fd())];
            let [signaled, typed, printed] =
                tty::wait_for_any(sources).map_err(|error| Error::from_call("terminal", error))?;
            if printed {
                speaks = self.print();
            }
            if typed {
                listens = self.type_in();
            }
            while let Some(number) = signaled.then(|| signal::take(&self.signals)).flatten() {
                if number == signal::SIGWINCH {
                    self.resize();
                } else if let Some(ended) = run::handle(number, init.pid, init.pidfd.as_fd()) {
                    self.print_rest();
                    drop(self.raw);
                    return Ok(ended);
                }
            }
        }
    }

    /// Copies what the container has printed; false at its end.
    fn print(&self) -> bool {
        let mut buffer = [0; 16384];
        match fd::read(self.master.as_fd(), &mut buffer) {
            Ok(length) => {
                length > 0 && fd::write_all(tty::standard_output(), buffer.get(..length).unwrap_or_default()).is_ok()
            }
            Err(error) => error.errno == Errno::EINTR || error.errno == Errno::EAGAIN,
        }
    }

    /// What was printed just before the end.
    fn print_rest(&self) {
        while crate::sys::process::wait_readable(self.master.as_fd(), 0).unwrap_or(false) && self.print() {}
    }

    fn type_in(&self) -> bool {
        let mut buffer = [0; 4096];
        match fd::read(tty::standard_input(), &mut buffer) {
            Ok(length) => {
                length > 0 && fd::write_all(self.master.as_fd(), buffer.get(..length).unwrap_or_default()).is_ok()
            }
            Err(error) => error.errno == Errno::EINTR || error.errno == Errno::EAGAIN,
        }
    }
}
