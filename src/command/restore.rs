//! `rootlet restore`.

use super::Globals;
use super::checkpoint::Images;
use super::create::Common;
use crate::container::checkpoint::restore;
use crate::container::foreground::Foreground;
use crate::container::{self, Start};
use crate::log::Log;
use clap::Parser;
use std::process::ExitCode;

/// Make a container again from the files of `checkpoint`
#[derive(Debug, Parser)]
#[command(after_help = "\
Examples:
  rootlet restore -d --image-path saved box     in the background
  rootlet restore --image-path saved other      stay with it to its end

The bundle must be as it was: the same config.json, and the same files in the root file system.")]
pub struct Restore {
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    images: Images,
    /// Return when it runs
    #[arg(short, long)]
    detach: bool,
    /// Do not reap what the container's hooks leave behind
    #[arg(long)]
    no_subreaper: bool,
    /// Close TCP connections that were open
    #[arg(long)]
    tcp_close: bool,
    /// Give processes this label: apparmor:NAME or selinux:LABEL
    #[arg(long, value_name = "LABEL")]
    lsm_profile: Option<String>,
    /// Give mounts this context
    #[arg(long, value_name = "CONTEXT")]
    lsm_mount_context: Option<String>,
}

impl super::Run for Restore {
    fn run(self, globals: &Globals, log: &Log) -> anyhow::Result<ExitCode> {
        let root = globals.root()?;
        let start = if self.detach { Start::Later } else { Start::Now };
        let as_created = self.common.options(globals, &root, start, log)?;
        let options = restore::Options {
            images: self.images.options()?,
            tcp_close: self.tcp_close,
            lsm_profile: self.lsm_profile,
            lsm_mount_context: self.lsm_mount_context,
        };
        if self.detach {
            container::restore(&options, &as_created, log)?;
            return Ok(ExitCode::SUCCESS);
        }
        let foreground = Foreground { subreaper: !self.no_subreaper, ..Foreground::default() };
        let code = container::run::restore(&options, &as_created, &foreground, log)?;
        Ok(ExitCode::from(u8::try_from(code).unwrap_or(u8::MAX)))
    }
}
