//! How a command stays with a container's process until it ends: what a signal means meanwhile, and for how long.

use super::state::identity::has_executed;
use crate::error::{Error, Result, found};
use crate::sys::process::{self, Ended, Process};
use crate::sys::{self, Call, Errno, creds, signal};
use std::os::fd::AsFd;
use std::time::Duration;

/// Between SIGTERM and SIGKILL, when time is up.
const GRACE: Duration = Duration::from_secs(2);

/// Of a command whose time is up, as of timeout(1).
const TIMED_OUT: i32 = 124;

/// Told of each event, as it happens.
pub type Report = Box<dyn Fn(&Event)>;

/// How a foreground command stays with a container.
#[derive(Default)]
pub struct Foreground {
    /// Whether the container's state is kept after its end.
    pub keep: bool,
    /// Whether what the container's hooks leave behind is reaped.
    pub subreaper: bool,
    /// After which time it is ended; the exit code is 124 then.
    pub timeout: Option<Duration>,
    /// The caller's pid, if the container ends with the caller.
    pub parent: Option<u32>,
    /// Whether an interrupt is for the whole process group of the first process.
    pub reaches_group: bool,
    /// Whether this command dies of an interrupt, too, if its program did, so that a shell ends its loop.
    pub dies_interrupted: bool,
    /// Hears what happens.
    pub report: Option<Report>,
    /// What is waited for when the container is there, and before its program begins.
    pub before_start: Option<Box<dyn Fn() -> Result<()>>>,
    /// What is done when the last process has ended, and before anything of the container is removed.
    pub before_end: Option<Box<dyn Fn() -> Result<()>>>,
}

impl std::fmt::Debug for Foreground {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Foreground").field("timeout", &self.timeout).finish_non_exhaustive()
    }
}

impl Foreground {
    /// Hears of the caller's end, and of the time, from now on.
    pub fn begin(&self) -> Result<Watch> {
        let failed = |error| Error::from_call("the end of the command", error);
        if let Some(time) = self.timeout {
            signal::send_after(time, signal::TIME_IS_UP).map_err(failed)?;
        }
        if self.parent.is_some() {
            creds::hear_of_parents_end(signal::PARENT_ENDS).map_err(failed)?;
        }
        let (is_timed, parent, reaches_group) = (self.timeout.is_some(), self.parent, self.reaches_group);
        // A blocked signal comes also if it is ignored, as nohup(1) has it.
        let is_deaf = self.dies_interrupted && !signal::endings().contains(&signal::SIGHUP);
        Ok(Watch { is_timed, parent, reaches_group, is_deaf, ..Watch::default() })
    }

    /// Whether somebody hears what happens.
    pub fn reports(&self) -> bool {
        self.report.is_some()
    }

    /// Tells whoever wants to hear it.
    pub fn tell(&self, event: &Event) {
        if let Some(report) = &self.report {
            report(event);
        }
    }
}

/// What happens to a container in the foreground.
#[derive(Debug)]
pub enum Event<'a> {
    /// The container has been made; its program does not run yet.
    Created {
        /// Id of the container.
        id: &'a str,
        /// First process of the container.
        process: &'a Process,
    },
    /// The program runs.
    Started,
    /// The kernel has ended one of its processes for want of memory.
    OutOfMemory,
    /// The first process has ended.
    Exited {
        /// How it has ended: an exit code or a signal.
        ended: Ended,
        /// What the exit code of this command will be.
        code: i32,
        /// Whether it was ended because its time was up.
        is_over: bool,
    },
}

/// What is waited for besides the end of a process.
#[derive(Debug, Default)]
pub struct Watch {
    is_timed: bool,
    is_over: bool,
    parent: Option<u32>,
    reaches_group: bool,
    is_deaf: bool,
    is_interrupted: bool,
    /// Whether the process is to become a program: where it has not, its end is none of a program's.
    pub has_program: bool,
    /// The process that writes system calls down, which ends after the program.
    pub helper: Option<i32>,
    helper_ended: Option<Ended>,
}

impl Watch {
    /// Of a process that is to become a program, and of nothing else.
    pub fn of_program() -> Watch {
        Watch { has_program: true, ..Watch::default() }
    }

