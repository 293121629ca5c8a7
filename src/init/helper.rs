//! A helper that goes where the process is to be born, and makes it there as its own sibling: into namespaces that exist,
//! or into a scope that systemd takes it to.
//!
//! It is a process of its own because a pid namespace is joined only by children, because only systemd may move somebody
//! into its scopes, and because the parent must stay where it is: its hooks and sockets belong to the runtime's
//! namespaces. It shares the parent's memory, as by vfork(2): copying it for a tenth of a millisecond's life cost as much
//! again.

use super::child::{Child, Failure};
use super::spawn::{Birthplace, Entrance};
use crate::error::Error;
use crate::plan::{Join, Phase};
use crate::sys::namespace::{self, CLONE_NEWCGROUP, CLONE_NEWNS, CLONE_NEWTIME, CLONE_NEWUSER};
use crate::sys::process::{self, Cloned, Process, clone, run_apart};
use crate::sys::{self, Call, Errno, creds, fd};
use std::os::fd::{AsFd, AsRawFd};

/// How far a process came.
pub enum Made {
    /// The helper died.
    Lost,
    /// A step failed.
    Failed(Failure),
    /// The helper was not taken to the scope.
    NotTaken(Error),
    /// A namespace could not be joined; its index in the plan.
    Refused(usize, sys::Error),
    /// The clone failed.
    Childless(sys::Error),
    /// The process is made by a helper, and its pidfd is not the parent's.
    Cloned(i32),
    /// The process is made.
    Born(Process),
}

/// What only the process itself can join: a time namespace wants memory of its own, and who is in another cgroup
/// namespace reaches no cgroup outside of it (cgroups(7)).
const OWN: i32 = CLONE_NEWTIME | CLONE_NEWCGROUP;

/// Goes there and clones the process, which lives as `child`.
pub fn go_and_clone(child: &mut Child, place: &mut Birthplace) -> Made {
    let mut made = Made::Lost;
    let was_taken = matches!(place, Birthplace::Taken(_));
    let dumpable = match creds::is_dumpable() {
        Ok(dumpable) => dumpable,
        Err(error) => return Made::Childless(error),
    };
    let ran = run_apart(&mut || made = help(child, place));
    // It belongs to the memory, and so it was the parent's, too.
    if let Err(error) = creds::set_dumpable(dumpable) {
        if let Made::Cloned(pid) = made {
            process::end_child(pid);
        }
        return Made::Childless(error);
    }
    if let (Ok(helper), true) = (&ran, was_taken) {
        // A scope with a process in it cannot pass controllers on.
        let _ = process::wait(*helper, true);
    }
    match ran.map_or_else(Made::Childless, |_| made) {
        Made::Cloned(pid) => Process::open(pid).map_or_else(
            |error| {
                process::end_child(pid);
                Made::Childless(error)
            },
            Made::Born,
        ),
        made => made,
    }
}

fn help(child: &mut Child, place: &mut Birthplace) -> Made {
    if let Err(failure) = child.run(Phase::Outside) {
        return Made::Failed(failure);
    }
    child.was_helped = true;
    if let Birthplace::Taken(take) = place {
        match take(process::own_pid()) {
            // The parent's from now on, as this memory is.
            Ok(directory) => *place = Birthplace::Directory(directory),
            Err(error) => return Made::NotTaken(error),
        }
    }
    let mut entered = 0u64;
    if child.plan.opens_sources {
        // The caller may have privileges over namespaces which the container's root has none over. A mount namespace is for
        // the end: it has other paths.
        for (index, join) in child.plan.joins.iter().enumerate() {
            if join.kinds() & (CLONE_NEWUSER | CLONE_NEWNS) == 0 && enter(join, !OWN, &child.container).is_ok() {
                entered |= 1 << index;
            }
        }
    }
    for (index, join) in child.plan.joins.iter().enumerate().filter(|(index, _)| entered & 1 << index == 0) {
        if let Err(error) = enter(join, !OWN, &child.container) {
            return Made::Refused(index, error);
        }
    }
    let cgroup = place.directory();
    // Those who are there already see the process from its birth on (CVE-2016-9962), so it is born with what it needs alone.
    // From here on, nothing that owns a descriptor may be dropped: the parent has it, too.
    let secluded = namespace::unshare_descriptors()
        .and_then(|()| child.close_all_but_own(cgroup.map(|directory| directory.as_raw_fd())));
    if let Err(error) = secluded {
        return Made::Childless(error);
    }
    match clone(child.plan.namespaces, true, cgroup) {
        Ok(Cloned::Child) => child.live(),
        Ok(Cloned::Parent(process)) => {
            let pid = process.pid;
            // The number means nothing in the parent.
            std::mem::forget(process);
            Made::Cloned(pid)
        }
        Err(error) => Made::Childless(error),
    }
}

/// Joins those that only the process itself can join.
pub fn join_own(child: &Child) -> sys::Result<()> {
    child.plan.joins.iter().try_for_each(|join| enter(join, OWN, &child.container))
}

fn enter(join: &Join, mask: i32, container: &Entrance) -> sys::Result<()> {
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
