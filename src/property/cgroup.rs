//! `linux.resources` and `linux.cgroupsPath`: a limit is enforced, or it is an error that says why not.

use super::{Planner, Property, Scope, number_list};
use crate::error::Result;
use crate::plan::Phase;
use crate::spec::{BlockIo, DeviceRule, Resources};

pub const RESOURCES: Property =
    Property { paths: &["linux.resources"], phase: Phase::Host, scope: Scope::Create, plan: plan_resources };
pub const PATH: Property =
    Property { paths: &["linux.cgroupsPath"], phase: Phase::Host, scope: Scope::Create, plan: plan_path };

fn plan_resources(planner: &mut Planner) -> Result<()> {
    let Some(resources) = &planner.spec.linux().resources else { return Ok(()) };
    check(planner, resources)?;
    let limits = limits(resources);
    if !limits.is_empty() {
        let names = limits.join(", ");
        let reason = "this version of rootlet makes no cgroup, and only a cgroup enforces it";
        if !planner.request.try_limits {
            return Err(planner
                .error(format!("{names}: cannot be enforced"))
                .because(reason)
                .remedy("give `--limits try` to start without, or take it out of linux.resources"));
        }
        planner.decide(format!("{names}: not enforced"), reason)?;
    }
    if resources.devices.iter().any(|rule| !rule.allow) {
        if planner.has_other_user_namespace() {
            planner.decide(
                "device rules are left out",
                "no device node can be made in a user namespace, so there is nothing to deny",
            )?;
        } else {
            planner.decide(
                "device rules are not enforced",
                "this version of rootlet makes no cgroup; nodes can be made only with CAP_MKNOD",
            )?;
        }
    }
    Ok(())
}

/// What asks for a limit; null, empty and -1 ("unlimited") do not.
fn limits(resources: &Resources) -> Vec<&'static str> {
    let limited = |value: Option<i64>| value.is_some_and(|value| value != -1);
    let memory = resources.memory.clone().unwrap_or_default();
    let cpu = resources.cpu.clone().unwrap_or_default();
    let network = resources.network.clone().unwrap_or_default();
    let all = [
        ("memory.limit", limited(memory.limit)),
        ("memory.reservation", limited(memory.reservation)),
        ("memory.swap", limited(memory.swap)),
        ("memory.kernel", limited(memory.kernel)),
        ("memory.kernelTCP", limited(memory.kernel_tcp)),
        ("memory.swappiness", memory.swappiness.is_some()),
        ("memory.disableOOMKiller", memory.disable_oom_killer == Some(true)),
        ("cpu.shares", cpu.shares.is_some_and(|shares| shares != 0)),
        ("cpu.quota", limited(cpu.quota) && cpu.quota != Some(0)),
        ("cpu.burst", cpu.burst.is_some_and(|burst| burst != 0)),
        ("cpu.period", cpu.period.is_some_and(|period| period != 0)),
        ("cpu.realtimeRuntime", cpu.realtime_runtime.is_some_and(|runtime| runtime != 0)),
        ("cpu.realtimePeriod", cpu.realtime_period.is_some_and(|period| period != 0)),
        ("cpu.cpus", cpu.cpus.is_some_and(|cpus| !cpus.is_empty())),
        ("cpu.mems", cpu.mems.is_some_and(|mems| !mems.is_empty())),
        ("cpu.idle", cpu.idle.is_some_and(|idle| idle != 0)),
        ("pids.limit", limited(resources.pids.as_ref().and_then(|pids| pids.limit))),
        ("blockIO", resources.block_io.as_ref().is_some_and(|block_io| *block_io != BlockIo::default())),
        ("hugepageLimits", !resources.hugepage_limits.is_empty()),
        ("network", network.class_id.is_some_and(|id| id != 0) || !network.priorities.is_empty()),
        ("rdma", resources.rdma.as_ref().is_some_and(|rdma| !rdma.is_empty())),
        ("unified", resources.unified.as_ref().is_some_and(|unified| !unified.is_empty())),
    ];
    all.into_iter().filter(|(_, asked)| *asked).map(|(name, _)| name).collect()
}

/// Wrong values are named even where nothing is enforced.
fn check<'a>(planner: &mut Planner<'a>, resources: &'a Resources) -> Result<()> {
    let property = std::mem::replace(&mut planner.current.property, "linux.resources.devices");
    planner.each(&resources.devices, |planner, rule| check_device(planner, rule))?;
    planner.current.property = property;
    let weights = resources.block_io.iter().flat_map(|block_io| {
        let own = [block_io.weight, block_io.leaf_weight];
        own.into_iter().chain(block_io.weight_device.iter().flat_map(|device| [device.weight, device.leaf_weight]))
    });
    if let Some(weight) = weights.flatten().find(|weight| *weight != 0 && !(10..=1000).contains(weight)) {
        let planned = Err(planner.error(format!("blockIO: weight {weight} is not from 10 to 1000")));
        planner.settle(planned)?;
    }
    for limit in &resources.hugepage_limits {
        let unit = limit.page_size.trim_start_matches(|digit: char| digit.is_ascii_digit());
        if !matches!(unit, "KB" | "MB" | "GB") || unit.len() == limit.page_size.len() {
            let planned = Err(planner
                .error(format!("hugepageLimits: pageSize {:?}", limit.page_size))
                .remedy("write a size such as \"2MB\"; see /sys/kernel/mm/hugepages"));
            planner.settle(planned)?;
        }
    }
    if let Some(cpu) = &resources.cpu {
        for (list, most) in [(&cpu.cpus, 8192), (&cpu.mems, 1024)] {
            if let Some(list) = list {
                let planned = number_list::parse(planner, list, most).map(drop);
                planner.settle(planned)?;
            }
        }
    }
    for name in resources.unified.iter().flatten().map(|(name, _)| name) {
        if name.contains('/') || !name.contains('.') {
            let planned = Err(planner
                .error(format!("unified: {name:?} is not a file of a cgroup"))
                .remedy("write a name such as \"memory.high\""));
            planner.settle(planned)?;
        }
    }
    Ok(())
}

fn check_device(planner: &Planner, rule: &DeviceRule) -> Result<()> {
    let wrong = |what: String, remedy: &str| Err(planner.error(what).remedy(remedy));
    match rule.kind.as_deref() {
        None | Some("" | "a" | "b" | "c") => {}
        Some(kind) => return wrong(format!("type {kind:?}"), "write \"a\", \"b\" or \"c\""),
    }
    match rule.access.as_deref() {
        Some(access) if access.chars().any(|letter| !"rwm".contains(letter)) => {
            wrong(format!("access {access:?}"), "write letters of \"rwm\"")
        }
        _ => Ok(()),
    }
}

fn plan_path(planner: &mut Planner) -> Result<()> {
    match planner.spec.linux().cgroups_path.as_deref() {
        None | Some("") => Ok(()),
        Some(_) => {
            planner.decide("the container stays in the caller's cgroup", "this version of rootlet makes no cgroup")
        }
    }
}
