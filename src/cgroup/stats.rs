//! Statistics of a cgroup, in the shape of runc's `events` (its types/events.go).

use super::tree::{exists, value, words};
use crate::error::{Error, Result};
use serde_json::{Map, Value, json};
use std::path::Path;

/// What is known of a container's use of the machine. `resident` are the bytes of its processes, for where memory has no
/// controller, as beside cgroup v1.
pub fn of(path: &Path, resident: &dyn Fn() -> Result<u64>) -> Result<Value> {
    let counts_memory = exists(path, "memory.current")?;
    Ok(json!({
        "cpu": cpu(path)?,
        "cpuset": cpuset(path)?,
        "memory": if counts_memory { memory(path)? } else { memory_of_processes(resident()?) },
        "pids": pids(path)?,
        "blkio": block_io(path)?,
        "hugetlb": hugetlb(path)?,
        "intel_rdt": {},
        "network_interfaces": Value::Null,
    }))
}

/// The statistics of a container without a cgroup, from what is known of the processes: nanoseconds in user and kernel mode, bytes.
pub fn of_processes(user: u64, kernel: u64, memory: u64, count: u64) -> Value {
    json!({
        "cpu": { "usage": { "total": user + kernel, "kernel": kernel, "user": user }, "throttling": {} },
        "cpuset": {},
        "memory": memory_of_processes(memory),
        "pids": { "current": count },
        "blkio": {},
        "hugetlb": {},
        "intel_rdt": {},
        "network_interfaces": Value::Null,
    })
}

fn memory_of_processes(bytes: u64) -> Value {
    json!({
        "usage": { "limit": u64::MAX, "usage": bytes, "failcnt": 0 },
        "swap": { "limit": 0, "failcnt": 0 },
        "kernel": { "limit": 0, "failcnt": 0 },
        "kernelTCP": { "limit": 0, "failcnt": 0 },
    })
}

fn number(path: &Path, file: &str) -> Result<Option<u64>> {
    Ok(words(path, file)?.parse().ok())
}

/// Leaves out what is 0 or missing, as runc does.
fn object(pairs: impl IntoIterator<Item = (&'static str, Option<u64>)>) -> Map<String, Value> {
    let given =
        pairs.into_iter().filter_map(|(key, value)| Some((key.to_owned(), json!(value.filter(|value| *value != 0)?))));
    given.collect()
}

/// Pressure stall information (the kernel's psi.rst): `some avg10=0.00 avg60=0.00 avg300=0.00 total=0`.
fn pressure(path: &Path, file: &str) -> Result<Option<Value>> {
    let text = words(path, file)?;
    let line = |kind: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(kind))?;
        let part = |key: &str| line.split_whitespace().find_map(|part| part.strip_prefix(key)?.strip_prefix('='));
        let average = |key| part(key).and_then(|text| text.parse::<f64>().ok()).unwrap_or(0.0);
        let total = part("total").and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
        Some(json!({"avg10": average("avg10"), "avg60": average("avg60"), "avg300": average("avg300"), "total": total}))
    };
    let lines: Map<_, _> =
        ["some", "full"].into_iter().filter_map(|kind| Some((kind.to_owned(), line(kind)?))).collect();
    Ok((!lines.is_empty()).then_some(Value::Object(lines)))
}

fn with_pressure(mut object: Map<String, Value>, path: &Path, file: &str) -> Result<Value> {
    object.extend(pressure(path, file)?.map(|pressure| ("psi".to_owned(), pressure)));
    Ok(Value::Object(object))
}

fn cpu(path: &Path) -> Result<Value> {
    let stat = words(path, "cpu.stat")?;
    // Microseconds there, nanoseconds here.
    let time = |key| value(&stat, key).map(|microseconds| microseconds.saturating_mul(1000));
    let mut usage = object([("total", time("usage_usec"))]);
    usage.insert("kernel".to_owned(), json!(time("system_usec").unwrap_or(0)));
    usage.insert("user".to_owned(), json!(time("user_usec").unwrap_or(0)));
    let throttling = object([
        ("periods", value(&stat, "nr_periods")),
        ("throttledPeriods", value(&stat, "nr_throttled")),
        ("throttledTime", time("throttled_usec")),
    ]);
    let mut cpu = Map::new();
    cpu.insert("usage".to_owned(), Value::Object(usage));
    cpu.insert("throttling".to_owned(), Value::Object(throttling));
    with_pressure(cpu, path, "cpu.pressure")
}

