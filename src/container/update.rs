//! `update`: other limits for a container that runs.

use super::kill::not_running;
use super::state::{Container, Status};
use crate::cgroup::{settings, tree};
use crate::error::{Error, Result};
use crate::host::{Cgroups, Host};
use crate::plan::Setting;
use crate::property;
use crate::spec::{Resources, load};
use crate::sys::fd;
use serde_json::{Map, Value};
use std::os::fd::AsFd;

/// Changes limits: `change` is a part of `linux.resources`, whose keys replace those of the container's config.
pub fn update(container: &Container, change: &Map<String, Value>) -> Result<()> {
    match container.status() {
        Status::Stopped => return Err(not_running()),
        Status::Creating => return Err(Error::new("the container is being created").remedy("wait until it is created")),
        _ => {}
    }
    let Some(record) = &container.state()?.cgroup else { return Err(no_cgroup(container)) };
    let cgroup = record.require()?;
    // One after the other. (A foreground run has the lock of the state.)
    let handle = tree::open(cgroup)?;
    fd::lock(handle.as_fd()).map_err(|error| Error::from_call(cgroup.display(), error))?;
    let mut config: Value = serde_json::from_str(&container.config_text()?)
        .map_err(|error| Error::new(format!("the stored config of {:?} is damaged: {error}", container.id)))?;
    let resources = object(object(&mut config, "linux")?, "resources")?;
    let resources = resources.as_object_mut().ok_or_else(|| Error::new("the stored config is damaged"))?;
    for (group, value) in change {
        if group == "devices" {
            // Engines repeat them.
            if resources.get(group).unwrap_or(&Value::Array(Vec::new())) != value {
                return Err(Error::in_config(
                    "linux.resources.devices",
                    "device rules of a container cannot be changed",
                )
                .remedy("leave them out"));
            }
            continue;
        }
        match (resources.get_mut(group), value) {
            (Some(Value::Object(known)), Value::Object(value)) => known.extend(value.clone()),
            _ => drop(resources.insert(group.clone(), value.clone())),
        }
    }
    let wanted = load::resources(Value::Object(resources.clone()))?;
    property::check_resources(&wanted)?;
    if let Some((property, reason)) = settings::refused(&wanted).first() {
        return Err(Error::in_config(*property, "cannot be enforced").because(*reason).remedy("leave it out"));
    }
    // Of the groups that are given, everything is written: its parts belong together.
    let groups: Vec<_> = change.keys().map(|group| format!("linux.resources.{group}")).collect();
    let is_given = |setting: &Setting| groups.iter().any(|group| setting.property.starts_with(group.as_str()));
    let settings: Vec<_> = settings::translate(&wanted)?.into_iter().filter(is_given).collect();
    check_use(cgroup, &wanted)?;
    let mut controllers: Vec<_> = settings.iter().filter_map(Setting::controller).map(str::to_owned).collect();
    controllers.sort_unstable();
    controllers.dedup();
    let own = tree::of_process(std::process::id() as i32).unwrap_or_default();
    tree::enable(&record.base, cgroup, &controllers, &own)?;
    let before = tree::values(cgroup, &settings);
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

fn no_cgroup(container: &Container) -> Error {
    let error = Error::new("limits cannot be changed: the container has no cgroup");
    match Host::new().cgroups() {
        Cgroups::Legacy => error
            .because("this host has its controllers in cgroup v1, which rootlet does not drive")
            .remedy("boot with systemd.unified_cgroup_hierarchy=1, or cgroup_no_v1=all"),
        Cgroups::Unified => error
            .because("when it was created, no cgroup was yours to divide, and no limit was asked for")
            .remedy(format!("see `rootlet plan`; create {:?} again with a limit, or --systemd-cgroup", container.id)),
    }
}

/// A limit below what cannot be given back would end processes: the kernel's answer to a smaller memory.max.
fn check_use(path: &std::path::Path, wanted: &Resources) -> Result<()> {
    let Some(memory) = &wanted.memory else { return Ok(()) };
    let Some(limit) = memory.limit.and_then(|limit| u64::try_from(limit).ok()).filter(|limit| *limit > 0) else {
        return Ok(());
    };
    let usage: u64 = tree::words(path, "memory.current").parse().unwrap_or(0);
    let stat = tree::words(path, "memory.stat");
    let of = |key| tree::value(&stat, key).unwrap_or(0);
    let needed = match memory.check_before_update {
        Some(true) => usage,
        // Statistics lag behind what is charged, so the larger of two estimates counts.
        _ => {
            let taken = usage.saturating_sub(of("inactive_file") + of("active_file") + of("slab_reclaimable"));
            let kept = ["anon", "shmem", "kernel_stack", "pagetables", "slab_unreclaimable"].map(of);
            taken.max(kept.iter().sum())
        }
    };
    if needed <= limit {
        return Ok(());
    }
    Err(Error::in_config("linux.resources.memory.limit", format!("unable to set memory limit to {limit}"))
        .because(format!("the container uses {usage} bytes, of which {needed} cannot be taken from it"))
        .remedy("give a larger limit, or end some of its processes"))
}
