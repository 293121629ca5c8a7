//! `update`: other limits for a container that runs.

use super::state::{Container, not_running};
use super::status::Status;
use crate::cgroup::{placement, settings, tree};
use crate::error::{Error, Result};
use crate::host::{Cgroups, Host};
use crate::plan::Setting;
use crate::property;
use crate::spec::{Resources, load};
use serde_json::{Map, Value};
use std::path::Path;

/// Changes limits: `change` is a part of `linux.resources`, whose keys replace those of the container's config.
pub fn update(container: &Container, change: &Map<String, Value>) -> Result<()> {
    match container.status()? {
        Status::Stopped => return Err(not_running()),
        Status::Creating => return Err(Error::new("the container is being created").remedy("wait until it is created")),
        _ => {}
    }
    // Wrong values are named even where nothing can be changed.
    let asked = load::resources(Value::Object(change.clone()))?;
    property::check_resources(&asked)?;
    if change.is_empty() {
        return Ok(());
    }
    let host = Host::new()?;
    let Some(record) = &container.state()?.cgroup else { return Err(no_cgroup(container, &host)?) };
    let cgroup = record.require()?;
    let _lock = container.directory.take_turn()?;
    let mut config: Value = serde_json::from_str(&container.config_text()?)
        .map_err(|error| Error::new(format!("the stored config of {:?} is damaged: {error}", container.id)))?;
    let resources = object(object(&mut config, "linux")?, "resources")?;
    let known = resources.as_object_mut().ok_or_else(|| Error::new("the stored config is damaged"))?;
    // Engines repeat them.
    if change.get("devices").is_some_and(|rules| known.get("devices").unwrap_or(&Value::Array(Vec::new())) != rules) {
        return Err(Error::in_config("linux.resources.devices", "device rules of a container cannot be changed")
            .remedy("leave them out"));
    }
    let wanted = load::resources(Value::Object(with_companions(change, known)))?;
    merge(known, change);
    if let Some((property, reason)) = settings::refused(&wanted).first() {
        return Err(Error::in_config(*property, "cannot be enforced").because(*reason).remedy("leave it out"));
    }
    let available = tree::list(&record.base, "cgroup.controllers")?;
    let can_be_had =
        |setting: &Setting| setting.controller().is_none_or(|name| available.iter().any(|own| own == name));
    let (settings, lost): (Vec<_>, Vec<_>) = settings::translate(&wanted)?.into_iter().partition(can_be_had);
    if let Some(lost) = lost.iter().find(|setting| !setting.is_optional) {
        let (reason, remedy) = placement::explain_missing(&host, lost.controller().unwrap_or_default())?;
        return Err(Error::in_config(lost.property, "cannot be enforced").because(reason).remedy(remedy));
    }
    check_use(cgroup, &asked, &settings)?;
    let mut controllers: Vec<_> = settings.iter().filter_map(Setting::controller).map(str::to_owned).collect();
    controllers.sort_unstable();
    controllers.dedup();
    if !controllers.is_empty() {
        let own = tree::of_process(std::process::id() as i32)?;
        tree::enable(&record.base, cgroup, &controllers, &own)?;
    }
    let before = tree::values(cgroup, &settings)?;
    let written = settings.iter().try_for_each(|setting| tree::write(cgroup, setting));
    if let Err(error) = written {
        // All or nothing.
        before.iter().for_each(|setting| drop(tree::write(cgroup, setting)));
        return Err(error);
    }
    container.save_config(&config.to_string())
}

/// An object in an object, which is made if it is missing.
fn object<'a>(parent: &'a mut Value, key: &str) -> Result<&'a mut Value> {
    let parent = parent.as_object_mut().ok_or_else(|| Error::new("the stored config is damaged"))?;
    let child = parent.entry(key).or_insert(Value::Null);
    if child.is_null() {
        *child = Value::Object(Map::new());
    }
    Ok(child)
}

/// Values that mean nothing without another one of their group: swap is counted together with memory, a period is that
/// of the quota, and who is idle has no weight.
const COMPANIONS: [(&str, &str, &str); 4] =
    [("memory", "swap", "limit"), ("cpu", "period", "quota"), ("cpu", "shares", "idle"), ("cpu", "idle", "shares")];

