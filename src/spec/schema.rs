//! The names of all properties of runtime-spec 1.3, as data: what may stand in config.json.
//!
//! `[]` is each element of a list, `*` each key of a map. Two tests lean on it: every name is known to the types here, and
//! claimed by a row of [`crate::property::ORDER`]. An unknown key gets the nearest of its neighbours as advice.

/// Paths of properties.
pub const KEYS: &[&str] = &[
    "ociVersion",
    "hostname",
    "domainname",
    "annotations.*",
    "root.path",
    "root.readonly",
    "mounts[].destination",
    "mounts[].type",
    "mounts[].source",
    "mounts[].options[]",
    "mounts[].uidMappings[].containerID",
    "mounts[].uidMappings[].hostID",
    "mounts[].uidMappings[].size",
    "mounts[].gidMappings[].containerID",
    "mounts[].gidMappings[].hostID",
    "mounts[].gidMappings[].size",
    "process.terminal",
    "process.consoleSize.height",
    "process.consoleSize.width",
    "process.cwd",
    "process.env[]",
    "process.args[]",
    "process.commandLine",
    "process.user.uid",
    "process.user.gid",
    "process.user.umask",
    "process.user.additionalGids[]",
    "process.user.username",
    "process.rlimits[].type",
    "process.rlimits[].soft",
    "process.rlimits[].hard",
    "process.apparmorProfile",
    "process.capabilities.bounding[]",
    "process.capabilities.effective[]",
    "process.capabilities.inheritable[]",
    "process.capabilities.permitted[]",
    "process.capabilities.ambient[]",
    "process.noNewPrivileges",
    "process.oomScoreAdj",
    "process.scheduler.policy",
    "process.scheduler.nice",
    "process.scheduler.priority",
    "process.scheduler.flags[]",
    "process.scheduler.runtime",
    "process.scheduler.deadline",
    "process.scheduler.period",
    "process.selinuxLabel",
    "process.ioPriority.class",
    "process.ioPriority.priority",
    "process.execCPUAffinity.initial",
    "process.execCPUAffinity.final",
    "hooks.prestart[].path",
    "hooks.prestart[].args[]",
    "hooks.prestart[].env[]",
    "hooks.prestart[].timeout",
    "hooks.createRuntime[].path",
    "hooks.createRuntime[].args[]",
    "hooks.createRuntime[].env[]",
    "hooks.createRuntime[].timeout",
    "hooks.createContainer[].path",
    "hooks.createContainer[].args[]",
    "hooks.createContainer[].env[]",
    "hooks.createContainer[].timeout",
    "hooks.startContainer[].path",
    "hooks.startContainer[].args[]",
    "hooks.startContainer[].env[]",
    "hooks.startContainer[].timeout",
    "hooks.poststart[].path",
    "hooks.poststart[].args[]",
    "hooks.poststart[].env[]",
    "hooks.poststart[].timeout",
    "hooks.poststop[].path",
    "hooks.poststop[].args[]",
    "hooks.poststop[].env[]",
    "hooks.poststop[].timeout",
    "linux.namespaces[].type",
    "linux.namespaces[].path",
    "linux.uidMappings[].containerID",
    "linux.uidMappings[].hostID",
    "linux.uidMappings[].size",
    "linux.gidMappings[].containerID",
    "linux.gidMappings[].hostID",
    "linux.gidMappings[].size",
    "linux.timeOffsets.*.secs",
    "linux.timeOffsets.*.nanosecs",
    "linux.devices[].type",
    "linux.devices[].path",
    "linux.devices[].major",
    "linux.devices[].minor",
    "linux.devices[].fileMode",
    "linux.devices[].uid",
    "linux.devices[].gid",
    "linux.netDevices.*.name",
    "linux.cgroupsPath",
    "linux.resources.devices[].allow",
    "linux.resources.devices[].type",
    "linux.resources.devices[].major",
    "linux.resources.devices[].minor",
    "linux.resources.devices[].access",
    "linux.resources.memory.limit",
    "linux.resources.memory.reservation",
    "linux.resources.memory.swap",
    "linux.resources.memory.kernel",
    "linux.resources.memory.kernelTCP",
    "linux.resources.memory.swappiness",
    "linux.resources.memory.disableOOMKiller",
    "linux.resources.memory.useHierarchy",
    "linux.resources.memory.checkBeforeUpdate",
    "linux.resources.cpu.shares",
    "linux.resources.cpu.quota",
    "linux.resources.cpu.burst",
    "linux.resources.cpu.period",
    "linux.resources.cpu.realtimeRuntime",
    "linux.resources.cpu.realtimePeriod",
    "linux.resources.cpu.cpus",
    "linux.resources.cpu.mems",
    "linux.resources.cpu.idle",
    "linux.resources.pids.limit",
    "linux.resources.blockIO.weight",
    "linux.resources.blockIO.leafWeight",
    "linux.resources.blockIO.weightDevice[].major",
    "linux.resources.blockIO.weightDevice[].minor",
    "linux.resources.blockIO.weightDevice[].weight",
    "linux.resources.blockIO.weightDevice[].leafWeight",
    "linux.resources.blockIO.throttleReadBpsDevice[].major",
    "linux.resources.blockIO.throttleReadBpsDevice[].minor",
    "linux.resources.blockIO.throttleReadBpsDevice[].rate",
    "linux.resources.blockIO.throttleWriteBpsDevice[].major",
    "linux.resources.blockIO.throttleWriteBpsDevice[].minor",
    "linux.resources.blockIO.throttleWriteBpsDevice[].rate",
    "linux.resources.blockIO.throttleReadIOPSDevice[].major",
    "linux.resources.blockIO.throttleReadIOPSDevice[].minor",
    "linux.resources.blockIO.throttleReadIOPSDevice[].rate",
    "linux.resources.blockIO.throttleWriteIOPSDevice[].major",
    "linux.resources.blockIO.throttleWriteIOPSDevice[].minor",
    "linux.resources.blockIO.throttleWriteIOPSDevice[].rate",
    "linux.resources.hugepageLimits[].pageSize",
    "linux.resources.hugepageLimits[].limit",
    "linux.resources.network.classID",
    "linux.resources.network.priorities[].name",
    "linux.resources.network.priorities[].priority",
    "linux.resources.rdma.*.hcaHandles",
    "linux.resources.rdma.*.hcaObjects",
    "linux.resources.unified.*",
    "linux.rootfsPropagation",
    "linux.seccomp.defaultAction",
    "linux.seccomp.defaultErrnoRet",
    "linux.seccomp.architectures[]",
    "linux.seccomp.flags[]",
    "linux.seccomp.listenerPath",
    "linux.seccomp.listenerMetadata",
    "linux.seccomp.syscalls[].names[]",
    "linux.seccomp.syscalls[].action",
    "linux.seccomp.syscalls[].errnoRet",
    "linux.seccomp.syscalls[].args[].index",
    "linux.seccomp.syscalls[].args[].value",
    "linux.seccomp.syscalls[].args[].valueTwo",
    "linux.seccomp.syscalls[].args[].op",
    "linux.sysctl.*",
    "linux.maskedPaths[]",
    "linux.readonlyPaths[]",
    "linux.mountLabel",
    "linux.personality.domain",
    "linux.personality.flags[]",
    "linux.intelRdt.closID",
    "linux.intelRdt.schemata[]",
    "linux.intelRdt.l3CacheSchema",
    "linux.intelRdt.memBwSchema",
    "linux.intelRdt.enableMonitoring",
    "linux.memoryPolicy.mode",
    "linux.memoryPolicy.nodes",
    "linux.memoryPolicy.flags[]",
    "windows",
    "solaris",
    "zos",
    "freebsd",
    "vm",
];

