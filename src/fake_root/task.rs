//! The thread that waits for an answer, as /proc shows it.

use super::State;
use crate::sys::notification::{self, AT_EMPTY_PATH, AT_FDCWD, AT_SYMLINK_NOFOLLOW, Asked};
use crate::sys::{self, Call, Errno, Error, Result, fd, namespace, resolve};
use std::cell::OnceCell;
use std::ffi::{CStr, CString};
use std::fmt::Write;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

/// A thread, by its directory in /proc: whatever becomes of its pid, that is nobody else's.
pub struct Task<'a> {
    state: &'a State,
    directory: OwnedFd,
    memory: OnceCell<OwnedFd>,
}

/// What a call names a file by.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// A directory, or the file itself where there is no path.
    pub directory: i32,
    /// Where the path stands in the thread's memory.
    pub path: Option<u64>,
    /// AT_*.
    pub flags: i32,
}

impl<'a> Task<'a> {
    /// Finds it, as long as it waits.
    pub fn find(state: &'a State, asked: &Asked) -> Result<Task<'a>> {
        let directory = fd::open_at(state.proc.as_fd(), &text(asked.pid), fd::O_PATH | fd::O_DIRECTORY, 0)?;
        match notification::is_valid(state.listener.as_fd(), asked.id) {
            true => Ok(Task { state, directory, memory: OnceCell::new() }),
            false => Err(Error::new(Call::Ioctl, Errno::ESRCH)),
        }
    }

    /// Opens a file of its directory.
    pub fn open(&self, name: &CStr, flags: i32) -> Result<OwnedFd> {
        fd::open_at(self.directory.as_fd(), name, flags, 0)
    }

    /// Reads a file of its directory.
    pub fn read_file(&self, name: &CStr) -> Result<String> {
        let file = self.open(name, fd::O_RDONLY)?;
        let mut buffer = [0; 4096];
        let length = fd::read(file.as_fd(), &mut buffer)?;
        Ok(String::from_utf8_lossy(buffer.get(..length).unwrap_or_default()).into_owned())
    }

    /// Writes a file of its directory.
    pub fn write_file(&self, name: &CStr, text: &str) -> Result<()> {
        fd::write_file(self.directory.as_fd(), name, text.as_bytes())
    }

    fn memory(&self) -> Result<&OwnedFd> {
        match self.memory.get() {
            Some(memory) => Ok(memory),
            None => {
                let opened = self.open(c"mem", fd::O_RDWR)?;
                Ok(self.memory.get_or_init(|| opened))
            }
        }
    }

    /// Reads its memory, all or nothing.
    pub fn read(&self, address: u64, length: usize) -> Result<Vec<u8>> {
        let mut bytes = vec![0; length];
        match notification::read_memory(self.memory()?.as_fd(), address, &mut bytes)? {
            read if read == length => Ok(bytes),
            _ => Err(Error::new(Call::Read, Errno::EFAULT)),
        }
    }

    /// Writes to its memory.
    pub fn write(&self, address: u64, bytes: &[u8]) -> Result<()> {
        notification::write_memory(self.memory()?.as_fd(), address, bytes)
    }

    /// Reads a string, up to its NUL.
    pub fn read_string(&self, address: u64) -> Result<CString> {
        let page = sys::memory::page_size();
        let mut bytes: Vec<u8> = Vec::new();
        while bytes.len() < fd::PATH_MAX {
            let at = address.wrapping_add(bytes.len() as u64);
            // What lies behind the end of a page may be nobody's.
            let mut part = [0; 256];
            let length = (page - at % page).min(256) as usize;
            let part = part.get_mut(..length).unwrap_or_default();
            let read = notification::read_memory(self.memory()?.as_fd(), at, part)?;
            let part = part.get(..read).unwrap_or_default();
            if let Some(end) = part.iter().position(|byte| *byte == 0) {
                bytes.extend_from_slice(part.get(..end).unwrap_or_default());
                return CString::new(bytes).map_err(|_| Error::new(Call::Read, Errno::EFAULT));
            }
            if read == 0 {
                break;
            }
            bytes.extend_from_slice(part);
        }
        Err(Error::new(Call::Read, Errno::ENAMETOOLONG))
    }

    /// Finds a file as the thread's own call would, and opens it as O_PATH.
    pub fn find_file(&self, place: &Place) -> Result<OwnedFd> {
        let path = match place.path {
            Some(address) => self.read_string(address)?,
            None => return self.open_directory(place.directory, 0),
        };
        if path.is_empty() {
            return match place.flags & AT_EMPTY_PATH {
                0 => Err(Error::new(Call::Open, Errno::ENOENT)),
                _ => self.open_directory(place.directory, 0),
            };
        }
        let itself = if place.flags & AT_SYMLINK_NOFOLLOW != 0 { fd::O_NOFOLLOW } else { 0 };
        self.look_up(place.directory, &path, fd::O_PATH | itself)
    }

    /// Opens what a path leads to from a directory of the thread's.
    pub fn look_up(&self, directory: i32, path: &CStr, flags: i32) -> Result<OwnedFd> {
        if path.to_bytes().starts_with(b"/") {
            return resolve::open_in_root(self.open(c"root", fd::O_PATH | fd::O_DIRECTORY)?.as_fd(), path, flags);
        }
        let from = self.open_directory(directory, fd::O_DIRECTORY)?;
        match resolve::open_beneath(from.as_fd(), path, flags) {
            // Upwards, or by an absolute symlink.
            Err(Error { errno: Errno::EXDEV, .. }) => self.look_up_as_itself(&from, path, flags),
            other => other,
        }
    }

    fn open_directory(&self, directory: i32, flags: i32) -> Result<OwnedFd> {
        if directory == AT_FDCWD {
            return self.open(c"cwd", fd::O_PATH | flags);
        }
        let mut name = String::with_capacity(16);
        let _ = write!(name, "fd/{directory}");
        self.open(&CString::new(name).unwrap_or_default(), fd::O_PATH | flags)
    }

    /// With the thread's root and directory, which are let go of at once.
    fn look_up_as_itself(&self, from: &OwnedFd, path: &CStr, flags: i32) -> Result<OwnedFd> {
        let own = fd::open(c"/", fd::O_PATH | fd::O_DIRECTORY, 0)?;
        let root = self.open(c"root", fd::O_PATH | fd::O_DIRECTORY)?;
        let found = namespace::enter_root(root.as_fd())
            .and_then(|()| fd::chdir(from.as_fd()))
            .and_then(|()| fd::open_at(fd::borrow_cwd(), path, flags, 0));
        if namespace::enter_root(own.as_fd()).and_then(|()| fd::chdir(self.state.proc.as_fd())).is_err() {
            // Names would mean what the container says.
            sys::exit_now(1);
        }
        found
    }
}

/// The name of an opened file for who is in /proc.
pub fn name(file: &OwnedFd) -> CString {
    let mut name = String::with_capacity(24);
    let _ = write!(name, "self/fd/{}", file.as_raw_fd());
    CString::new(name).unwrap_or_default()
}

fn text(number: i32) -> CString {
    CString::new(number.to_string()).unwrap_or_default()
}
