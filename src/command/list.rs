//! `rootlet list`.

use super::Globals;
use super::plain::{self, Plain};
use crate::container::Container;
use crate::container::state::View;
use crate::error::{Error, Result, found, printable};
use crate::log::Log;
use crate::passwd;
use clap::{Parser, ValueEnum};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::process::ExitCode;

/// List containers
#[derive(Debug, Parser)]
#[command(
    after_help = "Examples:\n  rootlet list\n  rootlet list --format json\n  rootlet list -q | xargs -r -n 1 rootlet delete --force"
)]
pub struct List {
    /// How to print
    #[arg(short, long, default_value = "table", value_enum)]
    format: Format,
    /// Print names only
    #[arg(short, long)]
    quiet: bool,
}

/// How something is listed.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Format {
    /// For people.
    Table,
    /// For programs.
    Json,
}

impl Plain for List {
    fn read(arguments: &[OsString]) -> Option<List> {
        let mut list = List { format: Format::Table, quiet: false };
        let [] = plain::read_all(arguments, |name, value| {
            match name {
                "f" | "format" => list.format = Format::from_str(&value.text()?, false).ok()?,
                "q" | "quiet" => list.quiet = true,
                _ => return None,
            }
            Some(())
        })?;
        Some(list)
    }
}

impl super::Run for List {
    fn run(self, globals: &Globals, log: &Log) -> anyhow::Result<ExitCode> {
        let root = globals.root()?;
        let containers = root.all()?;
        root.warn_of_another(log);
        let mut failures = Vec::new();
        let (mut ids, mut rows, mut views) = (String::new(), Vec::new(), Vec::new());
        let mut owners = Owners::default();
        // One after the other: each has a descriptor.
        for container in containers {
            let container = match container {
                Ok(container) => container,
                Err(error) => {
                    failures.push(error);
                    continue;
                }
            };
            match self.format {
                _ if self.quiet => ids.extend([container.id.as_str(), "\n"]),
                Format::Table => rows.push(row(&owners.view(&container, &mut failures)?)),
                Format::Json => views.push(serde_json::to_string(&owners.view(&container, &mut failures)?)?),
            }
        }
        let text = match self.format {
            _ if self.quiet => ids,
            Format::Table => table(rows),
            Format::Json if views.is_empty() => "null\n".to_owned(),
            Format::Json => format!("[{}]\n", views.join(",")),
        };
        super::say(&text)?;
        // What is not known is an error, and hides nothing of the rest.
        let Some(first) = failures.first() else { return Ok(ExitCode::SUCCESS) };
        failures.iter().skip(1).for_each(|failure| log.warn(failure));
        Err(first.clone().into())
    }
}

type Row = [String; 6];

fn row(view: &View) -> Row {
    let bundle = printable(&view.bundle.to_string_lossy(), false).into_owned();
    let (id, created) = (view.id.to_owned(), view.created.to_owned());
    [id, view.pid.to_string(), view.status.clone(), bundle, created, view.owner.clone()]
}

fn table(rows: Vec<Row>) -> String {
    let header = ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"].map(str::to_owned);
    columns(std::iter::once(header).chain(rows).map(Vec::from).collect())
}

/// runc's table: columns at least 12 wide, three spaces between.
pub fn columns(rows: Vec<Vec<String>>) -> String {
    let count = rows.iter().map(Vec::len).max().unwrap_or(0);
    let widths: Vec<usize> = (0..count)
        .map(|column| {
            rows.iter()
                .filter_map(|row| row.get(column))
                .map(|cell| cell.chars().count() + 3)
                .max()
                .unwrap_or(0)
                .max(12)
        })
        .collect();
    let (mut text, mut line) = (String::new(), String::new());
    for row in &rows {
        line.clear();
        for (cell, width) in row.iter().zip(&widths) {
            line.push_str(cell);
            line.extend(std::iter::repeat_n(' ', width - cell.chars().count()));
        }
        text.extend([line.trim_end(), "\n"]);
    }
    text
}

/// Users by name, or `#uid`. A static binary has no NSS, so only /etc/passwd is asked.
#[derive(Default)]
struct Owners {
    known: BTreeMap<u32, String>,
}

impl Owners {
    fn view<'a>(&mut self, container: &'a Container, failures: &mut Vec<Error>) -> Result<View<'a>> {
        let status = container.status().map(|status| status.to_string());
        let status = status.unwrap_or_else(|error| {
            failures.push(error);
            "unknown".to_owned()
        });
        Ok(View { owner: self.name_of(container)?, ..container.view(&status) })
    }

    fn name_of(&mut self, container: &Container) -> Result<String> {
        let uid = container.owner();
        if let Some(name) = self.known.get(&uid) {
            return Ok(name.clone());
        }
        let name = find_name(uid)?;
        Ok(self.known.entry(uid).or_insert(name).clone())
    }
}

fn find_name(uid: u32) -> Result<String> {
    let table = found(std::fs::read("/etc/passwd"));
    let table = table.map_err(|error| Error::from_io("/etc/passwd", &error))?.unwrap_or_default();
    let user = table.split(|byte| *byte == b'\n').map(passwd::User::of).find(|user| user.uid == Some(uid));
    Ok(user.map_or_else(|| format!("#{uid}"), |user| String::from_utf8_lossy(user.name).into_owned()))
}