/// The property that somebody may have meant by an unknown one: its nearest neighbour, or the same name elsewhere.
pub fn nearest(unknown: &str) -> Option<String> {
    let property = without_indexes(unknown);
    let (parent, name) = property.rsplit_once('.').unwrap_or(("", &property));
    let siblings = KEYS.iter().filter_map(|key| {
        let below = if parent.is_empty() { key } else { key.strip_prefix(parent)?.strip_prefix('.')? };
        below.split(['.', '[']).next()
    });
    let lower = name.to_lowercase();
    let near = siblings.map(|known| (strsim::jaro_winkler(&known.to_lowercase(), &lower), known));
    let neighbour = |known: &str| {
        let start = unknown.rfind('.').map_or("", |dot| unknown.get(..=dot).unwrap_or_default());
        format!("{start}{known}")
    };
    // A slip of the pen, then the right name in the wrong object, then a name from memory.
    let slips = near.clone().filter(|(likeness, _)| *likeness > 0.9).map(|(_, known)| known);
    // Many begin alike (throttleReadBpsDevice, throttleReadIOPSDevice): the one with the least to mend.
    if let Some(known) = slips.min_by_key(|known| strsim::damerau_levenshtein(&known.to_lowercase(), &lower)) {
        return Some(neighbour(known));
    }
    let near = near.max_by(|(one, _), (other, _)| one.total_cmp(other));
    let mut elsewhere = KEYS.iter().filter_map(|key| {
        let ends = |part: &str| part.split('[').next() == Some(name);
        let end = key.split('.').scan(0, |length, part| {
            *length += part.len() + 1;
            Some((*length - 1, part))
        });
        let (end, _) = end.into_iter().find(|(_, part)| ends(part))?;
        key.get(..end).map(|path| path.trim_end_matches("[]"))
    });
    let elsewhere = elsewhere.next().map(str::to_owned);
    let begins_alike = |known: &str| name.len() > 2 && known.get(..3) == name.get(..3);
    let near = near.filter(|(likeness, known)| *likeness > 0.8 || (*likeness > 0.65 && begins_alike(known)));
    elsewhere.or_else(|| near.map(|(_, known)| neighbour(known)))
}

