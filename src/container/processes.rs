//! The processes of a container: those in its cgroup, or without one those in its pid namespace.

use super::state::Container;
use crate::cgroup::tree;
use crate::error::{Error, Result};
use crate::sys::{fd, namespace};
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};

/// All processes of the container, as the caller numbers them.
pub fn processes(container: &Container) -> Result<Vec<i32>> {
    let state = container.state()?;
    if let Some(cgroup) = &state.cgroup {
        return tree::processes(cgroup.require()?);
    }
    if !state.has_own_pids {
        return Err(Error::new(
            "the container has neither a cgroup nor a pid namespace of its own, so its other processes cannot be told from the caller's",
        ));
    }
    // As long as its first process lives, the namespace's number is no other's.
    let Some(namespace) = pid_namespace(container)? else { return Ok(Vec::new()) };
    let entries = std::fs::read_dir("/proc").map_err(|error| Error::from_io("cannot read /proc", &error))?;
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok());
    // While the first process waits for its start, nobody may look it up.
    let mut pids: Vec<_> = pids.filter(|pid| *pid == state.pid || is_in(*pid, namespace)).collect();
    pids.sort_unstable();
    Ok(if container.pidfd()?.is_some() { pids } else { Vec::new() })
}

/// True if a process still belongs to the container: a pid may have been reused since it was listed.
pub fn is_one_of(container: &Container, pid: i32) -> bool {
    let Some(state) = &container.state else { return false };
    match &state.cgroup {
        Some(cgroup) => tree::of_process(pid).is_ok_and(|path| path.starts_with(&cgroup.path)),
        None => {
            let namespace = pid_namespace(container).ok().flatten();
            let is_in = pid == state.pid || namespace.is_some_and(|namespace| is_in(pid, namespace));
            is_in && container.pidfd().is_ok_and(|pidfd| pidfd.is_some())
        }
    }
}

/// The inode of a container's pid namespace; `None` if it has ended.
fn pid_namespace(container: &Container) -> Result<Option<u64>> {
    let state = container.state()?;
    if container.pidfd()?.is_none() {
        return Ok(None);
    }
    Ok(match state.pid_namespace {
        Some(inode) => Some(inode.into()),
        None => namespace_of(state.pid).and_then(|namespace| inode(&namespace)),
    })
}

fn inode(namespace: &OwnedFd) -> Option<u64> {
    fd::status(namespace.as_fd()).ok().map(|status| status.inode)
}

/// The pid namespace of a process.
fn namespace_of(pid: i32) -> Option<OwnedFd> {
    File::open(format!("/proc/{pid}/ns/pid")).ok().map(OwnedFd::from)
}

/// True if a process is in that pid namespace, or in one below it.
fn is_in(pid: i32, namespace: u64) -> bool {
    let above = |below: &OwnedFd| namespace::parent(below.as_fd()).ok();
    std::iter::successors(namespace_of(pid), above).any(|other| inode(&other) == Some(namespace))
}
