//! The root file system that layers are put into (image-spec, layer.md). No path leaves it: each is resolved by the kernel inside
//! the root, whatever links there are, and what is last in a path is never followed.
//!
//! Directories can be written to by their owner until all layers are there: then they get the modes and the times that they
//! should have.

use super::Limits;
use super::entry::{Extended, Meta, Span, c_string, check_header, clean, join, lossy, split};
use super::failure::{Done, Failure, cannot_write, check_not_interrupted, damaged, too_large, unwritten};
use crate::capability::{CAP_CHOWN, CAP_FSETID};
use crate::error::{Error, Result, found};
use crate::host::Host;
use crate::log::Log;
use crate::owner;
use crate::removal;
use crate::sys::fd::{self, Kind};
use crate::sys::{self, Errno, attribute, resolve};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::ffi::{CStr, CString};
use std::fs::File;
use std::hash::{BuildHasher, RandomState};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use tar::EntryType;

/// How deep directories may be: none of what people make comes near it, and each level takes a descriptor.
const DEPTH: usize = 500;

/// How many directories there may be: their modes are kept in memory to the end.
const DIRECTORIES: usize = 500_000;

/// What a directory takes on a disk.
const BLOCK: u64 = 4096;

/// Bytes that are copied before signals are looked at.
const STRIDE: u64 = 16 << 20;

