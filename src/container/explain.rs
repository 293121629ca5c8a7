//! What a container has: asked of the kernel, and named by the properties that it comes from.

use super::events::statistics;
use super::processes::{processes, require_own_proc};
use super::state::Container;
use super::state::states::States;
use super::status::Status;
use crate::capability::NAMES;
use crate::error::{Error, Result, found};
use crate::host::unescape;
use crate::spec::Spec;
use crate::sys::Errno;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;

/// Files of /proc/PID/ns, and their names in linux.namespaces.
const NAMESPACES: [(&str, &str); 8] = [
    ("user", "user"),
    ("mnt", "mount"),
    ("pid", "pid"),
    ("ipc", "ipc"),
    ("uts", "uts"),
    ("net", "network"),
    ("cgroup", "cgroup"),
    ("time", "time"),
];

/// Capability sets, by their lines of /proc/PID/status.
const SETS: [(&str, &str); 5] = [
    ("CapEff", "effective"),
    ("CapPrm", "permitted"),
    ("CapBnd", "bounding"),
    ("CapInh", "inheritable"),
    ("CapAmb", "ambient"),
];

/// All that is known of it. What is out of reach, as of a container that waits for its start, is left out.
pub fn explain(container: &Container, states: &States) -> Result<Value> {
    let state = container.state()?;
    let status = container.status()?;
    let spec = container.config()?;
    let mut about = json!({
        "id": container.id,
        "status": status.to_string(),
        "pid": state.pid,
        "bundle": state.bundle,
        "rootfs": state.rootfs,
        "created": state.created,
        "command": spec.process().args,
        "decisions": state.decisions,
    });
    if status == Status::Stopped {
        about["pid"] = json!(0);
        return Ok(about);
    }
    require_own_proc()?;
    // With a first process that reaps, the program is another one.
    let pids = processes(container).unwrap_or_else(|_| vec![state.pid]);
    let program = container.looked_into()?;
    about["processes"] = json!(pids);
    about["program"] = json!(program);
    about["ids"] = ids(state.pid)?;
    about["namespaces"] = namespaces(container, states)?;
    about["privileges"] = privileges(program)?;
    about["mounts"] = mounts(program, &spec)?;
    if let Some(cgroup) = &state.cgroup {
        about["cgroup"] = json!(cgroup.path()?);
    }
    about["use"] = statistics(container).unwrap_or(Value::Null);
    let config: Value = serde_json::from_str(&container.config_text()?).unwrap_or_default();
    about["limits"] = config["linux"]["resources"].clone();
    about["open"] = open_files(program)?;
    Ok(about)
}

/// Absence, and what nobody may look at, are nothing.
fn read(pid: i32, file: &str) -> Result<Option<String>> {
    let path = format!("/proc/{pid}/{file}");
    match found(fs::read_to_string(&path)) {
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => Ok(None),
        // A kernel without security modules has no labels.
        Err(error) if error.raw_os_error() == Some(Errno::EINVAL as i32) => Ok(None),
        other => other.map_err(|error| Error::from_io(path, &error)),
    }
}

fn line<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
}

/// The maps of its user namespace, as (inside, outside, how many).
fn ids(pid: i32) -> Result<Value> {
    let mut all = Map::new();
    for (file, name) in [("uid_map", "uids"), ("gid_map", "gids")] {
        let Some(text) = read(pid, file)? else { continue };
        let ranges = text.lines().map(|line| {
            let numbers: Vec<u64> = line.split_whitespace().filter_map(|number| number.parse().ok()).collect();
            json!({ "inside": numbers.first(), "outside": numbers.get(1), "count": numbers.get(2) })
        });
        all.insert(name.to_owned(), ranges.collect());
    }
    Ok(Value::Object(all))
}

/// Each namespace by its number, and who else is in it: the caller, or other containers.
fn namespaces(container: &Container, states: &States) -> Result<Value> {
    let inode = |pid: &str, file: &str| fs::metadata(format!("/proc/{pid}/ns/{file}")).ok().map(|found| found.ino());
    let own = container.looked_into()?.to_string();
    let mut others: BTreeMap<(&str, u64), Vec<String>> = BTreeMap::new();
    for other in states.all()?.flatten().filter(|other| other.id != container.id) {
        if !matches!(other.status(), Ok(status) if status != Status::Stopped) {
            continue;
        }
        let Ok(pid) = other.looked_into() else { continue };
        for (file, _) in NAMESPACES {
            if let Some(inode) = inode(&pid.to_string(), file) {
                others.entry((file, inode)).or_default().push(other.id.clone());
            }
        }
    }
    let mut all = Map::new();
    for (file, name) in NAMESPACES {
        let Some(number) = inode(&own, file) else { continue };
        let is_callers = inode("self", file) == Some(number);
        let shared = others.get(&(file, number)).cloned().unwrap_or_default();
        all.insert(
            name.to_owned(),
            json!({ "inode": number, "shared-with-caller": is_callers, "shared-with": shared }),
        );
    }
    Ok(Value::Object(all))
}

