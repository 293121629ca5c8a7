//! systemd's notifications (sd_notify(3)). Who manages a unit believes only the unit's own processes, so the program gets
//! a socket of rootlet's, and what it says there is passed on in rootlet's name.

use crate::container::interrupt::{self, Interrupt};
use crate::container::state::Container;
use crate::container::state::directory::{Directory, NOTIFY};
use crate::error::{Error, Result};
use crate::log::Log;
use crate::sys::process::wait_readable;
use crate::sys::tty::{self, Event};
use crate::sys::{creds, fd, socket};
use std::os::fd::{AsFd, AsRawFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long the manager may take to make room for a message.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long nothing is tried after a failure.
const PAUSE: Duration = Duration::from_millis(100);

/// What of the program's words is passed on. Its pid means nothing outside, and descriptors stay where they are.
const PASSED_ON: [&str; 8] =
    ["READY", "STATUS", "RELOADING", "STOPPING", "ERRNO", "WATCHDOG", "EXTEND_TIMEOUT_USEC", "MONOTONIC_USEC"];

/// How long systemd may take to look who has spoken, as in sd_notify_barrier(3).
const BARRIER_MILLISECONDS: i32 = 30_000;

/// The program's socket, and the manager's.
#[derive(Debug)]
pub struct Relay {
    program: UnixDatagram,
    manager: UnixDatagram,
    to: SocketAddr,
}

/// The directory that the container gets to see, in that of its state.
pub fn directory(directory: &Path) -> PathBuf {
    directory.join(NOTIFY)
}

/// Makes the directory of the socket, where whoever the program is can get to it.
pub fn make_directory(directory: &Path) -> Result<()> {
    // Whoever the program is must get there; only the state's own directory is nobody else's.
    std::fs::create_dir(directory)
        .and_then(|()| std::fs::set_permissions(directory, std::fs::Permissions::from_mode(0o755)))
        .map_err(|error| Error::from_io(format!("cannot make {}", directory.display()), &error))
}

/// A connection to the caller's manager. One that cannot be reached hears nothing: the variable may be somebody else's, who has
/// left it in the environment.
pub fn manager(log: &Log) -> Option<(UnixDatagram, SocketAddr)> {
    let address = std::env::var_os("NOTIFY_SOCKET").filter(|address| !address.is_empty())?;
    let connect = || {
        let socket = UnixDatagram::unbound()?;
        let to = match address.as_bytes() {
            [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
            _ => SocketAddr::from_pathname(&address)?,
        };
        socket.connect_addr(&to)?;
        socket.set_write_timeout(Some(PATIENCE)).map(|()| (socket, to))
    };
    let failed = |error| {
        Error::from_io(format!("NOTIFY_SOCKET {} cannot be reached", address.display()), &error)
            .because("nobody will hear when the program is ready")
    };
    connect().map_err(|error| log.warn(&failed(error))).ok()
}

impl Relay {
    /// Listens where the program will speak; `None` if nobody wants to hear it.
    pub fn open(container: &Directory, log: &Log) -> Result<Option<Relay>> {
        if !container.has(NOTIFY)? {
            return Ok(None);
        }
        let Some((manager, to)) = manager(log) else { return Ok(None) };
        let failed = |what: &str| {
            let what = format!("NOTIFY_SOCKET: cannot {what}");
            move |error: std::io::Error| Error::from_io(what, &error)
        };
        // An address has room for 107 bytes, and a directory's path may be longer.
        let handle = container.open_file(NOTIFY, fd::O_PATH).map_err(|error| Error::from_call(NOTIFY, error))?;
        let name = format!("/proc/self/fd/{}/notify.sock", handle.as_raw_fd());
        let _ = std::fs::remove_file(&name);
        // Whoever the program is in the container may write to it, from its making on: changed later, by its name, the mode could
        // be another file's.
        let umask = creds::set_umask(0);
        let program = UnixDatagram::bind(&name);
        creds::set_umask(umask);
        let program = program.map_err(failed("listen"))?;
        Ok(Some(Relay { program, manager, to }))
    }

    /// Passes everything on, beside the caller and to its end.
    pub fn run_beside(self) -> Result<()> {
        let started = std::thread::Builder::new().spawn(move || {
            loop {
                if self.pass_on(None).is_err() {
                    // The next word may be heard again, by a manager that was started anew.
                    std::thread::sleep(PAUSE);
                }
            }
        });
        started.map(drop).map_err(|error| Error::from_io("NOTIFY_SOCKET: cannot start a thread", &error))
    }

    /// Waits until the program is ready, or has ended, and makes it the unit's main process.
    pub fn wait_until_ready(&self, container: &Container, interrupt: &Interrupt) -> Result<()> {
        let system = |error| Error::from_call("NOTIFY_SOCKET", error);
        // As runc: its end is the manager's to judge.
        let Some(pidfd) = container.pidfd()? else { return Ok(()) };
        let pid = container.state()?.pid;
        loop {
            let interruption = interrupt.event();
            let [is_interrupted, spoken, has_ended] = tty::wait_for_any([
                interruption,
                Event::Readable(self.program.as_fd()),
                Event::Readable(pidfd.as_fd()),
            ])
            .map_err(system)?;
            if is_interrupted {
                return Err(interrupt::ended());
            }
            if spoken && self.pass_on(Some(pid))? {
                return self.wait_until_heard();
            }
            if has_ended && !spoken {
                return Ok(());
            }
        }
    }

    /// Passes one message on; true if the program is ready now.
    fn pass_on(&self, main: Option<i32>) -> Result<bool> {
        let failed = |error: std::io::Error| Error::from_io("NOTIFY_SOCKET: cannot pass a message on", &error);
        // As much as a datagram of systemd's has room for.
        let mut buffer = [0; 65536];
        let length = self.program.recv(&mut buffer).map_err(failed)?;
        let text = String::from_utf8_lossy(buffer.get(..length).unwrap_or_default());
        let is_known = |line: &&str| line.split_once('=').is_some_and(|(name, _)| PASSED_ON.contains(&name));
        // systemd takes a carriage return for the end of a line, too, and NUL for that of the text.
        let lines = text.split(['\n', '\r', '\0']);
        let mut lines: Vec<_> = lines.filter(is_known).map(str::to_owned).collect();
        let is_ready = lines.iter().any(|line| line == "READY=1");
        if let Some(pid) = main.filter(|_| is_ready) {
            lines.insert(0, format!("MAINPID={pid}"));
        }
        if !lines.is_empty() {
            let words = lines.join("\n");
            let again = |_| self.manager.connect_addr(&self.to).and_then(|()| self.manager.send(words.as_bytes()));
            self.manager.send(words.as_bytes()).or_else(again).map_err(failed)?;
        }
        Ok(is_ready)
    }

    /// The manager must look who has spoken before this process is gone (sd_notify_barrier(3)).
    fn wait_until_heard(&self) -> Result<()> {
        let system = |error| Error::from_call("NOTIFY_SOCKET", error);
        let (end, barrier) = std::io::pipe().map_err(|error| Error::from_io("NOTIFY_SOCKET: pipe", &error))?;
        socket::send(self.manager.as_fd(), b"BARRIER=1", Some(barrier.as_fd())).map_err(system)?;
        drop(barrier);
        wait_readable(end.as_fd(), BARRIER_MILLISECONDS).map(drop).map_err(system)
    }
}
