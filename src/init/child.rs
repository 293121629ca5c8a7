//! The child: what the new process does from clone to execve.
//!
//! It may have been cloned while another thread held the allocator's lock, so it never allocates, formats or panics;
//! it follows the plan, says which step failed, and leaves by `_exit`. Debug builds prove it with a tripwire.

use super::handshake::Message;
use super::helper;
use super::spawn::Beginning;
use crate::plan::{Phase, Plan, Slots};
use crate::sys::{self, Call, Errno, creds, fd, memory, namespace, process, socket};
use std::convert::Infallible;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};

/// What the child is born with.
pub struct Child<'a> {
    pub plan: &'a Plan,
    pub socket: OwnedFd,
    /// When its program begins.
    pub start: Beginning,
    /// The container that it joins.
    pub container: Option<OwnedFd>,
    /// The lock of the container's state, which it inherits and must not keep.
    pub lock: Option<RawFd>,
    /// Whether a helper has gone ahead, and has run the steps of outside.
    pub was_helped: bool,
    /// Whether it is still to be moved into its cgroup.
    pub is_outside: bool,
    /// Where the terminal goes; without one, to the parent.
    pub console: Option<OwnedFd>,
    pub slots: Slots,
}

/// A step that failed, by its index.
pub struct Failure {
    pub step: u32,
    pub error: sys::Error,
}

impl Child<'_> {
    /// Becomes the container.
    pub fn live(&mut self) -> ! {
        memory::forbid();
        let Err(failure) = self.follow_plan();
        self.fail(failure)
    }

    /// The last word.
    fn fail(&self, Failure { step, error }: Failure) -> ! {
        let _ = Message::Fail { step, error }.send(self.socket.as_fd(), None);
        process::exit_now(1)
    }

    fn follow_plan(&mut self) -> Result<Infallible, Failure> {
        self.die_with_parent()?;
        if let Some(lock) = self.lock {
            // It is its maker's alone; and it leads to the host's files.
            fd::close(lock);
        }
        if self.plan.namespaces & namespace::CLONE_NEWUSER == 0 {
            // Whoever shares its pid namespace, and has as few capabilities, could trace it. In a user namespace of its own
            // it still has to write its maps.
            creds::set_dumpable(false).map_err(|error| self.lost(error))?;
        }
        helper::join_own(self).map_err(|error| self.lost(error))?;
        if !self.was_helped {
            self.run(Phase::Outside)?;
        }
        if self.plan.waits_when_born() || self.is_outside {
            self.wait_for_go()?;
        }
        self.run(Phase::Inside)?;
        self.hand_terminal_over()?;
        if self.plan.pauses() {
            self.tell(Message::Hooks)?;
            self.wait_for_go()?;
        }
        self.run(Phase::Jailed)?;
        match std::mem::replace(&mut self.start, Beginning::Now) {
            Beginning::Later(start) => self.wait_for_start(start.as_fd())?,
            start => {
                match start {
                    Beginning::Alone => {
                        self.die_with_parent()?;
                        creds::die_with_parent(false).map_err(|error| self.lost(error))?;
                    }
                    // A change of user has cleared it.
                    _ => self.die_with_parent()?,
                }
                // A filter may end it without a word, which would look like an execve.
                if self.plan.is_filtered_early() {
                    self.tell(Message::Ready)?;
                }
            }
        }
        self.run(Phase::Last)?;
        Err(self.lost(sys::Error::new(Call::Execve, Errno::ENOEXEC)))
    }

    pub fn run(&mut self, phase: Phase) -> Result<(), Failure> {
        for (step, entry) in (0..).zip(&self.plan.entries) {
            if entry.phase != phase {
                continue;
            }
            match entry.step.run(&mut self.slots) {
                Ok(()) => self.hand_over(step)?,
                Err(error) if entry.tolerate.contains(&error.errno) => self.tell(Message::Tolerated { step, error })?,
                Err(error) => return Err(Failure { step, error }),
            }
        }
        Ok(())
    }

    /// What a step has opened for somebody else.
    fn hand_over(&mut self, step: u32) -> Result<(), Failure> {
        if let Some(device) = self.slots.fuse.take() {
            self.tell_with(Message::Serve { step }, device)?;
        }
        if let Some(listener) = self.slots.listener.take() {
            self.tell_with(Message::Notify, listener)?;
        }
        Ok(())
    }

    /// Whoever made it and is killed before it is ready leaves nothing behind.
    fn die_with_parent(&self) -> Result<(), Failure> {
        creds::die_with_parent(true).map_err(|error| self.lost(error))?;
        if process::is_hung_up(self.socket.as_fd()) {
            process::exit_now(1);
        }
        Ok(())
    }

    fn wait_for_start(&mut self, start: BorrowedFd) -> Result<(), Failure> {
        creds::die_with_parent(false).map_err(|error| self.lost(error))?;
        self.tell(Message::Ready)?;
        self.wait_for_go()?;
        self.socket = socket::accept(start).map_err(|error| self.lost(error))?;
        Ok(())
    }

    fn hand_terminal_over(&mut self) -> Result<(), Failure> {
        let Some(master) = self.slots.terminal_master.take() else { return Ok(()) };
        let sent = match self.console.take() {
            Some(console) => socket::send(console.as_fd(), b"/dev/ptmx", Some(master.as_fd())),
            None => Message::Console.send(self.socket.as_fd(), Some(master.as_fd())),
        };
        sent.map_err(|error| self.lost(error))
    }

    fn tell(&self, message: Message) -> Result<(), Failure> {
        message.send(self.socket.as_fd(), None).map_err(|error| self.lost(error))
    }

    fn tell_with(&self, message: Message, attached: OwnedFd) -> Result<(), Failure> {
        message.send(self.socket.as_fd(), Some(attached.as_fd())).map_err(|error| self.lost(error))?;
        drop(attached);
        self.wait_for_go()
    }

    /// Waits for the parent; without it there is nothing to become.
    fn wait_for_go(&self) -> Result<(), Failure> {
        match Message::receive(self.socket.as_fd()) {
            Ok(Some((Message::Go, _))) => Ok(()),
            _ => process::exit_now(1),
        }
    }

    /// A failure that belongs to no step.
    fn lost(&self, error: sys::Error) -> Failure {
        Failure { step: u32::MAX, error }
    }
}