/// A change, with the companions of what is changed.
fn with_companions(change: &Map<String, Value>, known: &Map<String, Value>) -> Map<String, Value> {
    let mut change = change.clone();
    for (group, key, companion) in COMPANIONS {
        let Some(Value::Object(given)) = change.get_mut(group) else { continue };
        let other = known.get(group).and_then(|known| known.get(companion)).filter(|value| is_given(value));
        if let (Some(other), true) = (other, given.get(key).is_some_and(|value| !value.is_null())) {
            given.entry(companion).or_insert(other.clone());
        }
    }
    change
}

/// As in runc, null and 0 are not given.
fn is_given(value: &Value) -> bool {
    !value.is_null() && value.as_i64() != Some(0)
}

/// Brings a change into the config: of a group those keys that are given, of a list those entries.
fn merge(known: &mut Map<String, Value>, change: &Map<String, Value>) {
    if let (Some(Value::Object(known)), Some(Value::Object(change))) = (known.get_mut("memory"), change.get("memory")) {
        carry_swap(known, change);
    }
    // Device rules have an order, and are as they were.
    for (group, value) in change.iter().filter(|(group, _)| *group != "devices") {
        match (known.get_mut(group), value) {
            (Some(Value::Object(known)), Value::Object(change)) => merge(known, change),
            (Some(Value::Array(known)), Value::Array(change)) => merge_list(known, change),
            _ => drop(known.insert(group.clone(), value.clone())),
        }
    }
}

/// Entries are limits of a page size or a device, and the kernel keeps those that are not named.
fn merge_list(known: &mut Vec<Value>, change: &[Value]) {
    for entry in change {
        let is_same =
            |other: &&mut Value| ["pageSize", "major", "minor"].iter().all(|key| other.get(key) == entry.get(key));
        match known.iter_mut().find(is_same) {
            Some(other) => *other = entry.clone(),
            None => known.push(entry.clone()),
        }
    }
}

/// Whoever changes the limit of memory alone leaves that of swap as it is, which the config counts together with memory;
/// but who lifts the one has always lifted both.
fn carry_swap(known: &mut Map<String, Value>, change: &Map<String, Value>) {
    let number =
        |map: &Map<String, Value>, key: &str| map.get(key).filter(|value| is_given(value)).and_then(Value::as_i64);
    let (Some(limit), None) = (number(change, "limit"), number(change, "swap")) else { return };
    if let (Some(before), Some(both)) = (number(known, "limit"), number(known, "swap")) {
        let both = if limit < 0 || both < 0 { -1 } else { (both - before.max(0)).saturating_add(limit) };
        known.insert("swap".to_owned(), both.into());
    }
}

fn no_cgroup(container: &Container, host: &Host) -> Result<Error> {
    let error = Error::new("limits cannot be changed: the container has no cgroup");
    Ok(match host.cgroups()? {
        Cgroups::Legacy => {
            let (reason, remedy) = placement::explain_missing(host, "cpu, io, memory, pids")?;
            error.because(reason).remedy(remedy)
        }
        Cgroups::Unified => error
            .because("when it was created, no cgroup was yours to divide, and no limit was asked for")
            .remedy(format!("see `rootlet plan`; create {:?} again with a limit, or --systemd-cgroup", container.id)),
    })
}

/// A limit below what cannot be given back would end processes: the kernel's answer to a smaller memory.max.
fn check_use(path: &Path, wanted: &Resources, settings: &[Setting]) -> Result<()> {
    let Some(memory) = &wanted.memory else { return Ok(()) };
    let Some(limit) = memory.limit.and_then(|limit| u64::try_from(limit).ok()).filter(|limit| *limit > 0) else {
        return Ok(());
    };
    let usage = bytes(path, "memory.current")?;
    let stat = tree::words(path, "memory.stat")?;
    let of = |key| tree::value(&stat, key).unwrap_or(0);
    let needed = match memory.check_before_update {
        Some(true) => usage,
        // Statistics lag behind what is charged, so the larger of two estimates counts.
        _ => {
            let taken = usage.saturating_sub(of("inactive_file") + of("active_file") + of("slab_reclaimable"));
            let kept = ["anon", "shmem", "kernel_stack", "pagetables", "slab_unreclaimable"].map(of);
            let most = settings.iter().find(|setting| setting.file == "memory.swap.max").map(|setting| &*setting.value);
            let swapped = free_swap(path, most)?.min(of("anon") + of("shmem"));
            taken.max(kept.iter().sum()).saturating_sub(swapped)
        }
    };
    if needed <= limit {
        return Ok(());
    }
    Err(Error::in_config("linux.resources.memory.limit", format!("unable to set memory limit to {limit}"))
        .because(format!("the container uses {usage} bytes, of which {needed} cannot be taken from it"))
        .remedy("give a larger limit, or end some of its processes"))
}

