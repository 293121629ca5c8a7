//! `rootlet explain`.

use super::Globals;
use super::plan::Format;
use crate::container::explain::explain;
use crate::error::printable;
use crate::log::Log;
use clap::Parser;
use serde_json::Value;
use std::process::ExitCode;

/// Say what a container has: ids, namespaces, capabilities, mounts, limits and their use, and what is open
#[derive(Debug, Parser)]
#[command(after_help = "Examples:\n  rootlet explain box\n  rootlet explain --format json box | jq .namespaces")]
pub struct Explain {
    /// How to print
    #[arg(short, long, default_value = "text", value_enum)]
    format: Format,
    /// Name of the container
    #[arg(value_name = "container-id")]
    id: String,
}

impl super::Run for Explain {
    fn run(self, globals: &Globals, _: &Log) -> anyhow::Result<ExitCode> {
        let root = globals.root()?;
        let about = explain(&root.find(&self.id)?, &root)?;
        super::say(&match self.format {
            Format::Json => format!("{about:#}\n"),
            Format::Text => as_text(&about),
        })?;
        Ok(ExitCode::SUCCESS)
    }
}

fn as_text(about: &Value) -> String {
    let mut text = String::new();
    // Each is one line, whatever a container calls its files.
    let mut row = |label: &str, value: String| {
        text.push_str(&format!("{label:14} {}\n", printable(&value, false)));
    };
    let word = |value: &Value| match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let words = |value: &Value| value.as_array().into_iter().flatten().map(&word).collect::<Vec<_>>().join(" ");
    row("container", format!("{}, {}", word(&about["id"]), word(&about["status"])));
    row("command", words(&about["command"]));
    row("bundle", word(&about["bundle"]));
    row("created", word(&about["created"]));
    if about["processes"].is_array() {
        row("processes", format!("{} (the program: {})", words(&about["processes"]), about["program"]));
    }
    for (key, label) in [("uids", "uids"), ("gids", "gids")] {
        for range in about["ids"][key].as_array().into_iter().flatten() {
            let (inside, outside, count) = (&range["inside"], &range["outside"], &range["count"]);
            row(label, format!("{inside} is {outside} outside, {count} of them"));
        }
    }
    for (name, namespace) in about["namespaces"].as_object().into_iter().flatten() {
        let others = words(&namespace["shared-with"]);
        let shared = match (namespace["shared-with-caller"] == true, others.is_empty()) {
            (true, true) => ", yours".to_owned(),
            (true, false) => format!(", yours, shared with {others}"),
            (false, true) => String::new(),
            (false, false) => format!(", shared with {others}"),
        };
        row("namespace", format!("{name} {}{shared}", namespace["inode"]));
    }
    let privileges = &about["privileges"];
    for (set, names) in privileges["capabilities"].as_object().into_iter().flatten() {
        let names = words(names);
        row("capabilities", format!("{set}: {}", if names.is_empty() { "none" } else { &names }));
    }
    if privileges.is_object() {
        let gains = if privileges["no-new-privileges"] == true { "can gain none" } else { "can gain some by execve" };
        row("privileges", format!("{gains}; system call filters: {}", privileges["filters"]));
    }
    for mount in about["mounts"].as_array().into_iter().flatten() {
        let (destination, kind, source) = (word(&mount["destination"]), word(&mount["type"]), word(&mount["source"]));
        let options = words(&mount["options"]).replace(' ', ",");
        row("mount", format!("{destination} {kind} {source} {options} ({})", word(&mount["property"])));
    }
    if let Some(cgroup) = about["cgroup"].as_str() {
        row("cgroup", cgroup.to_owned());
    }
    let used = &about["use"];
    if used.is_object() {
        let limit = match used["memory"]["usage"]["limit"].as_u64() {
            None | Some(u64::MAX) => "no limit".to_owned(),
            Some(limit) => format!("at most {limit}"),
        };
        row("memory", format!("{} bytes, {limit}", used["memory"]["usage"]["usage"]));
        row("processor", format!("{} ns", used["cpu"]["usage"]["total"]));
        let most = used["pids"]["limit"].as_u64().map_or("no limit".to_owned(), |limit| format!("at most {limit}"));
        row("pids", format!("{}, {most}", used["pids"]["current"]));
    }
    if about["limits"].is_object() {
        row("limits", about["limits"].to_string());
    }
    for decision in about["decisions"].as_array().into_iter().flatten() {
        let (property, done) = (word(&decision["property"]), word(&decision["done"]));
        row("decision", format!("{property}: {done}, because {}", word(&decision["reason"])));
    }
    for file in about["open"].as_array().into_iter().flatten() {
        row("open", format!("{} {}", file["descriptor"], word(&file["file"])));
    }
    text
}
