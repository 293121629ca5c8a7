//! Joining namespaces that exist: a helper joins them and makes the container's process as its own sibling.
//!
//! It is a process of its own because a pid namespace is joined only by children, and because the parent must stay
//! where it is: its hooks belong to the runtime's namespaces.

use super::child::Child;
use super::handshake::Message;
use crate::plan::Join;
use crate::sys::process::Cloned;
use crate::sys::{self, creds, fd, memory, namespace, process};
use std::os::fd::AsFd;

/// Joins, clones and ends. The clone lives as `child`.
pub fn join_and_clone(child: Child) -> ! {
    memory::forbid();
    let socket = child.socket.as_fd();
    for (index, join) in (0..).zip(&child.plan.joins) {
        if let Err(error) = enter(join) {
            let _ = Message::JoinFailed { join: index, error }.send(socket, None);
            process::exit_now(1);
        }
    }
    match process::clone(child.plan.namespaces, true) {
        Ok(Cloned::Child) => child.live(),
        Ok(Cloned::Parent { pid, pidfd }) => {
            let _ = Message::Born { pid }.send(socket, Some(pidfd.as_fd()));
            process::exit_now(0)
        }
        Err(error) => {
            let _ = Message::JoinFailed { join: u32::MAX, error }.send(socket, None);
            process::exit_now(1)
        }
    }
}

fn enter(join: &Join) -> sys::Result<()> {
    let namespace = fd::open(&join.path, fd::O_RDONLY, 0)?;
    if join.kind == namespace::CLONE_NEWPID || join.kind == namespace::CLONE_NEWUSER {
        // CVE-2016-9962: those who are there already must not trace who comes.
        creds::set_dumpable(false)?;
    }
    namespace::join(namespace.as_fd(), join.kind)
}