/// How many bytes could be swapped out, with this limit of swap, or the present one.
fn free_swap(path: &Path, limit: Option<&str>) -> Result<u64> {
    let system = std::fs::read_to_string("/proc/meminfo").map_err(|error| Error::from_io("/proc/meminfo", &error))?;
    // A kernel without swap has no such line.
    let system =
        system.lines().find_map(|line| line.strip_prefix("SwapFree:")?.split_whitespace().next()?.parse().ok());
    let present = tree::words(path, "memory.swap.max")?;
    let own = match limit.filter(|_| !present.is_empty()).unwrap_or(&present) {
        "max" => u64::MAX,
        limit => limit.parse().unwrap_or(0),
    };
    let used = bytes(path, "memory.swap.current")?;
    Ok(own.saturating_sub(used).min(system.unwrap_or(0_u64) * 1024))
}

/// The number in a file; 0 where the controller is not there.
fn bytes(path: &Path, file: &str) -> Result<u64> {
    Ok(tree::words(path, file)?.parse().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn merged(known: Value, change: Value) -> Value {
        let mut known = known.as_object().cloned().unwrap();
        merge(&mut known, change.as_object().unwrap());
        known.into()
    }

    #[test]
    fn what_is_not_given_stays() {
        let known = json!({"cpu": {"quota": 5, "period": 9}, "pids": {"limit": 3}});
        let after = json!({"cpu": {"quota": 6, "period": 9}, "pids": {"limit": 3}});
        assert_eq!(merged(known, json!({"cpu": {"quota": 6}})), after);
    }

    #[test]
    fn entries_of_lists_are_known_by_their_size_or_device() {
        let limit = |size: &str, limit: u64| json!({"pageSize": size, "limit": limit});
        let known = json!({"hugepageLimits": [limit("2MB", 4), limit("1GB", 8)]});
        let after = json!({"hugepageLimits": [limit("2MB", 4), limit("1GB", 0), limit("64KB", 1)]});
        assert_eq!(merged(known, json!({"hugepageLimits": [limit("1GB", 0), limit("64KB", 1)]})), after);
        let device = |minor: u64, rate: u64| json!({"major": 8, "minor": minor, "rate": rate});
        let known = json!({"blockIO": {"throttleReadBpsDevice": [device(0, 1)]}});
        let change = json!({"blockIO": {"throttleReadBpsDevice": [device(1, 2), device(0, 3)]}});
        assert_eq!(merged(known, change), json!({"blockIO": {"throttleReadBpsDevice": [device(0, 3), device(1, 2)]}}));
    }

    #[test]
    fn device_rules_stay_as_they_are() {
        let rules = json!({"devices": [{"allow": false, "access": "rwm"}, {"allow": true, "type": "c"}, {"allow": true, "type": "b"}]});
        assert_eq!(merged(rules.clone(), rules.clone()), rules);
    }

    #[test]
    fn the_limit_of_swap_alone_stays() {
        let memory = |limit: i64, swap: i64| json!({"memory": {"limit": limit, "swap": swap}});
        assert_eq!(merged(memory(64, 96), json!({"memory": {"limit": 512}})), memory(512, 544));
        assert_eq!(merged(memory(64, 96), json!({"memory": {"limit": -1}})), memory(-1, -1));
        assert_eq!(merged(memory(64, -1), json!({"memory": {"limit": 32}})), memory(32, -1));
        assert_eq!(merged(memory(64, 96), json!({"memory": {"limit": 50, "swap": 50}})), memory(50, 50));
    }

    #[test]
    fn swap_alone_is_read_with_the_limit_of_memory() {
        let known = json!({"memory": {"limit": 64}, "cpu": {"idle": 1}});
        let completed =
            |change: Value| Value::from(with_companions(change.as_object().unwrap(), known.as_object().unwrap()));
        assert_eq!(completed(json!({"memory": {"swap": 96}})), json!({"memory": {"swap": 96, "limit": 64}}));
        assert_eq!(completed(json!({"memory": {"reservation": 9}})), json!({"memory": {"reservation": 9}}));
        assert_eq!(completed(json!({"cpu": {"shares": 9}})), json!({"cpu": {"shares": 9, "idle": 1}}));
    }
}