/// What was left out, and why.
#[derive(Debug, Default)]
struct LeftOut(BTreeMap<&'static str, (usize, String)>);

impl LeftOut {
    fn note(&mut self, reason: &'static str, path: &[u8]) {
        let (count, _) = self.0.entry(reason).or_insert_with(|| (0, String::from_utf8_lossy(path).into_owned()));
        *count += 1;
    }

    /// Says it, one line for each reason.
    fn tell(&self, log: &Log) {
        for (reason, (count, first)) in &self.0 {
            let more = match count {
                1 => String::new(),
                count => format!(" and {} more", count - 1),
            };
            log.warn(&Error::new(format!("{first}{more}: {reason}")));
        }
    }
}

const DEVICE: &str = "left out: a device; the runtime makes those of /dev";
const ATTRIBUTE_REFUSED: &str =
    "an extended attribute is left out, which the file system or the kernel does not take from this user";
const OWNER_REFUSED: &str = "the owner is left out: the file system keeps no user.rootlesscontainers";
const UNKNOWN: &str = "left out: of a type that no file system has";

/// A root file system that is being made.
pub struct Tree {
    root: OwnedFd,
    may_chown: bool,
    limits: Limits,
    files: u64,
    /// Bytes of all files, with their holes, and of directories that no entry brings.
    apparent: u64,
    /// Directories of the layer that hide what is below them already.
    opaque: HashSet<u64>,
    /// Bytes that are left of what the image may have.
    pub left: u64,
    /// What directories are to be at the end, by their inodes: mode, and time of modification.
    directories: HashMap<u64, (u32, Option<(i64, u32)>)>,
    /// Paths that the layer has made, as hashes.
    made: HashSet<u64>,
    hasher: RandomState,
    /// The directory of the last file.
    last: Option<(Vec<u8>, OwnedFd)>,
    left_out: LeftOut,
    buffer: Vec<u8>,
}

impl Tree {
    /// An empty one.
    pub fn make(root: OwnedFd, host: &Host, limits: Limits) -> Result<Tree> {
        Ok(Tree {
            root,
            may_chown: host.may(CAP_CHOWN) && host.may(CAP_FSETID),
            limits,
            files: 0,
            left: limits.bytes,
            apparent: 0,
            opaque: HashSet::new(),
            directories: HashMap::new(),
            made: HashSet::new(),
            hasher: RandomState::new(),
            last: None,
            left_out: LeftOut::default(),
            buffer: vec![0; 128 << 10],
        })
    }

    /// What is said where the image has more than it may.
    pub fn too_large(&self) -> Error {
        too_large(self.limits.bytes)
    }

    /// From here on, it is another layer's.
    pub fn begin_layer(&mut self) {
        self.made.clear();
        self.opaque.clear();
    }

    /// Does what an entry of a layer says.
    pub fn add(&mut self, entry: &mut tar::Entry<impl Read>, has_whiteouts: bool) -> Done<()> {
        if entry.header().entry_type() == EntryType::XGlobalHeader {
            return Ok(());
        }
        self.count(1, 0)?;
        let extended = Extended::read(entry)?;
        let path = clean(extended.name.as_deref().unwrap_or(&entry.path_bytes()))?;
        check_header(entry, &extended)
            .map_err(|error| Error { message: format!("{}: {}", lossy(&path), error.message), ..error })?;
        self.put(entry, extended, &path, has_whiteouts).map_err(|failure| match failure {
            Failure::Call(error) => Failure::Refused(self.failed(&path, error)),
            Failure::Refused(error) => {
                Failure::Refused(Error { message: format!("{}: {}", lossy(&path), error.message), ..error })
            }
            other => other,
        })
    }

    fn count(&mut self, files: u64, bytes: u64) -> Result<()> {
        self.files += files;
        self.apparent = self.apparent.saturating_add(bytes);
        if self.files > self.limits.files || self.directories.len() > DIRECTORIES {
            let message = format!("the image has more than {} files, or {DIRECTORIES} directories", self.limits.files);
            return Err(Error::new(message).because("that is the limit, so that no image fills the disk"));
        }
        match self.apparent > self.limits.bytes {
            true => Err(self.too_large()),
            false => Ok(()),
        }
    }

    fn put(
        &mut self,
        entry: &mut tar::Entry<impl Read>,
        extended: Extended,
        path: &[u8],
        has_whiteouts: bool,
    ) -> Done<()> {
        let kind = entry.header().entry_type();
        let meta = Meta::read(entry, &extended).map_err(Failure::Read)?;
        if path.is_empty() {
            // The root itself.
            return match kind {
                EntryType::Directory => {
                    self.describe_directory(&fd::open_at(self.root.as_fd(), c".", READABLE, 0)?, &meta, b"/")
                }
                _ => Ok(()),
            };
        }
        let (directory, name) = split(path);
        let parent = self.enter(directory)?;
        if let (true, Some(hidden)) = (has_whiteouts, name.strip_prefix(b".wh.")) {
            self.last = None;
            return match hidden.strip_prefix(b".wh.") {
                Some(b".opq") if !self.opaque.insert(self.hash(directory)) => Ok(()),
                Some(b".opq") => self.hide_all(&parent, directory, 0),
                // What aufs keeps for itself.
                Some(_) => Ok(()),
                None if matches!(hidden, b"" | b"." | b"..") => Err(damaged("a whiteout of no name").into()),
                None => self.hide(&parent, &c_string(hidden)?, &join(directory, hidden), 0),
            };
        }
        if !matches!(kind, EntryType::Char | EntryType::Block) {
            self.note_made(path);
        }
        let (parent, name) = (parent.as_fd(), c_string(name)?);
        match kind {
            EntryType::Directory => self.put_directory(parent, &name, &meta, path),
            EntryType::Symlink => {
                let target = c_string(&entry.link_name_bytes().unwrap_or_default())?;
                self.replace(parent, &name, || fd::symlink_at(&target, parent, &name))?;
                self.own(parent, &name, &meta)?;
                Ok(fd::set_modified_at(parent, &name, meta.modified)?)
            }
            EntryType::Link => self.put_link(parent, &name, path, &entry.link_name_bytes().unwrap_or_default()),
            EntryType::Fifo => {
                self.replace(parent, &name, || fd::make_node_at(parent, &name, fd::S_IFIFO | 0o600, 0, 0))?;
                self.own(parent, &name, &meta)?;
                fd::chmod_at(parent, &name, meta.mode)?;
                Ok(fd::set_modified_at(parent, &name, meta.modified)?)
            }
            EntryType::Char | EntryType::Block => {
                self.left_out.note(DEVICE, path);
                Ok(())
            }
            kind if kind.is_file() || kind.is_contiguous() || kind.is_gnu_sparse() => {
                self.put_file(entry, &extended, parent, &name, &meta, path)
            }
            _ => {
                self.left_out.note(UNKNOWN, path);
                Ok(())
            }
        }
    }

    /// Opens a directory in the root, which is made if it is missing.
    fn enter(&mut self, directory: &[u8]) -> Done<OwnedFd> {
        if let Some((path, opened)) = &self.last
            && path == directory
        {
            return opened.try_clone().map_err(Failure::Read);
        }
        let ends = directory.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at);
        let prefixes: Vec<&[u8]> = ends.chain([directory.len()]).filter_map(|end| directory.get(..end)).collect();
        check_depth(prefixes.len())?;
        for prefix in &prefixes {
            self.note_made(prefix);
        }
        let path = if directory.is_empty() { c".".to_owned() } else { c_string(directory)? };
        let opened = match resolve::open_in_root(self.root.as_fd(), &path, READABLE) {
            Err(sys::Error { errno: Errno::ENOENT, .. }) => {
                for prefix in prefixes {
                    self.make_implicit(&c_string(prefix)?)?;
                }
                resolve::open_in_root(self.root.as_fd(), &path, READABLE)?
            }
            other => other?,
        };
        self.last = Some((directory.to_vec(), opened.try_clone().map_err(Failure::Read)?));
        Ok(opened)
    }

    /// Makes a directory that no entry has brought, if it is missing.
    fn make_implicit(&mut self, path: &CStr) -> Done<()> {
        match resolve::open_in_root(self.root.as_fd(), path, fd::O_PATH) {
            Err(sys::Error { errno: Errno::ENOENT, .. }) => {}
            other => return Ok(other.map(drop)?),
        }
        self.count(1, BLOCK)?;
        let made = resolve::make_in_root(self.root.as_fd(), path, Kind::Directory)?;
        // Another one with this inode may have been removed.
        self.directories.insert(fd::status(made.as_fd())?.inode, (0o755, None));
        Ok(())
    }

    fn hash(&self, path: &[u8]) -> u64 {
        self.hasher.hash_one(path)
    }

    fn note_made(&mut self, path: &[u8]) {
        self.made.insert(self.hash(path));
    }

    /// Removes what lower layers have there, and below it.
    fn hide(&mut self, parent: &OwnedFd, name: &CStr, path: &[u8], depth: usize) -> Done<()> {
        if !self.made.contains(&self.hash(path)) {
            return self.remove(parent.as_fd(), name);
        }
        match fd::open_at(parent.as_fd(), name, READABLE | fd::O_NOFOLLOW, 0) {
            Ok(directory) => self.hide_all(&directory, path, depth + 1),
            Err(sys::Error { errno: Errno::ENOTDIR | Errno::ELOOP | Errno::ENOENT, .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn hide_all(&mut self, directory: &OwnedFd, path: &[u8], depth: usize) -> Done<()> {
        check_depth(depth)?;
        check_not_interrupted()?;
        removal::names(directory)?
            .iter()
            .try_for_each(|name| self.hide(directory, name, &join(path, name.to_bytes()), depth))
    }

    fn remove(&mut self, parent: BorrowedFd, name: &CStr) -> Done<()> {
        self.last = None;
        match found(fd::unlink_at(parent, name)) {
            Err(sys::Error { errno: Errno::EISDIR | Errno::EPERM, .. }) => {
                Ok(removal::remove_tree(parent, name, None)?)
            }
            other => Ok(other.map(drop)?),
        }
    }

    /// Makes something, in the place of what lower layers have there.
    fn replace<T>(&mut self, parent: BorrowedFd, name: &CStr, make: impl Fn() -> sys::Result<T>) -> Done<T> {
        match make() {
            Err(sys::Error { errno: Errno::EEXIST, .. }) => {
                self.remove(parent, name)?;
                Ok(make()?)
            }
            other => Ok(other?),
        }
    }

    fn put_directory(&mut self, parent: BorrowedFd, name: &CStr, meta: &Meta, path: &[u8]) -> Done<()> {
        let open = || fd::open_at(parent, name, READABLE | fd::O_NOFOLLOW, 0);
        let directory = match fd::make_dir_at(parent, name, 0o700) {
            Ok(()) => open()?,
            Err(sys::Error { errno: Errno::EEXIST, .. }) => match open() {
                Ok(directory) => directory,
                Err(sys::Error { errno: Errno::ENOTDIR | Errno::ELOOP, .. }) => {
                    self.remove(parent, name)?;
                    fd::make_dir_at(parent, name, 0o700)?;
                    open()?
                }
                Err(error) => return Err(error.into()),
            },
            Err(error) => return Err(error.into()),
        };
        self.describe_directory(&directory, meta, path)
    }

    fn describe_directory(&mut self, directory: &OwnedFd, meta: &Meta, path: &[u8]) -> Done<()> {
        self.own_file(directory.as_fd(), meta, path)?;
        self.give_attributes(directory.as_fd(), meta, path)?;
        let inode = fd::status(directory.as_fd())?.inode;
        self.directories.insert(inode, (meta.mode, Some(meta.modified)));
        Ok(())
    }

    fn put_file(
        &mut self,
        entry: &mut tar::Entry<impl Read>,
        extended: &Extended,
        parent: BorrowedFd,
        name: &CStr,
        meta: &Meta,
        path: &[u8],
    ) -> Done<()> {
        let flags = fd::O_WRONLY | fd::O_CREAT | fd::O_EXCL | fd::O_NOFOLLOW;
        let mut file = File::from(self.replace(parent, name, || fd::open_at(parent, name, flags, 0o600))?);
        match extended.holes(entry)? {
            Some((map, size)) => self.write_map(entry, &mut file, &map, size)?,
            None => {
                // What a sparse file has, the stream need not have.
                let size = entry.size();
                self.count(0, size)?;
                self.copy(entry, &mut file, size)?;
                self.set_length(&file, size)?;
            }
        }
        self.own_file(file.as_fd(), meta, path)?;
        self.give_attributes(file.as_fd(), meta, path)?;
        fd::chmod(file.as_fd(), meta.mode)?;
        Ok(fd::set_modified_at(file.as_fd(), c"", meta.modified)?)
    }

    fn write_map(&mut self, entry: &mut impl Read, file: &mut File, map: &[Span], size: u64) -> Done<()> {
        self.count(0, size)?;
        let mut end = 0;
        for (offset, length) in map {
            let next = offset.checked_add(*length).filter(|next| *offset >= end && *next <= size);
            end = next.ok_or_else(|| damaged("its map of holes contradicts itself"))?;
            file.seek(SeekFrom::Start(*offset)).map_err(|error| unwritten("write", &error))?;
            self.copy(entry, file, *length)?;
        }
        if entry.read(&mut [0]).map_err(Failure::Read)? > 0 {
            return Err(damaged("it has more bytes than its map of holes says").into());
        }
        self.set_length(file, size)
    }

    /// Copies bytes, and leaves holes where there are only zeros.
    fn copy(&mut self, entry: &mut impl Read, file: &mut File, length: u64) -> Done<()> {
        let (mut left, mut until_look) = (length, STRIDE);
        while left > 0 {
            if left < length.saturating_sub(until_look) {
                check_not_interrupted()?;
                until_look += STRIDE;
            }
            let want = usize::try_from(left).unwrap_or(usize::MAX).min(self.buffer.len());
            let buffer = self.buffer.get_mut(..want).unwrap_or_default();
            let count = entry.read(buffer).map_err(Failure::Read)?;
            if count == 0 {
                return Err(Failure::Read(io::ErrorKind::UnexpectedEof.into()));
            }
            let bytes = buffer.get(..count).unwrap_or_default();
            let written = match count >= 4096 && bytes.iter().all(|byte| *byte == 0) {
                true => file.seek(SeekFrom::Current(count as i64)).map(drop),
                false => file.write_all(bytes),
            };
            written.map_err(|error| unwritten("write", &error))?;
            left -= count as u64;
        }
        Ok(())
    }

    fn set_length(&self, file: &File, size: u64) -> Done<()> {
        let is_there = (&*file).stream_position().map_err(|error| unwritten("write", &error))?;
        match size > 0
            && (is_there != size || file.metadata().map_err(|error| unwritten("write", &error))?.len() != size)
        {
            true => file.set_len(size).map_err(|error| unwritten("write", &error).into()),
            false => Ok(()),
        }
    }

    /// Another name for a file that is there; the root bounds both.
    fn put_link(&mut self, parent: BorrowedFd, name: &CStr, path: &[u8], target: &[u8]) -> Done<()> {
        let target = clean(target)?;
        if target == path {
            return Ok(());
        }
        let leads_nowhere =
            || Failure::Refused(damaged(&format!("a hard link to {:?}, which is not there", lossy(&target))));
        let (directory, last) = split(&target);
        let directory = if directory.is_empty() { c".".to_owned() } else { c_string(directory)? };
        let last = c_string(last)?;
        let from = match resolve::open_in_root(self.root.as_fd(), &directory, fd::O_PATH | fd::O_DIRECTORY) {
            Err(sys::Error { errno: Errno::ENOENT | Errno::ENOTDIR, .. }) => return Err(leads_nowhere()),
            other => other?,
        };
        // First: where both names are the same file's by another way, it must not be removed.
        match fd::link_at(from.as_fd(), &last, parent, name) {
            Err(sys::Error { errno: Errno::ENOENT, .. }) => Err(leads_nowhere()),
            Err(sys::Error { errno: Errno::EEXIST, .. }) => {
                let inode = |directory: BorrowedFd, name: &CStr| -> sys::Result<u64> {
                    Ok(fd::status(fd::open_at(directory, name, fd::O_PATH | fd::O_NOFOLLOW, 0)?.as_fd())?.inode)
                };
                let source = match found(inode(from.as_fd(), &last))? {
                    Some(source) => source,
                    None => return Err(leads_nowhere()),
                };
                if source == inode(parent, name)? {
                    return Ok(());
                }
                self.remove(parent, name)?;
                match fd::link_at(from.as_fd(), &last, parent, name) {
                    Err(sys::Error { errno: Errno::ENOENT, .. }) => Err(leads_nowhere()),
                    other => Ok(other?),
                }
            }
            other => Ok(other?),
        }
    }

    /// Gives a symlink or fifo its owner.
    fn own(&self, parent: BorrowedFd, name: &CStr, meta: &Meta) -> Done<()> {
        match self.may_chown {
            // An attribute of the user's own can be given to files and directories only (xattr(7)).
            false => Ok(()),
            true => match fd::chown_at(parent, name, meta.owner.0, meta.owner.1) {
                Err(sys::Error { errno: Errno::EINVAL, .. }) => Ok(()),
                other => Ok(other?),
            },
        }
    }

    /// Gives a file or directory its owner, or notes who it is.
    fn own_file(&mut self, file: BorrowedFd, meta: &Meta, path: &[u8]) -> Done<()> {
        if self.may_chown {
            match fd::chown_at(file, c"", meta.owner.0, meta.owner.1) {
                // Nobody of that number is mapped.
                Err(sys::Error { errno: Errno::EINVAL, .. }) => {}
                other => return Ok(other?),
            }
        }
        if meta.owner == (0, 0) {
            return Ok(());
        }
        match attribute::set(file, owner::ATTRIBUTE, &owner::encode(meta.owner, (0, 0))) {
            Err(sys::Error { errno: Errno::EOPNOTSUPP | Errno::EPERM, .. }) => {
                self.left_out.note(OWNER_REFUSED, path);
                Ok(())
            }
            other => Ok(other?),
        }
    }

    fn give_attributes(&mut self, file: BorrowedFd, meta: &Meta, path: &[u8]) -> Done<()> {
        for (name, value) in &meta.attributes {
            match attribute::set(file, name, value) {
                // A full disk or a full inode: of the latter, an attribute can be left out.
                Err(error) if REFUSING.contains(&error.errno) || value.len() > 2048 && error.errno == Errno::ENOSPC => {
                    self.left_out.note(ATTRIBUTE_REFUSED, path);
                }
                other => other?,
            }
        }
        Ok(())
    }

    /// Gives directories their modes and times: from below, as what is made in one changes its time. The root, when it is done.
    pub fn finish(mut self, log: &Log) -> Result<OwnedFd> {
        self.last = None;
        let done = fd::open_at(self.root.as_fd(), c".", READABLE, 0).map_err(Failure::Call);
        done.and_then(|root| self.finish_directory(&root, 0)).map_err(|failure| match failure {
            Failure::Call(error) => self.failed(b"rootfs", error),
            Failure::Refused(error) => error,
            Failure::Read(error) => cannot_write(Path::new("rootfs"), &error),
        })?;
        self.left_out.tell(log);
        Ok(self.root)
    }

    fn finish_directory(&self, directory: &OwnedFd, depth: usize) -> Done<()> {
        check_depth(depth)?;
        check_not_interrupted()?;
        for name in directories_in(directory).map_err(Failure::Read)? {
            let below = fd::open_at(directory.as_fd(), &name, READABLE | fd::O_NOFOLLOW, 0)?;
            self.finish_directory(&below, depth + 1)?;
        }
        if let Some((mode, modified)) = self.directories.get(&fd::status(directory.as_fd())?.inode) {
            fd::chmod(directory.as_fd(), *mode)?;
            modified.map_or(Ok(()), |modified| fd::set_modified_at(directory.as_fd(), c"", modified))?;
        }
        Ok(())
    }

    fn failed(&self, path: &[u8], error: sys::Error) -> Error {
        let failed = Error::from_call(lossy(path), error);
        match error.errno {
            Errno::ENOTDIR => failed
                .because("the archive has something below what is no directory")
                .remedy("fetch or save the image again"),
            Errno::ENOSPC | Errno::EDQUOT => failed.remedy("make room, or name a bundle on another disk"),
            Errno::ENAMETOOLONG => failed.because("no file system here has names that long"),
            _ => failed,
        }
    }
}

const READABLE: i32 = fd::O_RDONLY | fd::O_DIRECTORY;

/// How a file system says that it does not take an attribute.
const REFUSING: [Errno; 5] = [Errno::EOPNOTSUPP, Errno::EPERM, Errno::EINVAL, Errno::E2BIG, Errno::ERANGE];

/// The names of the directories in one; what is read from is closed again.
fn directories_in(directory: &OwnedFd) -> io::Result<Vec<CString>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(format!("/proc/self/fd/{}", directory.as_raw_fd()))? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            names.push(CString::new(entry.file_name().as_bytes()).unwrap_or_default());
        }
    }
    Ok(names)
}

fn check_depth(depth: usize) -> Result<()> {
    match depth > DEPTH {
        true => Err(Error::new(format!("directories are more than {DEPTH} deep in each other"))
            .because("that is the limit, so that no image exhausts the runtime")),
        false => Ok(()),
    }
}
