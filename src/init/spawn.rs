//! Making the container's process.

use super::child::{Beginning, Child, Failure, Shared};
use super::handshake::Message;
use super::helper::{self, Birthplace, Made};
use super::join::Entrance;
use crate::error::{Error, Result};
use crate::plan::step::trees::open_mapped;
use crate::plan::step::{MountStep, Step};
use crate::plan::{Phase, Place, Plan, Slots, circumstances, hint, print};
use crate::sys::process::{Ended, Process};
use crate::sys::{self, Call, Errno, creds, fd, process, sched, signal, socket};
use std::cell::{Cell, OnceCell};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;

/// How long the end of a child that has closed its socket may take.
const PATIENCE_MILLISECONDS: i32 = 10_000;

/// RLIMIT_STACK, and what is surely enough of it.
const STACK: u32 = 3;
const SMALL_STACK: u64 = 256 << 10;

/// What the child takes along.
#[derive(Default)]
pub struct Equipment<'a> {
    /// When its program begins.
    pub start: Beginning,
    /// The container that it joins.
    pub container: Entrance,
    /// The cgroup that it is born in.
    pub cgroup: Birthplace<'a>,
    /// Where its terminal goes; without one, to the parent.
    pub console: Option<OwnedFd>,
    /// What earlier steps have left for it.
    pub slots: Slots,
}

/// The container's process, as its parent sees it.
pub struct Handle {
    /// The process that was made.
    pub process: Process,
    /// The handshake.
    pub socket: OwnedFd,
    /// Whether it waits when it is born.
    waits: bool,
    /// What it sees as the root of all.
    root: OnceCell<OwnedFd>,
    /// What it lives by while it shares this process's memory; and whether that was dumpable before.
    shared: Cell<Option<(Shared, bool)>>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        let shared = self.shared.take();
        if shared.is_some() {
            // It has not come to its program.
            self.process.end();
            self.shared.set(shared);
            self.take_memory_back();
        }
    }
}

/// Runs the Host steps; what they leave is for the child.
/// Hooks in the container write to `outputs`, those of the host's to the first.
pub fn prepare(plan: &Plan, outputs: [Option<OwnedFd>; 2]) -> Result<Slots> {
    let [hook_output, image_output] = outputs;
    // What the child keeps there finds its room made.
    let trees = plan
        .entries
        .iter()
        .filter(|entry| matches!(entry.mount_step(), Some(MountStep::MakeTree(tree)) if tree.number.is_some()));
    let mut slots = Slots { hook_output, image_output, trees: Vec::with_capacity(trees.count()), ..Slots::default() };
    run_steps(plan, Phase::Host, &mut slots).map(|()| slots)
}

fn run_steps(plan: &Plan, phase: Phase, slots: &mut Slots) -> Result<()> {
    let steps = plan.entries.iter().enumerate().filter(|(_, entry)| entry.phase == phase);
    for (index, entry) in steps {
        entry.step.run(slots).map_err(|error| plan.blame(index, error))?;
    }
    Ok(())
}

