//! `rootlet list`.

use super::Globals;
use crate::container::Container;
use crate::container::state::View;
use crate::error::printable;
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
    fn run(self, globals: &Globals, log: &Log) -> anyhow::Result<ExitCode> {
        let root = globals.root()?;
        let containers = root.all()?;
        // A damaged one has nothing to show but its name.
        let whole = |container: &Container| {
            container.damage.iter().for_each(|damage| log.warn(damage));
            container.damage.is_none()
        };
        let mut owners = Owners::default();
        let text = match self.format {
            _ if self.quiet => containers.map(|container| format!("{}\n", container.id)).collect(),
            Format::Table => table(containers.filter(whole).map(|container| row(&owners.view(&container)))),
            Format::Json => {
                let views: Result<Vec<_>, _> =
                    containers.filter(whole).map(|container| serde_json::to_string(&owners.view(&container))).collect();
                match views?.join(",") {
                    none if none.is_empty() => "null\n".to_owned(),
                    views => format!("[{views}]\n"),
                }
            }
        };
        super::say(&text)?;
        Ok(ExitCode::SUCCESS)
    }
}

type Row = [String; 6];

fn row(view: &View) -> Row {
    let bundle = printable(&view.bundle.to_string_lossy(), false).into_owned();
    let (id, created) = (view.id.to_owned(), view.created.to_owned());
    [id, view.pid.to_string(), view.status.clone(), bundle, created, view.owner.clone()]
}

/// runc's table: columns at least 12 wide, three spaces between.
fn table(rows: impl Iterator<Item = Row>) -> String {
    let header = ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"].map(str::to_owned);
    let rows: Vec<Row> = std::iter::once(header).chain(rows).collect();
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
    let line = |row: &Row| {
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
    fn view<'a>(&mut self, container: &'a Container) -> View<'a> {
        View { owner: self.name_of(container), ..container.view(&container.status().to_string()) }
    }

    fn name_of(&mut self, container: &Container) -> String {
        let uid = container.owner();
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
