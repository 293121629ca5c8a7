//! `rootlet spec`.

use super::Globals;
use crate::error::Error;
use crate::host::Host;
use crate::log::Log;
use crate::spec::default::{self, Kind};
use clap::Parser;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

/// Write a config.json to start from
#[derive(Debug, Parser)]
#[command(after_help = "\
Examples:
  rootlet spec                    for you; put a root file system into ./rootfs
  rootlet spec --host             needs no image: this machine's own /usr and /etc, read-only
  rootlet spec --rootless=false   for root")]
pub struct Spec {
    /// Directory to write config.json to
    #[arg(short, long, value_name = "DIR", default_value = ".", hide_default_value = true)]
    bundle: PathBuf,
    /// For an ordinary user, which is the default; `--rootless=false` is for root
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value = "true", action = clap::ArgAction::Set, hide_default_value = true, hide_possible_values = true)]
    rootless: bool,
    /// Make a root file system, too: the host's programs, bound read-only
    #[arg(long)]
    host: bool,
}

impl super::Run for Spec {
    fn run(self, _: &Globals, _: &Log) -> anyhow::Result<ExitCode> {
        let kind = match (self.host, self.rootless) {
            (true, true) => Kind::HostFiles,
            (true, false) => {
                return Err(Error::new("--host is for an ordinary user's container, and --rootless=false for root's")
                    .remedy("leave one of them out")
                    .into());
            }
            (false, true) => Kind::Rootless,
            (false, false) => Kind::Rootful,
        };
        let path = self.bundle.join("config.json");
        let failed = |error: &std::io::Error| match error.kind() {
            std::io::ErrorKind::AlreadyExists => Error::new("File config.json exists. Remove it first")
                .because(format!("{} is not overwritten", path.display())),
            _ => Error::from_io(format!("cannot write {}", path.display()), error)
                .remedy("name a directory that you may write to with --bundle DIR"),
        };
        let text = default::config(kind, &Host::new())?;
        let mut file =
            std::fs::OpenOptions::new().write(true).create_new(true).open(&path).map_err(|error| failed(&error))?;
        file.write_all(text.as_bytes()).map_err(|error| failed(&error))?;
        if self.host {
            default::make_host_rootfs(&self.bundle.join("rootfs"))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}
