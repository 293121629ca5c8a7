//! Processes beside the container that see the host's files: nobody in the container may reach them.

use super::Planner;
use crate::capability::CAP_SYS_ADMIN;
use crate::error::Result;
use crate::spec::Mount;
use std::path::{Path, PathBuf};

/// Refuses what would put such a process within the container's reach: `what` it is for, and what is said of it.
pub fn check(planner: &Planner, what: &str, process: &str) -> Result<()> {
    if !planner.has_other_user_namespace() {
        return Err(planner
            .error(format!("{what} without a user namespace"))
            .because(format!("{process} would be the host's root"))
            .remedy("add {\"type\": \"user\"} to linux.namespaces, with mappings; or do without it, as root"));
    }
    let trace = format!("the container could trace {process}, which sees the host's files");
    if !planner.spec.has_new_namespace("pid") {
        return Err(planner
            .error(format!("{what} without a pid namespace of the container's own"))
            .because(trace)
            .remedy("add {\"type\": \"pid\"} to linux.namespaces"));
    }
    if planner.request.no_pivot {
        return Err(planner
            .error(format!("{what}, and --no-pivot"))
            .because("the host's mounts lie below the container's root then")
            .remedy("leave one of the two out"));
    }
    let may_mount = super::cgroup::keeps(planner, CAP_SYS_ADMIN);
    let procs = planner.host.proc_mounts()?;
    let is_bind = |mount: &Mount| {
        matches!(mount.kind.as_deref(), None | Some("" | "none" | "bind"))
            || mount.options.iter().any(|option| matches!(option.as_str(), "bind" | "rbind"))
    };
    for (index, mount) in planner.spec.mounts.iter().enumerate().filter(|(_, mount)| is_bind(mount)) {
        // One without a slash is a name in the bundle.
        let Some(source) = mount.source.as_deref().filter(|source| !source.is_empty()) else { continue };
        let source = planner.host.canonical(&planner.request.bundle.join(source))?;
        let is_shown = |proc: &&PathBuf| {
            let shown = match proc.strip_prefix(&source) {
                Ok(rest) => Path::new(&mount.destination).join(rest),
                Err(_) if source.starts_with(proc) => return true,
                Err(_) => return false,
            };
            // What is covered is uncovered by nobody who may not mount; in a user namespace of its own, it is locked (mount_namespaces(7)).
            let covers =
                |other: &Mount| Path::new(&other.destination) == shown && other.kind.as_deref() == Some("proc");
            may_mount || !planner.spec.mounts.iter().skip(index + 1).any(covers)
        };
        if let Some(proc) = procs.iter().find(is_shown) {
            return Err(planner
                .error(format!("{what}, and mounts[{index}] shows the host's {}", proc.display()))
                .because(trace)
                .remedy(format!(
                    "bind less than {} in mounts[{index}], or take one of the two out",
                    source.display()
                )));
        }
    }
    Ok(())
}
