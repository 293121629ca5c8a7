//! A helper that goes where the process is to be born, and makes it there as its own sibling: into namespaces that exist,
//! or into a scope that systemd takes it to.
//!
//! It is a process of its own because a pid namespace is joined only by children, because only systemd may move somebody
//! into its scopes, and because the parent must stay where it is: its hooks and sockets belong to the runtime's
//! namespaces. It shares the parent's memory, as by vfork(2): copying it for a tenth of a millisecond's life cost as much
//! again.

use super::child::{Child, Failure, Shared};
use super::join::{OWN, enter};
use crate::error::{Error, Result};
use crate::plan::Phase;
use crate::sys::namespace::{self, CLONE_NEWNS, CLONE_NEWUSER};
use crate::sys::process::{self, Cloned, Process, run_apart};
use crate::sys::{self, creds};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// The cgroup that a process is born in.
#[derive(Default)]
pub enum Birthplace<'a> {
    /// The cgroup of whoever makes it.
    #[default]
    Same,
    /// A cgroup by its directory.
    Directory(OwnedFd),
    /// Where a process is taken: called with its pid, from within it, this returns the directory.
    Taken(&'a mut dyn FnMut(i32) -> Result<OwnedFd>),
}

impl Birthplace<'_> {
    /// The directory, if it is known.
    pub(super) fn directory(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Birthplace::Directory(directory) => Some(directory.as_fd()),
            _ => None,
        }
    }
}

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
    Cloned(i32, Option<Shared>),
    /// The process is made; what it lives by, if it shares the memory of its maker.
    Born(Process, Option<Shared>),
}

/// Clones the process, which lives as the child; that stays, unless the two share the memory.
pub fn clone(slot: &mut Option<Box<Child>>, sibling: bool, cgroup: Option<BorrowedFd>) -> Made {
    if let Some(child) = slot.take_if(|child| child.shares_memory) {
        match process::clone_sharing(child.plan.namespaces, sibling, cgroup, child, |child| child.live()) {
            Ok((process, shared)) => return Made::Born(process, Some(shared)),
            // Why is found out the usual way.
            Err(child) => slot.insert(child).shares_memory = false,
        }
    }
    let Some(child) = slot else { return Made::Lost };
    match process::clone(child.plan.namespaces, sibling, cgroup) {
        Ok(Cloned::Child) => child.live(),
        Ok(Cloned::Parent(process)) => Made::Born(process, None),
        Err(error) => Made::Childless(error),
    }
}

/// Goes to where the process is to be born and clones it.
pub fn go_and_clone(child: &mut Option<Box<Child>>, birthplace: &mut Birthplace) -> Made {
    let mut made = Made::Lost;
    let was_taken = matches!(birthplace, Birthplace::Taken(_));
    let dumpable = match creds::is_dumpable() {
        Ok(dumpable) => dumpable,
        Err(error) => return Made::Childless(error),
    };
    let ran = run_apart(&mut || made = help(child, birthplace));
    // It belongs to the memory, and so it was the parent's, too. As long as the process has that, nobody may look into it.
    if !matches!(made, Made::Cloned(_, Some(_)))
        && let Err(error) = creds::set_dumpable(dumpable)
    {
        if let Made::Cloned(pid, _) = made {
            process::end_child(pid);
        }
        return Made::Childless(error);
    }
    if let (Ok(helper), true) = (&ran, was_taken) {
        // A scope with a process in it cannot pass controllers on.
        let _ = process::wait(*helper, true);
    }
    match ran.map_or_else(Made::Childless, |_| made) {
        Made::Cloned(pid, shared) => match Process::open(pid) {
            Ok(process) => Made::Born(process, shared),
            Err(error) => {
                process::end_child(pid);
                if let Some(shared) = shared {
                    shared.take_back().forget();
                    // What is made in its stead finds it as it was.
                    let _ = creds::set_dumpable(dumpable);
                }
                Made::Childless(error)
            }
        },
        made => made,
    }
}

fn help(slot: &mut Option<Box<Child>>, birthplace: &mut Birthplace) -> Made {
    let Some(child) = slot else { return Made::Lost };
    if let Err(failure) = child.run(Phase::Outside) {
        return Made::Failed(failure);
    }
    child.was_helped = true;
    if let Birthplace::Taken(take) = birthplace {
        match take(process::own_pid()) {
            // The parent's from now on, as this memory is.
            Ok(directory) => *birthplace = Birthplace::Directory(directory),
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
    let cgroup = birthplace.directory();
    // Those who are there already see the process from its birth on (CVE-2016-9962), so it is born with what it needs alone.
    // From here on, nothing that owns a descriptor may be dropped: the parent has it, too.
    let secluded = namespace::unshare_descriptors()
        .and_then(|()| child.close_all_but_own(cgroup.map(|directory| directory.as_raw_fd())));
    if let Err(error) = secluded {
        return Made::Childless(error);
    }
    match clone(slot, true, cgroup) {
        Made::Born(process, shared) => {
            let pid = process.pid;
            // The number means nothing in the parent.
            std::mem::forget(process);
            Made::Cloned(pid, shared)
        }
        made => made,
    }
}