/// Clones the container's process, which follows `plan` at once.
pub fn spawn(plan: &Rc<Plan>, equipment: Equipment) -> Result<Handle> {
    let system = |error| Error::from_call("container", error);
    let (socket, theirs) = socket::pair().map_err(system)?;
    let Equipment { start, container, mut cgroup, console, slots } = equipment;
    let (was_helped, is_outside, shares_memory, owes_word, namespaces) =
        (false, false, false, false, Default::default());
    let plan = Rc::clone(plan);
    let mut child = Box::new(Child {
        plan,
        socket: theirs,
        start,
        container,
        was_helped,
        is_outside,
        console,
        slots,
        shares_memory,
        owes_word,
        namespaces,
    });
    let plan = Rc::clone(&child.plan);
    let dumpable = creds::is_dumpable().map_err(system)?;
    child.shares_memory = child.may_share_memory()
        && match &cgroup {
            Birthplace::Same => true,
            // What limits the cgroup of a container has is not known to who goes there.
            Birthplace::Directory(_) => plan.joins.is_empty(),
            Birthplace::Taken(_) => false,
        };
    let descriptors = child.descriptors();
    let mut child = Some(child);
    let mut made = make(&mut child, &mut cgroup);
    if let (
        Birthplace::Directory(directory),
        Made::Childless(sys::Error { call: Call::Clone | Call::Fork, errno: Errno::ENOSYS | Errno::EPERM }),
    ) = (&cgroup, &made)
    {
        // No clone3 here (Docker's seccomp profile): it is moved when it is there.
        if let Some(child) = &mut child {
            child.is_outside = true;
        }
        made = make(&mut child, &mut Birthplace::Same);
        if let Made::Born(process, _) = &made {
            let name = fd::Name::of_number(process.pid);
            if let Err(error) = fd::write_file(directory.as_fd(), c"cgroup.procs", name.as_cstr().to_bytes()) {
                process.end();
                return Err(Error::from_call("the container's cgroup", error));
            }
        }
    }
    match made {
        // The parent's copy of the child's end goes with `child`: it would hide the child's death.
        Made::Born(process, None) => {
            let waits = plan.waits_when_born() || child.is_some_and(|child| child.is_outside);
            Ok(Handle { process, socket, waits, root: OnceCell::new(), shared: Cell::default() })
        }
        Made::Born(process, Some(shared)) => {
            // The child is not the parent's to drop meanwhile.
            descriptors.into_iter().flatten().for_each(fd::close);
            let shared = Cell::new(Some((shared, dumpable)));
            Ok(Handle { process, socket, waits: false, root: OnceCell::new(), shared })
        }
        made => Err(explain_unmade(&plan, made)),
    }
}

fn make(child: &mut Option<Box<Child>>, birthplace: &mut Birthplace) -> Made {
    let joins = child.as_ref().is_some_and(|child| !child.plan.joins.is_empty());
    match joins || matches!(birthplace, Birthplace::Taken(_)) {
        true => helper::go_and_clone(child, birthplace),
        false => helper::clone(child, false, birthplace.directory()),
    }
}

fn explain(plan: &Plan, errno: Errno) -> Error {
    // The plan of `exec` has none of its own: the container's is joined.
    let has_cgroup = plan.cgroup.as_ref().is_none_or(|cgroup| cgroup.place != Place::None);
    if errno == Errno::EACCES && has_cgroup {
        return Error { errno: Some(errno), ..Error::new("the container's cgroup: no process can be born there") }
            .because("you must be allowed to move processes from your own cgroup to it (cgroups(7), delegation containment)")
            .remedy("run this from within the unit or session that the container is in, as `systemd-run --user --scope` does");
    }
    if plan.namespaces == 0 {
        let error = Error::from_call("a new process", sys::Error::new(Call::Clone, errno));
        return match errno {
            Errno::EAGAIN => error
                .because("you, or a cgroup around, may have no more processes (RLIMIT_NPROC, pids.max)")
                .remedy("end some, or raise the limit"),
            // pid_namespaces(7).
            Errno::ENOMEM => error
                .because("the first process of the pid namespace has ended, or memory is short")
                .remedy("see `rootlet list`, and `dmesg`"),
            _ => error,
        };
    }
    let names: Vec<_> = print::namespace_names(plan.namespaces).collect();
    circumstances::explain_clone(&names.join(", "), errno)
}

fn explain_unmade(plan: &Plan, made: Made) -> Error {
    match made {
        Made::NotTaken(error) => error,
        Made::Failed(Failure { step, error }) => plan.blame(step as usize, error),
        Made::Refused(index, error) => match plan.joins.get(index) {
            Some(join) => hint::explain_join(join, error),
            None => hint::explain_entry(error),
        },
        Made::Childless(error) if matches!(error.call, Call::Clone | Call::Fork) => explain(plan, error.errno),
        Made::Childless(error) => Error::from_call("the process that is to be made", error),
        Made::Lost | Made::Cloned(..) | Made::Born(..) => {
            Error::new("the helper that makes the process ended without a word")
        }
    }
}

impl Handle {
    /// Runs the Born steps for the waiting child, and lets it go on.
    pub fn run_born_steps(&self, plan: &Plan) -> Result<()> {
        if !self.waits {
            return Ok(());
        }
        self.run_steps(plan, Phase::Born)?;
        self.go()
    }

    /// Runs steps of the parent that are about the child.
    pub fn run_steps(&self, plan: &Plan, phase: Phase) -> Result<()> {
        let process = self.process.duplicate().map_err(|error| Error::from_call("container", error))?;
        run_steps(plan, phase, &mut Slots { process: Some(process), ..Slots::default() })
    }

