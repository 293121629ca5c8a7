//! `rootlet run`.

use super::Globals;
use super::changes::Basis;
use super::create::Common;
use crate::container::foreground::Foreground;
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
  rootlet run --host --net none box -- make    this machine's own programs, without network
  rootlet run --rootfs /srv/debian --memory 1G box -- bash

What runs, and with which files, limits and privileges, is in config.json; the flags change that in memory, and --host and --rootfs
need none. `rootlet plan` takes the same flags, and shows what would be done.
The exit code is that of the container's program, or 128 + the signal that ended it.")]
pub struct Run {
    #[command(flatten)]
    short: Short,
    #[command(flatten)]
    basis: Basis,
}

/// The flags that engines use.
#[derive(Debug, Parser)]
pub struct Short {
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
        self.short.run_on(self.basis, globals, log)
    }
}

impl super::Run for Short {
    fn run(self, globals: &Globals, log: &Log) -> anyhow::Result<ExitCode> {
        self.run_on(Basis::default(), globals, log)
    }
}

impl Short {
    fn run_on(self, basis: Basis, globals: &Globals, log: &Log) -> anyhow::Result<ExitCode> {
        let root = globals.root()?;
        let start = if self.detach { Start::Later } else { Start::Now };
        let terminal = !self.detach || self.common.console_socket.is_some();
        let mut options = self.common.options(globals, &root, start, log)?;
        basis.apply(&mut options, terminal, log)?;
        if self.detach {
            container::run::run_detached(&options, log)?;
            return Ok(ExitCode::SUCCESS);
        }
        let foreground = Foreground { keep: self.keep, subreaper: !self.no_subreaper, ..Foreground::default() };
        let code = container::run(&options, &foreground, log)?;
        Ok(ExitCode::from(u8::try_from(code).unwrap_or(u8::MAX)))
    }
}
