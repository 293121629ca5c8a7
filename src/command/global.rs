//! Flags before the subcommand, `--help` and `--version`.

use super::spelling::{mend_dashes, tolerant};
use super::{SUBCOMMANDS, definition, plain, print};
use crate::container::States;
use crate::error::Result;
use crate::log::{self, Log};
use crate::property::CgroupManager;
use clap::{CommandFactory, FromArgMatches, Parser, ValueEnum};
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

/// rootlet runs OCI containers for people who are not root.
#[derive(Debug, Default, Parser)]
#[command(name = "rootlet", disable_help_flag = true, disable_version_flag = true)]
pub struct Globals {
    /// Directory of the containers' states [default: $XDG_RUNTIME_DIR/rootlet, or /tmp/rootlet-UID if you have no such directory]
    #[arg(long, value_name = "DIR")]
    pub root: Option<PathBuf>,
    /// Append errors to this file, besides standard error
    #[arg(long, value_name = "FILE")]
    pub log: Option<PathBuf>,
    /// Format of the log
    #[arg(long, value_name = "FORMAT", default_value = "text", value_enum)]
    pub log_format: LogFormat,
    /// Log decisions and warnings, too
    #[arg(long)]
    debug: bool,
    /// Refuse a config that cannot be followed to the letter: no decisions, nothing ignored
    #[arg(long)]
    strict: bool,
    /// What happens to a limit that cannot be enforced: `require` is an error, `try` goes on without
    #[arg(long, value_name = "POLICY", default_value = "require", value_enum)]
    pub limits: Limits,
    /// Let this program of the host's, by name or path, serve mounts of type fuse.PROGRAM (may be given again)
    #[arg(long, value_name = "PROGRAM")]
    pub fuse: Vec<PathBuf>,
    /// Have cgroups made by systemd: linux.cgroupsPath is slice:prefix:name
    #[arg(long)]
    systemd_cgroup: bool,
    /// Who makes cgroups: systemd, nobody, or (cgroupfs) whoever may
    #[arg(long, value_name = "MANAGER", value_enum)]
    cgroup_manager: Option<Manager>,
    /// Accepted for callers of runc; rootlet sees by itself what it may do
    #[arg(long, value_name = "BOOL")]
    rootless: Option<String>,
    /// Accepted for callers of runc
    #[arg(long, value_name = "PATH", hide = true)]
    criu: Option<PathBuf>,
    /// Print help
    #[arg(short, long)]
    help: bool,
    /// Print the version
    #[arg(short, long)]
    version: bool,
}

/// Format of the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// For engines.
    Json,
}

impl From<LogFormat> for log::Format {
    fn from(format: LogFormat) -> log::Format {
        match format {
            LogFormat::Text => log::Format::Text,
            LogFormat::Json => log::Format::Json,
        }
    }
}

/// What happens to limits that cannot be enforced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Limits {
    /// They are errors.
    #[default]
    Require,
    /// They are decisions.
    Try,
}

/// crun's names of who makes cgroups.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Manager {
    Cgroupfs,
    Systemd,
    Disabled,
}

impl Globals {
    /// Who makes cgroups.
    pub fn cgroup_manager(&self) -> CgroupManager {
        match self.cgroup_manager {
            Some(Manager::Disabled) => CgroupManager::Disabled,
            Some(Manager::Systemd) => CgroupManager::Systemd,
            None if self.systemd_cgroup => CgroupManager::Systemd,
            Some(Manager::Cgroupfs) | None => CgroupManager::Any,
        }
    }

    /// Where states are kept.
    pub fn root(&self) -> Result<States> {
        States::new(self.root.as_deref())
    }

    /// Whether `--debug` is given.
    pub fn debug(&self) -> bool {
        self.debug
    }

    /// Whether `--strict` is given.
    pub fn strict(&self) -> bool {
        self.strict
    }
}

/// The flags that engines write.
pub(super) fn read_plain(arguments: &[OsString]) -> Option<(Globals, &[OsString])> {
    let mut globals = Globals::default();
    let (_, rest) = plain::read(arguments, 0, |name, value| {
        match name {
            "root" => globals.root = Some(value.path()?),
            "log" => globals.log = Some(value.path()?),
            "log-format" => globals.log_format = LogFormat::from_str(&value.text()?, false).ok()?,
            "debug" => globals.debug = true,
            "systemd-cgroup" => globals.systemd_cgroup = true,
            _ => return None,
        }
        Some(())
    })?;
    if rest.is_empty() { None } else { Some((globals, rest)) }
}

/// Parses the flags before the subcommand; the rest begins with its name.
pub fn split(arguments: Vec<OsString>) -> std::result::Result<(Globals, Vec<OsString>), clap::Error> {
    match read_plain(&arguments) {
        Some((globals, rest)) => Ok((globals, rest.to_vec())),
        None => split_by_clap(arguments),
    }
}

pub(super) fn split_by_clap(
    mut arguments: Vec<OsString>,
) -> std::result::Result<(Globals, Vec<OsString>), clap::Error> {
    let mut definition = tolerant(Globals::command());
    let end = mend_dashes(&definition, &mut arguments, true);
    let (before, rest) = arguments.split_at(end);
    let rest = rest.strip_prefix(&[OsString::from("--")]).unwrap_or(rest);
    let matches = definition.try_get_matches_from_mut([OsString::from("rootlet")].iter().chain(before))?;
    let globals = Globals::from_arg_matches(&matches)?;
    if let Some(value) = globals.rootless.as_deref().filter(|value| !matches!(*value, "true" | "false" | "auto")) {
        let message = format!("invalid value '{value}' for '--rootless': true, false or auto");
        return Err(definition.error(clap::error::ErrorKind::ValueValidation, message));
    }
    let rest = if globals.help || globals.version { Vec::new() } else { rest.to_vec() };
    Ok((globals, rest))
}

/// Prints the version, or help on everything.
pub fn print_help(globals: &Globals, log: &Log) -> ExitCode {
    if globals.version {
        let commit = option_env!("ROOTLET_COMMIT").map(|commit| format!("commit: {commit}\n")).unwrap_or_default();
        return print(&format!("rootlet version {}\n{commit}spec: 1.3.0\n", env!("CARGO_PKG_VERSION")), log);
    }
    let globals = Globals::command().help_template("{options}").render_help();
    let commands: String = SUBCOMMANDS
        .iter()
        .map(|subcommand| {
            let about = definition(subcommand).get_about().map(ToString::to_string).unwrap_or_default();
            format!("  {:11} {about}\n", subcommand.name)
        })
        .collect();
    let text = format!(
        "rootlet {} runs OCI containers for people who are not root.\n\n\
         Usage: rootlet [FLAGS] COMMAND [ARGUMENTS]\n\n\
         Commands:\n{commands}\n\
         Flags:\n{globals}\n\
         Start here, in an empty directory:\n  \
         rootlet spec --host     write a bundle of this machine's own /usr\n  \
         rootlet run box         get a shell in it\n\n\
         `rootlet COMMAND --help` explains a command.\n",
        env!("CARGO_PKG_VERSION")
    );
    print(&text, log)
}
