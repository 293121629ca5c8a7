//! What clients of runc write, and what users of other engines would: flags twice, with one dash, as `--flag=true`; and commands
//! and flags that are called otherwise here, or are somebody else's business.

use super::SUBCOMMANDS;
use clap::{Arg, ArgAction, Command};
use std::ffi::OsString;

/// Commands of Docker and podman, and what is the same.
const COMMANDS: [(&str, &str); 19] = [
    ("ls", "did you mean `rootlet list`?"),
    ("rm", "did you mean `rootlet delete`?"),
    ("remove", "did you mean `rootlet delete`?"),
    ("stop", "did you mean `rootlet kill ID TERM`?"),
    ("restart", "`rootlet delete -f ID`, and run it again"),
    ("inspect", "did you mean `rootlet explain`, or `rootlet state`?"),
    ("top", "did you mean `rootlet ps`?"),
    ("unpause", "did you mean `rootlet resume`?"),
    ("logs", "a container writes to the standard streams of its caller: redirect those of `rootlet run -d`"),
    ("enter", "`rootlet exec -t ID sh` gives a shell in a container that runs"),
    ("shell", "`rootlet exec -t ID sh` gives a shell in a container that runs, and `rootlet run ID` one in a new one"),
    ("cp", "a container's files are those of its root file system, or of its layer: copy them there"),
    ("commit", "`rootlet run --layer DIR` keeps what a container changes, for the next one with that layer"),
    ("attach", "a container writes to the standard streams of its caller; `rootlet exec -t ID sh` gives a shell in it"),
    ("images", "a runtime has bundles, and no images: `rootlet unpack IMAGE BUNDLE` makes one of the other"),
    (
        "pull",
        "rootlet fetches nothing: `skopeo copy docker://NAME oci:DIR:TAG`, and then `rootlet unpack oci:DIR:TAG BUNDLE`",
    ),
    (
        "build",
        "a runtime has bundles, and no images: build one with `buildah`, and make a bundle of it with `rootlet unpack`",
    ),
    ("version", "did you mean `rootlet --version`?"),
    ("info", "did you mean `rootlet features`?"),
];

/// Flags of Docker's and podman's `run`, `exec` and `kill`, and what is the same.
const FLAGS: [(&str, &str); 35] = [
    ("--rm", "leave it out: `run` removes the container at its end, unless --keep is given"),
    (
        "-i",
        "leave it out: standard input is always the caller's, and the terminal is that of config.json, which `rootlet spec` asks for",
    ),
    ("-t", "`run` has the terminal of config.json, which `rootlet spec` asks for; --no-tty is for none"),
    ("--tty", "`run` has the terminal of config.json, which `rootlet spec` asks for; --no-tty is for none"),
    ("--name", "write the name behind the command: `rootlet run NAME`"),
    ("-v", "write --mount type=bind,src=DIR,dst=DIR, also with `run`"),
    ("--volume", "write --mount type=bind,src=DIR,dst=DIR, also with `run`"),
    ("--mount", "mounts are in config.json: `rootlet spec --mount ...`"),
    ("-e", "the environment is in config.json: `rootlet spec --env NAME=VALUE`"),
    ("--env", "the environment is in config.json: `rootlet spec --env NAME=VALUE`"),
    ("-w", "write --cwd DIR"),
    ("--memory", "limits are in config.json: `rootlet spec --memory SIZE`; `rootlet update` changes them"),
    ("--cpus", "limits are in config.json: `rootlet spec --cpus NUMBER`; `rootlet update` changes them"),
    ("-p", "write --net private --publish [IP:]HOST:CONTAINER"),
    ("--publish", "it is a flag of `run`, `create` and `spec`, with --net private"),
    ("--network", "write --net host, none or private"),
    ("--privileged", "leave it out: what it would need, such as --cap-add ALL, has flags of its own"),
    ("--entrypoint", "write the program behind --: `rootlet run NAME -- PROGRAM`"),
    ("--workdir", "write --cwd DIR"),
    ("--chdir", "write --cwd DIR"),
    ("--tmpfs", "write --mount type=tmpfs,dst=DIR"),
    ("--bind", "write --mount type=bind,src=DIR,dst=DIR"),
    ("--ro-bind", "write --mount type=bind,src=DIR,dst=DIR,ro"),
    ("--unshare-net", "write --net none"),
    ("--unshare-all", "leave it out: all namespaces but the network's are the container's own, and --net none is that"),
    ("--userns", "leave it out: there is always one; --as-me is for your own uid inside"),
    ("--setenv", "write --env NAME=VALUE"),
    ("--overlay", "write --layer tmp, or --layer DIR"),
    ("-0", "write --fake-root"),
    ("--root-id", "write --fake-root"),
    ("-r", "write --rootfs DIR"),
    ("-S", "write --rootfs DIR --fake-root"),
    ("--die-with-parent", "leave it out: a foreground `run` takes its container along"),
    ("--gpus", "devices are in config.json (linux.devices)"),
    ("-9", "write the signal behind the name: `rootlet kill ID KILL`"),
];

