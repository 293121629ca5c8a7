//! `rootlet kill`.

use super::Globals;
use super::plain::{self, Plain};
use crate::container::{self, Container};
use crate::error::Error;
use crate::log::Log;
use crate::sys::signal;
use clap::Parser;
use std::ffi::OsString;
use std::process::ExitCode;

/// Send a signal to a container's first process
#[derive(Debug, Parser)]
#[command(
    after_help = "Examples:\n  rootlet kill box            SIGTERM\n  rootlet kill box KILL       also SIGKILL, or 9"
)]
pub struct Kill {
    /// Name of the container
    #[arg(value_name = "container-id")]
    id: String,
    /// Name or number of the signal [default: SIGTERM]
    #[arg(value_name = "signal", allow_hyphen_values = true)]
    signal: Option<String>,
    /// The name is a regular expression, for all containers that it matches
    #[arg(short, long)]
    regex: bool,
    /// Send it to all processes of the container
    #[arg(short, long)]
    all: bool,
}

impl Plain for Kill {
    fn read(arguments: &[OsString]) -> Option<Kill> {
        let (mut regex, mut all) = (false, false);
        let (words, rest) = plain::read(arguments, 2, |name, _| {
            match name {
                "r" | "regex" => regex = true,
                "a" | "all" => all = true,
                _ => return None,
            }
            Some(())
        })?;
        let mut words = words.into_iter();
        let (id, signal) = (words.next()?, words.next());
        if rest.is_empty() { Some(Kill { id, signal, regex, all }) } else { None }
    }
}

impl super::Run for Kill {
    fn run(self, globals: &Globals, log: &Log) -> anyhow::Result<ExitCode> {
        let root = globals.root()?;
        // As runc, a container that is missing is said before a signal that is.
        let container = if self.regex { None } else { Some(root.find(&self.id)?) };
        let text = self.signal.as_deref().unwrap_or("SIGTERM");
        let number = signal::parse(text).ok_or_else(|| {
            Error::new(format!("unknown signal {text:?}"))
                .remedy("give a name such as TERM or SIGKILL, or a number (`kill -l`)")
        })?;
        let kill = |container: &Container| match self.all {
            true => container::kill_all(container, number),
            false => container::kill(container, number),
        };
        if self.regex {
            return Ok(super::for_each_match(&root, &self.id, log, kill)?);
        }
        kill(&container.map_or_else(|| root.find(&self.id), Ok)?)?;
        Ok(ExitCode::SUCCESS)
    }
}
