//! Processes beside the container that see the host's files: nobody in the container may reach them.

use super::Planner;
use crate::error::Result;
use crate::spec::Mount;

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
    let procs = planner.host.proc_mounts()?;
    let is_bind = |mount: &Mount| {
        matches!(mount.kind.as_deref(), None | Some("" | "none" | "bind"))
            || mount.options.iter().any(|option| matches!(option.as_str(), "bind" | "rbind"))
    };
    for (index, mount) in planner.spec.mounts.iter().enumerate().filter(|(_, mount)| is_bind(mount)) {
        // One without a slash is a name in the bundle.
        let Some(source) = mount.source.as_deref().filter(|source| !source.is_empty()) else { continue };
        let source = planner.host.canonical(&planner.request.bundle.join(source))?;
        if let Some(proc) = procs.iter().find(|proc| proc.starts_with(&source) || source.starts_with(proc)) {
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