fn privileges(pid: i32) -> Result<Value> {
    let Some(status) = read(pid, "status")? else { return Ok(Value::Null) };
    let mut capabilities = Map::new();
    for (field, name) in SETS {
        let bits = line(&status, field).and_then(|text| u64::from_str_radix(text, 16).ok()).unwrap_or(0);
        let names = NAMES.iter().enumerate().filter(|(bit, _)| bits & 1 << bit != 0);
        capabilities.insert(name.to_owned(), names.map(|(_, name)| format!("CAP_{name}")).collect());
    }
    let number = |field: &str| line(&status, field).and_then(|text| text.parse::<u64>().ok());
    let ids = |field: &str| line(&status, field).and_then(|text| text.split_whitespace().nth(1)?.parse::<u64>().ok());
    Ok(json!({
        "uid-outside": ids("Uid"),
        "gid-outside": ids("Gid"),
        "capabilities": capabilities,
        "no-new-privileges": number("NoNewPrivs") == Some(1),
        "filters": number("Seccomp_filters").unwrap_or(if number("Seccomp") == Some(2) { 1 } else { 0 }),
        "label": read(pid, "attr/current")?.map(|text| text.trim_end_matches(['\n', '\0']).to_owned()).filter(|text| !text.is_empty()),
    }))
}

/// What is mounted, in its order, with the property that it comes from.
fn mounts(pid: i32, spec: &Spec) -> Result<Value> {
    let Some(text) = read(pid, "mountinfo")? else { return Ok(Value::Null) };
    let destinations: Vec<_> = spec.mounts.iter().map(|mount| clean_path(&mount.destination)).collect();
    let listed = |list: &[String], point: &str| list.iter().any(|path| clean_path(path) == point);
    let linux = spec.linux();
    let origin = |point: &str| match destinations.iter().rposition(|destination| destination == point) {
        Some(index) => format!("mounts[{index}]"),
        None if point == "/" => "root".to_owned(),
        None if listed(&linux.masked_paths, point) => "linux.maskedPaths".to_owned(),
        None if listed(&linux.readonly_paths, point) => "linux.readonlyPaths".to_owned(),
        None if point == "/dev/console" => "process.terminal".to_owned(),
        None if point.starts_with("/dev/") => "linux.devices".to_owned(),
        // What came along with a bind of what it lies in.
        None => match destinations
            .iter()
            .rposition(|destination| point.starts_with(&format!("{}/", destination.trim_end_matches('/'))))
        {
            Some(index) => format!("mounts[{index}], below it"),
            None => "root, below it".to_owned(),
        },
    };
    let mount = |line: &str| {
        let (before, after) = line.split_once(" - ")?;
        let (before, mut after): (Vec<_>, _) = (before.split(' ').collect(), after.split(' '));
        let point = unescape(before.get(4)?);
        Some(json!({
            "destination": point,
            "type": after.next()?,
            "source": unescape(after.next()?),
            "options": before.get(5)?.split(',').collect::<Vec<_>>(),
            "property": origin(&point),
        }))
    };
    Ok(text.lines().filter_map(mount).collect())
}

/// A path without what means nothing in it.
fn clean_path(path: &str) -> String {
    let parts: Vec<_> = path.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
    format!("/{}", parts.join("/"))
}

/// What the program has open, by number.
fn open_files(pid: i32) -> Result<Value> {
    let directory = format!("/proc/{pid}/fd");
    let entries = match found(fs::read_dir(&directory)) {
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => return Ok(Value::Null),
        other => other.map_err(|error| Error::from_io(&directory, &error))?,
    };
    let mut open = BTreeMap::new();
    for entry in entries.into_iter().flatten().flatten() {
        let Some(number) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        // It may be closed by now.
        if let Ok(target) = fs::read_link(entry.path()) {
            open.insert(number, target.to_string_lossy().into_owned());
        }
    }
    Ok(open.into_iter().map(|(number, target)| json!({ "descriptor": number, "file": target })).collect())
}
