//! `rootlet create`, and the arguments that it shares with `run`.

use super::changes::Basis;
use super::plain::{self, Plain};
use super::{Globals, heading};
use crate::container::beside::notify;
use crate::container::trace::Trace;
use crate::container::{self, Options, Start, States};
use crate::error::{Error, Result};
use crate::host;
use crate::log::Log;
use crate::property::{NOTIFY_VARIABLE, Request};
use clap::{Args, Parser};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Create a container, which waits for `start`
#[derive(Debug, Parser)]
#[command(after_help = "Example:\n  rootlet create --bundle ./box --pid-file box.pid box && rootlet start box")]
pub struct Create {
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    basis: Basis,
}

/// What `create` and `run` have in common.
#[derive(Debug, Args)]
pub struct Common {
    /// Name of the container, on this host and for this user
    #[arg(value_name = "container-id")]
    pub id: String,
    /// Directory with config.json and the root file system
    #[arg(short, long, value_name = "DIR", default_value = ".", hide_default_value = true)]
    pub bundle: PathBuf,
    /// Read this file instead of config.json, in the bundle or by its whole path
    #[arg(short = 'f', long, value_name = "FILE", default_value = "config.json", hide_default_value = true)]
    pub config: PathBuf,
    /// Write the pid of the container's first process to this file
    #[arg(long, value_name = "FILE", help_heading = heading::ENGINES)]
    pub pid_file: Option<PathBuf>,
    /// Send the container's terminal to this unix socket
    #[arg(long, value_name = "SOCKET", help_heading = heading::ENGINES)]
    pub console_socket: Option<PathBuf>,
    /// Send the pidfd of the container's first process to this unix socket
    #[arg(long, value_name = "SOCKET", help_heading = heading::ENGINES)]
    pub pidfd_socket: Option<PathBuf>,
    /// Pass this many descriptors on, from 3 (LISTEN_FDS are added)
    #[arg(long, value_name = "N", default_value = "0", hide_default_value = true, help_heading = heading::ENGINES)]
    pub preserve_fds: u32,
    /// Enter the root without pivot_root, for a host that runs from an initramfs
    #[arg(long, help_heading = heading::ENGINES)]
    pub no_pivot: bool,
    /// Keep the caller's session keyring
    #[arg(long, help_heading = heading::ENGINES)]
    pub no_new_keyring: bool,
}

impl Plain for Create {
    fn read(arguments: &[OsString]) -> Option<Create> {
        Some(Create { common: Common::read(arguments, |_| None)?, basis: Basis::default() })
    }
}

impl Common {
    /// Reads plain arguments; `other` takes those that are not in common.
    pub fn read(arguments: &[OsString], mut other: impl FnMut(&str) -> Option<()>) -> Option<Common> {
        let mut common = Common {
            id: String::new(),
            bundle: ".".into(),
            config: "config.json".into(),
            pid_file: None,
            console_socket: None,
            pidfd_socket: None,
            preserve_fds: 0,
            no_pivot: false,
            no_new_keyring: false,
        };
        let [id] = plain::read_all(arguments, |name, value| {
            match name {
                "b" | "bundle" => common.bundle = value.path()?,
                "f" | "config" => common.config = value.path()?,
                "pid-file" => common.pid_file = Some(value.path()?),
                "console-socket" => common.console_socket = Some(value.path()?),
                "pidfd-socket" => common.pidfd_socket = Some(value.path()?),
                "preserve-fds" => common.preserve_fds = value.number()?,
                "no-pivot" => common.no_pivot = true,
                "no-new-keyring" => common.no_new_keyring = true,
                _ => other(name)?,
            }
            Some(())
        })?;
        Some(Common { id, ..common })
    }

    /// The arguments as the lifecycle takes them.
    pub fn options<'a>(self, globals: &Globals, root: &'a States, start: Start, log: &Log) -> Result<Options<'a>> {
        let listening = listening_descriptors();
        let notify = notify::manager(log).map(|_| notify::directory(&root.directory(&self.id)));
        let mut environment = match listening {
            0 => Vec::new(),
            count => {
                // sd_listen_fds(3): in the container, the program is pid 1.
                let mut variable = OsString::from("LISTEN_FDNAMES=");
                let names = std::env::var_os("LISTEN_FDNAMES").map(|names| {
                    variable.push(names);
                    variable
                });
                let told = [format!("LISTEN_FDS={count}").into(), "LISTEN_PID=1".into()];
                told.into_iter().chain(names).collect()
            }
        };
        environment.extend(notify.iter().map(|_| NOTIFY_VARIABLE.into()));
        Ok(Options {
            root,
            request: Request {
                state: Some(root.directory(&self.id)),
                id: self.id,
                bundle: absolute(&self.bundle)?,
                audit: None,
                states: root.all_known()?,
                is_sandbox: false,
                keeps_error: false,
                is_held: false,
                no_pivot: self.no_pivot,
                no_new_keyring: self.no_new_keyring,
                preserved_descriptors: self.preserve_fds.saturating_add(listening),
                arguments: Vec::new(),
                environment,
                notify,
                cgroup_manager: globals.cgroup_manager(),
                strict: globals.strict(),
                try_limits: globals.limits == super::global::Limits::Try,
                fuse: globals.fuse.clone(),
            },
            config: self.config,
            start,
            pid_file: self.pid_file,
            console_socket: self.console_socket,
            pidfd_socket: self.pidfd_socket,
            text: None,
            layer: None,
            data: None,
            audit: None,
            trace: Trace::default(),
        })
    }
}

/// The bundle's own path, without symlinks: the state outlives the caller's directory.
pub fn absolute(bundle: &Path) -> Result<PathBuf> {
    host::canonicalize(bundle).map_err(|error| {
        Error::from_io(format!("cannot find the bundle {}", bundle.display()), &error)
            .remedy("name a directory with a config.json with --bundle DIR")
    })
}

/// LISTEN_FDS of systemd's socket activation, if it is meant for this process.
fn listening_descriptors() -> u32 {
    let number = |name: &str| std::env::var(name).ok()?.parse::<u32>().ok();
    match (number("LISTEN_FDS"), number("LISTEN_PID")) {
        (Some(count), Some(pid)) if pid == std::process::id() => count,
        _ => 0,
    }
}

impl super::Run for Create {
    fn run(self, globals: &Globals, log: &Log) -> anyhow::Result<ExitCode> {
        let root = globals.root()?;
        let terminal = self.common.console_socket.is_some();
        let mut options = self.common.options(globals, &root, Start::Later, log)?;
        self.basis.apply(&mut options, terminal, log)?;
        container::create_waiting(&options, log)?;
        Ok(ExitCode::SUCCESS)
    }
}
