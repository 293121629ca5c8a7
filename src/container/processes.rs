//! The processes of a container: those in its cgroup, or without one those in its pid namespace.

use super::state::Container;
use crate::cgroup::tree;
use crate::error::{Error, Result, found};
use crate::sys::{Errno, fd, namespace, process};
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};

/// All processes of the container, as the caller numbers them.
pub fn processes(container: &Container) -> Result<Vec<i32>> {
    let state = container.state()?;
    let own = std::fs::read_link("/proc/self").map_err(|error| Error::from_io("cannot read /proc/self", &error))?;
    if own.to_str() != Some(&std::process::id().to_string()) {
        return Err(Error::new("/proc is that of another pid namespace, and has other pids")
            .remedy("mount one of your own: `mount -t proc proc /proc`, or `unshare --mount-proc`"));
    }
    if let Some(cgroup) = &state.cgroup {
        match cgroup.path()? {
            Some(path) => {
                let pids = tree::processes(path)?;
                if pids.contains(&state.pid) || container.pidfd()?.is_none() {
                    return Ok(pids);
                }
                if !state.has_own_pids {
                    return Err(Error::new("the container's first process is not in its cgroup")
                        .because(format!("somebody has moved it out of {}", path.display()))
                        .remedy("move it back: write its pid into cgroup.procs there"));
                }
            }
            // Its first process was moved; who is in its pid namespace is known all the same.
            None if state.has_own_pids => {}
            None => drop(cgroup.require()?),
        }
    }
    if !state.has_own_pids {
        return Err(Error::new(
            "the container has neither a cgroup nor a pid namespace of its own, so its other processes cannot be told from the caller's",
        )
        .remedy("add {\"type\": \"pid\"} to linux.namespaces"));
    }
    // As long as its first process lives, the namespace's number is no other's.
    let Some(namespace) = pid_namespace(container)? else { return Ok(Vec::new()) };
    let failed = |error: std::io::Error| Error::from_io("cannot read /proc", &error);
    let mut pids = Vec::new();
    for entry in std::fs::read_dir("/proc").map_err(failed)? {
        let name = entry.map_err(failed)?.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse::<i32>().ok()) else { continue };
        // While the first process waits for its start, nobody may look it up.
        if pid == state.pid || is_in(pid, namespace)? {
            pids.push(pid);
        }
    }
    pids.sort_unstable();
    if container.pidfd()?.is_none() {
        return Ok(Vec::new());
    }
    match pids.contains(&state.pid) {
        true => Ok(pids),
        false => Err(Error::new(format!("process {}, the container's first one, is not in /proc", state.pid))
            .because("/proc is that of another pid namespace, or hides it")
            .remedy("run this where the container's processes can be seen")),
    }
}

/// A handle on a process, if it still belongs to the container: a pid may have been reused since it was listed.
pub fn find(container: &Container, pid: i32) -> Result<Option<OwnedFd>> {
    let Some(pidfd) = process::find_pidfd(pid).map_err(|error| Error::from_call(format!("process {pid}"), error))?
    else {
        return Ok(None);
    };
    Ok(is_one_of(container, pid)?.then_some(pidfd))
}

fn is_one_of(container: &Container, pid: i32) -> Result<bool> {
    let state = container.state()?;
    if let Some(cgroup) = &state.cgroup
        && cgroup.path()?.is_some()
        && tree::find_of_process(pid)?.is_some_and(|path| path.starts_with(&cgroup.path))
    {
        return Ok(true);
    }
    if state.cgroup.is_some() && !state.has_own_pids {
        return Ok(false);
    }
    let Some(namespace) = pid_namespace(container)? else { return Ok(false) };
    Ok((pid == state.pid || is_in(pid, namespace)?) && container.pidfd()?.is_some())
}

/// The inode of a container's pid namespace; `None` if it has ended.
fn pid_namespace(container: &Container) -> Result<Option<u64>> {
    let state = container.state()?;
    if container.pidfd()?.is_none() {
        return Ok(None);
    }
    if let Some(inode) = state.pid_namespace {
        return Ok(Some(inode.into()));
    }
    match namespace_of(state.pid)? {
        Some(namespace) => Ok(Some(inode(&namespace)?)),
        // It has just ended, or may not be looked into.
        None if container.pidfd()?.is_none() => Ok(None),
        None => Err(Error::new(format!("/proc/{}/ns/pid is out of reach", state.pid))
            .because("it belongs to a user namespace that you have no privilege in")
            .remedy("run this as the user who created the container")),
    }
}

fn inode(namespace: &OwnedFd) -> Result<u64> {
    fd::status(namespace.as_fd()).map(|status| status.inode).map_err(|error| Error::from_call("pid namespace", error))
}

/// The pid namespace of a process; `None` if it is gone, or is others' business.
fn namespace_of(pid: i32) -> Result<Option<OwnedFd>> {
    let path = format!("/proc/{pid}/ns/pid");
    match File::open(&path) {
        Err(error) if error.raw_os_error() == Some(Errno::EACCES as i32) => Ok(None),
        other => Ok(found(other).map_err(|error| Error::from_io(path, &error))?.map(OwnedFd::from)),
    }
}

/// Whether a process is in that pid namespace, or in one below it.
fn is_in(pid: i32, namespace: u64) -> Result<bool> {
    let mut next = namespace_of(pid)?;
    while let Some(own) = next {
        if inode(&own)? == namespace {
            return Ok(true);
        }
        next = match namespace::parent(own.as_fd()) {
            // What is above belongs to the caller's own, or is out of its sight (ioctl_ns(2)).
            Err(error) if error.errno == Errno::EPERM => None,
            other => Some(other.map_err(|error| Error::from_call("pid namespace", error))?),
        };
    }
    Ok(false)
}
