//! Command lines as engines write them, and people most of the time: flags, their values and words. clap takes twenty times as long for
//! them. What is not understood here is clap's, which says what is wrong with it; what is, it understands alike (a test).

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

/// Arguments of a subcommand that are read without clap, as far as they are plain.
pub trait Plain: Sized {
    /// `None` if clap has to look at them.
    fn read(arguments: &[OsString]) -> Option<Self>;
}

/// What belongs to a flag.
pub struct Value<'a, 'b> {
    /// Behind `=`.
    attached: Option<&'a OsStr>,
    rest: &'b mut std::slice::Iter<'a, OsString>,
}

impl<'a> Value<'a, '_> {
    fn take(&mut self) -> Option<&'a OsStr> {
        let is_value = |text: &&OsStr| !text.is_empty() && !text.as_bytes().starts_with(b"-");
        self.attached.take().or_else(|| self.rest.next().map(OsString::as_os_str)).filter(is_value)
    }

    pub fn os_text(&mut self) -> Option<OsString> {
        self.take().map(OsStr::to_owned)
    }

    pub fn path(&mut self) -> Option<PathBuf> {
        self.take().map(PathBuf::from)
    }

    pub fn text(&mut self) -> Option<String> {
        self.take()?.to_str().map(str::to_owned)
    }

    pub fn number(&mut self) -> Option<u32> {
        self.take()?.to_str()?.parse().ok()
    }
}

/// Reads flags, which `flag` takes by their names, up to the word after `most`; the words before, and all from there on.
pub fn read<'a>(
    arguments: &'a [OsString],
    most: usize,
    mut flag: impl FnMut(&str, &mut Value<'a, '_>) -> Option<()>,
) -> Option<(Vec<String>, &'a [OsString])> {
    let mut rest = arguments.iter();
    let mut words = Vec::new();
    while let Some(argument) = rest.as_slice().first() {
        let text = argument.to_str()?;
        let Some(name) = text.strip_prefix("--").or(text.strip_prefix('-')) else {
            if words.len() == most {
                break;
            }
            words.push(text.to_owned());
            rest.next();
            continue;
        };
        rest.next();
        let (name, attached) = name.split_once('=').map_or((name, None), |(name, value)| (name, Some(value)));
        let mut value = Value { attached: attached.map(OsStr::new), rest: &mut rest };
        flag(name, &mut value)?;
        if value.attached.is_some() {
            return None;
        }
    }
    Some((words, rest.as_slice()))
}

/// Reads flags and exactly so many words, which may stand behind `--`, where they may begin with a dash.
pub fn read_all<'a, const N: usize>(
    arguments: &'a [OsString],
    flag: impl FnMut(&str, &mut Value<'a, '_>) -> Option<()>,
) -> Option<[String; N]> {
    let flags =
        arguments.len().checked_sub(N + 1).filter(|index| arguments.get(*index).is_some_and(|word| word == "--"));
    if let Some(flags) = flags {
        let [] = read_all(arguments.get(..flags)?, flag)?;
        let words = arguments.iter().skip(flags + 1).map(|word| word.to_str().map(str::to_owned));
        return words.collect::<Option<Vec<_>>>()?.try_into().ok();
    }
    let (words, rest) = read(arguments, N, flag)?;
    if rest.is_empty() { words.try_into().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::{SUBCOMMANDS, create, definition, delete, exec, global, kill, list, parse, run, start, state};
    use clap::{CommandFactory, FromArgMatches};
    use std::fmt::Debug;

    /// xorshift64.
    struct Dice(u64);

    impl Dice {
        fn below(&mut self, bound: usize) -> usize {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            self.0 as usize % bound
        }
    }

    /// Some thousand lines of a command's flags and other words.
    fn lines(command: &clap::Command) -> Vec<Vec<OsString>> {
        let others = ["box", "TERM", "7", "a=b", "-1", "", "-", "--", "json", "run"].map(str::to_owned);
        let mut words = others.to_vec();
        for argument in command.get_arguments() {
            let long = argument.get_long().into_iter().flat_map(|name| {
                ["--NAME", "-NAME", "--NAME=x", "--NAME=", "--NAME=true"].map(|form| form.replace("NAME", name))
            });
            let short = argument.get_short().into_iter();
            let short = short.flat_map(|name| [format!("-{name}"), format!("--{name}"), format!("-{name}7")]);
            words.extend(long.chain(short));
        }
        let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
        let mut line = |length| {
            // Names of containers and values are as frequent as all the flags.
            let word = |dice: &mut Dice| match dice.below(3) {
                0 => others[dice.below(others.len())].clone(),
                _ => words[dice.below(words.len())].clone(),
            };
            (0..length).map(|_| word(&mut dice).into()).collect()
        };
        (0..6000).map(|number| line(number % 6)).collect()
    }

    /// How many lines were plain, which clap must read alike.
    fn compare<T: Plain + FromArgMatches + Debug>(name: &str) -> usize {
        let subcommand = SUBCOMMANDS.iter().find(|subcommand| subcommand.name == name).unwrap();
        // A name behind `--` is for clap the program of a container without a name.
        let lines = lines(&definition(subcommand)).into_iter().filter(|line| !line.contains(&"--".into()));
        let read = lines.filter_map(|line| T::read(&line).map(|read| (line, read)));
        let check = |(line, read): (Vec<OsString>, T)| {
            let matches =
                parse(subcommand, &line).unwrap_or_else(|wrong| panic!("{line:?}: {read:?}, but {}", wrong.1));
            assert_eq!(format!("{read:?}"), format!("{:?}", T::from_arg_matches(&matches).unwrap()), "{line:?}");
        };
        read.map(check).count()
    }

    #[test]
    fn clap_reads_flags_alike_that_stand_before_the_command() {
        let lines = lines(&global::Globals::command()).into_iter();
        let plain = lines.filter(|line| match global::read_plain(line) {
            Some((globals, rest)) => {
                let (theirs, their_rest) = global::split_by_clap(line.clone()).unwrap();
                assert_eq!((format!("{globals:?}"), rest), (format!("{theirs:?}"), &their_rest[..]), "{line:?}");
                true
            }
            None => false,
        });
        assert!(plain.count() > 50);
    }

    #[test]
    fn clap_reads_alike_what_is_read_without_it() {
        let plain = [
            compare::<run::Run>("run"),
            compare::<create::Create>("create"),
            compare::<start::Start>("start"),
            compare::<exec::Exec>("exec"),
            compare::<state::State>("state"),
            compare::<list::List>("list"),
            compare::<kill::Kill>("kill"),
            compare::<delete::Delete>("delete"),
        ];
        assert!(plain.iter().all(|count| *count > 50), "{plain:?}");
    }
}
