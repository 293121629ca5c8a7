//! The child: what the new process does from clone to execve.
//!
//! It may have been cloned while another thread held the allocator's lock, so it never allocates, formats or panics;
//! it follows the plan, says which step failed, and leaves by `_exit`. Debug builds prove it with a tripwire.

use super::handshake::Message;
use super::join::{self, Entrance};
use crate::plan::step::{NamespaceStep, ProgramStep, ResourceStep, Step};
use crate::plan::{CONSOLE, Entry, FIRST_JOIN, Join, Phase, Plan, Slots};
use crate::sys::process::Sharing;
use crate::sys::{self, Call, Errno, creds, fd, memory, namespace, process, socket, stamps};
use std::convert::Infallible;
use std::ffi::CStr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::rc::Rc;

/// When a program begins.
#[derive(Default)]
pub enum Beginning {
    /// When somebody connects to this socket.
    Later(OwnedFd),
    /// At once; it dies with its parent.
    #[default]
    Now,
    /// At once; it outlives its parent.
    Alone,
}

/// What the child is born with.
pub struct Child {
    pub plan: Rc<Plan>,
    pub socket: OwnedFd,
    /// When its program begins.
    pub start: Beginning,
    /// The container that it joins.
    pub container: Entrance,
    /// Whether a helper has gone ahead, and has run the steps of outside.
    pub was_helped: bool,
    /// Whether it is still to be moved into its cgroup.
    pub is_outside: bool,
    /// Where the terminal goes; without one, to the parent.
    pub console: Option<OwnedFd>,
    pub slots: Slots,
    /// Whether its memory is its maker's until its program begins.
    pub shares_memory: bool,
    /// Whether `start` is still to hear that only the program is left to come: who reaps this process may be somebody else, and then
    /// nothing tells an end before the program from one behind it.
    pub owes_word: bool,
    /// What it is in, while it waits for its start.
    pub namespaces: [Option<OwnedFd>; NAMESPACES.len()],
}

/// As in runc, whatever the caller's is. What is made in the root is made by it, and the program has it.
const UMASK: u32 = 0o022;

/// Between two tries of what the machine has no room for.
const RETRY_MILLISECONDS: i32 = 10;

/// How often the parent's word is waited for.
const TRIES: usize = 100;

/// Where a process finds the namespaces that it is in, from /proc/self/fd.
const NAMESPACES: [(&CStr, i32); 8] = [
    (c"../ns/user", namespace::CLONE_NEWUSER),
    (c"../ns/mnt", namespace::CLONE_NEWNS),
    (c"../ns/pid", namespace::CLONE_NEWPID),
    (c"../ns/ipc", namespace::CLONE_NEWIPC),
    (c"../ns/uts", namespace::CLONE_NEWUTS),
    (c"../ns/net", namespace::CLONE_NEWNET),
    (c"../ns/cgroup", namespace::CLONE_NEWCGROUP),
    (c"../ns/time", namespace::CLONE_NEWTIME),
];

/// What a process lives by that shares its maker's memory.
pub type Shared = Sharing<Box<Child>>;

/// A step that failed, by its index.
pub struct Failure {
    pub step: u32,
    pub error: sys::Error,
}

impl Child {
    /// Whether it may share its maker's memory until its program begins, as a copy costs more than all that it does with it: it makes no
    /// process of its own, all that it has is its socket and its container, and the end of the socket is its last word. Whoever is
    /// where it goes has no power over this memory, which belongs to the caller's user namespace (ptrace(2); `mm->user_ns`).
    /// (A time namespace wants memory of its own; whom the kernel ends for a limit of memory, it ends with all that share it, and
    /// oom_score_adj is the same for all of them.)
    pub fn may_share_memory(&self) -> bool {
        let plan = &self.plan;
        let wants_its_own = |entry: &Entry| {
            matches!(
                entry.step,
                Step::Program(ProgramStep::RunHook(_) | ProgramStep::LeaveInit { .. })
                    | Step::Namespace(NamespaceStep::Unshare { .. })
                    | Step::Resource(ResourceStep::SetOomScoreAdj { .. })
            )
        };
        let slots = &self.slots;
        let kinds = match (&plan.joins[..], &self.container) {
            ([], Entrance::None) => plan.namespaces,
            ([Join::Container { kinds }], Entrance::Process(_)) => *kinds,
            _ => 0,
        };
        matches!(self.start, Beginning::Now)
            && kinds & namespace::CLONE_NEWUSER != 0
            && plan.all_namespaces() & namespace::CLONE_NEWTIME == 0
            && !plan.waits_when_born()
            && !plan.is_filtered_early()
            && !plan.pauses()
            && !plan.entries.iter().any(wants_its_own)
            && !plan
                .cgroup
                .iter()
                .flat_map(|cgroup| &cgroup.settings)
                .any(|setting| setting.file.starts_with("memory."))
            && self.console.is_none()
            && slots.hook_output.is_none()
            && slots.image_output.is_none()
            && slots.trees.capacity() == 0
    }

