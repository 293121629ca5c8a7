//! `rootlet sandbox`.

use super::changes::{Limits, networks};
use super::heading;
use super::{Globals, layers, output, status};
use crate::container::create::Data;
use crate::container::foreground::Foreground;
use crate::container::layer::{Change, Layer};
use crate::container::state::directory::DATA;
use crate::container::{self, Options, Start, States, Status};
use crate::error::{Error, Result, printable};
use crate::host::{self, Host};
use crate::init::seal;
use crate::log::Log;
use crate::property::Request;
use crate::spec::default;
use crate::spec::edit::{Edits, Network};
use crate::spec::found::Found;
use crate::spec::sandbox::{Access, NOTHING, Sandbox as Config, is_special};
use crate::sys::{fd, tty};
use clap::{Parser, ValueEnum};
use serde_json::{Value, json};
use std::hash::{BuildHasher, RandomState};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

/// Run a command on this machine's own files, fenced in: read-only but for this directory, without network, home and secrets
#[derive(Debug, Parser)]
#[command(after_help = "\
Examples:
  rootlet sandbox                                        a shell that can change nothing but what is here
  rootlet sandbox -- make -j8                            build; the Makefile sees no network and no keys
  rootlet sandbox --layer tmp --diff -- ./configure      what would it change? Nothing is, and a list says what
  rootlet sandbox --net host -- npm install left-pad     an unknown package's scripts, away from your home
  rootlet sandbox --ro ~/.cargo --ro ~/.rustup --env PATH -- cargo test --offline    tools of your home
  rootlet sandbox --timeout 30s --memory 1G --pids 200 -- ./downloaded    a program that nobody knows
  rootlet sandbox --net host -- sh -c 'python3 -m venv .venv && .venv/bin/pip install -r requirements.txt'
  rootlet sandbox --share-home=ro --hide ~/mail -- rg -l TODO ~           search all, but not that
  rootlet sandbox --net host --env API_TOKEN --ro ~/.gitconfig --ro .git/hooks --ro .git/config -- agent
                                                         an agent's shell: one secret, commits, but no hook for you to run later
  rootlet sandbox --status-fd 3 -- ./ci.sh 3>/tmp/events.json             CI: what began, and how it ended, as JSON lines
  rootlet sandbox --print-config -- make > box/config.json                the same for any OCI runtime

