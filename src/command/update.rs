//! `rootlet update`.

use super::Globals;
use crate::container;
use crate::error::{Error, Result};
use crate::log::Log;
use clap::Parser;
use serde_json::{Map, Value, json};
use std::io::Read;
use std::process::ExitCode;

/// Change the limits of a container
#[derive(Debug, Parser)]
#[command(after_help = "\
Sizes are bytes, or have a unit: 512k, 100M, 2G. -1 is no limit. What is not given stays as it is.

Examples:
  rootlet update --memory 512M --pids-limit 100 box
  echo '{\"cpu\": {\"quota\": 50000, \"period\": 100000}}' | rootlet update -r - box")]
pub struct Update {
    /// Read them from this file, or from standard input (-): `linux.resources` as in config.json; flags are ignored then
    #[arg(short, long, value_name = "FILE")]
    resources: Option<String>,
    /// Weight of input and output, 10 to 1000
    #[arg(long, value_name = "WEIGHT")]
    blkio_weight: Option<u16>,
    /// Period that the quota is for, in microseconds
    #[arg(long, value_name = "US")]
    cpu_period: Option<u64>,
    /// Processor time in a period, in microseconds
    #[arg(long, value_name = "US", allow_hyphen_values = true)]
    cpu_quota: Option<i64>,
    /// Processor time that may be saved up, in microseconds
    #[arg(long, value_name = "US")]
    cpu_burst: Option<u64>,
    /// Relative weight of processor time
    #[arg(long, value_name = "SHARES")]
    cpu_share: Option<u64>,
    /// Of cgroup v1
    #[arg(long, value_name = "US", hide = true)]
    cpu_rt_period: Option<u64>,
    /// Of cgroup v1
    #[arg(long, value_name = "US", hide = true, allow_hyphen_values = true)]
    cpu_rt_runtime: Option<i64>,
    /// 1: only processor time that nobody else wants
    #[arg(long, value_name = "0|1")]
    cpu_idle: Option<i64>,
    /// Processors, such as 0-3,7
    #[arg(long, value_name = "LIST")]
    cpuset_cpus: Option<String>,
    /// Memory nodes
    #[arg(long, value_name = "LIST")]
    cpuset_mems: Option<String>,
    /// Most memory
    #[arg(long, value_name = "SIZE", allow_hyphen_values = true)]
    memory: Option<String>,
    /// Memory that it should have under pressure
    #[arg(long, value_name = "SIZE", allow_hyphen_values = true)]
    memory_reservation: Option<String>,
    /// Most of memory and swap together
    #[arg(long, value_name = "SIZE", allow_hyphen_values = true)]
    memory_swap: Option<String>,
    /// Obsolete
    #[arg(long, value_name = "SIZE", hide = true, allow_hyphen_values = true)]
    kernel_memory: Option<String>,
    /// Obsolete
    #[arg(long, value_name = "SIZE", hide = true, allow_hyphen_values = true)]
    kernel_memory_tcp: Option<String>,
    /// Most processes
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    pids_limit: Option<i64>,
    /// Of Resource Director Technology, which rootlet does not drive
    #[arg(long, value_name = "SCHEMA", hide = true)]
    l3_cache_schema: Option<String>,
    /// Of Resource Director Technology, which rootlet does not drive
    #[arg(long, value_name = "SCHEMA", hide = true)]
    mem_bw_schema: Option<String>,
    /// Name of the container
    #[arg(value_name = "container-id")]
    id: String,
}

impl super::Run for Update {
    fn run(self, globals: &Globals, log: &Log) -> anyhow::Result<ExitCode> {
        let container = globals.root()?.find(&self.id)?;
        let change = match &self.resources {
            Some(file) => read(file)?,
            None => self.change(log)?,
        };
        if change.is_empty() {
            log.warn(
                &Error::new("nothing is updated").because("no limit is given").remedy("see `rootlet update --help`"),
            );
        }
        container::update(&container, &change).map_err(Error::of_command_line)?;
        Ok(ExitCode::SUCCESS)
    }
}