    /// The descriptors of one that may share memory.
    pub fn descriptors(&self) -> [Option<RawFd>; 2] {
        let (container, _) = self.container.descriptors();
        [Some(&self.socket), container].map(|fd| fd.map(AsRawFd::as_raw_fd))
    }

    /// Takes one back that has shared this process's memory, and is gone: what it had open then was not this process's.
    pub fn forget(self) {
        let Child { plan, socket, start, container, console, slots, namespaces, .. } = self;
        drop(plan);
        std::mem::forget((socket, start, container, console, slots, namespaces));
    }

    /// Becomes the container.
    pub fn live(&mut self) -> ! {
        memory::forbid();
        let Err(failure) = self.follow_plan();
        self.fail(failure)
    }

    /// The last word.
    fn fail(&self, Failure { step, error }: Failure) -> ! {
        let _ = Message::Fail { step, error, status: self.slots.hook_status }.send(self.socket.as_fd(), None);
        sys::exit_now(1)
    }

    fn follow_plan(&mut self) -> Result<Infallible, Failure> {
        // What its maker had open, or its maker's caller, leads to the host's files.
        self.close_all_but_own(None).map_err(|error| self.lost(error))?;
        self.die_with_parent()?;
        creds::set_umask(UMASK);
        if self.plan.namespaces & namespace::CLONE_NEWUSER == 0 {
            // Whoever shares its pid namespace, and has as few capabilities, could trace it. In a user namespace of its own
            // it still has to write its maps: there it is a step.
            creds::set_dumpable(false).map_err(|error| self.lost(error))?;
        }
        join::enter_own(&self.plan.joins, &self.container)
            .map_err(|(join, error)| Failure { step: FIRST_JOIN | join as u32, error })?;
        if !self.was_helped {
            self.run(Phase::Outside)?;
        }
        if self.plan.waits_when_born() || self.is_outside {
            self.wait_for_go()?;
        }
        self.run(Phase::Inside)?;
        self.hand_terminal_over()?;
        if self.plan.pauses() {
            self.ask(Message::Hooks, None).map(drop)?;
        }
        self.run(Phase::Jailed)?;
        self.let_go()?;
        self.run(Phase::Bare)?;
        match std::mem::replace(&mut self.start, Beginning::Now) {
            Beginning::Later(start) => {
                self.wait_for_start(&start)?;
                self.owes_word = true;
            }
            start => {
                // A change of user has cleared it.
                self.die_with_parent()?;
                let is_alone = matches!(start, Beginning::Alone);
                if is_alone {
                    creds::die_with_parent(false).map_err(|error| self.lost(error))?;
                }
                // Its end without a word would look like an execve: a filter's doing, or where nobody asks how it ended.
                if self.plan.is_filtered_early() || is_alone {
                    self.tell(Message::Ready { namespace: 0 })?;
                }
            }
        }
        fd::prove_seclusion(self.first());
        self.run(Phase::Last)?;
        Err(self.lost(sys::Error::new(Call::Execve, Errno::ENOEXEC)))
    }

    pub fn run(&mut self, phase: Phase) -> Result<(), Failure> {
        (0..self.plan.entries.len()).try_for_each(|index| self.take_step(index, phase))
    }

    fn take_step(&mut self, index: usize, phase: Phase) -> Result<(), Failure> {
        let Some(entry) = self.plan.entries.get(index).filter(|entry| entry.phase == phase) else { return Ok(()) };
        if self.owes_word && phase == Phase::Last && !matches!(entry.step, Step::Program(ProgramStep::RunHook(_))) {
            self.owes_word = false;
            self.tell(Message::Ready { namespace: 0 })?;
        }
        let step = index as u32;
        stamps::stamp(index, false);
        if self.plan.opens_source_of(&entry.step) {
            // What it shows of the host's, opened by the parent.
            self.slots.source = self.ask(Message::Open { step }, None)?;
        }
        let done = entry.step.run(&mut self.slots);
        stamps::stamp(index, true);
        match done {
            Ok(()) => self.hand_over(step),
            Err(error) if entry.tolerate.contains(&error.errno) => self.tell(Message::Tolerated { step, error }),
            Err(error) => Err(Failure { step, error }),
        }
    }