Of several flags about paths, the one for the deeper path counts. What is made anew in a home that is shared, or in its .config, .cargo, .local
or the like, is gone at the end; what is there is shared. When the time is up, SIGTERM comes, and SIGKILL 2 s later.
Exit codes: that of COMMAND; 128 + the signal that ended it; 124 when the time is up; 125 if rootlet failed, 126 if COMMAND cannot
be executed, 127 if there is none.")]
pub struct Sandbox {
    /// Also writable: what is changed there is changed (may be given again, as can those below)
    #[arg(long, value_name = "PATH")]
    rw: Vec<PathBuf>,
    /// Read-only, such as a part of this directory
    #[arg(long, value_name = "PATH")]
    ro: Vec<PathBuf>,
    /// Out of sight: an empty file or directory is in its place
    #[arg(long, value_name = "PATH")]
    hide: Vec<PathBuf>,
    /// An empty directory in its place, in memory, which is writable and gone at the end
    #[arg(long, value_name = "PATH")]
    tmp: Vec<PathBuf>,
    /// Share your home, but for what has keys and passwords as a rule; `ro`: read-only
    #[arg(long, value_name = "rw|ro", num_args = 0..=1, require_equals = true, default_missing_value = "rw", hide_possible_values = true)]
    share_home: Option<Share>,
    /// In this directory instead of the current one
    #[arg(long, short = 'C', value_name = "DIR")]
    cwd: Option<PathBuf>,
    /// Network: `none`; `host`, the caller's; `private`, one with a way out, by pasta or slirp4netns
    #[arg(long, value_name = "NETWORK", value_parser = networks(), hide_possible_values = true, help_heading = heading::NETWORK)]
    net: Option<Network>,
    /// Lead a port of the host into a private network: [IP:]HOST:CONTAINER[/udp]
    #[arg(long, value_name = "PORTS", help_heading = heading::NETWORK)]
    publish: Vec<String>,
    /// A variable of the environment; without a value, the caller's
    #[arg(long, short, value_name = "NAME[=VALUE]")]
    env: Vec<String>,
    /// All variables of the caller's
    #[arg(long)]
    env_all: bool,
    /// Be root inside, and not who you are
    #[arg(long, help_heading = heading::PRIVILEGES)]
    root: bool,
    #[command(flatten)]
    limits: Limits,
    /// End the command after so long, such as 30s or 5min
    #[arg(long, value_name = "DURATION", value_parser = duration, help_heading = heading::LIMITS)]
    timeout: Option<Duration>,
    /// End the command when whoever has called this ends, which is the default; `--die-with-parent=false` for a caller that goes on before
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value = "true", action = clap::ArgAction::Set, hide_default_value = true, hide_possible_values = true)]
    die_with_parent: bool,
    /// Writable layer over all that is writable: `tmp`, which is thrown away, or a directory that keeps it
    #[arg(long, value_name = "tmp|DIR")]
    layer: Option<PathBuf>,
    /// List afterwards, on standard output or in a file, what was changed in the layer: A added, C changed, D deleted
    #[arg(long, requires = "layer", value_name = "FILE", num_args = 0..=1, require_equals = true, default_missing_value = "-", help_heading = heading::SEEING)]
    diff: Option<PathBuf>,
    /// System call filter: `default`, `none`, or a file with a profile, also one of Docker or podman
    #[arg(long, value_name = "PROFILE", help_heading = heading::PRIVILEGES)]
    seccomp: Option<String>,
    /// Allow a system call that the filter forbids, such as io_uring_setup
    #[arg(long, value_name = "NAME", value_delimiter = ',', help_heading = heading::PRIVILEGES)]
    allow_syscall: Vec<String>,
    /// Let Landlock forbid what the mounts forbid, once more, and to signal or reach what is outside
    #[arg(long, help_heading = heading::PRIVILEGES)]
    landlock: bool,
    /// Write what happens to this descriptor: JSON objects, a line each
    #[arg(long, value_name = "FD", help_heading = heading::SEEING)]
    status_fd: Option<i32>,
    /// Print the config, and run nothing
    #[arg(long, conflicts_with_all = ["layer", "timeout", "status_fd"], help_heading = heading::SEEING)]
    print_config: bool,
    /// The command and its arguments [default: your shell]
    #[arg(value_name = "COMMAND", trailing_var_arg = true)]
    command: Vec<String>,
}

/// How the home is shared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Share {
    Rw,
    Ro,
}

/// A number of seconds, or what humantime(1) reads.
fn duration(text: &str) -> std::result::Result<Duration, String> {
    let seconds = text.parse::<f64>().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    let read = seconds.or_else(|| humantime::parse_duration(text).ok()).filter(|time| !time.is_zero());
    read.ok_or_else(|| "write a time such as 90, 30s or 5min".to_owned())
}

impl super::Run for Sandbox {
    fn run(self, globals: &Globals, log: &Log) -> anyhow::Result<ExitCode> {
        let parent = std::os::unix::process::parent_id();
        let code = self.start(parent, globals, log).map_err(|error| error.of_sandbox("--env PATH", "--ro"))?;
        Ok(ExitCode::from(u8::try_from(code).unwrap_or(u8::MAX)))
    }
}

