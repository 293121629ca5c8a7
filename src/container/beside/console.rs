//! The terminal, from the caller's side: who gets the master, and the relay of a foreground `run`.

use crate::container::foreground::Watch;
use crate::error::{Error, Result};
use crate::plan::Plan;
use crate::sys::process::{Ended, Process, wait_readable};
use crate::sys::tty::{self, Event, Raw};
use crate::sys::{self, Errno, fd, signal};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

/// Refuses a terminal that nobody would get, and a socket without a terminal to send.
pub fn check(plan: &Plan, console_socket: Option<&Path>, in_foreground: bool) -> Result<()> {
    match (plan.has_terminal, console_socket, in_foreground) {
        (true, None, false) => Err(Error::in_config(
            "process.terminal",
            "cannot allocate tty if rootlet will detach without setting console socket",
        )
        .because("the terminal of a detached container is handed over by a socket")
        .remedy("give --no-tty, or set process.terminal to false; or give --console-socket PATH")),
        (true, None, true) => {
            let own = tty::find_own().map_err(|error| Error::from_call("terminal", error))?;
            own.map(drop).ok_or_else(without_terminal)
        }
        (false, Some(_), _) => {
            Err(Error::in_config("process.terminal", "a console socket is given, but the config asks for no terminal")
                .remedy("ask for one (process.terminal, or `exec -t`), or leave --console-socket out"))
        }
        _ => Ok(()),
    }
}

/// Whether standard input is a terminal, so that its user types straight to the container.
fn is_raw() -> bool {
    tty::is_terminal(tty::standard_input())
}

/// Makes the container's terminal ready for its program: as large as the caller's, and with new lines for where its output goes.
pub fn set_up(master: OwnedFd) -> Result<OwnedFd> {
    let system = |error| Error::from_call("terminal", error);
    if let Some(size) = tty::find_own().map_err(system)?.and_then(|own| tty::size(own.as_fd()).ok()) {
        let _ = tty::set_size(master.as_fd(), size);
    }
    if !is_raw() || !tty::is_terminal(tty::standard_output()) {
        // A pipe or file gets what the program writes, and a terminal that is not raw does that itself.
        tty::leave_newlines(master.as_fd()).map_err(system)?;
    }
    Ok(master)
}

/// The caller's terminal and the container's, joined. Nothing is written before there is room for it, so that neither side, nor a
/// signal, waits for the other one.
pub struct Relay {
    // Closed when the caller's terminal is gone: then the kernel hangs the container's up, too.
    master: Option<OwnedFd>,
    /// What has the size, where standard input may be something else.
    terminal: OwnedFd,
    signals: OwnedFd,
    /// Whether there may be more on standard input.
    is_typing: bool,
    /// Whether a line was begun there.
    is_within_line: bool,
    /// What was typed, and not yet handed over.
    typed: Vec<u8>,
    /// What the container has printed, and nobody has taken yet.
    printed: Vec<u8>,
    /// How much is still taken when the process has ended: others may print for ever.
    left: usize,
    // Restores the caller's terminal on every way out.
    raw: Option<Raw>,
}

/// A pipe that can be written to at all has room for as much (pipe(7), PIPE_BUF).
const ROOM: usize = 4096;

/// Many times what a terminal keeps of what was printed.
const LAST_READS: usize = 64;

impl Relay {
    /// Takes the caller's terminal over.
    pub fn new(master: OwnedFd) -> Result<Relay> {
        let system = |error| Error::from_call("terminal", error);
        // Where somebody types at another stream's terminal, its interrupt character stays a signal to this command.
        let raw = is_raw().then(Raw::enter).transpose().map_err(system)?;
        fd::set_nonblocking(master.as_fd()).map_err(system)?;
        Ok(Relay {
            master: Some(master),
            terminal: tty::find_own().map_err(system)?.ok_or_else(without_terminal)?,
            signals: signal::open_queue().map_err(system)?,
            is_typing: true,
            is_within_line: false,
            typed: Vec::new(),
            printed: Vec::new(),
            left: LAST_READS,
            raw,
        })
    }

    fn resize(&self) {
        if let (Some(master), Ok(size)) = (&self.master, tty::size(self.terminal.as_fd())) {
            let _ = tty::set_size(master.as_fd(), size);
        }
    }

    /// Relays until the first process has ended, and all that it has printed was taken.
    pub fn relay(mut self, process: &Process, watch: &mut Watch) -> Result<Ended> {
        let mut ended = None;
        loop {
            self.turn(ended.is_none()).map_err(|error| Error::from_call("terminal", error))?;
            while let Some(number) = signal::take(&self.signals) {
                match ended {
                    // Nobody takes the rest, and somebody has had enough.
                    Some(ended) if signal::endings().contains(&number) => return Ok(ended),
                    Some(_) => {}
                    None if number == signal::SIGWINCH => self.resize(),
                    None => ended = watch.handle(number, process)?,
                }
            }
            if let Some(ended) = ended
                && self.printed.is_empty()
                && (self.left == 0 || !self.has_more()?)
            {
                drop(self.raw);
                return Ok(ended);
            }
        }
    }

