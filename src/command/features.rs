//! `rootlet features`.

use super::Globals;
use crate::log::Log;
use crate::property::features;
use clap::Parser;
use serde::Serialize;
use std::process::ExitCode;

/// Print what this binary supports as JSON (runtime-spec, features.md)
#[derive(Debug, Parser)]
#[command(after_help = "Example:\n  rootlet features | jq .linux.seccomp.actions")]
pub struct Features {}

impl super::Run for Features {
    fn run(self, _: &Globals, _: &Log) -> anyhow::Result<ExitCode> {
        let mut text = Vec::new();
        let formatter = serde_json::ser::PrettyFormatter::with_indent(b"    ");
        features::document().serialize(&mut serde_json::Serializer::with_formatter(&mut text, formatter))?;
        text.push(b'\n');
        super::say(&String::from_utf8_lossy(&text))?;
        Ok(ExitCode::SUCCESS)
    }
}
