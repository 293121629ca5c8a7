//! `rootlet run`.

use super::Globals;
use super::create::Common;
use crate::container::{self, Start};
use crate::log::Log;
use clap::Parser;
use std::process::ExitCode;

/// Create and start a container, and stay with it to its end
#[derive(Debug, Parser)]
#[command(after_help = "\
Examples:
  rootlet run box                              a shell, from the bundle in this directory
  rootlet run -d --pid-file box.pid box        in the background; `rootlet delete box` when it has stopped

What runs, and with which files, limits and privileges, is in config.json: `rootlet spec --help` shows flags that write it.
The exit code is that of the container's program, or 128 + the signal that ended it.")]
pub struct Run {
    #[command(flatten)]
    common: Common,
    /// Return when the program runs
    #[arg(short, long)]
    detach: bool,
    /// Keep the state after the end
    #[arg(long)]
    keep: bool,
    /// Do not reap what the container's hooks leave behind
    #[arg(long)]
    no_subreaper: bool,
}

impl super::Run for Run {
    fn run(self, globals: &Globals, log: &Log) -> anyhow::Result<ExitCode> {
        let root = globals.root()?;
        if self.detach {
            container::run::run_detached(&self.common.options(globals, &root, Start::Later, log)?, log)?;
            return Ok(ExitCode::SUCCESS);
        }
        let code =
            container::run(&self.common.options(globals, &root, Start::Now, log)?, self.keep, !self.no_subreaper, log)?;
        Ok(ExitCode::from(u8::try_from(code).unwrap_or(u8::MAX)))
    }
}