/// As many processors as the largest kernels have (CONFIG_NR_CPUS). A few bytes can name billions.
const MOST_NUMBERS: usize = 8192;

fn cpuset(path: &Path) -> Result<Value> {
    let numbers = |file| {
        let text = words(path, file)?;
        let ranges = text.split(',').filter_map(|part| {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            Some(first.trim().parse::<u32>().ok()?..=last.trim().parse::<u32>().ok()?)
        });
        Ok(ranges.flatten().take(MOST_NUMBERS).collect::<Vec<_>>())
    };
    let lists = [("cpus", numbers("cpuset.cpus.effective")?), ("mems", numbers("cpuset.mems.effective")?)];
    let given = lists.into_iter().filter(|(_, list)| !list.is_empty());
    Ok(Value::Object(given.map(|(key, list)| (key.to_owned(), json!(list))).collect()))
}

/// A limit, its use, the most that was used, and how often it was hit. No limit is the largest number.
fn limited(limit: &str, usage: Option<u64>, most: Option<u64>, hits: u64) -> Value {
    let mut entry = Map::new();
    entry.insert("limit".to_owned(), json!(if limit.is_empty() { 0 } else { limit.parse().unwrap_or(u64::MAX) }));
    entry.extend(object([("usage", usage), ("max", most)]));
    entry.insert("failcnt".to_owned(), json!(hits));
    Value::Object(entry)
}

fn memory(path: &Path) -> Result<Value> {
    let stat = words(path, "memory.stat")?;
    let events = words(path, "memory.events")?;
    let (usage, swap) = (number(path, "memory.current")?, number(path, "memory.swap.current")?);
    let (most, limit_of_both) = (words(path, "memory.max")?, words(path, "memory.swap.max")?);
    let mut memory = object([("cache", value(&stat, "file"))]);
    let hits = value(&events, "max").unwrap_or(0);
    memory.insert("usage".to_owned(), limited(&most, usage, number(path, "memory.peak")?, hits));
    // As runc, memory and swap together.
    let both = usage.zip(swap).map(|(usage, swap)| usage.saturating_add(swap));
    let limit = match (most.parse::<u64>(), limit_of_both.parse::<u64>()) {
        (Ok(memory), Ok(swap)) => memory.saturating_add(swap).to_string(),
        _ if limit_of_both.is_empty() => String::new(),
        _ => "max".to_owned(),
    };
    memory.insert("swap".to_owned(), limited(&limit, both, None, 0));
    memory.insert("kernel".to_owned(), limited("", value(&stat, "kernel"), None, 0));
    memory.insert("kernelTCP".to_owned(), limited("", value(&stat, "sock"), None, 0));
    let raw = stat.lines().filter_map(|line| {
        let (key, value) = line.split_once(' ')?;
        Some((key.to_owned(), json!(value.parse::<u64>().ok()?)))
    });
    let raw: Map<_, _> = raw.collect();
    if !raw.is_empty() {
        memory.insert("raw".to_owned(), Value::Object(raw));
    }
    with_pressure(memory, path, "memory.pressure")
}

fn pids(path: &Path) -> Result<Value> {
    let current = match number(path, "pids.current")? {
        Some(current) => current,
        None => super::tree::processes(path)?.len() as u64,
    };
    Ok(Value::Object(object([("current", Some(current)), ("limit", number(path, "pids.max")?)])))
}

