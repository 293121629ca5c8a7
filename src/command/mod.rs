//! The command line: one file a subcommand, and the table of them.
//!
//! Only the subcommand that is named gets its clap definition built: all of them take 0.7 ms, a third of a container's
//! start. Clients of runc write flags in ways of their own: `spelling.rs`.

mod bwrap;
mod changes;
mod check;
mod checkpoint;
mod completions;
mod create;
mod delete;
mod doctor;
mod events;
mod exec;
mod explain;
mod features;
mod global;
mod heading;
mod kill;
mod layers;
mod list;
mod output;
mod pause;
mod plain;
mod plan;
mod ps;
mod restore;
mod run;
mod sandbox;
mod spec;
mod spelling;
mod start;
mod state;
mod stats;
mod status;
mod unpack;
mod update;

use crate::container::{Container, States};
use crate::doctor::causes;
use crate::error::{Error, printable};
use crate::init::seal;
use crate::log::Log;
use crate::sys::memory::note_arguments;
use crate::sys::{Errno, creds, fd, memory, signal, started_privileged};
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{ArgMatches, Command, CommandFactory, FromArgMatches};
use regex_lite::Regex;
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::ExitCode;

pub use global::Globals;
use plain::Plain;

/// A subcommand.
pub struct Subcommand {
    /// Its name.
    pub name: &'static str,
    /// Its exit code when it fails.
    failure: u8,
    /// Whether a program that is not there, or cannot be executed, has an exit code of its own, as in shells.
    tells_programs: bool,
    /// What it touches of heap and stack, if it starts a process (`VmHWM`, and faults by `scripts/bench --profile`).
    touches: Option<(usize, usize)>,
    define: fn() -> Command,
    run: fn(&Globals, &ArgMatches, &Log) -> Done,
    /// Runs what need not be read by clap.
    run_plain: Option<RunPlain>,
}

type Done = anyhow::Result<ExitCode>;
type RunPlain = fn(&Globals, &[OsString], &Log) -> Option<Done>;

/// What a subcommand's arguments can do.
trait Run: FromArgMatches {
    fn run(self, globals: &Globals, log: &Log) -> Done;
}

const fn subcommand<T: Run + CommandFactory>(name: &'static str) -> Subcommand {
    Subcommand {
        name,
        failure: 1,
        tells_programs: false,
        touches: None,
        define: T::command,
        run: |globals, matches, log| T::from_arg_matches(matches)?.run(globals, log),
        run_plain: None,
    }
}

/// The same where most calls are plain.
const fn hot_subcommand<T: Run + CommandFactory + Plain>(name: &'static str) -> Subcommand {
    Subcommand {
        run_plain: Some(|globals, arguments, log| T::read(arguments).map(|read| read.run(globals, log))),
        ..subcommand::<T>(name)
    }
}

/// What a config touches that is read without clap.
const PLAIN: (usize, usize) = (52 << 10, 64 << 10);

/// What a sandbox's, with its filter.
const SANDBOX: (usize, usize) = (392 << 10, 64 << 10);

/// All subcommands, in the order of `--help`.
pub const SUBCOMMANDS: &[Subcommand] = &[
    subcommand::<spec::Spec>("spec"),
    subcommand::<unpack::Unpack>("unpack"),
    Subcommand { touches: Some(PLAIN), ..hot_subcommand::<run::Run>("run") },
    Subcommand { touches: Some(PLAIN), ..hot_subcommand::<create::Create>("create") },
    Subcommand {
        touches: Some(SANDBOX),
        failure: 125,
        tells_programs: true,
        ..subcommand::<sandbox::Sandbox>("sandbox")
    },
    hot_subcommand::<start::Start>("start"),
    Subcommand { touches: Some(PLAIN), failure: 255, ..hot_subcommand::<exec::Exec>("exec") },
    hot_subcommand::<state::State>("state"),
    hot_subcommand::<list::List>("list"),
    hot_subcommand::<kill::Kill>("kill"),
    hot_subcommand::<delete::Delete>("delete"),
    subcommand::<ps::Ps>("ps"),
    subcommand::<pause::Pause>("pause"),
    subcommand::<pause::Resume>("resume"),
    subcommand::<update::Update>("update"),
    subcommand::<events::Events>("events"),
    subcommand::<stats::Stats>("stats"),
    subcommand::<explain::Explain>("explain"),
    subcommand::<checkpoint::Checkpoint>("checkpoint"),
    subcommand::<restore::Restore>("restore"),
    subcommand::<plan::Plan>("plan"),
    subcommand::<check::Check>("check"),
    subcommand::<doctor::Doctor>("doctor"),
    subcommand::<features::Features>("features"),
    subcommand::<completions::Completions>("completions"),
];

