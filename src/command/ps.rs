//! `rootlet ps`.

use super::Globals;
use crate::container::{Status, processes};
use crate::error::{Error, Result, quote};
use crate::log::Log;
use clap::{Parser, ValueEnum};
use std::process::{Command, ExitCode};

/// List the processes of a container
#[derive(Debug, Parser)]
#[command(after_help = "\
Examples:
  rootlet ps box
  rootlet ps box -o pid,user,args      what follows the name is for ps(1); PID must be among the columns
  rootlet ps --format json box         pids only, and no ps(1) is needed")]
pub struct Ps {
    /// How to print
    #[arg(short, long, value_name = "FORMAT", default_value = "table", value_enum)]
    format: Format,
    /// Name of the container
    #[arg(value_name = "container-id")]
    id: String,
    /// For ps(1) [default: -ef]
    #[arg(value_name = "ps options", trailing_var_arg = true, allow_hyphen_values = true)]
    options: Vec<String>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    Table,
    Json,
}

impl super::Run for Ps {
    fn run(self, globals: &Globals, _: &Log) -> anyhow::Result<ExitCode> {
        let container = globals.root()?.find(&self.id)?;
        let pids = match container.status()? {
            Status::Stopped => Vec::new(),
            _ => processes(&container)?,
        };
        super::say(&match self.format {
            Format::Json => format!("{}\n", serde_json::to_string(&pids)?),
            Format::Table => rows(&list(&self.options, &pids)?, &pids)?,
        })?;
        Ok(ExitCode::SUCCESS)
    }
}

/// What ps(1) says of these processes at least.
fn list(options: &[String], pids: &[i32]) -> Result<String> {
    let mut command = Command::new("ps");
    match options {
        [] => command.arg("-ef"),
        options => command.args(options),
    };
    if !options.is_empty() && !pids.is_empty() {
        // Without -e, it would list those of its terminal alone.
        command.arg("-p").arg(pids.iter().map(i32::to_string).collect::<Vec<_>>().join(","));
    }
    let output = command.output().map_err(|error| {
        Error::from_io("ps", &error).remedy("install it (Debian: apt install procps), or give --format json")
    })?;
    if !output.status.success() {
        let words = String::from_utf8_lossy(&output.stderr);
        return Err(Error::new(format!(
            "ps {}: {}",
            options.join(" "),
            quote(words.lines().next().unwrap_or_default())
        ))
        .remedy("correct the options for ps(1)"));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The header, and the rows of these processes.
fn rows(table: &str, pids: &[i32]) -> Result<String> {
    let mut lines = table.lines();
    let header = lines.next().unwrap_or_default();
    let Some(column) = header.split_whitespace().position(|title| title == "PID") else {
        return Err(
            Error::new("couldn't find PID field in ps output").remedy("add pid to the columns, as in `-o pid,args`")
        );
    };
    let pid_of = |line: &str| line.split_whitespace().nth(column).and_then(|pid| pid.parse::<i32>().ok());
    let rows: Vec<_> = lines.filter(|line| pid_of(line).is_some_and(|pid| pids.contains(&pid))).collect();
    // A column in front of it may have any number of words, and any numbers.
    let may_have_words = header.split_whitespace().take(column).any(|title| WORDS.contains(&title));
    if may_have_words {
        return Err(Error::new("PID is behind a column that may have spaces")
            .because("which process a row is about could not be told")
            .remedy("write pid first, as in `-o pid,args`"));
    }
    Ok([header].into_iter().chain(rows).map(|line| format!("{line}\n")).collect())
}

/// Titles of columns in which a process says what it wants, or that have several words.
const WORDS: [&str; 7] = ["CMD", "COMMAND", "STARTED", "LABEL", "UNIT", "CGROUP", "ENVIRON"];

#[cfg(test)]
mod tests {
    #[test]
    fn rows_are_found_by_their_pid_column() {
        let table = "UID   PID  PPID CMD\n1000   12     7 sh 12\n1000    7    12 sleep 12\n";
        assert_eq!(super::rows(table, &[12]).unwrap(), "UID   PID  PPID CMD\n1000   12     7 sh 12\n");
        assert!(super::rows("CMD\nsh\n", &[12]).is_err());
        assert!(super::rows("COMMAND PID\nsleep 12 7\n", &[12]).is_err());
    }
}
