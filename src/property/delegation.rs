//! Who divides the container's cgroup besides rootlet: its own user, as config-linux.md (Cgroup ownership) has it, and crun's
//! annotations for what lies below it.

use super::annotations::{DELEGATED, SUBGROUP};
use super::{Planner, Property, Scope, id_mappings};
use crate::error::{Error, Result};
use crate::plan::{Phase, Place};

pub const PROPERTY: Property =
    Property { paths: &["linux.cgroupsPath"], phase: Phase::Host, scope: Scope::Create, plan };

/// Whether the container's programs may write to their cgroup.
pub fn is_wanted(planner: &Planner) -> bool {
    planner.spec.has_new_namespace("cgroup") && has_writable_mount(planner)
}

fn has_namespace(planner: &Planner) -> bool {
    planner.spec.namespace("cgroup").is_some()
}

fn has_writable_mount(planner: &Planner) -> bool {
    let is_writable = |options: &[String]| options.iter().all(|option| !matches!(option.as_str(), "ro" | "rro"));
    let mut mounts = planner.spec.mounts.iter();
    mounts.any(|mount| matches!(mount.kind.as_deref(), Some("cgroup" | "cgroup2")) && is_writable(&mount.options))
}

fn plan(planner: &mut Planner) -> Result<()> {
    let user = &planner.spec.process().user;
    let owner = match is_wanted(planner) {
        true => id_mappings::find_callers(planner, user.uid, user.gid)?,
        false => None,
    };
    let (leaf, subgroup) = (find_name(planner, DELEGATED)?, find_name(planner, SUBGROUP)?);
    let Some(cgroup) = &mut planner.plan.cgroup else { return Ok(()) };
    cgroup.owner = owner.filter(|(uid, _)| *uid != planner.host.uid);
    let is_somewhere = cgroup.place != Place::None;
    let lifts_limits =
        is_somewhere && !cgroup.settings.is_empty() && owner == Some((planner.host.uid, planner.host.gid));
    cgroup.leaf = leaf.clone().filter(|_| is_somewhere);
    if leaf.is_some() && !is_somewhere {
        planner.decide(format!("annotation {DELEGATED}: not followed"), "the container has no cgroup of its own")?;
    }
    if lifts_limits && planner.host.hierarchy_options(&["nsdelegate"])?.is_empty() {
        let warning = Error::in_config("linux.resources", "the container's root can lift these limits")
            .because(
                "its cgroup is yours, it is mounted writable, and this host's cgroup2 is mounted without nsdelegate",
            )
            .remedy(
                "as root: mount -o remount,nsdelegate /sys/fs/cgroup; or add \"ro\" to the options of the cgroup mount",
            );
        planner.plan.warnings.push(warning);
    }
    // Without a cgroup namespace, it sees all of the host's.
    let is_limited =
        planner.plan.cgroup.as_ref().is_some_and(|cgroup| !cgroup.settings.is_empty() || cgroup.devices.is_some());
    if is_somewhere && is_limited && user.uid == 0 && has_writable_mount(planner) && !has_namespace(planner) {
        let warning = Error::in_config(
            "linux.resources",
            "the container's root can leave its cgroup, and with it these limits and device rules",
        )
        .because("the whole hierarchy of the host's is mounted writable, and the container has no cgroup namespace")
        .remedy("add {\"type\": \"cgroup\"} to linux.namespaces, or \"ro\" to the options of the cgroup mount");
        planner.plan.warnings.push(warning);
    }
    let Some(name) = subgroup else { return Ok(()) };
    match planner.plan.cgroup.as_mut().map(|cgroup| &mut cgroup.place) {
        Some(Place::Scope { subgroup, .. }) => *subgroup = name,
        _ => planner.decide(
            format!("annotation {SUBGROUP}: not followed"),
            "no unit of systemd's is made for this container",
        )?,
    }
    Ok(())
}

/// The name of a cgroup, from an annotation.
fn find_name(planner: &mut Planner, annotation: &'static str) -> Result<Option<String>> {
    let Some(name) = planner.spec.annotations.as_ref().and_then(|all| all.get(annotation)) else { return Ok(None) };
    let wrong = |because: &str| {
        Err(Error::in_config("annotations", format!("{annotation}: {name:?} is not the name of a cgroup"))
            .because(because)
            .remedy("write one name, such as \"container\", or take it out"))
    };
    let checked = match name.as_str() {
        // To crun, none is to be made. But what is set on a scope itself is systemd's, and so rootlet's is always below.
        "" => return Ok(None),
        "." | ".." => wrong("it leads elsewhere"),
        _ if name.contains('/') || name.contains('\n') => wrong("it is more than one name"),
        _ if name.starts_with("cgroup.") || name == "keeper" => wrong("that name is taken"),
        _ => return Ok(Some(name.clone())),
    };
    planner.note(checked).map(|()| None)
}