/// Prints on standard output. Whoever has closed it, as `head` does, has read enough; a full disk is an error.
fn say(text: &str) -> crate::error::Result<()> {
    is_heard(text).map(drop)
}

/// Prints; false if nobody listens any more.
fn is_heard(text: &str) -> crate::error::Result<bool> {
    is_heard_raw(&printable(text, true))
}

/// Prints what is for a terminal, too.
fn is_heard_raw(text: &str) -> crate::error::Result<bool> {
    // Not by std, for which an output that is open for reading only has taken all.
    match fd::write_all(fd::borrow(1), text.as_bytes()) {
        Err(error) if error.errno == Errno::EPIPE => Ok(false),
        Err(error) => Err(Error::from_call("cannot write to standard output", error)),
        Ok(()) => Ok(true),
    }
}

/// The exit code of a command that only prints.
fn print(text: &str, log: &Log) -> ExitCode {
    match say(text) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            log.error(&error);
            ExitCode::FAILURE
        }
    }
}

/// Does something with each container whose name a regular expression matches, whatever becomes of the others.
fn for_each_match(
    root: &States,
    pattern: &str,
    log: &Log,
    act: impl Fn(&Container) -> crate::error::Result<()>,
) -> crate::error::Result<ExitCode> {
    let pattern = Regex::new(pattern).map_err(|error| {
        Error::new(format!("{pattern:?} is no regular expression: {error}")).remedy("write one, such as '^test-'")
    })?;
    let mut code = ExitCode::SUCCESS;
    for container in root.all()? {
        let done = container.and_then(|container| match pattern.is_match(&container.id) {
            true => act(&container)
                .map_err(|error| Error { message: format!("{}: {}", container.id, error.message), ..error }),
            false => Ok(()),
        });
        if let Err(error) = done {
            log.error(&error);
            code = ExitCode::FAILURE;
        }
    }
    Ok(code)
}

/// runc's exit code for a command that it does not have.
const UNKNOWN_COMMAND: u8 = 3;

