//! Joining namespaces that exist: those of files, and those of a container.

use crate::plan::Join;
use crate::sys::namespace::{self, CLONE_NEWCGROUP, CLONE_NEWTIME};
use crate::sys::{self, Call, Errno, creds, fd};
use std::os::fd::{AsFd, OwnedFd};

/// How a container is entered.
#[derive(Debug, Default)]
pub enum Entrance {
    /// No namespace is joined.
    #[default]
    None,
    /// By the pidfd of its first process.
    Process(OwnedFd),
    /// By its namespaces (CLONE_NEW*), the user namespace first: its first process cannot be looked into.
    Namespaces(Vec<(i32, OwnedFd)>),
}

impl Entrance {
    /// A process, and namespaces.
    pub(super) fn descriptors(&self) -> (Option<&OwnedFd>, &[(i32, OwnedFd)]) {
        match self {
            Entrance::None => (None, &[]),
            Entrance::Process(process) => (Some(process), &[]),
            Entrance::Namespaces(namespaces) => (None, namespaces),
        }
    }
}

/// What only the process itself can join: a time namespace wants memory of its own, and who is in another cgroup
/// namespace reaches no cgroup outside of it (cgroups(7)).
pub const OWN: i32 = CLONE_NEWTIME | CLONE_NEWCGROUP;

/// Joins those that only the process itself can join; which of them has failed.
pub fn enter_own(joins: &[Join], container: &Entrance) -> Result<(), (usize, sys::Error)> {
    let numbered = joins.iter().enumerate();
    numbered.into_iter().try_for_each(|(number, join)| enter(join, OWN, container).map_err(|error| (number, error)))
}

/// Joins what a helper can join for it, or a part of that: the kinds of `mask` (CLONE_NEW*).
pub fn enter(join: &Join, mask: i32, container: &Entrance) -> sys::Result<()> {
    let kinds = join.kinds() & mask;
    if kinds == 0 {
        return Ok(());
    }
    // CVE-2016-9962: those who are there already, or who see this process otherwise, must not trace it.
    creds::set_dumpable(false)?;
    match (join, container) {
        (Join::File { path, .. }, _) => {
            // A fifo would wait for somebody to write.
            namespace::join(fd::open(path, fd::O_RDONLY | fd::O_NONBLOCK, 0)?.as_fd(), kinds)
        }
        (Join::Container { .. }, Entrance::Process(process)) => namespace::join(process.as_fd(), kinds),
        (Join::Container { .. }, Entrance::Namespaces(all)) => all
            .iter()
            .filter(|(kind, _)| kind & kinds != 0)
            .try_for_each(|(kind, namespace)| namespace::join(namespace.as_fd(), *kind)),
        (Join::Container { .. }, Entrance::None) => Err(sys::Error::new(Call::Setns, Errno::EBADF)),
    }
}