/// What somebody may have meant by a command that there is not.
pub fn meant(name: &str) -> Option<String> {
    let foreign = COMMANDS.iter().find(|(theirs, _)| *theirs == name).map(|(_, own)| (*own).to_owned());
    let likeness = |command: &str| strsim::damerau_levenshtein(command, name);
    let nearest = SUBCOMMANDS.iter().map(|subcommand| subcommand.name).min_by_key(|command| likeness(command));
    let nearest = nearest.filter(|command| likeness(command) <= 2 && likeness(command) < name.chars().count());
    foreign.or_else(|| nearest.map(|command| format!("did you mean `rootlet {command}`?")))
}

/// What somebody may have meant by a flag that a command has not.
pub fn meant_flag(command: &str, argument: &str) -> Option<&'static str> {
    let name = argument.split(['=', ' ']).next()?;
    let own = match (command, name) {
        ("sandbox", "-v" | "--volume" | "--mount") => Some("write --ro DIR, or --rw DIR"),
        ("sandbox", "--limits") => Some("write --memory, --cpus and --pids"),
        ("update", "--cpus") => Some("write --cpu-quota MICROSECONDS and --cpu-period MICROSECONDS"),
        _ => None,
    };
    own.or_else(|| FLAGS.iter().find(|(theirs, _)| *theirs == name).map(|(_, own)| *own))
}

/// Flags may come twice (the last one counts), and booleans may be written `--flag=true`.
pub fn tolerant(command: Command) -> Command {
    command.args_override_self(true).disable_version_flag(true).mut_args(|argument| match argument.get_action() {
        ArgAction::SetTrue => argument
            .action(ArgAction::Set)
            .num_args(0..=1)
            .require_equals(true)
            .default_missing_value("true")
            .default_value("false")
            .hide_default_value(true)
            .hide_possible_values(true),
        _ => argument,
    })
}

/// Go's flags may have one dash or two: `-no-subreaper` becomes `--no-subreaper`, and `--e` becomes `-e`; with `stops_there`
/// up to the first word that is no flag, as a program's own may follow. The index of what comes behind.
pub fn mend_dashes(command: &Command, arguments: &mut [OsString], stops_there: bool) -> usize {
    let mut index = 0;
    while let Some(argument) = arguments.get_mut(index) {
        let text = argument.to_string_lossy().into_owned();
        if text == "--" || stops_there && !text.starts_with('-') {
            break;
        }
        let flag = find_flag(command, &text);
        if let Some(mended) = flag.and_then(|_| respell(&text)) {
            *argument = mended.into();
        }
        let takes_more = match flag {
            Some(flag) => takes_next_word(flag) && !text.contains('='),
            None => cluster_takes_next_word(command, &text),
        };
        index += if takes_more { 2 } else { 1 };
    }
    index.min(arguments.len())
}

/// What stands behind the first words that are no flags, `before` of which are the command's own, such as a container's name, is the
/// program's, as in runc.
pub fn set_program_apart(arguments: &mut Vec<OsString>, first: usize, before: usize) {
    let is_word = |index: usize| arguments.get(index).is_some_and(|word| word != "--");
    if (first..=first + before).all(is_word) {
        arguments.insert(first + before, OsString::from("--"));
    }
}

fn name_of(text: &str) -> &str {
    text.trim_start_matches('-').split('=').next().unwrap_or_default()
}

fn find_flag<'a>(command: &'a Command, text: &str) -> Option<&'a Arg> {
    let name = name_of(text);
    let is_named = |known: &&Arg| {
        let short = known.get_short().map(String::from);
        known.get_long() == Some(name) || short.as_deref() == Some(name)
    };
    command.get_arguments().filter(|_| text.starts_with('-')).find(is_named)
}

/// With as many dashes as clap wants.
fn respell(text: &str) -> Option<String> {
    match (text.starts_with("--"), name_of(text).len()) {
        (false, 2..) => Some(format!("-{text}")),
        (true, 1) => text.get(1..).map(str::to_owned),
        _ => None,
    }
}

/// Of short flags in one word, as in `-du 0`, the last one may take the next word; one before it takes the rest of its own.
fn cluster_takes_next_word(command: &Command, text: &str) -> bool {
    let Some(letters) = text.strip_prefix('-').filter(|letters| !letters.starts_with('-')) else { return false };
    let find = |letter| command.get_arguments().find(|known| known.get_short() == Some(letter));
    let taker = letters.char_indices().find(|(_, letter)| find(*letter).is_none_or(takes_next_word));
    taker.is_some_and(|(index, letter)| find(letter).is_some() && index + letter.len_utf8() == letters.len())
}

fn takes_next_word(flag: &Arg) -> bool {
    matches!(flag.get_action(), ArgAction::Set | ArgAction::Append) && !flag.is_require_equals_set()
}
