//! `--trace`: what a start did and when, in the trace format of Chrome, which ui.perfetto.dev and chrome://tracing show.

use crate::error::{Error, Result};
use crate::plan::Plan;
use crate::sys::fd;
use crate::sys::stamps::{self, now};
use serde_json::{Value, json};
use std::cell::RefCell;
use std::os::fd::{AsFd, OwnedFd};

/// What the maker of a container did, and where that is written.
#[derive(Debug, Default)]
pub struct Trace {
    file: Option<OwnedFd>,
    /// What began when. Each goes on until the next begins.
    begun: RefCell<Vec<(&'static str, u64)>>,
}

impl Trace {
    /// To a file. Without one, nothing is noted.
    pub fn new(file: Option<OwnedFd>) -> Trace {
        Trace { file, begun: RefCell::default() }
    }

    /// Something begins, and so the last one ends.
    pub fn begin(&self, what: &'static str) {
        if self.file.is_some() {
            self.begun.borrow_mut().push((what, now()));
        }
    }

    /// Has the child note its steps.
    pub fn begin_child(&self, plan: &Plan) -> Result<()> {
        match self.file {
            Some(_) => stamps::begin(plan.entries.len()).map_err(|error| Error::from_call("--trace", error)),
            None => Ok(()),
        }
    }

    /// Writes all that was noted.
    pub fn write(&self, plan: &Plan, child: i32) -> Result<()> {
        let Some(file) = &self.file else { return Ok(()) };
        let end = now();
        let own = std::process::id() as i32;
        // Microseconds, as the format has them.
        let span = |name: &str, category: &str, pid: i32, begin: u64, end: u64, about: Value| {
            let (begin, length) = (begin as f64 / 1000.0, end.saturating_sub(begin) as f64 / 1000.0);
            json!({ "name": name, "cat": category, "ph": "X", "ts": begin, "dur": length, "pid": pid, "tid": pid, "args": about })
        };
        let called = |pid: i32, name: &str| json!({ "name": "process_name", "ph": "M", "pid": pid, "tid": pid, "args": { "name": name } });
        let mut events = vec![called(own, "rootlet"), called(child, "the container's first process")];
        let begun = self.begun.borrow();
        let ends = begun.iter().skip(1).map(|(_, begin)| *begin).chain([end]);
        events.extend(
            begun.iter().zip(ends).map(|((what, begin), end)| span(what, "parent", own, *begin, end, json!({}))),
        );
        for (step, entry) in plan.entries.iter().enumerate() {
            let Some((begin, ended)) = stamps::of(step) else { continue };
            // The last one becomes the program, and so never ends.
            let executed = begun.last().map_or(end, |(_, begin)| *begin);
            let ended = if ended == 0 { executed.max(begin) } else { ended };
            let (phase, property) = (entry.phase.to_string(), entry.origin.to_string());
            events.push(span(&entry.step.to_string(), &phase, child, begin, ended, json!({ "property": property })));
        }
        let text = json!({ "traceEvents": events, "displayTimeUnit": "ms" }).to_string();
        fd::write_all(file.as_fd(), text.as_bytes()).map_err(|error| Error::from_call("--trace", error))
    }
}