/// Runs a command line; the exit code.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let mut arguments: Vec<OsString> = arguments.into_iter().collect();
    note_arguments(arguments.iter().map(|argument| argument.as_bytes()));
    let name = arguments.drain(..arguments.len().min(1)).next();
    if started_privileged() {
        // CVE-2020-5291: with privileges that its caller has not, every file name and variable would be an attack.
        let error = Error::new("rootlet is installed setuid, setgid or with capabilities")
            .because("it needs no privileges, and must have none that its caller has not");
        Log::default().error(&error.remedy("chmod u-s,g-s it, and remove its capabilities with `setcap -r`"));
        return ExitCode::FAILURE;
    }
    normalize();
    if name.is_some_and(|name| Path::new(&name).file_name().is_some_and(|name| name == "bwrap")) {
        memory::populate(SANDBOX.0, SANDBOX.1);
        return bwrap::main(arguments);
    }
    let (globals, rest) = match global::split(arguments) {
        Ok(split) => split,
        Err(error) => return complain(&Log::default(), &Command::new("rootlet"), error, 1),
    };
    let log = match Log::open(globals.log.as_deref(), globals.log_format.into(), globals.debug()) {
        Ok(log) => log,
        Err(error) => {
            Log::default().error(&error);
            return ExitCode::FAILURE;
        }
    };
    let Some((name, rest)) = rest.split_first() else {
        return global::print_help(&globals, &log);
    };
    let name = name.to_string_lossy();
    if name == "help" {
        return help(rest, &log);
    }
    let Some(subcommand) = SUBCOMMANDS.iter().find(|subcommand| subcommand.name == name) else {
        return unknown(&name, &log);
    };
    let done = match subcommand.prepare() {
        Ok(()) => match subcommand.run_plain.and_then(|run| run(&globals, rest, &log)) {
            Some(done) => done,
            None => match parse(subcommand, rest) {
                Ok(matches) => (subcommand.run)(&globals, &matches, &log),
                Err(wrong) => {
                    let (definition, error) = *wrong;
                    return complain(&log, &definition, error, subcommand.failure);
                }
            },
        },
        Err(error) => Err(error.into()),
    };
    done.unwrap_or_else(|error| {
        let error = error.downcast::<Error>().unwrap_or_else(|error| Error::new(format!("{error:#}")));
        let error = with_cause(error);
        log.error(&error);
        let code = error.program.filter(|_| subcommand.tells_programs);
        ExitCode::from(code.map_or(subcommand.failure, |program| program as u8))
    })
}

impl Subcommand {
    fn prepare(&self) -> crate::error::Result<()> {
        let Some((heap, stack)) = self.touches else { return Ok(()) };
        memory::populate(heap, stack);
        seal::ensure_own()
    }
}

/// Where the caller or the machine is short of something, whatever was done, and where /proc is not whole.
pub(crate) fn with_cause(error: Error) -> Error {
    if error.because.is_some() {
        return error;
    }
    let of_proc = || causes::of_proc().filter(|_| error.message.contains("/proc/")).map(|wrong| wrong.cause());
    let cause = match error.errno {
        Some(errno @ (Errno::EMFILE | Errno::ENFILE)) => causes::of_descriptors(errno),
        Some(Errno::ENOENT) => of_proc(),
        Some(errno) => causes::of_machine(errno),
        _ => None,
    };
    match cause {
        Some(cause) => error.because(cause.because).remedy(cause.remedy),
        None => error,
    }
}

/// Reads arguments by clap.
fn parse(subcommand: &Subcommand, rest: &[OsString]) -> std::result::Result<ArgMatches, Box<(Command, clap::Error)>> {
    let mut definition = definition(subcommand);
    let mut rest = rest.to_vec();
    let program = definition.get_positionals().position(clap::Arg::is_trailing_var_arg_set);
    let end = spelling::mend_dashes(&definition, &mut rest, program.is_some());
    if let Some(before) = program {
        spelling::set_program_apart(&mut rest, end, before);
    }
    let name = OsString::from(format!("rootlet {}", subcommand.name));
    let matches = definition.try_get_matches_from_mut([name].into_iter().chain(rest));
    matches.map_err(|error| Box::new((definition, error)))
}

/// Mends what a caller may have set: signals, and a umask that takes the owner's own permissions away.
fn normalize() {
    signal::normalize();
    let umask = creds::set_umask(0o077);
    creds::set_umask(umask & 0o077);
}

/// The definition with every subcommand, for man pages and completions.
pub fn definition_of_all() -> Command {
    Globals::command()
        .version(env!("CARGO_PKG_VERSION"))
        .subcommands(SUBCOMMANDS.iter().map(|subcommand| (subcommand.define)().name(subcommand.name)))
}

fn help(rest: &[OsString], log: &Log) -> ExitCode {
    let Some(name) = rest.first() else { return global::print_help(&Globals::default(), log) };
    match SUBCOMMANDS.iter().find(|subcommand| name == subcommand.name) {
        Some(subcommand) => print_help_of(subcommand, log),
        None => unknown(&name.to_string_lossy(), log),
    }
}