impl Sandbox {
    fn start(mut self, parent: u32, globals: &Globals, log: &Log) -> Result<i32> {
        let host = Host::new()?;
        seal::ensure_at_once(&host)?;
        let root = globals.root()?;
        // By then it is there, and can be hidden.
        root.make()?;
        let written = self.config(&host)?.write(&host)?;
        let mut config = written.config;
        if self.print_config {
            written.notes.iter().for_each(|note| log.warn(note));
            super::say(&(default::text(&config)? + "\n"))?;
            return Ok(0);
        }
        let status = self.status_fd.map(|number| status::descriptor("--status-fd", number)).transpose()?;
        written.notes.iter().for_each(|note| log.warn(note));
        let id = name(&root)?;
        let request = Request {
            state: Some(root.directory(&id)),
            bundle: root.directory(&id),
            states: root.all_known()?,
            is_sandbox: true,
            keeps_error: !tty::is_terminal(tty::standard_error()),
            cgroup_manager: globals.cgroup_manager(),
            strict: globals.strict(),
            try_limits: globals.limits == super::global::Limits::Try,
            fuse: globals.fuse.clone(),
            id,
            ..Request::default()
        };
        let mut options = Options { start: Start::Now, request, ..Options::new(&root, "", PathBuf::from("/")) };
        // Nothing of it is seen, as with any other directory; but none of the command's is below it.
        let data = root.directory(&options.request.id).join(DATA);
        config["root"]["path"] = json!(data.join("root"));
        hide_files(&mut config, &data.join("0"));
        options.data = Some(Data { files: vec![(Vec::new(), 0o444)], ..Data::default() });
        let mut before_end = None;
        if let Some(asked) = self.layer.take() {
            let mut layer = layers::choose(&asked, &host)?;
            options.request.fuse.extend(layers::cover_places(&mut config, written.writable, &mut layer, &host)?);
            before_end = self.diff.take().map(|file| list_changes(layer.clone(), &file)).transpose()?;
            options.layer = Some(layer);
        }
        options.text = Some(config.to_string());
        let foreground = Foreground {
            subreaper: true,
            timeout: self.timeout,
            parent: self.die_with_parent.then_some(parent),
            report: status.map(status::report),
            before_end,
            dies_interrupted: true,
            ..Foreground::default()
        };
        container::run(&options, &foreground, log)
    }

    fn config(&self, host: &Host) -> Result<Config> {
        let directory = match (&self.cwd, Found::current()) {
            (Some(chosen), Ok(current)) => Found::named("--cwd", chosen, &current.path)?,
            // Where the caller is does not matter, and may be gone.
            (Some(chosen), Err(_)) if chosen.is_absolute() => Found::named("--cwd", chosen, chosen)?,
            (_, current) => current?,
        };
        if self.cwd.is_some() && !directory.path.is_dir() {
            return Err(Error::new(format!("--cwd {} is no directory", directory.path.display()))
                .because("it is a file, or a directory on its way is closed to you"));
        }
        let homes = dirs::home_dir().into_iter().chain(host::home_of(host.uid).map(PathBuf::from));
        let homes = homes.filter_map(|home| home.canonicalize().ok());
        let mut homes: Vec<_> =
            homes.filter(|home| home.is_dir() && home != Path::new("/") && !is_special(home)).collect();
        homes.dedup();
        if homes.is_empty() && self.share_home.is_some() {
            return Err(Error::new("--share-home: you have no home").remedy("set HOME, or leave the flag out"));
        }
        let flags = [
            (&self.rw, Access::Writable),
            (&self.ro, Access::ReadOnly),
            (&self.hide, Access::Hidden),
            (&self.tmp, Access::Memory),
        ];
        let named = flags.iter().flat_map(|(paths, access)| paths.iter().map(|path| (path, *access)));
        let find =
            |(path, access): (&PathBuf, Access)| Ok((Found::named(access.flag(), path, &directory.path)?, access));
        let paths = named.map(find).collect::<Result<_>>()?;
        // In the background, nobody types to it.
        let has_terminal = tty::is_terminal(tty::standard_input())
            && tty::is_terminal(tty::standard_output())
            && tty::is_in_foreground(tty::standard_input());
        let limits = self.limits.clone();
        let edits = Edits {
            args: self.command(),
            no_tty: self.print_config || !has_terminal,
            memory: limits.memory,
            cpus: limits.cpus,
            pids: limits.pids,
            network: self.net,
            publish: self.publish.clone(),
            seccomp: self.seccomp.clone(),
            ..Edits::default()
        };
        Ok(Config {
            directory,
            aliases: homes.iter().map(|home| host.aliases(home)).collect::<Result<Vec<_>>>()?.concat(),
            runtime_directory: dirs::runtime_dir().filter(|path| path.is_dir()),
            homes,
            has_layer: self.layer.is_some(),
            home_access: self.share_home.map(|share| match share {
                Share::Rw => Access::Writable,
                Share::Ro => Access::ReadOnly,
            }),
            paths,
            env: self.env.clone(),
            has_whole_environment: self.env_all,
            is_root: self.root,
            has_landlock: self.landlock,
            system_calls: self.allow_syscall.clone(),
            edits,
        })
    }

