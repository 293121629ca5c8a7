//! `rootlet state`.

use super::Globals;
use super::plain::{self, Plain};
use crate::log::Log;
use clap::Parser;
use std::ffi::OsString;
use std::process::ExitCode;

/// Print the state of a container as JSON
#[derive(Debug, Parser)]
#[command(after_help = "Example:\n  rootlet state box | jq -r .status")]
pub struct State {
    /// Name of the container
    #[arg(value_name = "container-id")]
    id: String,
}

impl Plain for State {
    fn read(arguments: &[OsString]) -> Option<State> {
        plain::read_all(arguments, |_, _| None).map(|[id]| State { id })
    }
}

impl super::Run for State {
    fn run(self, globals: &Globals, _: &Log) -> anyhow::Result<ExitCode> {
        let container = globals.root()?.find(&self.id)?;
        // As runc: two spaces, and no newline at the end.
        super::say(&serde_json::to_string_pretty(&container.view(&container.status()?.to_string()))?)?;
        Ok(ExitCode::SUCCESS)
    }
}
