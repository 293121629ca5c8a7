//! `rootlet check`.

use super::Globals;
use super::changes::Basis;
use super::plan::Format;
use crate::container::Options;
use crate::container::state::directory::DATA;
use crate::error::{Error, Result, printable};
use crate::host::Host;
use crate::log::Log;
use crate::property::Request;
use crate::property::check::{Level, Problem, check};
use crate::spec::load;
use clap::Parser;
use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Name all that is wrong with a config, and run nothing
#[derive(Debug, Parser)]
#[command(after_help = "\
Each problem has its position and the property; errors come first, then warnings (something is ignored) and notes (something is
done otherwise than asked, on this host and for you). The exit code is 1 if there are errors.

Examples:
  rootlet check                     config.json in this directory
  rootlet check ./box               a bundle
  rootlet check --format json my-config.json")]
pub struct Check {
    /// A config, or a bundle with one
    #[arg(value_name = "FILE", default_value = ".", hide_default_value = true)]
    file: PathBuf,
    /// How to print
    #[arg(short, long, default_value = "text", value_enum)]
    format: Format,
    #[command(flatten)]
    basis: Basis,
}

impl super::Run for Check {
    fn run(self, globals: &Globals, log: &Log) -> anyhow::Result<ExitCode> {
        let file = match self.file.is_dir() {
            true if self.file == Path::new(".") => PathBuf::from("config.json"),
            true => self.file.join("config.json"),
            false => self.file,
        };
        let bundle = bundle(&file)?;
        let root = globals.root()?;
        let mut options = Options::new(&root, "check", bundle);
        options.config = PathBuf::from(file.file_name().unwrap_or_default());
        options.request.fuse = globals.fuse.clone();
        self.basis.apply(&mut options, true, log)?;
        let (changed, bundle, fuse) =
            (options.text.take(), options.request.bundle.clone(), options.request.fuse.clone());
        // Lines are then those of the config as `spec` would write it.
        let file = match &changed {
            Some(_) => PathBuf::from(format!("{} (with these flags)", file.display())),
            None => file,
        };
        let mut text = changed.map_or_else(|| load::read(&file), Ok)?;
        if options.data.is_some() {
            // Its root is made at its start; what can be looked at now is a directory.
            let own = options.root.directory(&options.request.id).join(DATA).join("root");
            text = text.replace(&json!(own).to_string(), &json!("/usr").to_string());
        }
        let request = Request {
            id: "check".to_owned(),
            bundle,
            strict: globals.strict(),
            try_limits: globals.limits == super::global::Limits::Try,
            fuse,
            ..Request::default()
        };
        let problems = check(&text, &request, &Host::new()?);
        let has_errors = problems.iter().any(|problem| problem.level == Level::Error);
        super::say(&match self.format {
            Format::Text => as_text(&file, &problems),
            Format::Json => format!("{:#}\n", json!({ "file": file, "valid": !has_errors, "problems": problems })),
        })?;
        Ok(if has_errors { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }
}

fn bundle(file: &Path) -> Result<PathBuf> {
    let directory = file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    directory.canonicalize().map_err(|error| Error::from_io(format!("cannot find {}", directory.display()), &error))
}

fn as_text(file: &Path, problems: &[Problem]) -> String {
    let mut text = String::new();
    for problem in problems {
        let level = match problem.level {
            Level::Error => "error",
            Level::Warning => "warning",
            Level::Note => "note",
        };
        let property = match problem.property.as_str() {
            "" => String::new(),
            property => format!("{}: ", printable(property, false)),
        };
        let position = format!("{}:{}:{}", file.display(), problem.line, problem.column);
        text.push_str(&format!("{position}: {level}: {property}{}\n", printable(&problem.message, false)));
        for (label, part) in [("because", &problem.because), ("try", &problem.remedy)] {
            if let Some(part) = part {
                text.push_str(&format!("  {label}: {part}\n"));
            }
        }
    }
    let count = |level, one: &str, more: &str| {
        let number = problems.iter().filter(|problem| problem.level == level).count();
        format!("{number} {}", if number == 1 { one } else { more })
    };
    let counts = [
        count(Level::Error, "error", "errors"),
        count(Level::Warning, "warning", "warnings"),
        count(Level::Note, "note", "notes"),
    ];
    text + &counts.join(", ") + "\n"
}
