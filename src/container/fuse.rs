//! Servers of fuse mounts: programs of the host that end when the container's mount is gone.

use super::hooks::last_words;
use crate::error::{Error, Result};
use crate::init::{Init, environment};
use crate::plan::{Plan, Step};
use crate::sys::fd;
use crate::sys::process::{Ended, start_beside, wait, wait_readable};
use std::ffi::CString;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};

/// A server that was started.
#[derive(Debug)]
pub struct Serving {
    name: String,
    pid: i32,
    pidfd: OwnedFd,
    output: OwnedFd,
}

/// Starts the server that a step asks for; `device` is the opened /dev/fuse.
pub fn serve(init: &Init, plan: &Plan, step: u32, device: Option<OwnedFd>) -> Result<Serving> {
    let system = |error| Error::from_call("fuse", error);
    let entry = plan.entries.get(step as usize);
    let (Some(Step::MountFuse(mount)), Some(device)) = (entry.map(|entry| &entry.step), device) else {
        return Err(Error::new("a server was asked for that is not in the plan"));
    };
    let server = &mount.server;
    let namespace = match server.ids {
        Some((uid, gid)) => {
            let path = CString::new(format!("/proc/{}/ns/user", init.pid)).unwrap_or_default();
            Some((fd::open(&path, fd::O_RDONLY, 0).map_err(system)?, uid, gid))
        }
        None => None,
    };
    let output = fd::memory_file(c"fuse").map_err(system)?;
    let (pid, pidfd) = start_beside(
        &server.path,
        &server.arguments,
        &environment(),
        output.as_fd(),
        device.as_fd(),
        namespace.as_ref().map(|(namespace, uid, gid)| (namespace.as_fd(), *uid, *gid)),
    )
    .map_err(system)?;
    Ok(Serving { name: server.path.to_string_lossy().into_owned(), pid, pidfd, output })
}

/// Adds what the servers said that have ended.
pub fn with_output(error: Error, servers: Vec<Serving>) -> Error {
    let mut said = Vec::new();
    for server in servers {
        // Whoever has let go of /dev/fuse is about to end.
        if !wait_readable(server.pidfd.as_fd(), 1000).unwrap_or(false) {
            continue;
        }
        let end = match wait(server.pid, true) {
            Ok(Some(Ended::Exited(status))) => format!("with status {status}"),
            Ok(Some(Ended::Signaled(signal))) => format!("by signal {signal}"),
            _ => continue,
        };
        let mut text = Vec::new();
        let _ = fd::rewind(server.output.as_fd());
        let _ = std::fs::File::from(server.output).read_to_end(&mut text);
        said.push(format!("{} ended {end}, and said: {}", server.name, last_words(&text)));
    }
    if said.is_empty() { error } else { error.because(said.join("; ")) }
}
