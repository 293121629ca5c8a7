//! `rootlet stats`.

use super::Globals;
use super::list::Format;
use crate::container::events::statistics;
use crate::container::{Container, States, Status};
use crate::error::{Error, Result};
use crate::log::Log;
use crate::sys::{process, tty};
use clap::Parser;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Instant;

/// Show what containers use, as a table that lives
#[derive(Debug, Parser)]
#[command(after_help = "\
Examples:
  rootlet stats                          all that run, until interrupted
  rootlet stats --no-stream box other    once
  rootlet stats --no-stream --format json | jq '.[] | .memory'")]
pub struct Stats {
    /// Print once, and end
    #[arg(long)]
    no_stream: bool,
    /// Also those that do not run
    #[arg(short, long)]
    all: bool,
    /// How to print: a table, or an array of objects, a line each time
    #[arg(short, long, default_value = "table", value_enum)]
    format: Format,
    /// Names of containers; all, if there is none
    #[arg(value_name = "container-id")]
    ids: Vec<String>,
}

/// Between two looks.
const INTERVAL_MILLISECONDS: i32 = 1000;
/// To see how busy the processors are, if there is but one.
const GLANCE_MILLISECONDS: i32 = 100;

/// When something was looked at, and the processor time by then.
type Seen = BTreeMap<String, (Instant, u64)>;

impl super::Run for Stats {
    fn run(self, globals: &Globals, log: &Log) -> anyhow::Result<ExitCode> {
        let root = globals.root()?;
        // A name that is wrong is an error, and no empty row.
        self.ids.iter().try_for_each(|id| root.find(id).map(drop))?;
        let mut seen = Seen::new();
        self.look(&root, &mut seen, log)?;
        process::sleep(GLANCE_MILLISECONDS);
        let clears = !self.no_stream && tty::is_terminal(tty::standard_output());
        loop {
            let rows = self.look(&root, &mut seen, log)?;
            let text = match self.format {
                Format::Json => format!("{}\n", Value::Array(rows)),
                Format::Table => table(&rows),
            };
            let begin = if clears && matches!(self.format, Format::Table) { "\x1b[H\x1b[2J" } else { "" };
            if !super::is_heard_raw(begin)? || !super::is_heard(&text)? || self.no_stream {
                return Ok(ExitCode::SUCCESS);
            }
            process::sleep(INTERVAL_MILLISECONDS);
        }
    }
}

impl Stats {
    fn look(&self, root: &States, seen: &mut Seen, log: &Log) -> Result<Vec<Value>> {
        let mut rows = Vec::new();
        for container in root.all()? {
            // One that cannot be read is a word of `list`'s, and hides nothing of the rest.
            let container = match container {
                Ok(container) => container,
                Err(error) => {
                    log.debug(&error.in_one_line());
                    continue;
                }
            };
            if !self.ids.is_empty() && !self.ids.contains(&container.id) {
                continue;
            }
            match container.status() {
                Ok(Status::Stopped) | Err(_) if !self.all && self.ids.is_empty() => {}
                Ok(Status::Stopped) | Err(_) => rows.push(json!({ "id": container.id, "status": "stopped" })),
                // It has nothing yet that could be counted.
                Ok(Status::Creating) => rows.push(json!({ "id": container.id, "status": "creating" })),
                Ok(status) => match row(&container, &status.to_string(), seen) {
                    Ok(row) => rows.push(row),
                    // It has ended since, or is out of this caller's reach; and that hides nothing of the rest.
                    Err(error) if self.ids.is_empty() => log.debug(&error.in_one_line()),
                    Err(error) => {
                        return Err(Error { message: format!("{}: {}", container.id, error.message), ..error });
                    }
                },
            }
        }
        Ok(rows)
    }
}

fn row(container: &Container, status: &str, seen: &mut Seen) -> Result<Value> {
    let used = statistics(container)?;
    let (now, total) = (Instant::now(), used["cpu"]["usage"]["total"].as_u64().unwrap_or(0));
    let before = seen.insert(container.id.clone(), (now, total));
    let share = before.map_or(0.0, |(then, before)| {
        let elapsed = now.duration_since(then).as_nanos().max(1) as f64;
        total.saturating_sub(before) as f64 / elapsed * 100.0
    });
    let limit = |value: &Value| value.as_u64().filter(|limit| *limit != u64::MAX && *limit != 0);
    let io = |kind: &str| -> u64 {
        let entries = used["blkio"]["ioServiceBytesRecursive"].as_array();
        let of_kind = entries
            .into_iter()
            .flatten()
            .filter(|entry| entry["op"].as_str().is_some_and(|op| op.eq_ignore_ascii_case(kind)));
        of_kind.filter_map(|entry| entry["value"].as_u64()).sum()
    };
    Ok(json!({
        "id": container.id,
        "status": status,
        "cpu_percent": (share * 10.0).round() / 10.0,
        "cpu_nanoseconds": total,
        "memory": used["memory"]["usage"]["usage"],
        "memory_limit": limit(&used["memory"]["usage"]["limit"]),
        "pids": used["pids"]["current"].as_u64().unwrap_or(0),
        "pids_limit": limit(&used["pids"]["limit"]),
        "read_bytes": io("read"),
        "written_bytes": io("write"),
    }))
}

/// A number of bytes, as people read it.
fn bytes(value: &Value) -> String {
    let Some(mut number) = value.as_f64() else { return "-".to_owned() };
    let mut unit = "B";
    for next in ["KiB", "MiB", "GiB", "TiB"] {
        if number < 1024.0 {
            break;
        }
        (number, unit) = (number / 1024.0, next);
    }
    if unit == "B" { format!("{number} B") } else { format!("{number:.1} {unit}") }
}

fn table(rows: &[Value]) -> String {
    let number = |value: &Value| if value.is_null() { "-".to_owned() } else { value.to_string() };
    let cells = rows.iter().map(|row| {
        let id = row["id"].as_str().unwrap_or_default().to_owned();
        if row["cpu_percent"].is_null() {
            return vec![id, "stopped".to_owned()];
        }
        vec![
            id,
            format!("{}%", row["cpu_percent"]),
            format!("{} / {}", bytes(&row["memory"]), bytes(&row["memory_limit"])),
            format!("{} / {}", number(&row["pids"]), number(&row["pids_limit"])),
            format!("{} / {}", bytes(&row["read_bytes"]), bytes(&row["written_bytes"])),
        ]
    });
    let header = ["ID", "CPU", "MEMORY / LIMIT", "PIDS / LIMIT", "READ / WRITTEN"].map(str::to_owned).to_vec();
    super::list::columns(std::iter::once(header).chain(cells).collect())
}