    /// What a step has opened for somebody else.
    fn hand_over(&mut self, step: u32) -> Result<(), Failure> {
        if let Some(device) = self.slots.fuse.take() {
            self.ask(Message::Serve { step }, Some(device)).map(drop)?;
        }
        if std::mem::take(&mut self.slots.is_unconnected) {
            self.ask(Message::Serve { step }, None).map(drop)?;
        }
        if let Some(listener) = self.slots.listener.take() {
            match self.plan.is_audited {
                false => self.ask(Message::Notify, Some(listener)).map(drop)?,
                // Every call but these two waits for an answer that nobody gives yet.
                true => {
                    let sent = Message::Notify.send(self.socket.as_fd(), Some(listener.as_fd()));
                    sent.map_err(|error| self.lost(error))?;
                    self.wait_for_go()?;
                }
            }
        }
        Ok(())
    }

    /// Whoever made it and is killed before it is ready leaves nothing behind.
    fn die_with_parent(&self) -> Result<(), Failure> {
        creds::die_with_parent(true).map_err(|error| self.lost(error))?;
        match process::is_hung_up(self.socket.as_fd()) {
            Ok(true) => sys::exit_now(1),
            other => other.map(drop).map_err(|error| self.lost(error)),
        }
    }

    /// The first descriptor that is not the program's.
    fn first(&self) -> RawFd {
        self.plan.preserved_descriptors.saturating_add(3).try_into().unwrap_or(RawFd::MAX)
    }

    /// Closes all but what is the program's or this child's own; and a helper also keeps the `cgroup` for the clone.
    pub fn close_all_but_own(&self, cgroup: Option<RawFd>) -> sys::Result<()> {
        let start = match &self.start {
            Beginning::Later(start) => Some(start),
            _ => None,
        };
        let (container, entered) = self.container.descriptors();
        let slots = &self.slots;
        let own = || {
            let own = [Some(&self.socket), start, container, self.console.as_ref()];
            let left = [slots.hook_output.as_ref(), slots.image_output.as_ref(), slots.proc.as_ref()];
            let namespaces = self.namespaces.iter().map(Option::as_ref);
            let numbered = slots.trees.iter().map(|(_, fd)| fd).chain(entered.iter().map(|(_, fd)| fd));
            let all = own.into_iter().chain(left).chain(namespaces).flatten().chain(numbered);
            all.map(|fd| fd.as_raw_fd()).chain(cgroup)
        };
        if self.plan.preserved_descriptors > 0 {
            fd::close_own_below(self.first(), own)?;
        }
        fd::close_all_but(self.first(), own)
    }

    /// From here on, what the image's programs or the container's processes may look at leads nowhere: descriptors are closed
    /// and not only marked, as the kernel follows links to them while it looks for a `#!` line's interpreter (CVE-2024-21626),
    /// and the caller's environment and arguments are gone.
    fn let_go(&mut self) -> Result<(), Failure> {
        if let (Beginning::Later(_), Some(descriptors)) = (&self.start, &self.slots.descriptors)
            && self.plan.namespaces & namespace::CLONE_NEWUSER != 0
        {
            for (slot, (path, kind)) in self.namespaces.iter_mut().zip(NAMESPACES) {
                if self.plan.all_namespaces() & kind != 0 {
                    let opened = fd::open_at(descriptors.as_fd(), path, fd::O_RDONLY, 0);
                    *slot = Some(opened.map_err(|error| Failure { step: u32::MAX, error })?);
                }
            }
        }
        self.slots.let_go();
        std::mem::forget(std::mem::take(&mut self.container));
        if !self.shares_memory {
            memory::wipe_traces();
        }
        self.close_all_but_own(None).map_err(|error| self.lost(error))?;
        fd::prove_seclusion(self.first());
        Ok(())
    }