    fn command(&self) -> Vec<String> {
        if !self.command.is_empty() {
            return self.command.clone();
        }
        let shell = std::env::var("SHELL").ok().filter(|shell| Path::new(shell).is_file());
        vec![shell.unwrap_or_else(|| "sh".to_owned())]
    }
}

/// What is hidden of files is an empty one, and not a device that takes what is written to it.
fn hide_files(config: &mut Value, file: &Path) {
    let mounts = config["mounts"].as_array_mut().into_iter().flatten();
    mounts.filter(|mount| mount["source"] == NOTHING).for_each(|mount| mount["source"] = json!(file));
}

/// Lists what was changed in a layer, as far as that can be read. A file is opened by now: the program may put another one in its place.
fn list_changes(layer: Layer, file: &Path) -> Result<Box<dyn Fn() -> Result<()>>> {
    let output = (file.as_os_str() != "-").then(|| output::open("--diff", file)).transpose()?;
    Ok(Box::new(move || {
        let mut text = String::new();
        let (changes, missing) = layer.changes(Path::new("/"));
        for (path, change) in changes {
            let letter = match change {
                Change::Added => 'A',
                Change::Changed => 'C',
                Change::Deleted => 'D',
            };
            text.push_str(&format!("{letter} {}\n", printable(&path.to_string_lossy(), false)));
        }
        match &output {
            None => super::say(&text)?,
            Some(output) => {
                fd::write_all(output.as_fd(), text.as_bytes()).map_err(|error| Error::from_call("--diff", error))?
            }
        }
        missing.into_iter().next().map_or(Ok(()), |error| {
            Err(Error { message: format!("--diff is not complete: {}", error.message), ..error })
        })
    }))
}

/// What sandboxes are called, before the pid of whoever has made them.
const ID: &str = "sandbox-";

/// A name for a sandbox; what is left of those whose makers were killed is removed.
pub fn name(root: &States) -> Result<String> {
    let own = format!("{ID}{}", std::process::id());
    let [left, drafts] = root.left(ID)?;
    for id in left {
        if let Ok(Some(left)) = root.look_for(&id)
            && matches!(left.status(), Ok(Status::Stopped))
            // Sandboxes have none: what has some was put there.
            && left.state.as_ref().is_none_or(|state| state.hooks.is_none())
        {
            // Somebody else may be at it; and what it has left is not this command's business.
            let _ = container::delete(&left, false, &Log::of_errors());
        }
    }
    for id in drafts {
        let _ = root.sweep(&id);
    }
    // One of that name is of another pid namespace, or a leftover.
    let is_taken = root.directory(&own).symlink_metadata().is_ok();
    let name = if is_taken { format!("{own}-{}", RandomState::new().hash_one(&own) % 1_000_000) } else { own };
    Ok(name)
}
