//! Joining namespaces that exist: a helper joins them and makes the process as its own sibling.
//!
//! It is a process of its own because a pid namespace is joined only by children, and because the parent must stay
//! where it is: its hooks belong to the runtime's namespaces.

use super::child::Child;
use super::handshake::Message;
use crate::plan::{Join, Phase};
use crate::sys::process::Cloned;
use crate::sys::{self, Call, Errno, creds, fd, memory, namespace, process};
use std::os::fd::{AsFd, OwnedFd};

/// Joins, clones and ends. The clone lives as `child`.
pub fn join_and_clone(mut child: Child) -> ! {
    memory::forbid();
    if let Err(failure) = child.run(Phase::Outside) {
        child.fail(failure)
    }
    let socket = child.socket.as_fd();
    for (index, join) in (0..).zip(&child.plan.joins) {
        if let Err(error) = enter(join, child.container.as_ref()) {
            let _ = Message::JoinFailed { join: index, error }.send(socket, None);
            process::exit_now(1);
        }
    }
    match process::clone(child.plan.namespaces, true, None) {
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

fn enter(join: &Join, container: Option<&OwnedFd>) -> sys::Result<()> {
    if join.kinds() & (namespace::CLONE_NEWPID | namespace::CLONE_NEWUSER) != 0 {
        // CVE-2016-9962: those who are there already must not trace who comes.
        creds::set_dumpable(false)?;
    }
    match (join, container) {
        (Join::File { kind, path, .. }, _) => namespace::join(fd::open(path, fd::O_RDONLY, 0)?.as_fd(), *kind),
        (Join::Container { kinds }, Some(container)) => namespace::join(container.as_fd(), *kinds),
        (Join::Container { .. }, None) => Err(sys::Error::new(Call::Setns, Errno::EBADF)),
    }
}
