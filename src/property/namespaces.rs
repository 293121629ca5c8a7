//! `linux.namespaces`: which are made with the clone, which are joined before it.

use super::{Planner, Property, Scope};
use crate::error::Result;
use crate::plan::print::NAMESPACES;
use crate::plan::step::NamespaceStep;
use crate::plan::{Join, Phase, Place};
use crate::sys::namespace as ns;

pub const PROPERTY: Property =
    Property { paths: &["linux.namespaces"], phase: Phase::Inside, scope: Scope::Both, plan };
pub const LOOPBACK: Property =
    Property { paths: &["linux.namespaces"], phase: Phase::Inside, scope: Scope::Create, plan: plan_loopback };

fn plan(planner: &mut Planner) -> Result<()> {
    if let Some(kinds) = planner.entered {
        planner.plan.joins.push(Join::Container { kinds });
        return Ok(());
    }
    let namespaces = &planner.spec.linux().namespaces;
    let has_cgroup = planner.plan.cgroup.as_ref().is_some_and(|cgroup| cgroup.place != Place::None);
    planner.each(namespaces, |planner, namespace| {
        let index = planner.current.index.unwrap_or(0);
        let Some((_, kind)) = NAMESPACES.iter().find(|(name, _)| *name == namespace.kind) else {
            let names: Vec<_> = NAMESPACES.iter().map(|(name, _)| *name).collect();
            return Err(planner
                .error(format!("{:?} is not a type of namespace", namespace.kind))
                .remedy(format!("write one of {}", names.join(", "))));
        };
        if namespaces.iter().take(index).any(|other| other.kind == namespace.kind) {
            return Err(planner.error(format!("{} is there twice", namespace.kind)).remedy("keep one of them"));
        }
        match namespace.path.as_deref().filter(|path| !path.is_empty()) {
            // The time namespace is made when its offsets are set.
            None if *kind == ns::CLONE_NEWTIME => {}
            // A new cgroup namespace begins at the maker's cgroup, until the process is in its own (cgroup_namespaces(7)).
            None if *kind == ns::CLONE_NEWCGROUP && has_cgroup => planner.step(NamespaceStep::Unshare { kinds: *kind }),
            None => planner.plan.namespaces |= kind,
            Some(path) if !path.starts_with('/') => {
                return Err(planner
                    .error(format!("path {path:?} is not absolute"))
                    .remedy("write a path such as /proc/1234/ns/net"));
            }
            Some(path) => {
                let path = planner.c_string(path)?;
                planner.plan.joins.push(Join::File { kind: *kind, path, index });
            }
        }
        Ok(())
    })?;
    // setns(2): the user namespace first, for the capabilities that the others need; and paths are the caller's until the end.
    planner.plan.joins.sort_by_key(|join| match join.kinds() {
        ns::CLONE_NEWUSER => 0,
        ns::CLONE_NEWNS => 2,
        _ => 1,
    });
    if planner.spec.namespace("mount").is_none() {
        return Err(planner
            .error("a mount namespace is missing")
            .because("without one, the container's mounts would be the host's")
            .remedy("add {\"type\": \"mount\"}"));
    }
    if planner.spec.namespace("user").is_none() && planner.host.is_ordinary_user() {
        planner
            .decide("a user namespace is added", "an ordinary user can make the other namespaces only inside one")?;
        planner.plan.namespaces |= ns::CLONE_NEWUSER;
    }
    Ok(())
}

fn plan_loopback(planner: &mut Planner) -> Result<()> {
    if planner.spec.has_new_namespace("network") {
        planner.step(NamespaceStep::LoopbackUp);
    }
    Ok(())
}
