//! `rootlet list`.

use super::Globals;
use crate::container::Container;
use crate::container::state::View;
use crate::log::Log;
use clap::{Parser, ValueEnum};
use std::collections::BTreeMap;
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

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    Table,
    Json,
}

impl super::Run for List {
    fn run(self, globals: &Globals, _: &Log) -> anyhow::Result<ExitCode> {
        let containers = globals.root()?.all()?;
        if self.quiet {
            super::say(&containers.iter().map(|container| format!("{}\n", container.id)).collect::<String>())?;
            return Ok(ExitCode::SUCCESS);
        }
        let mut owners = Owners::default();
        let statuses: Vec<_> = containers.iter().map(|container| container.status().to_string()).collect();
        let views: Vec<_> = containers
            .iter()
            .zip(&statuses)
            .map(|(container, status)| View { owner: owners.name_of(container), ..container.view(status) })
            .collect();
        match self.format {
            Format::Table => super::say(&table(&views))?,
            Format::Json if views.is_empty() => super::say("null\n")?,
            Format::Json => super::say(&format!("{}\n", serde_json::to_string(&views)?))?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// runc's table: columns at least 12 wide, three spaces between.
fn table(views: &[View]) -> String {
    let header = ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"].map(str::to_owned);
    let rows = views.iter().map(|view| {
        let bundle = view.bundle.display().to_string();
        let (id, created) = (view.id.to_owned(), view.created.to_owned());
        [id, view.pid.to_string(), view.status.clone(), bundle, created, view.owner.clone()]
    });
    let rows: Vec<[String; 6]> = std::iter::once(header).chain(rows).collect();
    let widths: Vec<usize> = (0..6)
        .map(|column| {
            rows.iter()
                .filter_map(|row| row.get(column))
                .map(|cell| cell.chars().count() + 3)
                .max()
                .unwrap_or(0)
                .max(12)
        })
        .collect();
    let line = |row: &[String; 6]| {
        let cells: String = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        format!("{}\n", cells.trim_end())
    };
    rows.iter().map(line).collect()
}

/// Users by name, or `#uid`. A static binary has no NSS, so only /etc/passwd is asked.
#[derive(Default)]
struct Owners {
    known: BTreeMap<u32, String>,
}

impl Owners {
    fn name_of(&mut self, container: &Container) -> String {
        let uid = container.state.as_ref().map_or(0, |state| state.owner);
        self.known.entry(uid).or_insert_with(|| find_name(&uid.to_string())).clone()
    }
}

fn find_name(uid: &str) -> String {
    let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let name = passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)? == uid).then(|| name.to_owned())
    });
    name.unwrap_or_else(|| format!("#{uid}"))
}
