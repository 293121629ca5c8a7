//! `rootlet start`.

use super::Globals;
use super::plain::{self, Plain};
use crate::container;
use crate::log::Log;
use clap::Parser;
use std::ffi::OsString;
use std::process::ExitCode;

/// Start the program of a created container
#[derive(Debug, Parser)]
#[command(after_help = "Example:\n  rootlet create box && rootlet start box")]
pub struct Start {
    /// Name of the container
    #[arg(value_name = "container-id")]
    id: String,
}

impl Plain for Start {
    fn read(arguments: &[OsString]) -> Option<Start> {
        plain::read_all(arguments, |_, _| None).map(|[id]| Start { id })
    }
}

impl super::Run for Start {
    fn run(self, globals: &Globals, log: &Log) -> anyhow::Result<ExitCode> {
        container::start(&globals.root()?.find(&self.id)?, log)?;
        Ok(ExitCode::SUCCESS)
    }
}
