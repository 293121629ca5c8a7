//! `rootlet run`.

use super::changes::Basis;
use super::create::Common;
use super::plain::Plain;
use super::{Globals, heading, output, status};
use crate::container::foreground::Foreground;
use crate::container::trace::Trace;
use crate::container::{self, Start};
use crate::error::Error;
use crate::log::Log;
use crate::sys::tty;
use clap::Parser;
use std::ffi::OsString;
use std::path::PathBuf;
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
need none. `rootlet plan` takes those that say what is run, and shows what would be done.
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
    #[arg(long, help_heading = heading::ENGINES)]
    no_subreaper: bool,
    #[command(flatten)]
    seeing: Seeing,
    #[command(flatten)]
    basis: Basis,
}

/// What is told of a start, and written about it.
#[derive(Debug, Default, clap::Args)]
struct Seeing {
    /// Write what happens to this descriptor: JSON objects, a line each
    #[arg(long, value_name = "FD", conflicts_with = "detach", help_heading = heading::SEEING)]
    status_fd: Option<i32>,
    /// Write each step with its time to a file, as chrome://tracing and ui.perfetto.dev show it
    #[arg(long, value_name = "FILE", help_heading = heading::SEEING)]
    trace: Option<PathBuf>,
    /// Write the system calls that are used to a file, as a profile for --seccomp with which the same works
    #[arg(long, value_name = "FILE", conflicts_with = "detach", help_heading = heading::SEEING)]
    seccomp_audit: Option<PathBuf>,
}

impl super::Run for Run {
    fn run(self, globals: &Globals, log: &Log) -> anyhow::Result<ExitCode> {
        let seeing = self.seeing;
        let report =
            seeing.status_fd.map(|number| status::descriptor("--status-fd", number)).transpose()?.map(status::report);
        let root = globals.root()?;
        let start = if self.detach { Start::Later } else { Start::Now };
        let terminal = !self.detach || self.common.console_socket.is_some();
        let mut options = self.common.options(globals, &root, start, log)?;
        options.trace = Trace::new(seeing.trace.map(|file| output::open("--trace", &file)).transpose()?);
        options.audit = seeing.seccomp_audit.as_deref().map(|file| output::open(AUDIT, file)).transpose()?;
        options.request.audit = seeing.seccomp_audit;
        self.basis.apply(&mut options, terminal, log)?;
        if self.detach {
            if tty::is_terminal(tty::standard_input()) && options.console_socket.is_none() {
                log.warn(
                    &Error::new("the container has this terminal as its standard input")
                        .because("its program reads what you type, also when this command has returned")
                        .remedy("add </dev/null"),
                );
            }
            container::run::run_detached(&options, log)?;
            return Ok(ExitCode::SUCCESS);
        }
        let foreground = Foreground { keep: self.keep, subreaper: !self.no_subreaper, report, ..Foreground::default() };
        let code = container::run(&options, &foreground, log)?;
        Ok(ExitCode::from(u8::try_from(code).unwrap_or(u8::MAX)))
    }
}

impl Plain for Run {
    fn read(arguments: &[OsString]) -> Option<Run> {
        let (mut detach, mut keep, mut no_subreaper) = (false, false, false);
        let common = Common::read(arguments, |name| {
            match name {
                "d" | "detach" => detach = true,
                "keep" => keep = true,
                "no-subreaper" => no_subreaper = true,
                _ => return None,
            }
            Some(())
        })?;
        Some(Run { common, detach, keep, no_subreaper, seeing: Seeing::default(), basis: Basis::default() })
    }
}

const AUDIT: &str = "--seccomp-audit";
