//! The thread that waits for an answer, as /proc shows it.

use super::State;
use crate::sys::fd::Kind;
use crate::sys::notification::{self, AT_EMPTY_PATH, AT_FDCWD, AT_SYMLINK_NOFOLLOW, Asked};
use crate::sys::{self, Call, Errno, Error, Result, creds, fd, resolve};
use std::cell::OnceCell;
use std::ffi::{CStr, CString};
use std::fmt::Write;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

/// A thread, by its directory in /proc: whatever becomes of its pid, that is nobody else's.
pub struct Task<'a> {
    state: &'a State,
    pid: i32,
    id: u64,
    directory: OwnedFd,
    memory: OnceCell<OwnedFd>,
}

/// What a call names a file by.
#[derive(Clone, Copy, Debug)]
pub struct PathAt {
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
        let task = Task { state, pid: asked.pid, id: asked.id, directory, memory: OnceCell::new() };
        task.check_it_waits().map(|()| task)
    }

    /// One that waits for this process, and not for an answer.
    pub fn of(state: &'a State, pid: i32) -> Result<Task<'a>> {
        let directory = fd::open_at(state.proc.as_fd(), &text(pid), fd::O_PATH | fd::O_DIRECTORY, 0)?;
        Ok(Task { state, pid, id: 0, directory, memory: OnceCell::new() })
    }

    fn check_it_waits(&self) -> Result<()> {
        match notification::is_valid(self.state.listener.as_fd(), self.id) {
            true => Ok(()),
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
        // Whoever has its pid if it ends now is in another user namespace, and out of reach.
        self.check_it_waits()?;
        notification::write_memory(self.pid, address, bytes)
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

    /// Finds the directory in which a path's last part is to be made, and that part.
    pub fn find_parent(&self, directory: i32, path: u64, is_directory: bool) -> Result<(OwnedFd, CString)> {
        let path = self.read_string(path)?;
        // What follows the last part of a directory's name.
        let length = path.to_bytes().iter().rposition(|byte| *byte != b'/').map_or(0, |last| last + 1);
        let trimmed = path.to_bytes().get(..if is_directory { length } else { usize::MAX }).unwrap_or(path.to_bytes());
        let (above, last) = match trimmed.iter().rposition(|byte| *byte == b'/') {
            Some(slash) => trimmed.split_at(slash + 1),
            None => (&b"."[..], trimmed),
        };
        if matches!(last, b"" | b"." | b"..") {
            return Err(Error::new(Call::Open, Errno::EEXIST));
        }
        let string = |bytes: &[u8]| CString::new(bytes).map_err(|_| Error::new(Call::Open, Errno::EINVAL));
        Ok((self.look_up(directory, &string(above)?, fd::O_PATH | fd::O_DIRECTORY)?, string(last)?))
    }

    /// Does something with the umask and no more capabilities than it has.
    pub fn act<T>(&self, work: impl FnOnce() -> Result<T>) -> Result<T> {
        let status = self.read_file(c"status")?;
        let line = |key: &str| status.lines().find_map(|line| line.strip_prefix(key)).map(str::trim);
        let umask = line("Umask:").and_then(|text| u32::from_str_radix(text, 8).ok());
        let effective = line("CapEff:").and_then(|text| u64::from_str_radix(text, 16).ok());
        let (Some(umask), Some(effective)) = (umask, effective) else {
            return Err(Error::new(Call::Read, Errno::EINVAL));
        };
        let own = creds::effective_capabilities()?;
        creds::set_umask(umask);
        creds::set_capabilities(effective & own, own, 0)?;
        let done = work();
        if creds::set_capabilities(own, own, 0).is_err() {
            sys::exit_now(1);
        }
        done
    }

    /// Finds a file as the thread's own call would, and opens it as O_PATH.
    pub fn find_file(&self, named: &PathAt) -> Result<OwnedFd> {
        let path = match named.path {
            Some(address) => self.read_string(address)?,
            None if named.directory < 0 => return Err(Error::new(Call::Open, Errno::EBADF)),
            None => return self.open_directory(named.directory, 0),
        };
        if path.is_empty() {
            return match named.flags & AT_EMPTY_PATH {
                0 => Err(Error::new(Call::Open, Errno::ENOENT)),
                _ => self.open_directory(named.directory, 0),
            };
        }
        let itself = if named.flags & AT_SYMLINK_NOFOLLOW != 0 { fd::O_NOFOLLOW } else { 0 };
        self.look_up(named.directory, &path, fd::O_PATH | itself)
    }

    /// Opens what a path leads to from a directory of the thread's.
    pub fn look_up(&self, directory: i32, path: &CStr, flags: i32) -> Result<OwnedFd> {
        if path.to_bytes().starts_with(b"/") {
            return resolve::open_in_root(self.open(c"root", fd::O_PATH | fd::O_DIRECTORY)?.as_fd(), path, flags);
        }
        let from = self.open_directory(directory, fd::O_DIRECTORY)?;
        match resolve::open_beneath(from.as_fd(), path, flags) {
            // Upwards, or by an absolute symlink.
            Err(Error { errno: Errno::EXDEV, .. }) => self.walk(from, path, flags),
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

    /// Part by part, as the kernel goes: upwards no further than the thread's root, and symlinks begin there again.
    fn walk(&self, from: OwnedFd, path: &CStr, flags: i32) -> Result<OwnedFd> {
        let root = self.open(c"root", fd::O_PATH | fd::O_DIRECTORY)?;
        let is_root = |directory: &OwnedFd| {
            let (one, other) = (fd::status(directory.as_fd())?, fd::status(root.as_fd())?);
            Ok::<_, Error>((one.device, one.inode) == (other.device, other.inode))
        };
        let again = || self.open(c"root", fd::O_PATH | fd::O_DIRECTORY);
        let (mut at, mut symlinks) = (from, 0);
        let mut parts: Vec<Vec<u8>> = split(path.to_bytes());
        while let Some(part) = parts.pop() {
            if part == b".." {
                if !is_root(&at)? {
                    at = resolve::open_no_links(at.as_fd(), c"..", fd::O_PATH | fd::O_DIRECTORY)?;
                }
                continue;
            }
            let name = CString::new(part).map_err(|_| Error::new(Call::Open, Errno::EINVAL))?;
            let is_last = parts.is_empty();
            let next = resolve::open_no_links(at.as_fd(), &name, fd::O_PATH | fd::O_NOFOLLOW)?;
            if fd::status(next.as_fd())?.kind() != Kind::Symlink || is_last && flags & fd::O_NOFOLLOW != 0 {
                at = next;
                continue;
            }
            symlinks += 1;
            if symlinks > 40 || fd::file_system(next.as_fd())? == fd::PROC_MAGIC {
                return Err(Error::new(Call::Open, Errno::ELOOP));
            }
            let mut target = [0; fd::PATH_MAX];
            let length = fd::readlink_at(next.as_fd(), c"", &mut target)?;
            let target = target.get(..length).unwrap_or_default();
            if target.starts_with(b"/") {
                at = again()?;
            }
            parts.append(&mut split(target));
        }
        let is_directory =
            flags & fd::O_DIRECTORY != 0 || path.to_bytes().ends_with(b"/") || path.to_bytes().ends_with(b"/.");
        match is_directory && fd::status(at.as_fd())?.kind() != Kind::Directory {
            true => Err(Error::new(Call::Open, Errno::ENOTDIR)),
            false => Ok(at),
        }
    }
}

/// The parts of a path, the last one first.
fn split(path: &[u8]) -> Vec<Vec<u8>> {
    let parts = path.split(|byte| *byte == b'/').filter(|part| !part.is_empty() && *part != b".");
    parts.map(<[u8]>::to_vec).rev().collect()
}

/// The name of an opened file, which nothing that the container does can make another's: this process is in no directory of its.
pub fn name(file: &OwnedFd) -> CString {
    let mut name = String::with_capacity(24);
    let _ = write!(name, "/proc/self/fd/{}", file.as_raw_fd());
    CString::new(name).unwrap_or_default()
}

fn text(number: i32) -> CString {
    CString::new(number.to_string()).unwrap_or_default()
}
