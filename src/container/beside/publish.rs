//! What callers get besides the state: the pid file, the pidfd, the sockets.

use crate::container::state::directory::{Directory, START, c_path};
use crate::error::{Error, Result, found};
use crate::sys::process::Process;
use crate::sys::{self, Errno, creds, fd, socket};
use std::ffi::CString;
use std::io::Write;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// How many names a draft is tried by.
const DRAFTS: usize = 100;

/// Who wants to hear of a process.
#[derive(Debug)]
pub struct Audience {
    pid_file: Option<PathBuf>,
    socket: Option<(PathBuf, OwnedFd)>,
}

impl Audience {
    /// Finds the pid file and the socket, before there is anything to tell: a program is not to run if nobody would hear of it.
    pub fn find(pid_file: Option<&Path>, socket: Option<&Path>) -> Result<Audience> {
        pid_file.map_or(Ok(()), check_pid_file)?;
        let socket = socket.map(|path| Ok((path.to_owned(), connect(path)?))).transpose()?;
        Ok(Audience { pid_file: pid_file.map(Path::to_owned), socket })
    }

    /// Sends the pidfd, with the pid as its text, and writes the pid file.
    pub fn tell(&self, process: &Process) -> Result<()> {
        if let Some((path, socket)) = &self.socket {
            socket::send(socket.as_fd(), process.pid.to_string().as_bytes(), Some(process.pidfd.as_fd()))
                .map_err(|error| Error::from_call(path.display(), error))?;
        }
        self.pid_file.as_deref().map_or(Ok(()), |path| write_pid_file(path, process.pid))
    }
}

fn cannot_write(path: &Path, error: &std::io::Error) -> Error {
    Error::from_io(format!("cannot write the pid file {}", path.display()), error)
        .remedy("correct --pid-file, or make room there")
}

fn check_pid_file(path: &Path) -> Result<()> {
    if path.file_name().is_none() {
        return Err(Error::new(format!("--pid-file {} is not a file", path.display())).remedy("correct --pid-file"));
    }
    // /dev/null, or a fifo, would be replaced by a file.
    let there = found(path.symlink_metadata()).map_err(|error| cannot_write(path, &error))?;
    if there.as_ref().is_some_and(|metadata| !metadata.is_file()) {
        return Err(Error::new(format!("--pid-file {} is there, and is no file", path.display()))
            .remedy("name a file that is missing, or may be replaced"));
    }
    let owner = there.as_ref().map(MetadataExt::uid);
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let failed = |errno: Errno| cannot_write(path, &std::io::Error::from_raw_os_error(errno as i32));
    fd::check_writable(&c_path(directory)).map_err(|error| failed(error.errno))?;
    // inode(7): in a sticky directory, only their owner replaces files, and who has the directory.
    const STICKY: u32 = 0o1000;
    let (own, metadata) = (creds::effective_uid(), directory.metadata().map_err(|error| cannot_write(path, &error))?);
    let may_replace =
        own == 0 || metadata.mode() & STICKY == 0 || metadata.uid() == own || owner.is_none_or(|owner| owner == own);
    if may_replace { Ok(()) } else { Err(failed(Errno::EPERM)) }
}

/// Writes the pid: digits without a newline (clients parse the whole file), complete or not at all.
fn write_pid_file(path: &Path, pid: i32) -> Result<()> {
    let failed = |error: &std::io::Error| cannot_write(path, error);
    // Not after the file's name, which may be as long as a name can be.
    let drafts = (0..).map(|number| path.with_file_name(format!(".rootlet-pid.{}.{number}", std::process::id())));
    // One may be left by who had this pid before.
    let is_free = |draft: &PathBuf| draft.symlink_metadata().is_err();
    let draft = drafts.take(DRAFTS).find(is_free).unwrap_or_default();
    let write = || {
        let mut file = std::fs::OpenOptions::new().write(true).create_new(true).open(&draft)?;
        file.write_all(pid.to_string().as_bytes())?;
        std::fs::rename(&draft, path)
    };
    write().map_err(|error| {
        // Somebody else's is none of ours.
        if error.kind() != std::io::ErrorKind::AlreadyExists {
            let _ = std::fs::remove_file(&draft);
        }
        failed(&error)
    })
}

/// Connects to a stream socket of the caller's.
pub fn connect(path: &Path) -> Result<OwnedFd> {
    let failed = |error: sys::Error| {
        Error::from_call(path.display(), error)
            .because(match error.errno {
                Errno::EAGAIN => "whoever listens there does not accept: others have waited for 10 s",
                _ => "the caller must listen there",
            })
            .remedy("correct the path of the socket, or see what holds up who listens")
    };
    let name = CString::new(path.as_os_str().as_bytes())
        .map_err(|_| Error::new("the path of a socket has a NUL character"))?;
    if name.count_bytes() < 108 {
        return socket::connect(&name, socket::Kind::Stream).map_err(failed);
    }
    // sun_path has room for 107 bytes; a descriptor of the socket file has a short name.
    let file = fd::open(&name, fd::O_PATH, 0).map_err(failed)?;
    let short = CString::new(format!("/proc/self/fd/{}", file.as_raw_fd())).unwrap_or_default();
    socket::connect(&short, socket::Kind::Stream).map_err(failed)
}

/// Listens on `start.sock` in a directory, which may have a path longer than an address.
pub fn listen(directory: &Directory) -> Result<OwnedFd> {
    socket::listen(&directory.address(START)).map_err(|error| Error::from_call("start.sock", error))
}

/// Sends the terminal of a container to who emulates it.
pub fn send_terminal(path: &Path, master: &OwnedFd) -> Result<()> {
    socket::send(connect(path)?.as_fd(), b"/dev/ptmx", Some(master.as_fd()))
        .map_err(|error| Error::from_call("--console-socket", error))
}