/// `mounts[3].options` as the table has it.
fn without_indexes(path: &str) -> String {
    let mut text = String::new();
    for part in path.split_inclusive('[') {
        text.push_str(part.trim_start_matches(|digit: char| digit.is_ascii_digit()));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::load::parse;
    use serde_json::{Value, json};

    #[test]
    fn every_name_is_known_to_the_types() {
        for key in KEYS {
            // A value that no property has: a known one is of the wrong type, an unknown one is ignored.
            let mut value = json!([[[["?"]]]]);
            let parts: Vec<&str> = key.split('.').collect();
            for part in parts.iter().rev() {
                let (name, depth) = (part.trim_end_matches("[]"), part.matches("[]").count());
                for _ in 0..depth {
                    value = json!([value]);
                }
                value = json!({ if name == "*" { "any" } else { name }: value });
            }
            if value.get("ociVersion").is_none() {
                value["ociVersion"] = Value::from("1.0.0");
            }
            if let Ok(loaded) = parse(&value.to_string()) {
                assert!(loaded.unknown.is_empty(), "{key} is not known: {:?}", loaded.unknown);
            }
        }
    }

    #[test]
    fn a_slip_of_the_pen_is_recognised() {
        for (unknown, known) in [
            ("process.arg", Some("process.args")),
            ("process.arguments", Some("process.args")),
            ("process.capabilites", Some("process.capabilities")),
            ("mounts[3].option", Some("mounts[3].options")),
            ("linux.seccomp.syscalls[0].name", Some("linux.seccomp.syscalls[0].names")),
            ("Hostname", Some("hostname")),
            ("process.hostname", Some("hostname")),
            ("linux.mounts", Some("mounts")),
            ("process.consolesize", Some("process.consoleSize")),
            ("linux.resources.blockIO.throttleReadBPDevice", Some("linux.resources.blockIO.throttleReadBpsDevice")),
            ("linux.resources.blockIO.throttleWriteIopDevice", Some("linux.resources.blockIO.throttleWriteIOPSDevice")),
            ("xyzzy", None),
        ] {
            assert_eq!(nearest(unknown).as_deref(), known, "{unknown}");
        }
    }
}