    fn wait_for_start(&mut self, start: &OwnedFd) -> Result<(), Failure> {
        if !self.plan.is_held {
            creds::die_with_parent(false).map_err(|error| self.lost(error))?;
        }
        let pids = self.namespaces.iter().zip(NAMESPACES).find(|(_, (_, kind))| *kind == namespace::CLONE_NEWPID);
        // Numbers of nsfs have 32 bits. Without one, whoever lists the processes looks into /proc.
        let namespace = match pids.and_then(|(pids, _)| pids.as_ref()) {
            Some(pids) => fd::status(pids.as_fd()).map_err(|error| self.lost(error))?.inode as u32,
            None => 0,
        };
        self.tell(Message::Ready { namespace })?;
        self.wait_for_go()?;
        loop {
            let Ok(caller) = socket::accept(start.as_fd()) else {
                // Whoever asked is gone, or the machine is short of something. It was created, and so it stays.
                process::sleep(RETRY_MILLISECONDS);
                continue;
            };
            match Message::receive(caller.as_fd()) {
                // Whoever is gone by now has not started it.
                Ok(Some((Message::Go, _))) if Message::Go.send(caller.as_fd(), None).is_ok() => {
                    self.socket = caller;
                    self.namespaces = Default::default();
                    return Ok(());
                }
                Ok(Some((Message::Enter, _))) => self.show_namespaces(caller.as_fd()),
                // Who asks may be gone before the answer.
                _ => {}
            }
        }
    }

    /// Hands over what /proc does not show of a process that cannot be traced. The end of file is the end.
    fn show_namespaces(&self, caller: BorrowedFd) {
        for (namespace, (_, kind)) in self.namespaces.iter().zip(NAMESPACES) {
            if let Some(namespace) = namespace {
                let _ = Message::Namespace { kind }.send(caller, Some(namespace.as_fd()));
            }
        }
        if let Ok(root) = fd::open(c"/", fd::O_PATH | fd::O_DIRECTORY, 0) {
            let _ = Message::Root.send(caller, Some(root.as_fd()));
        }
    }

    fn hand_terminal_over(&mut self) -> Result<(), Failure> {
        let Some(master) = self.slots.terminal_master.take() else { return Ok(()) };
        match self.console.take() {
            Some(console) => socket::send(console.as_fd(), b"/dev/ptmx", Some(master.as_fd()))
                .map_err(|error| Failure { step: CONSOLE, error }),
            // Nothing may be written to it before it is set up.
            None => self.ask(Message::Console, Some(master)).map(drop),
        }
    }

    fn tell(&self, message: Message) -> Result<(), Failure> {
        message.send(self.socket.as_fd(), None).map_err(|error| self.lost(error))
    }

    /// Tells the parent that it is its turn, and waits. The parent and its hooks may look this process up in /proc then;
    /// nobody else is there yet.
    fn ask(&self, message: Message, attached: Option<OwnedFd>) -> Result<Option<OwnedFd>, Failure> {
        let is_alone = self.plan.namespaces & namespace::CLONE_NEWUSER != 0 && self.plan.joins.is_empty();
        let is_looked_up =
            matches!(message, Message::Hooks | Message::Serve { .. } | Message::Open { .. } | Message::Notify);
        let show = |is_shown| match is_alone && is_looked_up {
            true => creds::set_dumpable(is_shown).map_err(|error| self.lost(error)),
            false => Ok(()),
        };
        show(true)?;
        message.send(self.socket.as_fd(), attached.as_ref().map(OwnedFd::as_fd)).map_err(|error| self.lost(error))?;
        drop(attached);
        let answer = self.wait_for_go()?;
        show(false).map(|()| answer)
    }

    /// Waits for the parent, and what it hands over; without it there is nothing to become.
    fn wait_for_go(&self) -> Result<Option<OwnedFd>, Failure> {
        let mut last = sys::Error::new(Call::Receive, Errno::EIO);
        for _ in 0..TRIES {
            match Message::receive(self.socket.as_fd()) {
                Ok(Some((Message::Go, attached))) => return Ok(attached),
                Ok(Some((Message::Fail { step, error, .. }, _))) => return Err(Failure { step, error }),
                Ok(_) => sys::exit_now(1),
                Err(error) => {
                    last = error;
                    process::sleep(RETRY_MILLISECONDS);
                }
            }
        }
        Err(self.lost(last))
    }

    /// A failure that belongs to no step.
    fn lost(&self, error: sys::Error) -> Failure {
        Failure { step: u32::MAX, error }
    }
}
