//! Where messages go: text for people, JSON for engines.
//!
//! An engine reads the file of `--log` as one JSON document after a failure, so besides the error nothing is written
//! to it without `--debug`. Warnings are for people: they go to standard error if no log file is given.

use crate::error::{Error, Result, printable};
use crate::sys::fd;
use std::cell::Cell;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::SystemTime;

/// How records look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// `time="..." level=error msg="..."`, as logrus writes.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Where and what is logged.
#[derive(Debug, Default)]
pub struct Log {
    file: Option<File>,
    format: Format,
    debug: bool,
    /// Whether warnings are for nobody.
    is_quiet: bool,
    /// Whether it was said already that the file cannot be written.
    has_complained: Cell<bool>,
}

impl Log {
    /// A log; `file` is appended to.
    pub fn open(file: Option<&Path>, format: Format, debug: bool) -> Result<Log> {
        let open = |path: &Path| {
            // A fifo that nobody reads is an error, and not waited for.
            let file = OpenOptions::new().append(true).create(true).custom_flags(fd::O_NONBLOCK).open(path);
            let file = file.and_then(|file| match fd::set_blocking(file.as_fd()) {
                Ok(()) => Ok(file),
                Err(error) => Err(std::io::Error::from_raw_os_error(error.errno as i32)),
            });
            file.map_err(|error| {
                Error::from_io(format!("cannot open the log {}", path.display()), &error).remedy("correct --log")
            })
        };
        Ok(Log { file: file.map(open).transpose()?, format, debug, is_quiet: false, has_complained: Cell::new(false) })
    }

    /// A log of errors alone.
    pub fn of_errors() -> Log {
        Log { is_quiet: true, ..Log::default() }
    }

    /// The error that ends this command.
    pub fn error(&self, error: &Error) {
        if self.file.is_some() || self.format == Format::Json {
            self.record("error", &error.in_one_line(), Some(error));
        }
        if self.file.is_some() || self.format == Format::Text {
            // What images, configs and other programs have written must not speak to a terminal.
            let mut text = format!("error: {}\n", printable(&error.to_string(), false));
            for (label, part) in [("because", &error.because), ("try", &error.remedy)] {
                if let Some(part) = part {
                    text.push_str(&format!("{label}: {}\n", printable(part, false)));
                }
            }
            let _ = std::io::stderr().write_all(text.as_bytes());
        }
    }

    /// Something that the user should know and that stops nothing.
    pub fn warn(&self, warning: &Error) {
        if self.is_quiet {
            return;
        }
        let text = &warning.in_one_line();
        match (&self.file, self.format) {
            (None, Format::Text) => {
                let line = format!("warning: {}\n", printable(text, false));
                drop(std::io::stderr().write_all(line.as_bytes()));
            }
            (None, Format::Json) => self.record("warning", text, None),
            (Some(_), _) if self.debug => self.record("warning", text, None),
            (Some(_), _) => {}
        }
    }

    /// Something for whoever looks for a fault.
    pub fn debug(&self, text: &str) {
        if self.debug {
            self.record("debug", text, None);
        }
    }

    fn record(&self, level: &str, message: &str, error: Option<&Error>) {
        let time = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
        let line = match self.format {
            Format::Text => format!("time=\"{time}\" level={level} msg={message:?}\n"),
            Format::Json => {
                let mut record = serde_json::json!({ "level": level, "msg": message, "time": time });
                if let (Some(error), Some(record)) = (error, record.as_object_mut()) {
                    let fields = [
                        ("property", Some(error.property.clone()).filter(|property| !property.is_empty())),
                        ("errno", error.errno.map(|errno| format!("{errno:?}"))),
                        ("because", error.because.clone()),
                        ("try", error.remedy.clone()),
                    ];
                    record.extend(fields.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?.into()))));
                }
                format!("{record}\n")
            }
        };
        let Some(file) = &self.file else {
            // There is nowhere left to complain to.
            return drop(std::io::stderr().write_all(line.as_bytes()));
        };
        if let Err(error) = (&mut &*file).write_all(line.as_bytes())
            && !self.has_complained.replace(true)
        {
            let error = Error::from_io("the log cannot be written", &error);
            let _ = std::io::stderr().write_all(format!("warning: {error}\n").as_bytes());
        }
    }
}
