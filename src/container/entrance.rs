//! How a container is entered and looked into from outside: by its first process, or, while that waits for its start and
//! nobody may look it up in /proc, by what it hands over itself.

use super::state::Container;
use super::state::directory::START;
use crate::error::{Error, Result};
use crate::init::{Entrance, Message};
use crate::sys::{self, Errno, process, socket};
use std::ffi::CStr;
use std::os::fd::{AsFd, OwnedFd};

/// How long a container may take to answer.
const PATIENCE_MILLISECONDS: i32 = 10_000;

/// What a waiting container hands over.
#[derive(Debug, Default)]
pub struct Handed {
    /// CLONE_NEW* of what it does not share with its maker; none if /proc shows them all the same.
    namespaces: Vec<(i32, OwnedFd)>,
    /// Root directory of the container.
    pub root: Option<OwnedFd>,
}

impl Handed {
    /// How the container is entered; `process` is its first one.
    pub fn into_entrance(self, process: OwnedFd) -> Entrance {
        match self.namespaces.is_empty() {
            true => Entrance::Process(process),
            false => Entrance::Namespaces(self.namespaces),
        }
    }
}

/// The socket that a created container listens on; `None` if it does not, any more.
pub fn connect(container: &Container) -> Result<Option<OwnedFd>> {
    at_socket(container, |address| match socket::connect(address, socket::Kind::Packets) {
        Err(error) if matches!(error.errno, Errno::ECONNREFUSED | Errno::ENOENT) => Ok(Some(None)),
        // It has not looked at those who came before.
        Err(error) if error.errno == Errno::EAGAIN => Ok(None),
        other => other.map(Some).map(Some),
    })?
    .ok_or_else(|| does_not_answer(container))
}

fn does_not_answer(container: &Container) -> Error {
    Error::new(format!("container {:?} does not answer", container.id))
        .because("it waits for its start, but its first process is stopped or frozen, or may open no descriptor")
        .remedy(format!("let it go on: `rootlet resume {0}`, or `rootlet kill {0} CONT`", container.id))
}

/// Whether it waits for its start: the socket may be left by a `start` that was killed.
pub fn is_waiting(container: &Container) -> Result<bool> {
    at_socket(container, |address| socket::is_listening(address, socket::Kind::Packets))
}

fn at_socket<T>(container: &Container, call: impl FnOnce(&CStr) -> sys::Result<T>) -> Result<T> {
    let system = |error| Error::from_call("start.sock", error);
    call(&container.directory.address(START)).map_err(system)
}

/// Waits for a word of a container that is waiting for just this, unless somebody has stopped it.
pub fn wait_for_answer(container: &Container, connection: &OwnedFd) -> Result<()> {
    let answers = process::wait_readable(connection.as_fd(), PATIENCE_MILLISECONDS);
    if answers.map_err(|error| Error::from_call("start.sock", error))? {
        return Ok(());
    }
    Err(does_not_answer(container))
}

/// Asks a container for what it is in. One that has started by now hands over nothing.
pub fn ask(container: &Container) -> Result<Handed> {
    let mut handed = Handed::default();
    if !container.is_waiting() {
        return Ok(handed);
    }
    let Some(connection) = connect(container)? else { return Ok(handed) };
    let system = |error| Error::from_call("start.sock", error);
    match Message::Enter.send(connection.as_fd(), None) {
        Err(error) if matches!(error.errno, Errno::EPIPE | Errno::ECONNRESET) => return Ok(handed),
        other => other.map_err(system)?,
    }
    loop {
        wait_for_answer(container, &connection)?;
        match Message::receive(connection.as_fd()).map_err(system)? {
            Some((Message::Namespace { kind }, Some(namespace))) => handed.namespaces.push((kind, namespace)),
            Some((Message::Root, root)) => handed.root = root,
            Some(_) => return Err(Error::new("start.sock: not a word of a container's")),
            None => return Ok(handed),
        }
    }
}
