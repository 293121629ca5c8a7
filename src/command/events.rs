//! `rootlet events`.

use super::Globals;
use crate::container::events::{line, statistics, watch};
use crate::error::{Error, Result};
use crate::log::Log;
use clap::Parser;
use std::process::ExitCode;
use std::time::Duration;

/// Print statistics of a container, and when it runs out of memory, as JSON lines
#[derive(Debug, Parser)]
#[command(after_help = "\
Examples:
  rootlet events --stats box | jq .data.memory.usage
  rootlet events --interval 1s box      until the container ends")]
pub struct Events {
    /// Time between statistics, such as 500ms, 5s or 1m30s
    #[arg(long, value_name = "TIME", default_value = "5s", allow_hyphen_values = true)]
    interval: String,
    /// Print statistics once, and end
    #[arg(long)]
    stats: bool,
    /// Name of the container
    #[arg(value_name = "container-id")]
    id: String,
}

impl super::Run for Events {
    fn run(self, globals: &Globals, _: &Log) -> anyhow::Result<ExitCode> {
        let container = globals.root()?.find(&self.id)?;
        if self.stats {
            super::say(&line(&container, "stats", Some(statistics(&container)?)))?;
        } else {
            let interval = parse(&self.interval)?;
            watch(&container, interval, &mut |kind, data| super::is_heard(&line(&container, kind, data)))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// A duration as Go writes it; a bare number is seconds.
fn parse(text: &str) -> Result<Duration> {
    let parsed = match text.parse::<u64>() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) => humantime::parse_duration(text).ok(),
    };
    const LONGEST: Duration = Duration::from_secs(20 * 24 * 60 * 60);
    parsed.filter(|interval| !interval.is_zero() && *interval <= LONGEST).ok_or_else(|| {
        Error::new(format!("--interval {text:?} is not a time above 0 and up to 20 days"))
            .remedy("write 500ms, 5s or 1m30s")
    })
}
