//! The process that answers for a root that is faked.

use super::user_namespace;
use crate::container::state::Container;
use crate::error::{Error, Result};
use crate::fake_root::start;
use crate::init::Handle;
use crate::plan::Plan;
use crate::property::annotations::FAKE_ROOT;
use std::os::fd::OwnedFd;

/// Starts it for a filter that was just installed. It ends with the last process that has the filter.
pub fn answer(init: &Handle, plan: &Plan, container: &Container, listener: OwnedFd) -> Result<()> {
    let Some(supervisor) = &plan.fake_root else { return Ok(()) };
    let first = container.state.as_ref().map_or(init.process.pid, |state| state.pid);
    let user_namespace = user_namespace(init.process.pid, first, plan).map_err(|error| {
        Error::from_call(FAKE_ROOT, error)
            .because("the container's user namespace cannot be opened, as long as the container has not started")
            .remedy("start it first")
    })?;
    start(listener, user_namespace, supervisor, init.process.pid)
}