    /// Opens what a step of the child's names, with the caller's privileges.
    pub fn open_source(&self, plan: &Plan, step: u32) -> Result<()> {
        let opened = match plan.entries.get(step as usize).map(|entry| &entry.step) {
            Some(Step::Mount(MountStep::Attach(attach))) => open_mapped(&attach.mapped, Some(&self.process)).map(Some),
            Some(Step::Mount(step)) => match self.root() {
                // Out of reach: the child does what it can.
                Err(sys::Error { errno: Errno::EACCES | Errno::EPERM | Errno::ESRCH, .. }) => Ok(None),
                root => root.and_then(|root| step.open_source(root)).map(Some),
            },
            _ => Err(sys::Error::new(Call::Receive, Errno::EPROTO)),
        };
        match opened {
            Ok(source) => self.send(Message::Go, source.as_ref().map(AsFd::as_fd)),
            Err(error) => self.send(Message::Fail { step, error, status: 0 }, None),
        }
    }

    /// The root that the child sees: the host's, until it is in its own.
    fn root(&self) -> sys::Result<BorrowedFd<'_>> {
        if self.root.get().is_none() {
            let process = self.process.directory()?;
            let _ = self.root.set(fd::open_at(process.as_fd(), c"root", fd::O_PATH | fd::O_DIRECTORY, 0)?);
        }
        self.root.get().map(AsFd::as_fd).ok_or(sys::Error::new(Call::Open, Errno::EBADF))
    }

    /// Lets the waiting child go on.
    pub fn go(&self) -> Result<()> {
        self.send(Message::Go, None)
    }

    fn send(&self, message: Message, attached: Option<BorrowedFd>) -> Result<()> {
        message.send(self.socket.as_fd(), attached).map_err(|error| match error.errno {
            Errno::EPIPE | Errno::ECONNRESET => self.death(),
            _ => Error::from_call("container", error),
        })
    }

    /// The next message; `None` when the child has closed its end, by execve or by death.
    pub fn receive(&self) -> Result<Option<(Message, Option<OwnedFd>)>> {
        let received = Message::receive(self.socket.as_fd()).map_err(|error| Error::from_call("container", error))?;
        if received.is_none() {
            self.take_memory_back();
        }
        Ok(received)
    }

    /// Once the child is at its program, or gone.
    fn take_memory_back(&self) {
        if let Some((sharing, dumpable)) = self.shared.take() {
            sharing.take_back().forget();
            // It belongs to the memory. What this process was before, it may be again.
            let _ = creds::set_dumpable(dumpable);
        }
    }

    /// How the child ended, where it should have lived.
    pub fn death(&self) -> Error {
        // It has closed its end, and so it is about to end.
        match process::wait_readable(self.process.pidfd.as_fd(), PATIENCE_MILLISECONDS) {
            Ok(true) => {}
            Ok(false) => return Error::new("the container's process has fallen silent while it was created"),
            Err(error) => return Error::from_call("the container's process, which has fallen silent", error),
        }
        match process::wait(self.process.pid, true) {
            Err(error) => Error::from_call("the container's process, which ended while it was created", error),
            Ok(Some(Ended::Signaled(signal::SIGSYS))) => Error::in_config(
                "linux.seccomp",
                "the container's process was ended by SIGSYS while it was created",
            )
            .because(
                "the filter forbids a system call that rootlet itself still needs, as process.noNewPrivileges is false",
            )
            .remedy("set process.noNewPrivileges to true: then the filter comes last"),
            Ok(Some(Ended::Signaled(number))) => {
                let error =
                    Error::new(format!("the container's process was ended by signal {number} while it was created"));
                let stack =
                    sched::limit(STACK).ok().filter(|limit| number == signal::SIGSEGV && limit.soft < SMALL_STACK);
                match stack {
                    Some(limit) => error
                        .because(format!("RLIMIT_STACK is {} KiB, which is little", limit.soft >> 10))
                        .remedy("raise it: `ulimit -s 8192`"),
                    None => error.because("it ran out of memory, or somebody killed it").remedy("see `dmesg`"),
                }
            }
            Ok(Some(Ended::Exited(status))) => {
                Error::new(format!("the container's process ended with status {status} while it was created"))
            }
            Ok(None) => Error::new("the container's process ended while it was created"),
        }
    }
}
