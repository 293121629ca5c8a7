//! `linux.sysctl`: only what belongs to a namespace of the container's own.

use super::{Planner, Property, Scope};
use crate::error::Result;
use crate::plan::Phase;
use crate::plan::step::NamespaceStep;
use std::path::Path;

pub const PROPERTY: Property = Property { paths: &["linux.sysctl"], phase: Phase::Jailed, scope: Scope::Create, plan };

fn plan(planner: &mut Planner) -> Result<()> {
    let Some(sysctl) = &planner.spec.linux().sysctl else { return Ok(()) };
    for (key, value) in sysctl {
        let planned = plan_parameter(planner, key, value);
        planner.note(planned)?;
    }
    Ok(())
}

fn plan_parameter(planner: &mut Planner, key: &str, value: &str) -> Result<()> {
    let key = path_of(key);
    if key == "kernel/hostname" {
        return Err(planner
            .error("kernel.hostname is what \"hostname\" is for")
            .remedy("write the name there, and leave it out here"));
    }
    let namespace = namespace_of(&key).ok_or_else(|| {
        planner
            .error(format!("{key} is not a parameter of a namespace"))
            .because("it would change the host")
            .remedy("leave it out, or set it on the host")
    })?;
    let has_own = match (planner.spec.namespace(namespace), namespace) {
        (None, "user") => planner.has_new_user_namespace(),
        (None, _) => false,
        (Some(namespace), _) if namespace.is_new() => true,
        (Some(namespace), _) => {
            !planner.host.is_in_namespace(Path::new(namespace.path.as_deref().unwrap_or_default()))?
        }
    };
    if !has_own {
        return Err(planner
            .error(format!("{key} needs a {namespace} namespace of the container's own"))
            .remedy(format!("add {{\"type\": \"{namespace}\"}} to linux.namespaces")));
    }
    let path = planner.c_string(format!("../../sys/{key}"))?;
    let value = planner.c_string(value)?;
    planner.step(NamespaceStep::SetSysctl { path, value });
    Ok(())
}

/// The path below /proc/sys. In sysctl.d(5)'s spelling, the first separator says which one separates; the other one is then a
/// dot in a name (`net.ipv4.conf.eth0/1.rp_filter`).
fn path_of(key: &str) -> String {
    match key.find(['.', '/']).and_then(|first| key.as_bytes().get(first)) {
        Some(b'.') => key.chars().map(swapped).collect(),
        _ => key.to_owned(),
    }
}

fn swapped(separator: char) -> char {
    match separator {
        '.' => '/',
        '/' => '.',
        other => other,
    }
}

/// The namespace that a parameter belongs to, as in runc.
fn namespace_of(key: &str) -> Option<&'static str> {
    if key.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return None;
    }
    match key {
        "kernel/msgmax"
        | "kernel/msgmnb"
        | "kernel/msgmni"
        | "kernel/sem"
        | "kernel/shmall"
        | "kernel/shmmax"
        | "kernel/shmmni"
        | "kernel/shm_rmid_forced" => Some("ipc"),
        "kernel/domainname" => Some("uts"),
        key if key.starts_with("fs/mqueue/") => Some("ipc"),
        key if key.starts_with("net/") => Some("network"),
        key if key.starts_with("user/") => Some("user"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn only_parameters_of_namespaces_pass() {
        for (key, namespace) in
            [("net/ipv4/ip_forward", Some("network")), ("kernel/hostname", None), ("net/../kernel/core_pattern", None)]
        {
            assert_eq!(super::namespace_of(key), namespace, "{key}");
        }
    }

    #[test]
    fn the_first_separator_separates() {
        for (key, path) in [
            ("net.ipv4.conf.eth0/1.rp_filter", "net/ipv4/conf/eth0.1/rp_filter"),
            ("net/ipv4/conf/eth0.1/rp_filter", "net/ipv4/conf/eth0.1/rp_filter"),
            ("plain", "plain"),
        ] {
            assert_eq!(super::path_of(key), path);
        }
    }
}
