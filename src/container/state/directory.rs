//! The directory of a container's state: what is in it, who has it, how it comes and goes.
//!
//! It is opened once, when the container is looked for, and all else goes by that: the name may be another container's at
//! any moment.

use crate::error::{Error, Result, found};
use crate::property::RESOLVER_FILE;
use crate::removal;
use crate::sys::{self, Errno, creds, fd};
use std::ffi::{CString, OsStr};
use std::fmt::Display;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The files of a state's directory. What begins with a point is a draft.
pub const FILES: [&str; 14] = [
    ".state.json",
    ".resolv.conf",
    ".config.json",
    CONFIG,
    STATE,
    START,
    TURN,
    SIGNALLED,
    ENDING,
    ANNOUNCED,
    LAYER,
    NETWORK,
    RESOLVER_FILE,
    PORTS,
];

/// What the container is.
pub const STATE: &str = "state.json";

/// The config that it was created with.
pub const CONFIG: &str = "config.json";

/// Where a created container waits for `start`.
pub const START: &str = "start.sock";

/// Whose turn it is to change a container that runs has a lock on this.
pub const TURN: &str = "update.lock";
/// Locked by whoever runs its last hooks.
const ENDING: &str = "ending.lock";

/// Who freezes a container for a signal has a lock on this.
pub const SIGNALLED: &str = "signal.lock";

/// Names a cgroup that is being made: a symlink, which is there as a whole or not at all.
pub const ANNOUNCED: &str = "cgroup";

/// In front of the 16 hexadecimal digits of a temporary layer.
pub const LAYERS: &str = "rootlet-layer-";

/// Names the writable layer that is removed with the container: a symlink.
pub const LAYER: &str = "layer";

/// Locked as long as somebody leads a way out of its network.
pub const NETWORK: &str = "network.lock";

/// Where slirp4netns is told which ports lead into the container: a socket.
pub const PORTS: &str = "ports.sock";

/// Where the program's notifications come.
pub const NOTIFY: &str = "notify";

/// Files of the command line's, which the container sees.
pub const DATA: &str = "data";

/// The directories in it, which only some containers have, or for a while.
pub const DIRECTORIES: [&str; 3] = [NOTIFY, STAGE, DATA];

/// Where `restore` shows CRIU what it is to mount.
pub const STAGE: &str = "stage";

/// How long whoever has a lock may have it: hooks run meanwhile, and one of them may be who waits.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long a layer that nobody uses any more may take to be removed.
const PATIENCE_WITH_LAYERS: Duration = Duration::from_secs(600);

/// How often a directory is emptied that others still write to.
const TRIES: u32 = 100;

/// A directory of a state.
#[derive(Clone, Debug)]
pub struct Directory {
    path: PathBuf,
    opened: Arc<OwnedFd>,
}

/// What a state's directory is called before there is a container, and when there is none any more. (`~` is in no id.)
pub fn draft(directory: &Path) -> PathBuf {
    let mut name = directory.as_os_str().to_owned();
    name.push("~");
    PathBuf::from(name)
}

impl Directory {
    /// Opens one, if there is one; a symlink is none.
    pub fn open(path: PathBuf) -> Result<Option<Directory>> {
        let name = c_path(&path);
        Directory::open_at(fd::borrow_cwd(), &name, path)
    }

    /// Opens the one that has this name in a directory; `path` is for messages, and for its removal.
    pub fn open_at(shelf: BorrowedFd, name: &CString, path: PathBuf) -> Result<Option<Directory>> {
        match fd::open_at(shelf, name, fd::O_PATH | fd::O_DIRECTORY | fd::O_NOFOLLOW, 0) {
            Err(error) if matches!(error.errno, Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP) => Ok(None),
            opened => {
                let opened = opened.map_err(|error| Error::from_call(path.display(), error).remedy("try again"))?;
                Ok(Some(Directory { path, opened: Arc::new(opened) }))
            }
        }
    }

    /// Where it was when it was opened.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Owner, mode and inode.
    pub fn status(&self) -> Result<fd::Status> {
        fd::status(self.opened.as_fd()).map_err(|error| self.failed("", error))
    }

    /// Opens a file in it.
    pub fn open_file(&self, name: &str, flags: i32) -> sys::Result<OwnedFd> {
        fd::open_at(self.opened.as_fd(), &c_name(name), flags | fd::O_NOFOLLOW, 0o600)
    }

