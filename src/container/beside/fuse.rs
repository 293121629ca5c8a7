//! Servers of fuse mounts: programs of the host that end when the container's mount is gone.

use super::hooks::last_words;
use super::user_namespace;
use crate::container::interrupt::Interrupt;
use crate::error::{Error, Result};
use crate::init::{Handle, environment};
use crate::plan::step::MountStep;
use crate::plan::{Plan, Step};
use crate::sys::process::{Ended, Process, kill_group, wait, wait_readable};
use crate::sys::program::{Credentials, start_beside};
use crate::sys::{self, fd, signal};
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};

/// How long a server may take until its file system answers. (sshfs has to connect.)
pub const PATIENCE_MILLISECONDS: i32 = 60_000;

/// A server that was started.
#[derive(Debug)]
pub struct Serving {
    property: String,
    name: String,
    process: Process,
    output: OwnedFd,
}

/// Starts the server that a step asks for; `device` is the opened /dev/fuse.
pub fn serve(init: &Handle, plan: &Plan, step: u32, device: Option<OwnedFd>) -> Result<Serving> {
    let blame = |error: sys::Error| plan.blame(step as usize, error);
    let entry = plan.entries.get(step as usize);
    let (Some((MountStep::MountFuse(mount), origin)), Some(device)) =
        (entry.and_then(|entry| Some((entry.mount_step()?, &entry.origin))), device)
    else {
        return Err(Error::new("a server was asked for that is not in the plan"));
    };
    let server = &mount.server;
    let user_namespace = user_namespace(init.process.pid, init.process.pid, plan).map_err(blame)?;
    let (uid, gid) = server.ids;
    let credentials =
        Credentials { user_namespace: user_namespace.as_fd(), uid, gid, drops_groups: server.drops_groups };
    let output = fd::memory_file(c"fuse").map_err(blame)?;
    let environment = environment();
    let process =
        start_beside(&server.path, &server.arguments, &environment, output.as_fd(), device.as_fd(), credentials)
            .map_err(blame)?;
    let property = format!("{origin} ({})", mount.target.to_string_lossy());
    Ok(Serving { property, name: server.path.to_string_lossy().into_owned(), process, output })
}

/// Waits for the child's next word, but not for ever: a server may hold its file system without answering.
pub fn wait_for_word(init: &Handle, servers: &[Serving], interrupt: &Interrupt) -> Result<()> {
    let Some(last) = servers.last() else { return interrupt.wait_readable(init.socket.as_fd(), -1).map(drop) };
    match interrupt.wait_readable(init.socket.as_fd(), PATIENCE_MILLISECONDS)? {
        true => Ok(()),
        false => {
            let seconds = PATIENCE_MILLISECONDS / 1000;
            Err(Error::in_config(last.property.clone(), format!("{} does not answer for {seconds} s", last.name))
                .because("it holds the file system and serves nothing, or what it serves is out of reach")
                .remedy("run it by hand on the host to see why"))
        }
    }
}

/// Ends servers that were started for a container that was not created. Those in the background end with the mount.
pub fn end(servers: &[Serving]) {
    for server in servers {
        let _ = kill_group(server.process.pid, signal::SIGKILL);
    }
}

/// Adds what the servers said that have ended, if the error is about a file system that is not served.
pub fn with_output(error: Error, failed: Option<&Step>, servers: &[Serving]) -> Error {
    if !matches!(failed, Some(Step::Mount(MountStep::AwaitFuse { .. }))) {
        return error;
    }
    let said = servers.iter().filter(|server| error.property == server.property).filter_map(|server| {
        // Whoever has let go of /dev/fuse is about to end.
        if !wait_readable(server.process.pidfd.as_fd(), 1000).unwrap_or(false) {
            return None;
        }
        let end = match wait(server.process.pid, true) {
            Ok(Some(Ended::Exited(status))) => format!("with status {status}"),
            Ok(Some(Ended::Signaled(signal))) => format!("by signal {signal}"),
            _ => return None,
        };
        let mut text = Vec::new();
        let _ = fd::rewind(server.output.as_fd());
        let _ = std::fs::File::from(server.output.try_clone().ok()?).read_to_end(&mut text);
        Some(format!("{} ended {end}, and said: {}", server.name, last_words(&text)))
    });
    let said: Vec<_> = said.collect();
    if said.is_empty() { error } else { error.because(said.join("; ")) }
}