/// As people write the flags, without what is taken from clients of runc besides.
fn print_help_of(subcommand: &Subcommand, log: &Log) -> ExitCode {
    let plain = (subcommand.define)().name(subcommand.name).bin_name(format!("rootlet {}", subcommand.name));
    print(&plain.disable_version_flag(true).render_help().to_string(), log)
}

fn unknown(name: &str, log: &Log) -> ExitCode {
    log.error(&Error::new(format!("No help topic for '{name}'")).because("rootlet has no such command").remedy(
        match spelling::meant(name) {
            Some(meant) if meant.ends_with('?') => format!("{meant} See `rootlet --help`"),
            Some(meant) => format!("{meant}; see `rootlet --help`"),
            None => "see `rootlet --help`".to_owned(),
        },
    ));
    ExitCode::from(UNKNOWN_COMMAND)
}

/// A subcommand's definition, in the form that takes what clients of runc write.
fn definition(subcommand: &Subcommand) -> Command {
    let command = (subcommand.define)().name(subcommand.name).bin_name(format!("rootlet {}", subcommand.name));
    spelling::tolerant(command)
}

fn is_global(argument: &str) -> bool {
    let name = argument.split('=').next().and_then(|name| name.strip_prefix("--"));
    name.is_some_and(|name| Globals::command().get_arguments().any(|known| known.get_long() == Some(name)))
}

/// Prints help, or says what is wrong with a command line.
fn complain(log: &Log, command: &Command, error: clap::Error, failure: u8) -> ExitCode {
    if error.kind() == ErrorKind::DisplayHelp
        && let Some(subcommand) = SUBCOMMANDS.iter().find(|subcommand| subcommand.name == command.get_name())
    {
        return print_help_of(subcommand, log);
    }
    if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        return print(&error.to_string(), log);
    }
    let context = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.clone()),
        Some(ContextValue::Strings(texts)) => Some(texts.join(" ")),
        _ => None,
    };
    let argument = context(ContextKind::InvalidArg).unwrap_or_default();
    let missing_value = context(ContextKind::InvalidValue).is_none_or(|value| value.is_empty());
    let message = match error.kind() {
        ErrorKind::InvalidValue if missing_value => {
            format!("flag needs an argument: {}", argument.split_whitespace().next().unwrap_or_default())
        }
        ErrorKind::MissingRequiredArgument => format!("missing argument: {argument}"),
        ErrorKind::UnknownArgument => format!("flag or argument not expected: {argument}"),
        _ => {
            let text = error.to_string();
            let line = text.lines().next().unwrap_or_default();
            line.strip_prefix("error: ").unwrap_or(line).to_owned()
        }
    };
    let help = format!("see `{} --help`", command.get_bin_name().unwrap_or("rootlet"));
    let remedy = match context(ContextKind::ValidValue).filter(|values| !values.is_empty()) {
        Some(values) => {
            let meant = context(ContextKind::SuggestedValue).map(|value| format!("did you mean {value}? "));
            format!("{}write one of {}; {help}", meant.unwrap_or_default(), values.replace(' ', ", "))
        }
        None if error.kind() == ErrorKind::UnknownArgument && is_global(&argument) => {
            format!(
                "write it before the command, with its value if it has one: `rootlet {argument} ... run`; see `rootlet --help`"
            )
        }
        None if error.kind() == ErrorKind::UnknownArgument
            && !argument.starts_with('-')
            && matches!(command.get_name(), "run" | "create") =>
        {
            format!("write the program behind `--`: `rootlet {} ID -- {argument}`; {help}", command.get_name())
        }
        None => {
            let similar = context(ContextKind::SuggestedArg).map(|flag| format!("did you mean {flag}? {help}"));
            let meant = spelling::meant_flag(command.get_name(), &argument).map(|meant| format!("{meant}; {help}"));
            meant.filter(|_| error.kind() == ErrorKind::UnknownArgument).or(similar).unwrap_or(help)
        }
    };
    log.error(&Error::new(message).remedy(remedy));
    ExitCode::from(failure)
}
