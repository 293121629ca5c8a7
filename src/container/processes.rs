//! The processes of a container: those in its pid namespace.

use super::state::Container;
use crate::error::{Error, Result};
use std::path::PathBuf;

/// All processes of the container's pid namespace, as the caller numbers them. Those of namespaces below it are not seen.
pub fn processes(container: &Container) -> Result<Vec<i32>> {
    let state = container.state()?;
    if !state.has_own_pids {
        return Err(Error::new(
            "the container has no pid namespace of its own, so its other processes cannot be told from the caller's",
        ));
    }
    let namespace = namespace_of(state.pid);
    let entries = std::fs::read_dir("/proc").map_err(|error| Error::from_io("cannot read /proc", &error))?;
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok());
    let mut pids: Vec<_> = pids.filter(|pid| namespace.is_some() && namespace_of(*pid) == namespace).collect();
    pids.sort_unstable();
    Ok(pids)
}

/// What the pid namespace of a process is called.
pub fn namespace_of(pid: i32) -> Option<PathBuf> {
    std::fs::read_link(format!("/proc/{pid}/ns/pid")).ok()
}
