//! What this binary supports (runtime-spec, features.md), from the tables that the properties themselves use.

use super::mounts::options;
use super::{REFUSED, annotations, memory_policy, seccomp};
use crate::capability;
use crate::plan::print::NAMESPACES;
use crate::seccomp::ARCHITECTURES;
use crate::spec::Hooks;
use serde_json::{Value, json};

/// The features document, with runc's keys in runc's order.
pub fn document() -> Value {
    let names = |list: &'static [(&'static str, u64)]| list.iter().map(|(name, _)| *name).collect::<Vec<_>>();
    let mut actions: Vec<_> = seccomp::ACTIONS.iter().map(|(name, _)| *name).collect();
    actions.sort_unstable();
    let mut architectures: Vec<_> = ARCHITECTURES
        .iter()
        .filter(|(_, architecture)| architecture.is_some_and(|architecture| architecture.runs_here()))
        .map(|(name, _)| *name)
        .collect();
    architectures.sort_unstable();
    let mut namespaces: Vec<_> = NAMESPACES.iter().map(|(name, _)| *name).collect();
    namespaces.sort_unstable();
    json!({
        "ociVersionMin": "1.0.0",
        "ociVersionMax": "1.3.0",
        "hooks": Hooks::default().lists().map(|(name, _)| name),
        "mountOptions": options::names(),
        "linux": {
            "namespaces": namespaces,
            "capabilities": capability::NAMES.iter().map(|name| format!("CAP_{name}")).collect::<Vec<_>>(),
            "cgroup": {
                "v1": false,
                "v2": is_done("linux.resources"),
                "systemd": is_done("linux.cgroupsPath"),
                "systemdUser": is_done("linux.cgroupsPath"),
                "rdma": is_done("linux.resources"),
            },
            "seccomp": {
                "enabled": is_done("linux.seccomp"),
                "actions": actions,
                "operators": seccomp::OPERATORS,
                "archs": architectures,
                "knownFlags": names(&seccomp::FLAGS),
                "supportedFlags": names(&seccomp::FLAGS),
            },
            "apparmor": { "enabled": is_done("process.apparmorProfile") },
            "selinux": { "enabled": is_done("process.selinuxLabel") },
            "intelRdt": { "enabled": is_done("linux.intelRdt") },
            "memoryPolicy": {
                "modes": memory_policy::MODES.iter().map(|(name, _)| *name).collect::<Vec<_>>(),
                "flags": memory_policy::FLAGS.iter().map(|(name, _)| *name).collect::<Vec<_>>(),
            },
            "mountExtensions": { "idmap": { "enabled": is_done("mounts") } },
            "netDevices": { "enabled": is_done("linux.netDevices") },
        },
        "annotations": { "rootlet.version": env!("CARGO_PKG_VERSION") },
        "potentiallyUnsafeConfigAnnotations": annotations::KNOWN.map(|(name, _)| name),
    })
}

/// True for a property that a row of ORDER claims and that is not refused.
pub fn is_done(path: &str) -> bool {
    super::claim(path).is_some() && !REFUSED.iter().any(|(refused, _)| *refused == path)
}
