//! How steps read: a line each, as `rootlet plan` prints them; and the message for one that has failed.

mod mounting;
mod namespaces;
mod privileges;
mod programs;
mod resources;

use super::Step;
use crate::error::Error;
use crate::sys;
use std::borrow::Cow;
use std::fmt;

/// Because, and what to try: what is known of a failure whatever the host is.
pub type Advice = (&'static str, &'static str);

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Step::Mount(step) => step.fmt(f),
            Step::Namespace(step) => step.fmt(f),
            Step::Resource(step) => step.fmt(f),
            Step::Privilege(step) => step.fmt(f),
            Step::Program(step) => step.fmt(f),
        }
    }
}

impl Step {
    /// The path or name that it is about.
    pub fn subject(&self) -> Option<Cow<'_, str>> {
        match self {
            Step::Mount(step) => step.subject().map(|path| path.to_string_lossy()),
            Step::Namespace(step) => step.subject(),
            Step::Program(step) => step.subject().map(|path| path.to_string_lossy()),
            Step::Resource(_) | Step::Privilege(_) => None,
        }
    }

    /// Why it has failed, and what mends it.
    pub fn advise(&self, error: sys::Error) -> Option<Advice> {
        match self {
            Step::Mount(step) => step.advise(error),
            Step::Namespace(step) => step.advise(error),
            Step::Resource(step) => step.advise(error),
            Step::Privilege(step) => step.advise(error),
            Step::Program(step) => step.advise(error),
        }
    }

    /// The whole message, where it is the user's own program that has failed.
    pub fn explain(&self, error: sys::Error) -> Option<Error> {
        match self {
            Step::Program(step) => step.explain(error),
            _ => None,
        }
    }
}

/// The maps of a user namespace, or offsets, in one line.
fn in_one_line(lines: &[u8]) -> String {
    String::from_utf8_lossy(lines).trim_end().replace('\n', ", ")
}
