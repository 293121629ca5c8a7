//! `linux.resources` and `linux.cgroupsPath`: a limit is enforced, or it is an error that says why not.

use super::annotations::UNIT_PROPERTY;
use super::{Planner, Property, Scope, delegation, number_list};
use crate::capability::CAP_SYS_ADMIN;
use crate::cgroup::placement::{self, Choice, Wish};
use crate::cgroup::{devices, settings};
use crate::error::{Error, Result};
use crate::host::Cgroups;
use crate::plan::unit_property::UnitProperty;
use crate::plan::{Cgroup, Phase, Place, Setting};
use crate::spec::{DeviceRule, Resources};

pub const RESOURCES: Property =
    Property { paths: &["linux.resources"], phase: Phase::Host, scope: Scope::Create, plan: plan_resources };
pub const PATH: Property =
    Property { paths: &["linux.cgroupsPath"], phase: Phase::Host, scope: Scope::Create, plan: plan_path };

/// What is to be set; where is [`plan_path`]'s business.
fn plan_resources(planner: &mut Planner) -> Result<()> {
    let mut settings = Vec::new();
    if let Some(resources) = &planner.spec.linux().resources {
        check(planner, resources)?;
        for (property, reason) in settings::refused(resources) {
            let name = property.trim_start_matches("linux.resources.").to_owned();
            let planned = give_up(planner, &name, reason, "take it out of linux.resources");
            planner.note(planned)?;
        }
        let translated = settings::translate(resources).map(|translated| settings = translated);
        planner.note(translated)?;
    }
    // pids.max of 0 lets no process be born.
    let is_set_late = settings.iter().any(|setting| setting.file == "pids.max" && setting.value == "0");
    planner.plan.cgroup = Some(Cgroup {
        place: Place::None,
        reason: String::new(),
        controllers: Vec::new(),
        optional_controllers: Vec::new(),
        settings,
        devices: None,
        owner: None,
        leaf: None,
        is_set_late,
        may_lack_limits: planner.request.try_limits,
    });
    Ok(())
}

/// A limit that is not enforced: an error, or a decision if the caller said so.
fn give_up(planner: &mut Planner, names: &str, reason: &str, remedy: &str) -> Result<()> {
    if planner.request.try_limits {
        planner.decide(format!("{names}: not enforced"), reason)?;
        let warning = planner.error(format!("{names}: not enforced")).because(reason);
        planner.plan.warnings.push(warning);
        return Ok(());
    }
    Err(planner
        .error(format!("{names}: cannot be enforced"))
        .because(reason)
        .remedy(format!("{remedy}; or give `--limits try` before the command, to start without (podman: --runtime-flag limits=try; Docker: runtimeArgs)")))
}

fn plan_path(planner: &mut Planner) -> Result<()> {
    let Some(mut cgroup) = planner.plan.cgroup.take() else { return Ok(()) };
    let mut controllers: Vec<String> =
        cgroup.settings.iter().filter_map(Setting::controller).map(str::to_owned).collect();
    controllers.sort_unstable();
    controllers.dedup();
    let path = planner.spec.linux().cgroups_path.as_deref().filter(|path| !path.is_empty());
    let unit_properties = unit_properties(planner)?;
    let request = planner.request;
    let divides = delegation::is_wanted(planner);
    let wish = Wish { id: &request.id, path, manager: request.cgroup_manager, controllers: &controllers, divides };
    let mut choice = placement::choose(&wish, planner.host)?;
    match (&mut choice.place, unit_properties.first()) {
        (_, None) => {}
        (Place::Scope { properties, .. }, _) => *properties = unit_properties,
        (_, Some(property)) => planner.decide(
            format!("annotation {UNIT_PROPERTY}{}: not passed on", property.name),
            "no unit of systemd's is made for this container",
        )?,
    }
    if choice.place == Place::None && path.is_some() {
        planner.decide("the container stays in the caller's cgroup", choice.reason.clone())?;
    }
    require(planner, &mut cgroup, &choice)?;
    controllers.retain(|controller| choice.available.contains(controller));
    // Who names a cgroup will look at its statistics, and who may write to it, will divide it.
    cgroup.optional_controllers = match path.is_some() || divides {
        true => choice.available.iter().filter(|name| !controllers.contains(name)).cloned().collect(),
        false => Vec::new(),
    };
    cgroup.controllers = controllers;
    (cgroup.place, cgroup.reason) = (choice.place, choice.reason);
    plan_devices(planner, &mut cgroup)?;
    planner.plan.cgroup = Some(cgroup);
    Ok(())
}

