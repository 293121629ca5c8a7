//! Steps about what namespaces hold, but for mounts.

use crate::plan::{Network, Slots};
use crate::sys::namespace as ns;
use crate::sys::{Result, fd, mount, net};
use std::ffi::CString;
use std::os::fd::AsFd;

/// What is done in, and with, namespaces.
#[derive(Debug, PartialEq)]
#[allow(missing_docs)] // the fields are the arguments of the system calls
pub enum NamespaceStep {
    /// Writes the maps of the user namespace; texts as in user_namespaces(7).
    MapIds { uid_map: Box<[u8]>, gid_map: Box<[u8]>, deny_setgroups: bool },
    /// Makes namespaces (CLONE_NEW*) that the clone could not make.
    Unshare { kinds: i32 },
    /// Makes a time namespace with these offsets and enters it.
    SetTimeOffsets { offsets: Box<[u8]> },
    /// Moves a network device of the caller into the container's network namespace.
    MoveDevice { name: CString, new_name: CString },
    /// Brings `lo` up.
    LoopbackUp,
    /// Waits until the parent has started who passes packets on.
    Connect(Box<Network>),
    /// sethostname(2).
    SetHostname { name: CString },
    /// setdomainname(2).
    SetDomainname { name: CString },
    /// Writes a kernel parameter; `path` is relative to /proc/self/fd.
    SetSysctl { path: CString, value: CString },
}

impl NamespaceStep {
    /// Does the step.
    pub fn run(&self, slots: &mut Slots) -> Result<()> {
        match self {
            NamespaceStep::MapIds { uid_map, gid_map, deny_setgroups } => {
                let directory = slots.proc_directory()?;
                if *deny_setgroups {
                    // CVE-2014-8989: without this, a group that only restricts could be dropped.
                    fd::write_file(directory.as_fd(), c"setgroups", b"deny")?;
                }
                fd::write_file(directory.as_fd(), c"gid_map", gid_map)?;
                fd::write_file(directory.as_fd(), c"uid_map", uid_map)
            }
            NamespaceStep::Unshare { kinds } => ns::unshare(*kinds),
            NamespaceStep::SetTimeOffsets { offsets } => {
                // time_namespaces(7): offsets can be set only while no process is in it.
                ns::unshare(ns::CLONE_NEWTIME)?;
                let directory = slots.proc_directory()?;
                if !offsets.is_empty() {
                    fd::write_file(directory.as_fd(), c"timens_offsets", offsets)?;
                }
                // Without this, Linux 6.1 (not 6.12) leaves the program itself outside, and only its children are in it.
                let namespace = fd::open_at(directory.as_fd(), c"ns/time_for_children", fd::O_RDONLY, 0)?;
                ns::join(namespace.as_fd(), ns::CLONE_NEWTIME)
            }
            NamespaceStep::MoveDevice { name, new_name } => {
                let theirs = fd::open_at(slots.proc_directory()?.as_fd(), c"ns/net", fd::O_RDONLY, 0)?;
                net::move_device(name, new_name, theirs.as_fd())
            }
            NamespaceStep::Connect(_) => {
                slots.is_unconnected = true;
                Ok(())
            }
            NamespaceStep::LoopbackUp => net::bring_loopback_up(),
            NamespaceStep::SetHostname { name } => ns::set_hostname(name),
            NamespaceStep::SetDomainname { name } => ns::set_domainname(name),
            NamespaceStep::SetSysctl { path, value } => {
                let file = mount::open_own_proc(slots.descriptors()?, path, fd::O_WRONLY)?;
                fd::write(file.as_fd(), value.to_bytes()).map(drop)
            }
        }
    }
}
