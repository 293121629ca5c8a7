//! What the user reads when something fails: one line that names the property and the operation, then the cause and the mend.

use crate::sys::{self, Errno};
use std::borrow::Cow;
use std::fmt;
use std::path::Path;

/// An error for people. [`fmt::Display`] gives the first line; the log adds `because:` and `try:`.
///
/// Clients of runc look for words in messages: "permission denied" and "operation not permitted" mean a user's program
/// that may not be executed, "no such file or directory" and "executable file not found" one that is missing. So these
/// words stand in an [`Error`] only if that is the cause; other errors name the errno instead.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Error {
    /// The property by its path in config.json, such as `mounts[3]`; empty if no property is to blame.
    pub property: String,
    /// The operation that failed, or the fact that was found.
    pub message: String,
    /// The errno, if the kernel said no.
    pub errno: Option<Errno>,
    /// Why.
    pub because: Option<String>,
    /// What the user can do about it.
    pub remedy: Option<String>,
    /// What is wrong with the container's program, if that is the cause.
    pub program: Option<Program>,
}

/// Why a program does not run, by the exit code that shells give.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Program {
    /// The program is there, and cannot be executed.
    Unusable = 126,
    /// There is no such program.
    Missing = 127,
}

impl fmt::Display for sys::Error {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{}: {}", self.call.name(), self.errno.desc())
    }
}

impl std::error::Error for sys::Error {}

/// Result with an error for people.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// An error that is not about one property of config.json.
    pub fn new(message: impl Into<String>) -> Error {
        Error { message: message.into(), ..Error::default() }
    }

    /// An error in a property of config.json.
    pub fn in_config(property: impl Into<String>, message: impl Into<String>) -> Error {
        Error { property: property.into(), message: message.into(), ..Error::default() }
    }

    /// A failed system call on `subject`.
    pub fn from_call(subject: impl fmt::Display, error: sys::Error) -> Error {
        let message = format!("{subject}: {}", error.call.name());
        Error { message, errno: Some(error.errno), ..Error::default() }.of_kernel(error)
    }

    /// An error with the remark that the kernel has no such call, if the kernel says so.
    pub fn of_kernel(self, error: sys::Error) -> Error {
        match (error.errno, error.call.since()) {
            (Errno::ENOSYS, Some(version)) if self.because.is_none() => {
                let name = error.call.name();
                self.because(format!(
                    "{name} is a call of Linux {version}: this kernel is older, or a filter around rootlet hides it"
                ))
                .remedy("run it on a newer kernel, or let the filter allow the call")
            }
            _ => self,
        }
    }

    /// A failed operation of the standard library.
    pub fn from_io(message: impl fmt::Display, error: &std::io::Error) -> Error {
        match error.raw_os_error() {
            Some(number) => {
                Error { message: message.to_string(), errno: Some(Errno::from_raw(number)), ..Error::default() }
            }
            None => Error::new(format!("{message}: {error}")),
        }
    }

    /// An error of `exec`, whose process is not in config.json, in runc's words.
    pub fn of_exec(self) -> Error {
        match self.property.as_str() {
            "" => self,
            "process.args" if self.message.starts_with("exec: ") => {
                let own = |text: String| {
                    text.replace("process.args", "the command").replace("PATH in process.env", "its PATH (-e)")
                };
                let (because, remedy) = (self.because.map(own), self.remedy.map(own));
                Error {
                    message: format!("exec failed: {}", self.message),
                    property: String::new(),
                    because,
                    remedy,
                    ..self
                }
            }
            _ => {
                let error = self.of_command_line();
                Error { message: format!("exec failed: {}", error.message), ..error }
            }
        }
    }

    /// An error of `sandbox`, whose user has written no config.json; its flags for the PATH, and for what is shown.
    pub fn of_sandbox(self, path: &str, bind: &str) -> Error {
        let own = |text: String| {
            text.replace("process.args", "the command")
                .replace("PATH in process.env", &format!("the sandbox's PATH ({path})"))
                .replace("keep states elsewhere with --root DIR", "set XDG_RUNTIME_DIR to a directory of your own")
                .replace(
                    "name another with --root DIR, or set XDG_RUNTIME_DIR",
                    "set XDG_RUNTIME_DIR to a directory of your own",
                )
                .replace("name another with --root DIR", "set XDG_RUNTIME_DIR to a directory of your own")
                .replace("the image has something else there", "something else is there")
                .replace("in the root file system", "on the host")
                .replace("into the root file system", &format!("where the sandbox sees it ({bind})"))
                .replace("process.user", "you")
                .replace("the container has no such program", "there is no such program")
                .replace(" has it in the container", " has it")
        };
        let (because, remedy) = (self.because.map(own), self.remedy.map(own));
        let message = match self.property.as_str() {
            // Nobody has written one.
            "" | "process.args" | "annotations" => self.message,
            _ => format!("{}: {}", self.property, self.message),
        };
        Error { message, property: String::new(), because, remedy, ..self }
    }

    /// An error in a property that does not come from config.json.
    pub fn of_command_line(mut self) -> Error {
        if !self.property.is_empty() {
            self.message = format!("{}: {}", self.property, self.message);
            self.property.clear();
        }
        self
    }

    /// An error in a config that has another name than config.json.
    pub fn of_file(mut self, file: &Path) -> Error {
        if file == Path::new("config.json") {
            return self;
        }
        if !self.property.is_empty() {
            self.message = format!("{}: {}: {}", file.display(), self.property, self.message);
            self.property.clear();
        } else if let Some(rest) = self.message.strip_prefix("config.json: ") {
            self.message = format!("{}: {rest}", file.display());
        }
        self
    }

    /// All of it, for who shows only one line, as engines do.
    pub fn in_one_line(&self) -> String {
        let mut text = self.to_string();
        for (label, part) in [("because", &self.because), ("try", &self.remedy)] {
            if let Some(part) = part {
                text.push_str(&format!("; {label}: {part}"));
            }
        }
        text
    }

    /// Adds the cause.
    pub fn because(mut self, because: impl Into<String>) -> Error {
        self.because = Some(because.into());
        self
    }

    /// Adds the mend.
    pub fn remedy(mut self, remedy: impl Into<String>) -> Error {
        self.remedy = Some(remedy.into());
        self
    }
}

