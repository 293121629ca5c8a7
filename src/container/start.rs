//! `start`: lets a created container become its program.

use super::notify::Relay;
use super::state::{Container, Status};
use super::{hooks, listener};
use crate::error::{Error, Result};
use crate::init::Message;
use crate::plan::{Entry, Origin, Phase, Step, hint};
use crate::sys::process::Strings;
use crate::sys::{self, Errno, socket};
use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd};

/// Starts a created container, and returns when its program runs.
pub fn start(container: &Container) -> Result<()> {
    match container.status() {
        Status::Created => {}
        Status::Creating => {
            return Err(Error::new("cannot start a container that is being created").remedy("wait until it is created"));
        }
        Status::Paused => {
            return Err(Error::new("cannot start a paused container")
                .remedy(format!("`rootlet resume {}` first", container.id)));
        }
        Status::Running => {
            return Err(Error::new("cannot start an already running container").remedy("see `rootlet list`"));
        }
        Status::Stopped => {
            return Err(Error::new("cannot start a container that has stopped")
                .remedy(format!("create it again after `rootlet delete {}`", container.id)));
        }
    }
    let state = container.state()?;
    let notify = Relay::open(&container.directory)?;
    let system = |error| Error::from_call("start.sock", error);
    let directory = sys::fd::open(&path(&container.directory)?, sys::fd::O_PATH, 0).map_err(system)?;
    let address = CString::new(format!("/proc/self/fd/{}/start.sock", directory.as_raw_fd())).unwrap_or_default();
    let connection = socket::connect(&address, socket::Kind::Packets).map_err(|error| match error.errno {
        Errno::ECONNREFUSED => Error::new("cannot start an already running container"),
        _ => system(error),
    })?;
    // Whoever connects first starts it; for the others it is running.
    let _ = std::fs::remove_file(container.start_socket());
    loop {
        match Message::receive(connection.as_fd()).map_err(system)? {
            Some((Message::Notify, fd)) => {
                listener::hand_over(state.listener.as_ref(), container, "created", fd)?;
                Message::Go.send(connection.as_fd(), None).map_err(system)?;
            }
            Some((Message::Fail { step, error }, _)) => return Err(explain(state, step, error)),
            _ => break,
        }
    }
    hooks::run_poststart(container)?;
    notify.map_or(Ok(()), |notify| notify.wait_until_ready(container))
}

fn path(path: &std::path::Path) -> Result<CString> {
    use std::os::unix::ffi::OsStrExt;
    CString::new(path.as_os_str().as_bytes()).map_err(|_| Error::new("--root has a NUL character"))
}

/// The plan is gone with its maker; its Last steps have left their names in the state.
fn explain(state: &super::State, step: u32, error: sys::Error) -> Error {
    let Some((_, name)) = state.last_steps.iter().find(|(index, _)| *index == step) else {
        return Error::from_call("start", error);
    };
    let (property, step) = match error.call {
        sys::Call::Execve => {
            let words = name.split_once(": ").map_or(name.as_str(), |(_, program)| program);
            let arguments = Strings::new(vec![CString::new(words).unwrap_or_default()]);
            let nothing = Strings::new(Vec::new());
            ("process.args", Step::Execute { candidates: Box::new([]), arguments, environment: nothing })
        }
        sys::Call::Seccomp => ("linux.seccomp", Step::InstallFilter { filter: Box::new([]), flags: 0 }),
        sys::Call::HookExit | sys::Call::HookTimeout => {
            return Error::in_config(name.clone(), format!("the {} failed", error.call.name()));
        }
        _ => return Error { errno: Some(error.errno), ..Error::in_config(name.clone(), error.call.name()) },
    };
    let origin = Origin { property, index: None };
    hint::explain(&Entry { phase: Phase::Last, origin, step, tolerate: &[] }, error, state.is_filtered)
}
