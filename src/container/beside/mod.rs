//! What lives next to a container: processes that are started for it, and sockets by which others hear of it.

pub mod audit;
pub mod console;
pub mod fake_root;
pub mod fuse;
pub mod hooks;
pub mod listener;
pub mod network;
pub mod notify;
pub mod publish;

use crate::plan::{Join, Plan};
use crate::sys::namespace::CLONE_NEWUSER;
use crate::sys::{Result, fd};
use std::ffi::CString;
use std::os::fd::OwnedFd;

/// Opens the user namespace of a process that is being made, or of the container that it joins, by their pids.
fn user_namespace(own: i32, first: i32, plan: &Plan) -> Result<OwnedFd> {
    // A process that has joined a user namespace cannot be looked into.
    let joined = plan.joins.iter().find_map(|join| match join {
        Join::File { kind: CLONE_NEWUSER, path, .. } => Some(path.clone()),
        Join::Container { .. } => CString::new(format!("/proc/{first}/ns/user")).ok(),
        _ => None,
    });
    let path = joined.unwrap_or_else(|| CString::new(format!("/proc/{own}/ns/user")).unwrap_or_default());
    fd::open(&path, fd::O_RDONLY, 0)
}
