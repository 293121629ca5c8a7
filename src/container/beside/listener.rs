//! The agent that answers for filtered system calls (config-linux.md, seccomp).

use super::publish;
use crate::container::state::Container;
use crate::error::{Error, Result};
use crate::plan::Listener;
use crate::sys::socket;
use serde_json::json;
use std::os::fd::{AsFd, OwnedFd};

/// Sends the listener to the agent, with the container's process state.
pub fn hand_over(listener: Option<&Listener>, container: &Container, status: &str, fd: Option<OwnedFd>) -> Result<()> {
    let (Some(listener), Some(fd)) = (listener, fd) else {
        return Err(Error::in_config("linux.seccomp", "a listener came, and nobody waits for it"));
    };
    let view = container.view(status);
    let state = json!({
        "ociVersion": view.oci_version,
        "fds": ["seccompFd"],
        "pid": view.pid,
        "metadata": listener.metadata,
        "state": view,
    });
    let agent = publish::connect(&listener.path)
        .map_err(|error| Error { property: "linux.seccomp.listenerPath".to_owned(), ..error })?;
    socket::send(agent.as_fd(), state.to_string().as_bytes(), Some(fd.as_fd()))
        .map_err(|error| Error::from_call(listener.path.display(), error))
}
