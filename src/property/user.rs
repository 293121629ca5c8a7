//! `process.user`.

use super::{Planner, Property, Scope, annotations, fake_root, id_mappings};
use crate::capability::CAP_SETGID;
use crate::error::{Error, Result};
use crate::plan::step::PrivilegeStep;
use crate::plan::{Phase, Told};
use crate::spec::IdMapping;

pub const PROPERTY: Property = Property { paths: &["process.user"], phase: Phase::Bare, scope: Scope::Both, plan };

fn plan(planner: &mut Planner) -> Result<()> {
    let user = &planner.spec.process().user;
    let linux = planner.spec.linux();
    planner.check_id("uid", user.uid)?;
    planner.check_id("gid", user.gid)?;
    for gid in &user.additional_gids.0 {
        planner.check_id("additional gid", *gid)?;
    }
    if planner.has_new_user_namespace() {
        let checked = check_mapped(planner, "uid", user.uid, &linux.uid_mappings)
            .and_then(|()| check_mapped(planner, "gid", user.gid, &linux.gid_mappings));
        match checked {
            // Without no_new_privs, the filter comes before the user.
            Err(_) if fake_root::is_asked(planner) && planner.spec.process().no_new_privileges => {
                return plan_told(planner);
            }
            checked => checked?,
        }
    }
    if user.umask.is_some_and(|umask| umask > 0o777) {
        return Err(planner.error(format!("umask {} is above 511 (0777)", user.umask.unwrap_or(0))));
    }
    if user.username.as_ref().is_some_and(|name| !name.is_empty()) {
        planner.plan.warnings.push(Error::in_config("process.user.username", "for Windows, ignored"));
    }
    // setgroups(2) is denied for good where one gid is mapped by an ordinary user.
    let maps_one_gid = linux.gid_mappings.iter().map(|mapping| u64::from(mapping.size)).sum::<u64>() <= 1;
    let may_set_groups = planner.host.may(CAP_SETGID) && !(planner.has_new_user_namespace() && maps_one_gid);
    if !may_set_groups && !user.additional_gids.is_empty() {
        planner.current.property = "process.user.additionalGids";
        planner.decide(
            "the groups are not set",
            "an ordinary user's single mapped gid cannot have supplementary groups",
        )?;
        planner.current.property = PROPERTY.path();
    }
    let keeps = annotations::find(planner.spec, annotations::KEEP_GROUPS) == Some("1");
    let groups = (may_set_groups && !keeps).then(|| user.additional_gids.0.clone().into_boxed_slice());
    // Nobody has become it yet where `exec` enters.
    let is_that_user = planner.entered.is_none()
        && planner.has_new_user_namespace()
        && id_mappings::sets_up_as(planner) == (user.uid, user.gid);
    if is_that_user && groups.is_none() && user.umask.is_none() {
        return Ok(());
    }
    planner.step(PrivilegeStep::BecomeUser { uid: user.uid, gid: user.gid, groups, umask: user.umask });
    Ok(())
}

/// Whom files of the container's are given to that are the program's: where its user is nobody who is mapped, root.
pub fn owner(planner: &Planner) -> u32 {
    let (user, linux) = (&planner.spec.process().user, planner.spec.linux());
    let is_told = fake_root::is_asked(planner)
        && planner.has_new_user_namespace()
        && check_mapped(planner, "uid", user.uid, &linux.uid_mappings).is_err();
    if is_told { id_mappings::sets_up_as(planner).0 } else { user.uid }
}

/// Where root is faked, whoever is not mapped is root, and takes himself for who he is to be.
fn plan_told(planner: &mut Planner) -> Result<()> {
    let user = &planner.spec.process().user;
    let groups = user.additional_gids.0.clone();
    planner.plan.told = Some(Told { uid: user.uid, gid: user.gid, groups });
    if planner.entered.is_some() || user.umask.is_some() {
        let (uid, gid) = id_mappings::sets_up_as(planner);
        planner.step(PrivilegeStep::BecomeUser { uid, gid, groups: None, umask: user.umask });
    }
    Ok(())
}

fn check_mapped(planner: &Planner, which: &str, id: u32, mappings: &[IdMapping]) -> Result<()> {
    let mapped = if mappings.is_empty() { id == 0 } else { id_mappings::is_mapped(mappings, id) };
    match mapped {
        true => Ok(()),
        false => {
            let first = mappings.first().map_or(0, |mapping| mapping.container_id);
            let remedy = match planner.entered {
                Some(_) => format!("choose an id that the container was created with, such as {first}"),
                None => format!("choose an id of linux.{which}Mappings, such as {first}"),
            };
            Err(planner.error(format!("{which} {id} is not mapped in the container's user namespace")).remedy(remedy))
        }
    }
}