impl Update {
    /// The flags as a part of `linux.resources`.
    fn change(&self, log: &Log) -> Result<Map<String, Value>> {
        if self.l3_cache_schema.is_some() || self.mem_bw_schema.is_some() {
            return Err(Error::new("--l3-cache-schema and --mem-bw-schema cannot be enforced")
                .because("rootlet does not drive resctrl"));
        }
        if self.kernel_memory.is_some() || self.kernel_memory_tcp.is_some() {
            log.warn(&Error::new("--kernel-memory and --kernel-memory-tcp are obsolete, ignored"));
        }
        let size = |flag: &str, text: &Option<String>| text.as_deref().map(|text| parse_size(flag, text)).transpose();
        let memory = [
            ("limit", size("--memory", &self.memory)?),
            ("reservation", size("--memory-reservation", &self.memory_reservation)?),
            ("swap", size("--memory-swap", &self.memory_swap)?),
        ];
        let cpu = [
            ("shares", self.cpu_share.map(|value| json!(value))),
            ("quota", self.cpu_quota.map(|value| json!(value))),
            ("period", self.cpu_period.map(|value| json!(value))),
            ("burst", self.cpu_burst.map(|value| json!(value))),
            ("realtimePeriod", self.cpu_rt_period.map(|value| json!(value))),
            ("realtimeRuntime", self.cpu_rt_runtime.map(|value| json!(value))),
            ("idle", self.cpu_idle.map(|value| json!(value))),
            ("cpus", self.cpuset_cpus.as_ref().map(|value| json!(value))),
            ("mems", self.cpuset_mems.as_ref().map(|value| json!(value))),
        ];
        let groups = [
            ("memory", object(memory.map(|(key, value)| (key, value.map(|value| json!(value)))))),
            ("cpu", object(cpu)),
            ("pids", object([("limit", self.pids_limit.map(|value| json!(value)))])),
            ("blockIO", object([("weight", self.blkio_weight.map(|value| json!(value)))])),
        ];
        let given = groups.into_iter().filter(|(_, group)| !group.is_empty());
        Ok(given.map(|(name, group)| (name.to_owned(), Value::Object(group))).collect())
    }
}

fn object<const N: usize>(pairs: [(&str, Option<Value>); N]) -> Map<String, Value> {
    pairs.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))).collect()
}

/// `linux.resources` from a file or from standard input.
fn read(file: &str) -> Result<Map<String, Value>> {
    let mut text = String::new();
    let read = match file {
        "-" => std::io::stdin().take(1 << 20).read_to_string(&mut text).map(drop),
        file => std::fs::File::open(file).and_then(|file| file.take(1 << 20).read_to_string(&mut text)).map(drop),
    };
    read.map_err(|error| Error::from_io(format!("cannot read {file}"), &error).remedy("correct --resources"))?;
    let value: Value = serde_json::from_str(&text).map_err(|error| {
        Error::new(format!("{file}: not JSON: {error}")).remedy("write an object such as {\"pids\": {\"limit\": 10}}")
    })?;
    match value {
        // Engines write null for what they leave alone.
        Value::Object(resources) => Ok(resources.into_iter().filter(|(_, value)| !value.is_null()).collect()),
        _ => Err(Error::new(format!("{file}: not an object")).remedy("write {\"pids\": {\"limit\": 10}}")),
    }
}

/// Bytes, with a unit of 1024 or without; -1 is no limit.
fn parse_size(flag: &str, text: &str) -> Result<i64> {
    let wrong = || {
        Error::new(format!("{flag} {text:?} is not a size")).remedy("write bytes, or 512k, 100M, 2G; -1 is no limit")
    };
    if text == "-1" {
        return Ok(-1);
    }
    let lower = text.to_ascii_lowercase();
    let end = lower.find(|letter: char| !letter.is_ascii_digit() && letter != '.').unwrap_or(lower.len());
    let (number, unit) = lower.split_at(end);
    let number: f64 = number.parse().map_err(|_| wrong())?;
    let unit = unit.strip_prefix(' ').unwrap_or(unit);
    let shift = match unit.strip_suffix("ib").or(unit.strip_suffix('b')).unwrap_or(unit) {
        "" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        "t" => 40,
        "p" => 50,
        _ => return Err(wrong()),
    };
    let bytes = number * (1_u64 << shift) as f64;
    if bytes < i64::MAX as f64 { Ok(bytes as i64) } else { Err(wrong()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units() {
        for (text, bytes) in [
            ("-1", -1),
            ("0", 0),
            ("4096", 4096),
            ("512k", 512 << 10),
            ("100M", 100 << 20),
            ("2GiB", 2 << 30),
            ("1gb", 1 << 30),
            ("1.5G", 3 << 29),
            ("512 MB", 512 << 20),
            (".5k", 512),
        ] {
            assert_eq!(parse_size("--memory", text).unwrap(), bytes, "{text}");
        }
        for text in ["", "M", "-2", "1.5.1G", "1x", "9999999999G", "0x10", " 1", "1  k", "."] {
            assert!(parse_size("--memory", text).is_err(), "{text}");
        }
    }
}
