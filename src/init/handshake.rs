//! What parent and child say to each other, over one SEQPACKET socketpair. The death of either is the end of file for
//! the other.
//!
//! ```text
//!     parent                                  init
//! 1   clone3, or helper.rs
//! 2   Born steps (maps of several ids) ; Go -> only if there are Born steps
//!                                              Inside steps: mounts, devices, terminal
//!     <----------------------- Open(step)      only where the parent has other privileges, for each bind
//!     Go(fd) ------------------------------->  or Fail(step, error)
//!     <-------------------- Serve(step, fd)    only for each fuse mount: an opened /dev/fuse
//!     start its server ; Go ---------------->
//!     <------------------------- Console(fd)   only with a terminal and no console socket
//!     set it up ; Go ----------------------->
//! 3   <------------------------------- Hooks   only with prestart or createRuntime hooks, or network devices
//!     run them ; Hooked steps ; Go --------->
//!                                              Jailed steps: createContainer hooks, pivot_root, directory
//!                                              it lets go of all that leads outside
//!                                              Bare steps: user, capabilities, the executable
//! 4   <------------------------------- Ready   only for `create` and `run -d`, or with an early system call filter
//!     Go ----------------------------------->  for the former: then it listens on its own socket
//!       start: Go ; <---- Go                   `start` has the container, and no other has it
//!       exec: Enter ; <---- Namespace(kind, fd) ... Root(fd)
//!                                              what it is in: nobody may look it up in /proc
//! 5   end of file: it runs                     Last steps: system call filter, startContainer hooks, execve
//!
//! at any time: <--- Tolerated(step, error)     noted, and gone on
//!              <---- Fail(step, error)         the last word
//!              <---- Notify(fd)                the listener of a filter that was just installed
//!              hand it to the agent ; Go ---->
//! ```
//!
//! A foreground `run` of one mapped id without hooks has none of the round trips.

use crate::sys::{self, Call, Errno, socket};
use std::os::fd::{BorrowedFd, OwnedFd};

/// One message, in the order of the picture. 16 bytes on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message {
    /// The child may go on.
    Go,
    /// The terminal's master is attached.
    Console,
    /// The parent's hooks are due.
    Hooks,
    /// A step wants to have its source opened; the answer has it attached.
    Open {
        /// Index in [`crate::plan::Plan::entries`].
        step: u32,
    },
    /// A fuse file system wants its server; an opened /dev/fuse is attached.
    Serve {
        /// Index in [`crate::plan::Plan::entries`].
        step: u32,
    },
    /// The listener of a system call filter is attached.
    Notify,
    /// A step failed in a way that it tolerates.
    Tolerated {
        /// Index in [`crate::plan::Plan::entries`].
        step: u32,
        /// Why.
        error: sys::Error,
    },
    /// Everything but the start is done.
    Ready {
        /// The inode of its pid namespace, if it waits and nobody may look it up; else 0.
        namespace: u32,
    },
    /// Somebody wants to enter the namespaces of a container that waits for its start.
    Enter,
    /// One of them is attached.
    Namespace {
        /// CLONE_NEW*.
        kind: i32,
    },
    /// The container's root is attached.
    Root,
    /// A step failed, and the child is gone.
    Fail {
        /// Index in [`crate::plan::Plan::entries`].
        step: u32,
        /// Why.
        error: sys::Error,
        /// Of a hook: its status, or 128 + its signal.
        status: u16,
    },
}

const SIZE: usize = 16;

impl Message {
    /// Kind, call, status; number; errno; nothing.
    fn encode(self) -> [u8; SIZE] {
        let none = sys::Error::new(Call::Open, Errno::UnknownErrno);
        let (kind, number, error) = match self {
            Message::Go => (1, 0, none),
            Message::Console => (2, 0, none),
            Message::Hooks => (3, 0, none),
            Message::Tolerated { step, error } => (4, step, error),
            Message::Ready { namespace } => (5, namespace, none),
            Message::Fail { step, error, .. } => (6, step, error),
            Message::Serve { step } => (7, step, none),
            Message::Notify => (8, 0, none),
            Message::Enter => (9, 0, none),
            Message::Namespace { kind } => (10, kind as u32, none),
            Message::Root => (11, 0, none),
            Message::Open { step } => (12, step, none),
        };
        let ([n0, n1, n2, n3], [e0, e1, e2, e3]) = (number.to_ne_bytes(), (error.errno as i32).to_ne_bytes());
        let [s0, s1] = if let Message::Fail { status, .. } = self { status.to_ne_bytes() } else { [0, 0] };
        [kind, error.call as u8, s0, s1, n0, n1, n2, n3, e0, e1, e2, e3, 0, 0, 0, 0]
    }

    fn decode(bytes: [u8; SIZE]) -> Option<Message> {
        let [kind, call, s0, s1, n0, n1, n2, n3, e0, e1, e2, e3, ..] = bytes;
        let number = u32::from_ne_bytes([n0, n1, n2, n3]);
        let error = sys::Error::new(Call::from_number(call)?, Errno::from_raw(i32::from_ne_bytes([e0, e1, e2, e3])));
        Some(match kind {
            1 => Message::Go,
            2 => Message::Console,
            3 => Message::Hooks,
            4 => Message::Tolerated { step: number, error },
            5 => Message::Ready { namespace: number },
            6 => Message::Fail { step: number, error, status: u16::from_ne_bytes([s0, s1]) },
            7 => Message::Serve { step: number },
            8 => Message::Notify,
            9 => Message::Enter,
            10 => Message::Namespace { kind: number as i32 },
            11 => Message::Root,
            12 => Message::Open { step: number },
            _ => return None,
        })
    }

    /// Sends the message, with a descriptor if there is one to hand over.
    pub fn send(self, socket: BorrowedFd, attached: Option<BorrowedFd>) -> sys::Result<()> {
        socket::send(socket, &self.encode(), attached)
    }

    /// Receives one; `None` when the other side is gone.
    pub fn receive(socket: BorrowedFd) -> sys::Result<Option<(Message, Option<OwnedFd>)>> {
        let mut bytes = [0; SIZE];
        match socket::receive(socket, &mut bytes)? {
            (0, _) => Ok(None),
            (SIZE, attached) => {
                let message = Message::decode(bytes).ok_or(sys::Error::new(Call::Receive, Errno::EPROTO))?;
                Ok(Some((message, attached)))
            }
            _ => Err(sys::Error::new(Call::Receive, Errno::EPROTO)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_message_survives_the_wire() {
        let error = sys::Error::new(Call::MountSetattr, Errno::EPERM);
        let messages = [
            Message::Go,
            Message::Console,
            Message::Hooks,
            Message::Serve { step: 9 },
            Message::Notify,
            Message::Tolerated { step: 7, error },
            Message::Ready { namespace: 0xf000_0001 },
            Message::Enter,
            Message::Namespace { kind: 0x2000_0000 },
            Message::Root,
            Message::Open { step: 8 },
            Message::Fail { step: 70_000, error, status: 255 },
        ];
        for message in messages {
            assert_eq!(Message::decode(message.encode()), Some(message));
        }
        assert_eq!(Message::decode([99; SIZE]), None);
    }
}
