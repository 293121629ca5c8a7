//! `rootlet exec`.

use super::Globals;
use super::global::Limits;
use super::plain::{self, Plain};
use crate::container::{self, exec::Changes};
use crate::error::Error;
use crate::log::Log;
use crate::property::Request;
use clap::Parser;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

/// Run one more program in a container
#[derive(Debug, Default, Parser)]
#[command(after_help = "\
Examples:
  rootlet exec -t box sh
  rootlet exec -u root -e LANG=C --cwd /tmp box env
  rootlet exec -d --pid-file job.pid box sleep 60
  rootlet exec --process process.json box

The exit code is that of the program, 128 + the signal that ended it, or 255 for a failure of exec's own.")]
pub struct Exec {
    /// Send the terminal to this unix socket
    #[arg(long, value_name = "SOCKET")]
    console_socket: Option<PathBuf>,
    /// Send the pidfd of the process to this unix socket
    #[arg(long, value_name = "SOCKET")]
    pidfd_socket: Option<PathBuf>,
    /// Directory in the container
    #[arg(long, value_name = "DIR")]
    cwd: Option<String>,
    /// Add or change a variable of the environment (repeatable)
    #[arg(short, long, value_name = "NAME=VALUE")]
    env: Vec<OsString>,
    /// Give it a terminal
    #[arg(short, long)]
    tty: bool,
    /// Accepted for the habit: standard input is always the caller's
    #[arg(short, long, hide = true)]
    interactive: bool,
    /// Who runs it: UID, UID:GID, or names from the container's /etc/passwd and /etc/group
    #[arg(short, long, value_name = "USER[:GROUP]", allow_hyphen_values = true)]
    user: Option<String>,
    /// Add a supplementary group (repeatable)
    #[arg(short = 'g', long, value_name = "GID", allow_negative_numbers = true)]
    additional_gids: Vec<u32>,
    /// Take the process from this file: `process` as in config.json
    #[arg(short, long, value_name = "FILE")]
    process: Option<PathBuf>,
    /// Return when the program runs
    #[arg(short, long)]
    detach: bool,
    /// Write the pid of the process to this file
    #[arg(long, value_name = "FILE")]
    pid_file: Option<PathBuf>,
    /// Label of SELinux
    #[arg(long, value_name = "LABEL")]
    process_label: Option<String>,
    /// Profile of AppArmor
    #[arg(long, value_name = "PROFILE")]
    apparmor: Option<String>,
    /// Let it gain no privileges (PR_SET_NO_NEW_PRIVS)
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    no_new_privs: Option<bool>,
    /// Add a capability, such as CAP_NET_RAW (repeatable)
    #[arg(short, long, value_name = "CAP")]
    cap: Vec<String>,
    /// Pass this many descriptors on, from 3
    #[arg(long, value_name = "N", default_value = "0", hide_default_value = true, allow_negative_numbers = true)]
    preserve_fds: u32,
    /// A cgroup below the container's (`memory:sub` and `sub` are the same)
    #[arg(long, value_name = "PATH")]
    cgroup: Option<String>,
    /// Also if the container is paused: then it begins after `resume`, and exec waits for that
    #[arg(long)]
    ignore_paused: bool,
    /// Name of the container
    #[arg(value_name = "container-id")]
    id: String,
    /// The program and its arguments
    #[arg(value_name = "command", trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<OsString>,
}

impl Plain for Exec {
    fn read(arguments: &[OsString]) -> Option<Exec> {
        let mut exec = Exec::default();
        let (_, rest) = plain::read(arguments, 0, |name, value| {
            match name {
                "console-socket" => exec.console_socket = Some(value.path()?),
                "pidfd-socket" => exec.pidfd_socket = Some(value.path()?),
                "cwd" => exec.cwd = Some(value.text()?),
                "e" | "env" => exec.env.push(value.os_text()?),
                "t" | "tty" => exec.tty = true,
                "u" | "user" => exec.user = Some(value.text()?),
                "p" | "process" => exec.process = Some(value.path()?),
                "d" | "detach" => exec.detach = true,
                "pid-file" => exec.pid_file = Some(value.path()?),
                "preserve-fds" => exec.preserve_fds = value.number()?,
                _ => return None,
            }
            Some(())
        })?;
        // The program's flags are its own.
        let (id, command) = rest.split_first()?;
        let is_plain = command.first().is_none_or(|program| !program.to_string_lossy().starts_with('-'));
        Some(Exec { id: id.to_str().filter(|_| is_plain)?.to_owned(), command: command.to_vec(), ..exec })
    }
}

impl super::Run for Exec {
    fn run(self, globals: &Globals, log: &Log) -> anyhow::Result<ExitCode> {
        let container = globals.root()?.find(&self.id)?;
        if self.command.is_empty() && self.process.is_none() {
            let remedy = "write it behind the container's name, or give --process FILE";
            return Err(Error::new("process args cannot be empty: no program is given").remedy(remedy).into());
        }
        let changes = Changes {
            file: self.process,
            cwd: self.cwd,
            terminal: self.tty,
            user: self.user,
            additional_gids: self.additional_gids,
            selinux_label: self.process_label,
            apparmor_profile: self.apparmor,
            no_new_privileges: self.no_new_privs,
            capabilities: self.cap,
        };
        let request = Request {
            id: self.id,
            arguments: self.command,
            environment: self.env,
            preserved_descriptors: self.preserve_fds,
            strict: globals.strict(),
            try_limits: globals.limits == Limits::Try,
            ..Request::default()
        };
        let options = container::exec::Options {
            changes,
            request,
            detach: self.detach,
            cgroup: self.cgroup,
            ignore_paused: self.ignore_paused,
            pid_file: self.pid_file,
            console_socket: self.console_socket,
            pidfd_socket: self.pidfd_socket,
        };
        let code = container::exec(&container, options, log).map_err(Error::of_exec)?;
        Ok(ExitCode::from(u8::try_from(code).unwrap_or(u8::MAX)))
    }
}
