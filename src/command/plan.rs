//! `rootlet plan`.

use super::Globals;
use super::changes::Basis;
use super::create::Common;
use crate::container::Start;
use crate::error::Result;
use crate::host::Host;
use crate::log::Log;
use crate::{plan, property, spec};
use clap::{Parser, ValueEnum};
use serde_json::json;
use std::path::PathBuf;
use std::process::ExitCode;

/// Print what `run` would do, step by step, and do nothing
#[derive(Debug, Parser)]
#[command(after_help = "\
Each line has who acts and when, the property of config.json and the step. `decided` lines are what is done otherwise than the
config asks, because of who you are or what the host allows; `--strict` refuses them.

Examples:
  rootlet plan --bundle ./box
  rootlet plan --format json | jq .decisions")]
pub struct Plan {
    /// Directory with config.json
    #[arg(short, long, value_name = "DIR", default_value = ".", hide_default_value = true)]
    bundle: PathBuf,
    /// Read this file instead of config.json, in the bundle or by its whole path
    #[arg(long, value_name = "FILE", default_value = "config.json", hide_default_value = true)]
    config: PathBuf,
    /// Keep the caller's session keyring
    #[arg(long)]
    no_new_keyring: bool,
    /// How to print
    #[arg(short, long, default_value = "text", value_enum)]
    format: Format,
    #[command(flatten)]
    basis: Basis,
}

/// How a report is printed.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Format {
    /// For people.
    Text,
    /// For programs.
    Json,
}

impl super::Run for Plan {
    fn run(self, globals: &Globals, log: &Log) -> anyhow::Result<ExitCode> {
        let common = Common {
            id: "plan".to_owned(),
            bundle: self.bundle,
            config: self.config,
            pid_file: None,
            console_socket: None,
            pidfd_socket: None,
            preserve_fds: 0,
            no_pivot: false,
            no_new_keyring: self.no_new_keyring,
        };
        let root = globals.root()?;
        let mut options = common.options(globals, &root, Start::Now, log)?;
        self.basis.apply(&mut options, true, log)?;
        let compile = || -> Result<plan::Plan> {
            let read = || spec::load::read(&options.request.bundle.join(&options.config));
            let loaded = spec::load::parse(&options.text.clone().map_or_else(read, Ok)?)?;
            let mut plan = property::compile(&loaded.spec, &options.request, &Host::new()?)?;
            property::add_warnings(&mut plan, loaded.warnings(), &options.request)?;
            Ok(plan)
        };
        let plan = compile().map_err(|error| error.of_file(&options.config))?;
        match self.format {
            Format::Text => super::say(&plan.to_string())?,
            Format::Json => super::say(&format!("{:#}\n", as_json(&plan)))?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn as_json(plan: &plan::Plan) -> serde_json::Value {
    let joins = plan.joins.iter().map(|join| {
        let path = match join {
            plan::Join::File { path, .. } => Some(path.to_string_lossy()),
            plan::Join::Container { .. } => None,
        };
        json!({ "namespace": plan::print::namespace_names(join.kinds()).next(), "path": path })
    });
    let steps = plan
        .entries
        .iter()
        .map(|entry| json!({ "by": entry.phase.actor(), "phase": entry.phase.to_string(), "property": entry.origin.to_string(), "step": entry.step.to_string() }));
    let cgroup = plan.cgroup.as_ref().map(|cgroup| {
        let (path, scope) = match &cgroup.place {
            plan::Place::None => (None, None),
            plan::Place::Directory { path, .. } => (Some(path), None),
            plan::Place::Scope { name, .. } => (None, Some(name)),
        };
        let setting = |setting: &plan::Setting| {
            json!({ "property": setting.property, "file": setting.file, "value": setting.value })
        };
        let settings: Vec<_> = cgroup.settings.iter().map(setting).collect();
        json!({ "path": path, "scope": scope, "because": cgroup.reason, "settings": settings })
    });
    json!({
        "cgroup": cgroup,
        "joins": joins.collect::<Vec<_>>(),
        "namespaces": plan::print::namespace_names(plan.namespaces).collect::<Vec<_>>(),
        "steps": steps.collect::<Vec<_>>(),
        "beside": plan.beside(),
        "decisions": plan.decisions,
        "warnings": plan.warnings.iter().map(crate::error::Error::in_one_line).collect::<Vec<_>>(),
    })
}
