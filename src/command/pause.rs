//! `rootlet pause` and `rootlet resume`.

use super::Globals;
use crate::container;
use crate::log::Log;
use clap::Parser;
use std::process::ExitCode;

/// Stop all processes of a container, until `resume`
#[derive(Debug, Parser)]
#[command(after_help = "Example:\n  rootlet pause box; rootlet state box | jq -r .status; rootlet resume box")]
pub struct Pause {
    /// Name of the container
    #[arg(value_name = "container-id")]
    id: String,
}

impl super::Run for Pause {
    fn run(self, globals: &Globals, _: &Log) -> anyhow::Result<ExitCode> {
        container::pause(&mut globals.root()?.find(&self.id)?)?;
        Ok(ExitCode::SUCCESS)
    }
}

/// Let the processes of a paused container go on
#[derive(Debug, Parser)]
#[command(after_help = "Example:\n  rootlet resume box")]
pub struct Resume {
    /// Name of the container
    #[arg(value_name = "container-id")]
    id: String,
}

impl super::Run for Resume {
    fn run(self, globals: &Globals, log: &Log) -> anyhow::Result<ExitCode> {
        container::resume(&mut globals.root()?.find(&self.id)?, log)?;
        Ok(ExitCode::SUCCESS)
    }
}