    /// Does what a signal to a foreground command means: the end of a child is looked at, everything else is passed on.
    pub fn handle(&mut self, signal: i32, process: &Process) -> Result<Option<Ended>> {
        let failed = |error| Error::from_call("container", error);
        let signal = match signal {
            // As a subreaper, `run` reaps what the container's hooks have left, too.
            signal::SIGCHLD => {
                if self.has_program {
                    look_for_program(process)?;
                }
                while let Some((reaped, ended)) = process::reap_any().map_err(failed)? {
                    if reaped == process.pid {
                        return Ok(Some(ended));
                    }
                    if Some(reaped) == self.helper {
                        self.helper_ended = Some(ended);
                        // Nobody answers the program's calls any more, if it still runs.
                        send(process, signal::SIGKILL)?;
                    }
                }
                return Ok(None);
            }
            // Whoever stops and continues this command, as a shell's `fg` does, means this one.
            signal::SIGURG | signal::SIGCONT => return Ok(None),
            signal::TIME_IS_UP if self.is_timed && self.is_over => signal::SIGKILL,
            signal::TIME_IS_UP if self.is_timed => {
                self.is_over = true;
                signal::send_after(GRACE, signal::TIME_IS_UP).map_err(failed)?;
                signal::SIGTERM
            }
            signal::PARENT_ENDS if self.parent.is_some() => return self.look_at_parent(process),
            signal::SIGHUP if self.is_deaf => return Ok(None),
            signal::SIGINT | signal::SIGQUIT if self.reaches_group => {
                self.is_interrupted |= signal == signal::SIGINT;
                // It has a session of its own, and is not reaped yet.
                let sent = found(process::kill_group(process.pid, signal));
                return sent.map(|_| None).map_err(failed);
            }
            signal => signal,
        };
        self.is_interrupted |= signal == signal::SIGINT;
        send(process, signal)
    }

    /// Ends the process if the caller is gone. It is not, where only the thread has ended that called.
    pub fn look_at_parent(&self, process: &Process) -> Result<Option<Ended>> {
        match self.parent {
            Some(parent) if parent != std::os::unix::process::parent_id() => send(process, signal::SIGKILL),
            _ => Ok(None),
        }
    }

    /// Waits until what was used is written down.
    pub fn wait_for_helper(&self) -> Result<()> {
        let Some(pid) = self.helper else { return Ok(()) };
        let ended = self.helper_ended.or_else(|| process::wait(pid, true).ok().flatten());
        match ended {
            None | Some(Ended::Exited(0)) => Ok(()),
            Some(Ended::Exited(errno)) => {
                let error = sys::Error::new(Call::Write, Errno::from_raw(errno));
                Err(Error::from_call("--seccomp-audit: the profile is not written", error)
                    .remedy("make room there, or name a file elsewhere"))
            }
            Some(Ended::Signaled(signal)) => Err(Error::new("--seccomp-audit: the profile is not written")
                .because(format!(
                    "the process that writes system calls down was ended by signal {signal}, and the program with it"
                ))
                .remedy("see whether the machine is out of memory")),
        }
    }

    /// Whether the process has ended by an interrupt of this command, or of the terminal that was relayed to it.
    pub fn was_interrupted(&self, ended: Ended, was_relayed: bool) -> bool {
        ended.code() == 128 + signal::SIGINT && (self.is_interrupted || was_relayed)
    }

    /// The exit code of a command that has stayed with a process to its end.
    pub fn code(&self, ended: Ended) -> i32 {
        if self.is_over { TIMED_OUT } else { ended.code() }
    }

    /// The end, as an event.
    pub fn exited(&self, ended: Ended) -> Event<'static> {
        Event::Exited { ended, code: self.code(ended), is_over: self.is_over }
    }
}

/// An error if the process was ended before its program began, which is to be seen until it is reaped.
fn look_for_program(process: &Process) -> Result<()> {
    let ended = process::look_at_end(process.pid).map_err(|error| Error::from_call("container", error))?;
    match ended {
        Some(Ended::Signaled(signal)) if has_executed(process.pid, process.pidfd.as_fd())? == Some(false) => {
            Err(super::state::has_not_begun(Some(signal)))
        }
        _ => Ok(()),
    }
}

/// The process may have ended since.
fn send(process: &Process, signal: i32) -> Result<Option<Ended>> {
    let sent = found(process::send_signal(process.pidfd.as_fd(), signal));
    sent.map(|_| None).map_err(|error| Error::from_call("container", error))
}
