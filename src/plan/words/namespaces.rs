//! The words of steps about namespaces.

use super::{Advice, in_one_line};
use crate::plan::print::namespace_names;
use crate::plan::step::NamespaceStep;
use crate::sys::{self, Call, Errno, creds};
use std::borrow::Cow;
use std::fmt;

impl fmt::Display for NamespaceStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NamespaceStep::MapIds { uid_map, gid_map, deny_setgroups } => {
                let groups = if *deny_setgroups { "deny" } else { "allow" };
                write!(f, "map ids: uids {}; gids {}; setgroups {groups}", in_one_line(uid_map), in_one_line(gid_map))
            }
            NamespaceStep::Unshare { kinds } => {
                write!(f, "unshare {}", namespace_names(*kinds).collect::<Vec<_>>().join(" "))
            }
            NamespaceStep::SetTimeOffsets { offsets } => write!(f, "set time offsets {}", in_one_line(offsets)),
            NamespaceStep::Connect(network) => {
                write!(f, "lead a way out of the network namespace by {}", network.program.display())?;
                network.ports.iter().try_for_each(|port| {
                    let protocol = if port.is_udp { "udp" } else { "tcp" };
                    let address = port.address.map_or(String::new(), |address| format!("{address} "));
                    write!(f, ", port {address}{} to {} {protocol}", port.host, port.container)
                })
            }
            NamespaceStep::MoveDevice { name, new_name } => {
                write!(f, "move network device {} as {}", name.to_string_lossy(), new_name.to_string_lossy())
            }
            NamespaceStep::LoopbackUp => f.write_str("bring lo up"),
            NamespaceStep::SetHostname { name } => write!(f, "set hostname {}", name.to_string_lossy()),
            NamespaceStep::SetDomainname { name } => write!(f, "set domainname {}", name.to_string_lossy()),
            NamespaceStep::SetSysctl { path, value } => {
                write!(f, "write {:?} to {}", value, path.to_string_lossy().replace("../../", "/proc/"))
            }
        }
    }
}

impl NamespaceStep {
    pub(super) fn subject(&self) -> Option<Cow<'_, str>> {
        match self {
            NamespaceStep::MoveDevice { name, .. } => Some(name.to_string_lossy()),
            NamespaceStep::SetSysctl { path, .. } => Some(key_of(&path.to_string_lossy()).into()),
            NamespaceStep::MapIds { .. }
            | NamespaceStep::Unshare { .. }
            | NamespaceStep::SetTimeOffsets { .. }
            | NamespaceStep::LoopbackUp
            | NamespaceStep::Connect(_)
            | NamespaceStep::SetHostname { .. }
            | NamespaceStep::SetDomainname { .. } => None,
        }
    }

    pub(super) fn advise(&self, sys::Error { call, errno, .. }: sys::Error) -> Option<Advice> {
        Some(match (self, call, errno) {
            (NamespaceStep::MapIds { .. }, _, Errno::EACCES) if !creds::is_dumpable().unwrap_or(true) => (
                "the kernel lets nobody look into a process whose binary its user may not read, nor that user write its maps",
                "chmod a+r the binary of rootlet",
            ),
            (NamespaceStep::MapIds { .. }, _, Errno::EPERM | Errno::EACCES) => (
                "the kernel lets a user map only ids that it may use; where AppArmor restricts user namespaces, none at all",
                "map one id, your own (`rootlet spec` writes it), and see `sysctl kernel.apparmor_restrict_unprivileged_userns`",
            ),
            (NamespaceStep::MapIds { .. }, _, Errno::EINVAL) => (
                "ranges overlap, are empty, or are more than the 340 that the kernel takes",
                "correct linux.uidMappings and linux.gidMappings",
            ),
            (NamespaceStep::SetTimeOffsets { .. }, _, Errno::EINVAL) => {
                ("this kernel has no time namespaces", "leave linux.timeOffsets and the time namespace out")
            }
            (NamespaceStep::SetTimeOffsets { .. }, _, Errno::ERANGE) => {
                ("the clock would be before 0 or too far ahead", "choose smaller offsets")
            }
            (NamespaceStep::MoveDevice { .. }, _, Errno::ENODEV) => {
                ("the caller has no network device of that name", "see `ip link`; correct linux.netDevices")
            }
            (NamespaceStep::MoveDevice { .. }, _, Errno::EEXIST) => (
                "the container has a network device of that name already",
                "choose another \"name\" in linux.netDevices",
            ),
            (NamespaceStep::MoveDevice { .. }, _, Errno::EINVAL | Errno::EPERM | Errno::EOPNOTSUPP) => {
                ("the device cannot leave its network namespace, as `lo` and bridges cannot", "move another device")
            }
            (NamespaceStep::LoopbackUp, _, Errno::EPERM) => (
                "the network namespace does not belong to the container's user namespace",
                "leave the network namespace out",
            ),
            (NamespaceStep::SetSysctl { .. }, Call::Open, Errno::ENOENT) => {
                ("this kernel has no such parameter", "correct the key in linux.sysctl")
            }
            (NamespaceStep::SetSysctl { .. }, _, Errno::EROFS | Errno::EACCES | Errno::EPERM) => {
                ("the parameter may not be written in this namespace", "leave it out of linux.sysctl")
            }
            (NamespaceStep::SetSysctl { .. }, Call::Write, Errno::EINVAL) => {
                ("the kernel does not take that value", "correct the value in linux.sysctl")
            }
            (
                NamespaceStep::MapIds { .. }
                | NamespaceStep::Unshare { .. }
                | NamespaceStep::SetTimeOffsets { .. }
                | NamespaceStep::MoveDevice { .. }
                | NamespaceStep::LoopbackUp
                | NamespaceStep::Connect(_)
                | NamespaceStep::SetHostname { .. }
                | NamespaceStep::SetDomainname { .. }
                | NamespaceStep::SetSysctl { .. },
                ..,
            ) => return None,
        })
    }
}

/// The key of a parameter, as sysctl.d(5) writes it.
fn key_of(path: &str) -> String {
    let swapped = |letter| match letter {
        '/' => '.',
        '.' => '/',
        other => other,
    };
    path.trim_start_matches("../../sys/").chars().map(swapped).collect()
}
