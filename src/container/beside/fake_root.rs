//! The process that answers for a root that is faked.

use super::user_namespace;
use crate::container::state::Container;
use crate::error::{Error, Result};
use crate::fake_root::{Starting, start};
use crate::init::Handle;
use crate::plan::Plan;
use crate::property::annotations::FAKE_ROOT;
use std::os::fd::OwnedFd;

/// Starts it for a filter that was just installed. It ends with the last process that has the filter.
pub fn answer(init: &Handle, plan: &Plan, container: &Container, listener: OwnedFd) -> Result<Option<Starting>> {
    let Some(supervisor) = &plan.fake_root else { return Ok(None) };
    let first = container.looked_into().unwrap_or(init.process.pid);
    let user_namespace = user_namespace(init.process.pid, first, plan).map_err(|error| {
        Error::from_call(FAKE_ROOT, error)
            .because("the container's user namespace cannot be opened, as long as the container has not started")
            .remedy("start it first")
    })?;
    let starting = start(listener, user_namespace, supervisor, init.process.pid)?;
    match supervisor.told {
        // The process hands on what it is told, so it must have heard it before it has children.
        Some(_) => starting.wait().map(|()| None),
        None => Ok(Some(starting)),
    }
}
