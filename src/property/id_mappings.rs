//! `linux.uidMappings` and `linux.gidMappings`: who is who in the container's user namespace.

use super::{Planner, Property, Scope};
use crate::capability::{CAP_SETGID, CAP_SETUID};
use crate::error::{Error, Result};
use crate::plan::Phase;
use crate::plan::step::{NamespaceStep, PrivilegeStep};
use crate::spec::IdMapping;
use std::path::Path;

pub const PROPERTY: Property =
    Property { paths: &["linux.uidMappings", "linux.gidMappings"], phase: Phase::Inside, scope: Scope::Both, plan };

/// A process that may be traced can be looked into by all of its user namespace, and by all of its user.
pub const TRACING: Property =
    Property { paths: &["linux.uidMappings"], phase: Phase::Inside, scope: Scope::Create, plan: plan_tracing };

/// user_namespaces(7): lines of a map, since Linux 4.15.
const MOST_RANGES: usize = 340;

fn plan(planner: &mut Planner) -> Result<()> {
    let linux = planner.spec.linux();
    if !planner.has_new_user_namespace() {
        if planner.spec.namespace("user").is_none() && !(linux.uid_mappings.is_empty() && linux.gid_mappings.is_empty())
        {
            return Err(planner
                .error("given without a user namespace")
                .remedy("add {\"type\": \"user\"} to linux.namespaces, or take the mappings out"));
        }
        if let Some(path) = planner.spec.namespace("user").and_then(|namespace| namespace.path.clone()) {
            if planner.entered.is_none() {
                compare(planner, Path::new(&path))?;
            }
            planner.step(PrivilegeStep::BecomeId { uid: 0, gid: 0, may_set_groups: false });
        }
        return Ok(());
    }
    let (uid, gid) = (planner.host.uid, planner.host.gid);
    if linux.uid_mappings.is_empty() || linux.gid_mappings.is_empty() {
        let which = if linux.uid_mappings.is_empty() { "uid" } else { "gid" };
        planner.decide(format!("{which} 0 in the container is you"), format!("linux.{which}Mappings is missing"))?;
    }
    let own = |id| [IdMapping { container_id: 0, host_id: id, size: 1 }];
    let (own_uid, own_gid) = (own(uid), own(gid));
    let uids = if linux.uid_mappings.is_empty() { &own_uid[..] } else { &linux.uid_mappings[..] };
    let gids = if linux.gid_mappings.is_empty() { &own_gid[..] } else { &linux.gid_mappings[..] };
    check("linux.uidMappings", uids)?;
    check("linux.gidMappings", gids)?;

    let single = is_own(uids, uid) && is_own(gids, gid);
    let privileged = planner.host.may(CAP_SETUID) && planner.host.may(CAP_SETGID);
    if !single && !privileged {
        let own_map = |id| format!("[{{\"containerID\": 0, \"hostID\": {id}, \"size\": 1}}]");
        let property = if is_own(uids, uid) { "linux.gidMappings" } else { "linux.uidMappings" };
        let id = if is_own(uids, uid) { gid } else { uid };
        return Err(Error::in_config(property, "you may map one id, your own")
            .because("only root may map others; rootlet uses no setuid program such as newuidmap")
            .remedy(format!(
                "write {}; or, if you have subordinate ids, run rootlet in `unshare --map-auto --map-root-user --setuid 0 --setgid 0`",
                own_map(id)
            )));
    }
    if planner.entered.is_some() {
        let (uid, gid) = sets_up_as(planner);
        planner.step(PrivilegeStep::BecomeId { uid, gid, may_set_groups: !single });
        return Ok(());
    }
    let maps = NamespaceStep::MapIds { uid_map: text(uids), gid_map: text(gids), deny_setgroups: single };
    // The kernel lets a process map its own id itself; other maps are written by the privileged parent.
    if single {
        planner.step(maps);
    } else {
        planner.step_in(Phase::Born, maps);
    }
    let (uid, gid) = sets_up_as(planner);
    planner.step(PrivilegeStep::BecomeId { uid, gid, may_set_groups: !single });
    Ok(())
}