/// What annotations say of the scope, as with runc and crun.
fn unit_properties(planner: &mut Planner) -> Result<Vec<UnitProperty>> {
    let mut properties = Vec::new();
    for (annotation, text) in planner.spec.annotations.iter().flatten() {
        let Some(name) = annotation.strip_prefix(UNIT_PROPERTY) else { continue };
        match UnitProperty::parse(name, text) {
            Ok(property) => properties.push(property),
            Err(reason) => planner.note(Err(Error::in_config("annotations", format!("{annotation}: {text:?}"))
                .because(reason)
                .remedy("see systemd.scope(5), and write the value as `busctl` shows types")))?,
        }
    }
    Ok(properties)
}

/// Takes out the settings whose controllers cannot be had, if that may be.
fn require(planner: &mut Planner, cgroup: &mut Cgroup, choice: &Choice) -> Result<()> {
    let can_be_had =
        |setting: &Setting| setting.controller().is_none_or(|name| choice.available.iter().any(|other| other == name));
    let has_place = choice.place != Place::None;
    let (kept, lost): (Vec<_>, Vec<_>) =
        std::mem::take(&mut cgroup.settings).into_iter().partition(|setting| has_place && can_be_had(setting));
    cgroup.settings = kept;
    let lost: Vec<_> = lost.into_iter().filter(|setting| !setting.is_optional).collect();
    if lost.is_empty() {
        return Ok(());
    }
    let list = |mut names: Vec<&str>| {
        names.dedup();
        names.join(", ")
    };
    let names = list(lost.iter().map(|setting| setting.property.trim_start_matches("linux.resources.")).collect());
    let controllers = list(lost.iter().filter_map(Setting::controller).collect());
    let (reason, remedy) = match placement::explain_missing(planner.host, &controllers)? {
        (_, remedy) if planner.host.cgroups()? == Cgroups::Unified && !has_place => (choice.reason.clone(), remedy),
        explained => explained,
    };
    let property = std::mem::replace(&mut planner.current.property, RESOURCES.path());
    let planned = give_up(planner, &names, &reason, remedy);
    let noted = planner.note(planned);
    planner.current.property = property;
    noted
}

/// Device rules are limits. A program of the kernel's decides about each use of a device; only the host's root may attach one,
/// to a cgroup, but then it holds in user namespaces, too: an image or a volume can bring nodes.
///
/// Without one, the nodes of the root, of every file system that is mounted afresh, and of what the config binds from elsewhere
/// than /dev, are dead (nodev); those that the config names are bound. That is as much as runc's own default asks for, "deny all,
/// and allow what is listed", so that is accepted as a decision: every engine writes it for every container, also for users for
/// whom nobody could enforce it. Rules that say more are an error, and so is any rule where the container may mount by itself.
fn plan_devices(planner: &mut Planner, cgroup: &mut Cgroup) -> Result<()> {
    let rules = planner.spec.linux().resources.as_ref().map(|resources| &resources.devices[..]).unwrap_or_default();
    let program = devices::program(rules);
    let is_privileged = planner.host.may(CAP_SYS_ADMIN) && planner.host.in_initial_user_namespace()?;
    if is_privileged && cgroup.place != Place::None {
        cgroup.devices = program;
        return Ok(());
    }
    if program.is_none() {
        return Ok(());
    }
    planner.shuts_devices = true;
    planner.shuts_devices_of_binds = is_privileged || !rules.is_empty();
    if rules.is_empty() {
        return Ok(());
    }
    let reason = match is_privileged {
        true => "there is no cgroup whose devices a program could decide about",
        false => "only the host's root may attach a program that decides about devices",
    };
    let property = std::mem::replace(&mut planner.current.property, RESOURCES.path());
    // Who may mount lifts nodev again. An ordinary user's container opens by that no more than the user could: the nodes are
    // the host's root's, by their modes.
    let may_mount = keeps(planner, CAP_SYS_ADMIN);
    let is_lost = may_mount && !(planner.has_other_user_namespace() && planner.host.is_ordinary_user());
    let decided = if devices::lists_what_is_allowed(rules) && !is_lost {
        let until = if may_mount { ", until the container, which keeps CAP_SYS_ADMIN, lifts that" } else { "" };
        let done = format!(
            "device rules: nodes of the root and of binds are dead (nodev), and those that the config names work{until}"
        );
        planner.decide(done, reason)
    } else {
        give_up(planner, "devices", reason, "keep to \"deny all\" and what is allowed, and take CAP_SYS_ADMIN out")
    };
    let noted = planner.note(decided);
    planner.current.property = property;
    noted
}

