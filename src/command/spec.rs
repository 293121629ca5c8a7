//! `rootlet spec`.

use super::Globals;
use super::changes::Changes;
use crate::error::{Error, Result};
use crate::host::Host;
use crate::log::Log;
use crate::property::{Request, check_all};
use crate::spec::default::{self, Kind};
use crate::spec::load;
use clap::{ArgAction, Parser};
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

/// Write a config.json to start from
#[derive(Debug, Parser)]
#[command(after_help = "\
Examples:
  rootlet spec                    for you; put a root file system into ./rootfs
  rootlet spec --host             needs no image: this machine's own /usr and /etc, read-only
  rootlet spec --rootless=false   for root
  rootlet spec --host --memory 1G --pids 100 --cap-drop ALL --seccomp default --mount type=bind,src=$HOME,dst=$HOME,ro
  rootlet spec --rootfs /srv/debian --writable --no-tty --args make -C /src")]
pub struct Spec {
    /// Directory to write config.json to
    #[arg(short, long, value_name = "DIR", default_value = ".", hide_default_value = true)]
    bundle: PathBuf,
    /// Write another file than config.json, in that directory
    #[arg(short, long, value_name = "FILE", default_value = "config.json", hide_default_value = true)]
    file: PathBuf,
    /// Replace a file that is there
    #[arg(long)]
    force: bool,
    /// For an ordinary user, which is the default; `--rootless=false` is for root
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value = "true", action = ArgAction::Set, hide_default_value = true, hide_possible_values = true)]
    rootless: bool,
    /// Make a root file system, too: the host's programs, bound read-only
    #[arg(long)]
    host: bool,
    #[command(flatten)]
    changes: Changes,
    /// The program and its arguments: the rest of the line [default: sh]
    #[arg(long, value_name = "ARG", num_args = 1.., allow_hyphen_values = true)]
    args: Vec<String>,
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
        let path = self.bundle.join(&self.file);
        let name = self.file.display().to_string();
        let failed = |error: &std::io::Error| match error.kind() {
            std::io::ErrorKind::AlreadyExists => Error::new(format!("File {name} exists. Remove it first"))
                .because(format!("{} is not overwritten", path.display()))
                .remedy("remove it, or give --force; or name another directory with --bundle DIR"),
            _ => Error::from_io(format!("cannot write {}", path.display()), error)
                .remedy("name a directory that you may write to with --bundle DIR"),
        };
        let (is_host, is_forced) = (self.host, self.force);
        let (bundle, rootless) = (self.bundle.clone(), self.rootless);
        let text = self.text(kind, rootless, bundle.clone())?;
        // A part of it would be in the way of the next one; and what is to be replaced stays until there is something better.
        let draft = if is_forced { path.with_extension(format!("{}.draft", std::process::id())) } else { path.clone() };
        let open = || std::fs::OpenOptions::new().write(true).create_new(true).open(&draft);
        let mut file = open().map_err(|error| failed(&error))?;
        let written = file.write_all(text.as_bytes());
        let placed = written.and_then(|()| if is_forced { std::fs::rename(&draft, &path) } else { Ok(()) });
        placed.map_err(|error| {
            let _ = std::fs::remove_file(&draft);
            failed(&error)
        })?;
        if is_host {
            default::make_host_rootfs(&bundle.join("rootfs")).inspect_err(|_| drop(std::fs::remove_file(&path)))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl Spec {
    fn text(self, kind: Kind, rootless: bool, bundle: PathBuf) -> Result<String> {
        let host = Host::new()?;
        let edits = self.changes.edits(self.args);
        let mut config = default::config(kind, &host)?;
        edits.apply(&mut config, &host, rootless)?;
        let text = default::text(&config)?;
        // What could never run is not written. Limits can be, with `--limits try`.
        let request = Request { id: "spec".to_owned(), bundle, try_limits: true, ..Request::default() };
        let (errors, _) = check_all(&load::parse(&text)?.spec, &request, &host);
        match errors.into_iter().next() {
            Some(error) => Err(error),
            None => Ok(text),
        }
    }
}