/// The maps of a namespace that is joined are its own. What the config says of them besides is compared.
fn compare(planner: &mut Planner, path: &Path) -> Result<()> {
    let linux = planner.spec.linux();
    if linux.uid_mappings.is_empty() && linux.gid_mappings.is_empty() {
        return Ok(());
    }
    check("linux.uidMappings", &linux.uid_mappings)?;
    check("linux.gidMappings", &linux.gid_mappings)?;
    let [uids, gids] = planner.host.id_maps(path)?;
    for (property, given, own) in
        [("linux.uidMappings", &linux.uid_mappings, uids), ("linux.gidMappings", &linux.gid_mappings, gids)]
    {
        let given = String::from_utf8_lossy(&text(given)).into_owned();
        let (given, own) = (ranges(&given), ranges(&own));
        if given != own {
            let show = |ranges: &[Vec<&str>]| ranges.iter().map(|range| range.join(" ")).collect::<Vec<_>>().join(", ");
            let warning = Error::in_config(property, format!("the namespace that is joined maps {}", show(&own)))
                .because(format!(
                    "{} was asked for, and the maps of an existing user namespace cannot be changed",
                    show(&given)
                ))
                .remedy("correct the mappings, or the path of the user namespace");
            planner.plan.warnings.push(warning);
        }
    }
    Ok(())
}

/// Lines of a map, in the order of the container's ids.
fn ranges(map: &str) -> Vec<Vec<&str>> {
    let mut ranges: Vec<Vec<&str>> = map.lines().map(|line| line.split_whitespace().collect()).collect();
    ranges.sort();
    ranges
}

fn plan_tracing(planner: &mut Planner) -> Result<()> {
    if planner.has_new_user_namespace() {
        planner.step(PrivilegeStep::ForbidTracing);
    }
    Ok(())
}

/// True if the container's root may set supplementary groups: not in a user namespace of one's own id alone.
pub fn may_set_groups(planner: &Planner) -> bool {
    let linux = planner.spec.linux();
    let is_single = |mappings: &[IdMapping], own| mappings.is_empty() || is_own(mappings, own);
    let (uid, gid) = (planner.host.uid, planner.host.gid);
    planner.has_new_user_namespace() && !(is_single(&linux.uid_mappings, uid) && is_single(&linux.gid_mappings, gid))
}

/// The ids that set the container up: its root, or the program's user where root is not mapped.
pub fn sets_up_as(planner: &Planner) -> (u32, u32) {
    let (linux, user) = (planner.spec.linux(), &planner.spec.process().user);
    // Without mappings, root is the caller.
    let choose =
        |mappings: &[IdMapping], program| if mappings.is_empty() || is_mapped(mappings, 0) { 0 } else { program };
    (choose(&linux.uid_mappings, user.uid), choose(&linux.gid_mappings, user.gid))
}

/// The caller's ids that are these in the container, if there are any.
pub fn find_callers(planner: &Planner, uid: u32, gid: u32) -> Result<Option<(u32, u32)>> {
    let linux = planner.spec.linux();
    if !planner.has_new_user_namespace() {
        let Some(path) = planner.spec.namespace("user").and_then(|namespace| namespace.path.as_ref()) else {
            return Ok(Some((uid, gid)));
        };
        let [uids, gids] = planner.host.id_maps(Path::new(path))?;
        return Ok(find_mapped(&parse(&uids), uid).zip(find_mapped(&parse(&gids), gid)));
    }
    let find = |mappings: &[IdMapping], id: u32, own| match mappings.is_empty() {
        true => (id == 0).then_some(own),
        false => find_mapped(mappings, id),
    };
    Ok(find(&linux.uid_mappings, uid, planner.host.uid).zip(find(&linux.gid_mappings, gid, planner.host.gid)))
}

