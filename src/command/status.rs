//! `--status-fd`: what happens, as JSON objects, a line each.

use crate::container::foreground::{Event, Report};
use crate::error::{Error, Result};
use crate::log::Log;
use crate::sys::process::Ended;
use crate::sys::{self, Call, Errno, fd, signal};
use serde_json::json;
use std::cell::Cell;
use std::os::fd::{AsFd, OwnedFd};

/// How long somebody is waited for who does not read.
pub const PATIENCE_MILLISECONDS: i32 = 200;

/// Writes events to a descriptor. Nobody is waited for who has gone.
pub fn report(status: OwnedFd) -> Report {
    let has_failed = Cell::new(false);
    Box::new(move |event| {
        let line = match event {
            Event::Created { id, process } => json!({ "event": "created", "id": id, "pid": process.pid }),
            Event::Started => json!({ "event": "started" }),
            Event::OutOfMemory => json!({ "event": "out-of-memory" }),
            Event::Exited { ended, code, is_over } => {
                let mut line = json!({ "event": "exited", "code": code });
                if let Ended::Signaled(signal) = ended {
                    line["signal"] = json!(signal);
                }
                if *is_over {
                    line["timeout"] = json!(true);
                }
                line
            }
        };
        match signal::write_to_reader(status.as_fd(), format!("{line}\n").as_bytes(), PATIENCE_MILLISECONDS) {
            Err(error) if error.errno != Errno::EPIPE && !has_failed.replace(true) => {
                let error = Error::from_call("--status-fd", error).because("events are lost").remedy("make room there");
                Log::default().warn(&error);
            }
            _ => {}
        }
    })
}

/// A descriptor of the caller's that a flag names.
pub fn descriptor(flag: &str, number: i32) -> Result<OwnedFd> {
    let given = match number {
        0.. => fd::duplicate_above(fd::borrow(number), 3),
        _ => Err(sys::Error::new(Call::Dup, Errno::EBADF)),
    };
    given.map_err(|error| {
        Error::from_call(format!("{flag} {number}"), error)
            .because("it is no descriptor that this command was given")
            .remedy("open it for the command, as a shell does by `3>file`")
    })
}
