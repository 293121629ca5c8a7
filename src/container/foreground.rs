//! How a command stays with a container's process until it ends: what a signal means meanwhile, and for how long.

use crate::error::{Error, Result, found};
use crate::sys::process::{self, Ended, Process};
use crate::sys::{creds, fd, signal};
use serde_json::{Value, json};
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

/// Between SIGTERM and SIGKILL, when time is up.
const GRACE: Duration = Duration::from_secs(2);

/// Of a command whose time is up, as of timeout(1).
const TIMED_OUT: i32 = 124;

/// How a foreground command stays with a container.
#[derive(Default)]
pub struct Foreground {
    /// Whether the container's state is kept after its end.
    pub keep: bool,
    /// Whether what the container's hooks leave behind is reaped.
    pub subreaper: bool,
    /// When it is ended, and [`Foreground::code`] is 124.
    pub timeout: Option<Duration>,
    /// The caller's pid, if the container ends with the caller.
    pub parent: Option<u32>,
    /// Who reads what happens: JSON objects, a line each.
    pub status: Option<OwnedFd>,
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
        Ok(Watch { is_timed: self.timeout.is_some(), parent: self.parent, ..Watch::default() })
    }

    /// Tells whoever reads what happens. Nobody is waited for who has gone.
    pub fn tell(&self, event: &str, what: Value) {
        let Some(status) = &self.status else { return };
        let mut line = json!({ "event": event });
        if let (Some(line), Value::Object(what)) = (line.as_object_mut(), what) {
            line.extend(what);
        }
        let _ = fd::write_all(status.as_fd(), format!("{line}\n").as_bytes());
    }

    /// Tells how the first process has ended.
    pub fn tell_end(&self, ended: Ended, watch: &Watch) {
        let mut what = json!({ "code": watch.code(ended) });
        if let Ended::Signaled(signal) = ended {
            what["signal"] = json!(signal);
        }
        if watch.is_over {
            what["timeout"] = json!(true);
        }
        self.tell("exited", what);
    }
}

/// What is waited for besides the end of a process.
#[derive(Debug, Default)]
pub struct Watch {
    is_timed: bool,
    is_over: bool,
    parent: Option<u32>,
}

impl Watch {
    /// Does what a signal to a foreground command means: the end of a child is looked at, everything else is passed on.
    pub fn handle(&mut self, signal: i32, process: &Process) -> Result<Option<Ended>> {
        let failed = |error| Error::from_call("container", error);
        let signal = match signal {
            // As a subreaper, `run` reaps what the container's hooks have left, too.
            signal::SIGCHLD => {
                while let Some((reaped, ended)) = process::reap_any().map_err(failed)? {
                    if reaped == process.pid {
                        return Ok(Some(ended));
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
            signal => signal,
        };
        send(process, signal)
    }

    /// Ends the process if the caller is gone. It is not, where only the thread has ended that called.
    pub fn look_at_parent(&self, process: &Process) -> Result<Option<Ended>> {
        match self.parent {
            Some(parent) if parent != std::os::unix::process::parent_id() => send(process, signal::SIGKILL),
            _ => Ok(None),
        }
    }

    /// The exit code of a command that has stayed with a process to its end.
    pub fn code(&self, ended: Ended) -> i32 {
        if self.is_over { TIMED_OUT } else { ended.code() }
    }
}

/// The process may have ended since.
fn send(process: &Process, signal: i32) -> Result<Option<Ended>> {
    let sent = found(process::send_signal(process.pidfd.as_fd(), signal));
    sent.map(|_| None).map_err(|error| Error::from_call("container", error))
}