    /// Whether there is something of that name.
    pub fn has(&self, name: &str) -> Result<bool> {
        fd::exists_at(self.opened.as_fd(), &c_name(name)).map_err(|error| self.failed(name, error))
    }

    /// A short path to something in it, as addresses of sockets have room for, as long as this lives.
    pub fn address(&self, name: &str) -> CString {
        c_name(&format!("/proc/self/fd/{}/{name}", self.opened.as_raw_fd()))
    }

    /// Writes a file, all or nothing.
    pub fn write(&self, name: &str, text: &[u8]) -> Result<()> {
        let draft = format!(".{name}");
        let flags = fd::O_WRONLY | fd::O_CREAT | fd::O_TRUNC;
        let write = || {
            let file = self.open_file(&draft, flags)?;
            fd::write_all(file.as_fd(), text)?;
            fd::rename_at(self.opened.as_fd(), &c_name(&draft), &c_name(name))
        };
        // Where there is no room for another one, it is written over.
        let write_over = || {
            let _ = fd::unlink_at(self.opened.as_fd(), &c_name(&draft));
            let file = self.open_file(name, fd::O_WRONLY)?;
            fd::write_all(file.as_fd(), text)?;
            fd::truncate(file.as_fd(), text.len())
        };
        let written = match write() {
            Err(error) if matches!(error.errno, Errno::ENOSPC | Errno::EDQUOT) => {
                write_over().map_err(|_: sys::Error| error)
            }
            other => other,
        };
        written.map_err(|error| match error.errno {
            Errno::ENOENT => self.gone(),
            Errno::EFBIG => Error::from_call(format!("cannot write {}", self.path.join(name).display()), error)
                .because("RLIMIT_FSIZE lets this command write no file as large")
                .remedy("raise it: `ulimit -f unlimited`"),
            _ => Error::from_call(format!("cannot write {}", self.path.join(name).display()), error)
                .remedy("make room there, or keep states elsewhere with --root DIR"),
        })
    }

    /// Removes a file, if it is there.
    pub fn remove(&self, name: &str) -> Result<()> {
        found(fd::unlink_at(self.opened.as_fd(), &c_name(name)))
            .map(drop)
            .map_err(|error| Error::from_call(format!("cannot remove {}", self.path.join(name).display()), error))
    }

    /// Makes a symlink in it that says where something is that belongs to the container.
    pub fn point(&self, name: &str, to: &Path) -> Result<()> {
        fd::symlink_at(&c_path(to), self.opened.as_fd(), &c_name(name)).map_err(|error| self.failed(name, error))
    }

    /// Where such a symlink leads, if there is one.
    pub fn pointed(&self, name: &str) -> Result<Option<PathBuf>> {
        let address = self.address(name);
        found(std::fs::read_link(OsStr::from_bytes(address.as_bytes())))
            .map_err(|error| Error::from_io(self.path.join(name).display(), &error))
    }

    /// Removes the layer that goes with the container.
    fn remove_layer(&self) -> Result<()> {
        let Some(layer) = self.pointed(LAYER)? else { return Ok(()) };
        let (Some(parent), Some(name)) = (layer.parent(), layer.file_name()) else { return Ok(()) };
        // What else the link leads to is none, and somebody has put it there.
        let number = name.to_str().and_then(|name| name.strip_prefix(LAYERS));
        if !number.is_some_and(|number| number.len() == 16 && number.bytes().all(|byte| byte.is_ascii_hexdigit())) {
            return Ok(());
        }
        let failed = |error| {
            Error::from_call(format!("cannot remove {}", layer.display()), error)
                .because("it is the container's temporary layer")
                .remedy("see `lsattr` and `fuser` of it, and remove it by hand, or make a container of that name again")
        };
        let flags = fd::O_RDONLY | fd::O_DIRECTORY;
        let Some(parent) = found(fd::open(&c_path(parent), flags, 0)).map_err(failed)? else { return Ok(()) };
        removal::remove_tree(parent.as_fd(), &c_path(Path::new(name)), Some(PATIENCE_WITH_LAYERS)).map_err(failed)
    }