/// What may say that something is not there.
pub trait Absence {
    /// True if it says so: there is no such file (ENOENT, ENOTDIR), process (ESRCH), or cgroup any more (ENODEV).
    fn is_absence(&self) -> bool;
}

impl Absence for sys::Error {
    fn is_absence(&self) -> bool {
        matches!(self.errno, Errno::ENOENT | Errno::ENOTDIR | Errno::ESRCH | Errno::ENODEV)
    }
}

impl Absence for std::io::Error {
    fn is_absence(&self) -> bool {
        let errno = self.raw_os_error().map(Errno::from_raw);
        errno.is_some_and(|errno| sys::Error::new(sys::Call::Open, errno).is_absence())
    }
}

/// The three answers to whether there is something: it, `None`, or why that could not be found out.
pub fn found<T, E: Absence>(looked_up: std::result::Result<T, E>) -> std::result::Result<Option<T>, E> {
    match looked_up {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.is_absence() => Ok(None),
        Err(error) => Err(error),
    }
}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.property.is_empty() {
            write!(formatter, "config.json: {}: ", self.property)?;
        }
        formatter.write_str(&self.message)?;
        match self.errno {
            Some(errno) => write!(formatter, ": {}", Meaning(errno)),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Error {}

/// Another program's words on one line, without those that clients would take for rootlet's own.
pub fn quote(text: &str) -> String {
    let mut quoted = text.replace('\n', "; ");
    for (phrase, errno) in [
        ("no such file or directory", "ENOENT"),
        ("permission denied", "EACCES"),
        ("operation not permitted", "EPERM"),
        ("executable file not found", "program missing"),
    ] {
        while let Some(start) = quoted.to_ascii_lowercase().find(phrase) {
            quoted.replace_range(start..start + phrase.len(), errno);
        }
    }
    quoted
}

/// A text in which nothing speaks to a terminal: control characters, and those that turn the direction of what is read, are
/// shown as JSON writes them. Line ends and tabs are left only where `keep_lines` says so.
pub fn printable(text: &str, keep_lines: bool) -> Cow<'_, str> {
    let is_plain = |letter: char| match letter {
        '\n' | '\t' => keep_lines,
        '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => false,
        letter => !letter.is_control(),
    };
    // Most is ASCII, which is seen faster.
    let is_plain_ascii = |byte: u8| matches!(byte, b' '..=b'~') || keep_lines && byte == b'\n';
    if text.bytes().all(is_plain_ascii) || text.chars().all(is_plain) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for letter in text.chars() {
        match letter {
            letter if is_plain(letter) => shown.push(letter),
            '\n' => shown.push_str("\\n"),
            letter => shown.push_str(&format!("\\u{:04x}", u32::from(letter))),
        }
    }
    Cow::Owned(shown)
}

/// An errno with its name and meaning, in words that no client of runc matches.
pub struct Meaning(pub Errno);

impl fmt::Display for Meaning {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let meaning = match self.0 {
            Errno::EPERM => "not permitted",
            Errno::EACCES => "access refused",
            Errno::ENOENT => "missing",
            errno => errno.desc(),
        };
        write!(formatter, "{:?} ({meaning})", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_that_clients_match_are_not_used_for_other_causes() {
        for errno in [Errno::EPERM, Errno::EACCES, Errno::ENOENT] {
            let text =
                Error::from_call("mount /x", sys::Error::new(sys::Call::Mount, errno)).to_string().to_lowercase();
            for phrase in ["permission denied", "operation not permitted", "no such file or directory", "not found"] {
                assert!(!text.contains(phrase), "{text}");
            }
        }
    }

    #[test]
    fn quoted_words_are_not_taken_for_ours() {
        assert_eq!(quote("a: No such file or directory\nb: Permission denied"), "a: ENOENT; b: EACCES");
    }

    #[test]
    fn a_text_cannot_speak_to_a_terminal() {
        assert_eq!(printable("a\x1b[2Jb\u{9b}c\nd\u{202e}", false), "a\\u001b[2Jb\\u009bc\\nd\\u202e");
        assert_eq!(printable("a\nb\t", true), "a\nb\t");
    }

    #[test]
    fn a_property_is_named_by_its_path() {
        let error = Error { errno: Some(Errno::EBUSY), ..Error::in_config("mounts[3]", "mount /data") };
        assert_eq!(error.to_string(), "config.json: mounts[3]: mount /data: EBUSY (Device or resource busy)");
    }
}
