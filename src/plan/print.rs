//! How namespaces and cgroups read in a plan.

use super::{Cgroup, Place};
use crate::sys::namespace as ns;
use std::fmt;

/// Names of the namespaces in a set of clone flags, as config.json has them.
pub fn namespace_names(flags: i32) -> impl Iterator<Item = &'static str> {
    NAMESPACES.iter().filter(move |(_, flag)| flags & flag != 0).map(|(name, _)| *name)
}

/// The clone flags of namespaces by their names in config.json.
pub fn namespace_flags(names: &[String]) -> i32 {
    NAMESPACES.iter().filter(|(name, _)| names.iter().any(|other| other == name)).fold(0, |all, (_, flag)| all | flag)
}

/// The eight types of namespace, the user namespace first.
pub const NAMESPACES: [(&str, i32); 8] = [
    ("user", ns::CLONE_NEWUSER),
    ("mount", ns::CLONE_NEWNS),
    ("pid", ns::CLONE_NEWPID),
    ("ipc", ns::CLONE_NEWIPC),
    ("uts", ns::CLONE_NEWUTS),
    ("network", ns::CLONE_NEWNET),
    ("cgroup", ns::CLONE_NEWCGROUP),
    ("time", ns::CLONE_NEWTIME),
];

impl fmt::Display for Cgroup {
    /// A line for the cgroup, and one for each setting.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::None => write!(f, "cgroup  none, because {}", self.reason)?,
            Place::Directory { path, .. } => write!(f, "cgroup  {}, because {}", path.display(), self.reason)?,
            Place::Scope { bus, slice, name, subgroup, .. } => {
                let whose = if bus.is_user { "the user's" } else { "the system's" };
                write!(f, "cgroup  {name}/{subgroup} in {slice} of {whose} systemd, because {}", self.reason)?;
            }
        }
        if let Some((uid, _)) = self.owner {
            write!(f, "\ncgroup  its files belong to uid {uid}, who may divide it")?;
        }
        if let Some(leaf) = &self.leaf {
            write!(f, "\ncgroup  the container's processes are below it, in {leaf}")?;
        }
        if let Some(devices) = &self.devices {
            write!(f, "\ncgroup  {:28} a program of {} instructions", "linux.resources.devices", devices.len())?;
        }
        self.settings.iter().try_for_each(|setting| {
            let property = setting.property.strip_prefix("linux.").unwrap_or_default();
            write!(f, "\ncgroup  {property:28} {} = {}", setting.file, setting.value)
        })
    }
}