/// io.stat has a line for each device: `8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=5 dios=6`.
fn block_io(path: &Path) -> Result<Value> {
    let (mut bytes, mut operations) = (Vec::new(), Vec::new());
    for line in words(path, "io.stat")?.lines() {
        let mut parts = line.split_whitespace();
        let Some((major, minor)) = parts.next().and_then(|device| device.split_once(':')) else { continue };
        let (Ok(major), Ok(minor)) = (major.parse::<u64>(), minor.parse::<u64>()) else { continue };
        for part in parts {
            let Some((key, Ok(value))) = part.split_once('=').map(|(key, value)| (key, value.parse::<u64>())) else {
                continue;
            };
            let entry = |op: &str| json!({"major": major, "minor": minor, "op": op, "value": value});
            match key {
                "rbytes" => bytes.push(entry("Read")),
                "wbytes" => bytes.push(entry("Write")),
                "rios" => operations.push(entry("Read")),
                "wios" => operations.push(entry("Write")),
                _ => {}
            }
        }
    }
    let lists = [("ioServiceBytesRecursive", bytes), ("ioServicedRecursive", operations)];
    let given = lists.into_iter().filter(|(_, list)| !list.is_empty());
    with_pressure(given.map(|(key, list)| (key.to_owned(), Value::Array(list))).collect(), path, "io.pressure")
}

fn hugetlb(path: &Path) -> Result<Value> {
    let failed = |error: std::io::Error| Error::from_io(format!("cgroup {}", path.display()), &error);
    let files = std::fs::read_dir(path).and_then(Iterator::collect::<std::io::Result<Vec<_>>>).map_err(failed)?;
    let names = files.iter().filter_map(|file| file.file_name().into_string().ok());
    let sizes = names.filter_map(|name| Some(name.strip_prefix("hugetlb.")?.strip_suffix(".current")?.to_owned()));
    let mut all: Vec<_> = sizes.filter(|size| !size.ends_with(".rsvd")).collect();
    all.sort();
    let entry = |size: &String| {
        let hits = value(&words(path, &format!("hugetlb.{size}.events"))?, "max").unwrap_or(0);
        let mut entry = object([("usage", number(path, &format!("hugetlb.{size}.current"))?)]);
        entry.insert("failcnt".to_owned(), json!(hits));
        Ok((size.clone(), Value::Object(entry)))
    };
    Ok(Value::Object(all.iter().map(entry).collect::<Result<_>>()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_become_runcs_keys() {
        let directory = tempfile::tempdir().unwrap();
        let write = |file: &str, text: &str| std::fs::write(directory.path().join(file), text).unwrap();
        write(
            "cpu.stat",
            "usage_usec 30\nuser_usec 10\nsystem_usec 20\nnr_periods 5\nnr_throttled 2\nthrottled_usec 7\n",
        );
        write("cpu.pressure", "some avg10=1.50 avg60=0.00 avg300=0.00 total=9\n");
        write("memory.current", "100\n");
        write("memory.max", "4096\n");
        write("memory.stat", "file 40\nanon 60\n");
        write("memory.events", "max 3\noom_kill 1\n");
        write("pids.current", "2\n");
        write("pids.max", "max\n");
        write("io.stat", "8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=0 dios=0\n");
        let stats = of(directory.path(), &|| Ok(0)).unwrap();
        assert_eq!(stats["cpu"]["usage"], json!({"total": 30000, "kernel": 20000, "user": 10000}));
        assert_eq!(stats["cpu"]["throttling"], json!({"periods": 5, "throttledPeriods": 2, "throttledTime": 7000}));
        assert_eq!(stats["cpu"]["psi"]["some"]["avg10"], 1.5);
        assert_eq!(stats["memory"]["usage"], json!({"limit": 4096, "usage": 100, "failcnt": 3}));
        assert_eq!((&stats["memory"]["cache"], &stats["memory"]["raw"]["anon"]), (&json!(40), &json!(60)));
        assert_eq!(stats["pids"], json!({"current": 2}));
        let first = &stats["blkio"]["ioServiceBytesRecursive"][0];
        assert_eq!(first, &json!({"major": 8, "minor": 0, "op": "Read", "value": 1}));
    }
}