/// True if the container's programs may get that capability.
/// Whether the container's program could have a capability.
pub(super) fn keeps(planner: &Planner, capability: u8) -> bool {
    let name = format!("CAP_{}", crate::capability::NAMES.get(usize::from(capability)).unwrap_or(&""));
    let sets = planner.spec.process().capabilities.as_ref();
    sets.is_some_and(|sets| [&sets.bounding, &sets.permitted].iter().any(|set| set.0.contains(&name)))
}

/// Wrong values are named even where nothing is enforced.
pub fn check<'a>(planner: &mut Planner<'a>, resources: &'a Resources) -> Result<()> {
    let property = std::mem::replace(&mut planner.current.property, "linux.resources.devices");
    planner.each(&resources.devices, |planner, rule| check_device(planner, rule))?;
    planner.current.property = property;
    let weights = resources.block_io.iter().flat_map(|block_io| {
        let own = [block_io.weight, block_io.leaf_weight];
        own.into_iter().chain(block_io.weight_device.iter().flat_map(|device| [device.weight, device.leaf_weight]))
    });
    if let Some(weight) = weights.flatten().find(|weight| *weight != 0 && !(10..=1000).contains(weight)) {
        let planned = Err(planner
            .error(format!("blockIO: weight {weight} is not from 10 to 1000"))
            .remedy("write a number from 10 to 1000, or 0 to leave it as it is"));
        planner.note(planned)?;
    }
    for limit in &resources.hugepage_limits {
        let unit = limit.page_size.trim_start_matches(|digit: char| digit.is_ascii_digit());
        if !matches!(unit, "KB" | "MB" | "GB") || unit.len() == limit.page_size.len() {
            let planned = Err(planner
                .error(format!("hugepageLimits: pageSize {:?}", limit.page_size))
                .remedy("write a size such as \"2MB\"; see /sys/kernel/mm/hugepages"));
            planner.note(planned)?;
        }
    }
    if let Some(cpu) = &resources.cpu {
        for (list, most) in [(&cpu.cpus, 8192), (&cpu.mems, 1024)] {
            if let Some(list) = list {
                let planned = number_list::parse(planner, list, most).map(drop);
                planner.note(planned)?;
            }
        }
    }
    if let Some(memory) = &resources.memory {
        for (name, value) in [("kernel", memory.kernel), ("kernelTCP", memory.kernel_tcp)] {
            if value.is_some_and(|value| value != -1) {
                let property = format!("linux.resources.memory.{name}");
                planner.plan.warnings.push(Error::in_config(property, "obsolete, ignored"));
            }
        }
    }
    for name in resources.unified.iter().flatten().map(|(name, _)| name) {
        if name.starts_with("cgroup.") && !name.starts_with("cgroup.max.") {
            // cgroup.procs takes any process of the host's in, and what ends the container would end that.
            let planned = Err(planner
                .error(format!("unified: {name:?} is no limit"))
                .because("but for cgroup.max.*, the files that begin with cgroup. say what is in a cgroup and what becomes of it, which is rootlet's business")
                .remedy("take it out; `rootlet pause` freezes a container, `rootlet kill` ends it"));
            planner.note(planned)?;
        } else if name.contains('/') || !name.contains('.') {
            let planned = Err(planner
                .error(format!("unified: {name:?} is not a file of a cgroup"))
                .remedy("write a name such as \"memory.high\""));
            planner.note(planned)?;
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