    /// Removes all that a state's directory may have in it.
    pub fn empty(&self) -> Result<()> {
        self.wait_for_network()?;
        self.remove_layer()?;
        let removed = FILES.iter().try_for_each(|name| self.remove(name));
        removal::remove_tree(self.opened.as_fd(), &c_name(NOTIFY), Some(PATIENCE)).map_err(|error| {
            Error::from_call(format!("cannot remove {}", self.path.join(NOTIFY).display()), error)
                .because("a process that the container has left writes there, or has put there what cannot be removed")
                .remedy("see `ps`, and `lsattr` of it, and delete the container again")
        })?;
        let _ = std::fs::remove_dir(self.path.join(STAGE));
        removal::remove_tree(self.opened.as_fd(), &c_name(DATA), Some(PATIENCE))
            .map_err(|error| Error::from_call(format!("cannot remove {}", self.path.join(DATA).display()), error))?;
        removed
    }

    /// Removes the directory, with these files in it as a rule. It is gone at once: who looks while its files are removed finds no
    /// container, and none that seems to be made. Whoever calls this has its lock.
    pub fn destroy(self, usual: &[&str]) -> Result<()> {
        if !self.is_there()? {
            return Ok(());
        }
        let aside = draft(&self.path);
        let moved = match fd::rename_to_new(&c_path(&self.path), &c_path(&aside)) {
            Ok(()) => {
                let moved = Directory { path: aside, ..self.clone() };
                if !moved.is_there()? {
                    // Somebody else has removed it meanwhile, and its name is another container's.
                    let _ = fd::rename_to_new(&c_path(&moved.path), &c_path(&self.path));
                    return Ok(());
                }
                moved
            }
            Err(_) => self,
        };
        usual.iter().try_for_each(|name| moved.remove(name))?;
        for _ in 0..TRIES {
            match found(std::fs::remove_dir(&moved.path)) {
                Ok(_) => return Ok(()),
                Err(error) if error.kind() != std::io::ErrorKind::DirectoryNotEmpty => {
                    return Err(Error::from_io(format!("cannot remove {}", moved.path.display()), &error));
                }
                // Somebody who had opened it before may have written to it since.
                Err(_) => moved.empty()?,
            }
        }
        Err(Error::new(format!("cannot remove {}: it is not empty", moved.path.display()))
            .because("there are other files than rootlet's in it")
            .remedy("move them away, and delete the container again"))
    }

    /// Whether it still has its name, and not another one.
    pub fn is_there(&self) -> Result<bool> {
        let now = found(self.path.symlink_metadata()).map_err(|error| Error::from_io(self.path.display(), &error))?;
        let own = self.status()?.inode;
        Ok(now.is_some_and(|now| now.ino() == own))
    }

    /// Whether there is nothing in it but what belongs to a state: a wrong --root, as /etc, is not full of containers.
    pub fn is_place(&self) -> Result<bool> {
        let failed = |error: std::io::Error| Error::from_io(self.path.display(), &error);
        let is_known = |name: &OsStr| FILES.iter().chain(&DIRECTORIES).any(|known| name == *known);
        let Some(mut entries) = found(std::fs::read_dir(&self.path)).map_err(failed)? else { return Ok(false) };
        entries.try_fold(true, |all, entry| Ok(all && is_known(&entry.map_err(failed)?.file_name())))
    }

    /// The lock on the directory; `None` if somebody has it, or if it was removed meanwhile.
    pub fn lock(&self) -> Result<Option<OwnedFd>> {
        // Whoever looks whether it is locked has a part in it for a moment.
        for _ in 0..10 {
            match self.lock_by(fd::try_lock)? {
                None if self.is_there()? => std::thread::sleep(Duration::from_millis(1)),
                lock => return Ok(lock),
            }
        }
        Ok(None)
    }

    /// A part in the lock, for who looks whether it is free.
    pub fn share_lock(&self) -> Result<Option<OwnedFd>> {
        self.lock_by(fd::try_share_lock)
    }

    /// The lock on the directory, when it is free; `None` if it was removed meanwhile.
    pub fn wait_for_lock(&self) -> Result<Option<OwnedFd>> {
        let start = Instant::now();
        loop {
            match self.lock()? {
                None if !self.is_there()? => return Ok(None),
                None if start.elapsed() > PATIENCE => {
                    let path = self.path.display();
                    return Err(Error::new(format!("{path} is locked"))
                        .because("a process creates the container, runs it or takes it down, and one of its hooks may take its time")
                        .remedy(format!("wait, or end that process (`fuser {path}`)")));
                }
                None => {}
                lock => return Ok(lock),
            }
        }
    }

