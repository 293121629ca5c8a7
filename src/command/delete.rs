//! `rootlet delete`.

use super::Globals;
use super::plain::{self, Plain};
use crate::container::{self, Container};
use crate::log::Log;
use clap::Parser;
use std::ffi::OsString;
use std::process::ExitCode;

/// Delete a container
#[derive(Debug, Parser)]
#[command(
    after_help = "Examples:\n  rootlet delete box\n  rootlet delete --force box     ends it first; fine if there is none"
)]
pub struct Delete {
    /// Name of the container
    #[arg(value_name = "container-id")]
    id: String,
    /// The name is a regular expression, for all containers that it matches
    #[arg(short, long)]
    regex: bool,
    /// End a container that runs, with SIGKILL
    #[arg(short, long)]
    force: bool,
}

impl Plain for Delete {
    fn read(arguments: &[OsString]) -> Option<Delete> {
        let (mut regex, mut force) = (false, false);
        let [id] = plain::read_all(arguments, |name, _| {
            match name {
                "r" | "regex" => regex = true,
                "f" | "force" => force = true,
                _ => return None,
            }
            Some(())
        })?;
        Some(Delete { id, regex, force })
    }
}

impl super::Run for Delete {
    fn run(self, globals: &Globals, log: &Log) -> anyhow::Result<ExitCode> {
        let root = globals.root()?;
        if self.regex {
            let delete = |container: &Container| container::delete(container, self.force, log);
            return Ok(super::for_each_match(&root, &self.id, log, delete)?);
        }
        match root.look_for(&self.id)? {
            Some(container) if self.force => container::delete(&container, true, log)?,
            // Not looked for again: that could be another.
            Some(container) => container::delete(&container.undamaged()?, false, log)?,
            None => {
                root.sweep(&self.id)?;
                // As runc: forced, the wish is fulfilled already.
                if !self.force {
                    return Err(root.missing(&self.id).into());
                }
                root.warn_of_another(log);
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}