    /// Waits for the next thing that can be done, and does it.
    fn turn(&mut self, goes_on: bool) -> sys::Result<()> {
        let master = self.master.as_ref().map(AsFd::as_fd);
        let if_so = |is_so: bool, event| if is_so { event } else { Event::Never };
        let events = [
            Event::Readable(self.signals.as_fd()),
            if_so(self.printed.is_empty(), master.map_or(Event::Never, Event::Readable)),
            if_so(!self.printed.is_empty(), Event::Writable(tty::standard_output())),
            if_so(!self.typed.is_empty(), master.map_or(Event::Never, Event::Writable)),
            if_so(
                goes_on && master.is_some() && self.is_typing && self.typed.is_empty(),
                Event::Readable(tty::standard_input()),
            ),
        ];
        let [_, prints, has_output, has_input, types] = tty::wait_for_any(events)?;
        let is_joined = (!prints || self.take_out(goes_on))
            && (!has_output || self.print())
            && (!types || self.take_in())
            && (!has_input || self.type_in());
        if !is_joined {
            self.master = None;
        }
        Ok(())
    }

    /// Whether the container has printed something that was not read yet.
    fn has_more(&self) -> Result<bool> {
        let Some(master) = &self.master else { return Ok(false) };
        wait_readable(master.as_fd(), 0).map_err(|error| Error::from_call("terminal", error))
    }

    /// Takes what the container has printed; false when nobody prints any more.
    fn take_out(&mut self, goes_on: bool) -> bool {
        let mut buffer = [0; 16384];
        if !goes_on {
            self.left = self.left.saturating_sub(1);
        }
        match self.master.as_ref().map(|master| fd::read(master.as_fd(), &mut buffer)) {
            Some(Ok(length)) => {
                self.printed.extend_from_slice(buffer.get(..length).unwrap_or_default());
                length > 0
            }
            Some(Err(error)) => is_passing(error),
            None => false,
        }
    }

    /// Prints what there is room for; false when nobody reads any more.
    fn print(&mut self) -> bool {
        let part = self.printed.get(..self.printed.len().min(ROOM)).unwrap_or_default();
        match fd::write(tty::standard_output(), part) {
            Ok(length) => {
                self.printed.drain(..length.min(self.printed.len()));
                true
            }
            Err(error) if is_passing(error) => true,
            Err(_) => {
                self.printed.clear();
                false
            }
        }
    }

    /// Takes in what the user has typed; false when the caller's terminal is gone.
    fn take_in(&mut self) -> bool {
        let mut buffer = [0; ROOM];
        match fd::read(tty::standard_input(), &mut buffer) {
            Ok(0) if self.raw.is_some() => false,
            Ok(0) => {
                self.is_typing = false;
                self.say_that_it_ends();
                true
            }
            Ok(length) => {
                self.typed.extend_from_slice(buffer.get(..length).unwrap_or_default());
                self.is_within_line = self.typed.last() != Some(&b'\n');
                true
            }
            Err(error) => is_passing(error),
        }
    }

    /// A file or pipe is at its end: at a terminal, a character says so, once at the begin of a line, and twice within one.
    fn say_that_it_ends(&mut self) {
        if let Some(Ok(end)) = self.master.as_ref().map(|master| tty::end_of_file(master.as_fd())) {
            self.typed.extend(std::iter::repeat_n(end, if self.is_within_line { 2 } else { 1 }));
        }
    }

    /// Types what there is room for; false when nobody reads any more.
    fn type_in(&mut self) -> bool {
        match self.master.as_ref().map(|master| fd::write(master.as_fd(), &self.typed)) {
            Some(Ok(length)) => {
                self.typed.drain(..length.min(self.typed.len()));
                true
            }
            Some(Err(error)) => is_passing(error),
            None => false,
        }
    }
}

/// Whether it is only too early.
fn is_passing(error: sys::Error) -> bool {
    matches!(error.errno, Errno::EINTR | Errno::EAGAIN)
}

fn without_terminal() -> Error {
    Error::in_config("process.terminal", "standard input is not a terminal, nor is there another")
        .because("a terminal is asked for, and in the foreground that is the caller's")
        .remedy("give --no-tty to `run` or set process.terminal to false, leave `exec -t` out, give --console-socket PATH, or call rootlet under a terminal (`script -qc 'rootlet ...'`)")
}