/// The id outside that is this one of the container.
pub fn find_mapped(mappings: &[IdMapping], id: u32) -> Option<u32> {
    let mapping = mappings.iter().find(|mapping| is_mapped(std::slice::from_ref(mapping), id))?;
    mapping.host_id.checked_add(id - mapping.container_id)
}

/// What [`text`] writes; a line that is otherwise is left out.
fn parse(map: &str) -> Vec<IdMapping> {
    let line = |line: &str| {
        let mut numbers = line.split_whitespace().map(|number| number.parse().ok());
        let mut next = || numbers.next().flatten();
        Some(IdMapping { container_id: next()?, host_id: next()?, size: next()? })
    };
    map.lines().filter_map(line).collect()
}

/// True if an id of the container is mapped.
pub fn is_mapped(mappings: &[IdMapping], id: u32) -> bool {
    mappings.iter().any(|mapping| id >= mapping.container_id && id - mapping.container_id < mapping.size)
}

/// True if an id outside is one of the container.
pub fn is_mapped_to(mappings: &[IdMapping], id: u32) -> bool {
    mappings.iter().any(|mapping| id >= mapping.host_id && id - mapping.host_id < mapping.size)
}

/// Whether the host's root is somebody in the container's user namespace. Of one whose maps cannot be read, that is assumed.
pub fn maps_the_hosts_root(planner: &Planner) -> bool {
    match planner.spec.namespace("user").and_then(|namespace| namespace.path.as_ref()) {
        Some(path) => planner.host.id_maps(Path::new(path)).map_or(true, |[uids, _]| is_mapped_to(&parse(&uids), 0)),
        None => is_mapped_to(&planner.spec.linux().uid_mappings, 0),
    }
}

fn is_own(mappings: &[IdMapping], id: u32) -> bool {
    matches!(mappings, [mapping] if mapping.size == 1 && mapping.host_id == id)
}

/// Lines as user_namespaces(7) has them.
pub fn text(mappings: &[IdMapping]) -> Box<[u8]> {
    let lines: String = mappings
        .iter()
        .map(|mapping| format!("{} {} {}\n", mapping.container_id, mapping.host_id, mapping.size))
        .collect();
    lines.into_bytes().into_boxed_slice()
}

/// Refuses what the kernel would refuse.
pub fn check(property: &str, mappings: &[IdMapping]) -> Result<()> {
    if mappings.len() > MOST_RANGES {
        return Err(Error::in_config(property, format!("{} ranges", mappings.len()))
            .because(format!("the kernel takes at most {MOST_RANGES}")));
    }
    for (index, mapping) in mappings.iter().enumerate() {
        let at = |message: &str| Error::in_config(format!("{property}[{index}]"), message);
        if mapping.size == 0 {
            return Err(at("size is 0 or missing").remedy("write how many ids are mapped, at least 1"));
        }
        let ends = [mapping.container_id, mapping.host_id].map(|start| start.checked_add(mapping.size - 1));
        if ends.iter().any(|end| end.is_none_or(|end| end == u32::MAX)) {
            return Err(at("the range goes beyond the largest id, 4294967294"));
        }
    }
    let sides: [fn(&IdMapping) -> u32; 2] = [|mapping| mapping.container_id, |mapping| mapping.host_id];
    for side in sides {
        let mut sorted: Vec<_> = mappings.iter().enumerate().collect();
        sorted.sort_by_key(|(_, mapping)| side(mapping));
        let overlaps =
            |pair: &&[(usize, &IdMapping)]| matches!(pair, [(_, one), (_, next)] if side(next) - side(one) < one.size);
        if let Some([(one, _), (next, _)]) = sorted.windows(2).find(overlaps) {
            return Err(Error::in_config(
                format!("{property}[{}]", one.max(next)),
                format!("an id of it is in {property}[{}], too", one.min(next)),
            )
            .because("the kernel maps an id once, in both directions"));
        }
    }
    Ok(())
}