    fn lock_by(&self, take: fn(BorrowedFd) -> sys::Result<bool>) -> Result<Option<OwnedFd>> {
        let system = |error| self.failed("", error);
        let fd = fd::open_at(self.opened.as_fd(), c".", fd::O_RDONLY | fd::O_DIRECTORY, 0);
        let Some(fd) = found(fd).map_err(system)? else { return Ok(None) };
        let status = fd::status(fd.as_fd()).map_err(system)?;
        if status.uid != creds::effective_uid() || status.mode & 0o022 != 0 {
            // In a shared directory, others could make it first: what is written there would go where they want.
            return Err(Error::new(format!("{} is not yours", self.path.display()))
                .because(format!("it belongs to uid {} with mode {:o}", status.uid, status.mode & 0o7777))
                .remedy("choose another id, or another --root"));
        }
        let is_taken = take(fd.as_fd()).map_err(system)?;
        Ok((is_taken && self.is_there()?).then_some(fd))
    }

    /// A file for a lock, which is made if there is room.
    pub fn open_lock(&self, name: &str) -> Result<Option<OwnedFd>> {
        match self.open_file(name, fd::O_WRONLY | fd::O_CREAT) {
            Err(error) if matches!(error.errno, Errno::ENOSPC | Errno::EDQUOT | Errno::EROFS | Errno::EACCES) => {
                Ok(None)
            }
            Err(error) if error.errno == Errno::ENOENT => Err(self.gone()),
            other => other.map(Some).map_err(|error| self.failed(name, error)),
        }
    }

    /// Waits for one's turn to change a container that runs: its limits, whether it is paused, or what gets a signal while it is frozen.
    /// (A foreground run has the lock of the state to its end.) Where there is no room for the lock, nobody waits for anybody.
    pub fn take_turn(&self) -> Result<Option<OwnedFd>> {
        let Some(file) = self.open_lock(TURN)? else { return Ok(None) };
        let start = Instant::now();
        while !fd::try_lock(file.as_fd()).map_err(|error| self.failed(TURN, error))? {
            if start.elapsed() > PATIENCE {
                return Err(Error::new(format!("container {} is being changed", self.name()))
                    .because("another update, pause, resume or kill --all of it takes longer than 10 s")
                    .remedy("try again when that is over"));
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(Some(file))
    }

    /// Waits until who leads a way out of the container's network has let go of what it had: ports of the host, above all.
    fn wait_for_network(&self) -> Result<()> {
        let Some(file) = found(self.open_file(NETWORK, fd::O_WRONLY)).map_err(|error| self.failed(NETWORK, error))?
        else {
            return Ok(());
        };
        let start = Instant::now();
        while !fd::try_lock(file.as_fd()).map_err(|error| self.failed(NETWORK, error))? && start.elapsed() < PATIENCE {
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    /// The part of running a container's last hooks, which is one's own as long as this is kept; `None` where it is another's, or
    /// the container is gone.
    pub fn claim_end(&self) -> Result<Option<OwnedFd>> {
        if !self.is_there()? {
            return Ok(None);
        }
        let Some(file) =
            found(self.open_file(ENDING, fd::O_WRONLY | fd::O_CREAT)).map_err(|error| self.failed(ENDING, error))?
        else {
            return Ok(None);
        };
        let is_own = fd::try_lock(file.as_fd()).map_err(|error| self.failed(ENDING, error))?;
        Ok((is_own && self.is_there()?).then_some(file))
    }

    /// What is said where the container was deleted since it was looked for.
    pub fn gone(&self) -> Error {
        Error::new(format!("container does not exist any more: {}", self.name()))
            .because("somebody has deleted it meanwhile")
            .remedy("see `rootlet list`")
    }

    fn name(&self) -> impl Display {
        let name = self.path.file_name().unwrap_or_default().to_string_lossy();
        format!("{:?}", name.trim_end_matches('~'))
    }

    fn failed(&self, name: &str, error: sys::Error) -> Error {
        match name {
            "" => Error::from_call(self.path.display(), error),
            _ => Error::from_call(self.path.join(name).display(), error),
        }
    }
}

fn c_name(name: &str) -> CString {
    CString::new(name).unwrap_or_default()
}

/// A path as the kernel takes it.
pub fn c_path(path: &Path) -> CString {
    CString::new(path.as_os_str().as_bytes()).unwrap_or_default()
}
