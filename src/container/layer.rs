//! A writable layer over a container's root: the directories of an overlay, which are kept, or removed with the container.

use super::state::directory::{Directory, LAYER};
use super::state::states::States;
use super::status::Status;
use crate::error::{Error, Result, found};
use crate::sys::{attribute, creds, fd};
use std::ffi::{CString, OsStr};
use std::fs;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};

/// In a layer that is kept, a symlink to the state of the container that has it, or had it last.
const OWNER: &str = "container";

/// Where an overlay writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layer {
    /// Directory with the upper and the work directory.
    pub directory: PathBuf,
    /// Whether it is gone with the container.
    pub is_temporary: bool,
    /// Which directories of the host's it lies over, each by an overlay of its own; none: it lies over the root.
    pub over: Vec<PathBuf>,
    /// Whether a program serves it, and not the kernel.
    pub is_served: bool,
}

/// The directories of one overlay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Directory that the layer lies over.
    pub lower: PathBuf,
    /// overlayfs's upperdir: what was changed.
    pub upper: PathBuf,
    /// overlayfs's workdir, on the same file system.
    pub work: PathBuf,
}

/// What was done to a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Change {
    /// The path was not there before.
    Added,
    /// The path has other contents, or another mode.
    Changed,
    /// The path is not there any more.
    Deleted,
}

impl Layer {
    fn upper(&self) -> PathBuf {
        self.directory.join("upper")
    }

    fn work(&self) -> PathBuf {
        self.directory.join("work")
    }

    /// Its overlays; `root` is the container's.
    pub fn parts(&self, root: &Path) -> Vec<Part> {
        if self.over.is_empty() {
            return vec![Part { lower: root.to_owned(), upper: self.upper(), work: self.work() }];
        }
        let part = |lower: &PathBuf| {
            let name = lower.to_string_lossy().replace('%', "%25").replace('/', "%2F");
            Part { lower: lower.clone(), upper: self.upper().join(&name), work: self.work().join(&name) }
        };
        self.over.iter().map(part).collect()
    }

    /// What is changed in it, by path, and what could not be looked at.
    pub fn changes(&self, root: &Path) -> (Vec<(PathBuf, Change)>, Vec<Error>) {
        let mut listing = Listing { is_served: self.is_served, changes: Vec::new(), failures: Vec::new() };
        for part in self.parts(root) {
            listing.list(&part.upper, Some(&part.lower), &part.lower);
        }
        listing.changes.sort();
        (listing.changes, listing.failures)
    }

    /// Makes it for a container that is being created; `root` is what it lies over. One that is temporary is named in the state before
    /// it is there, so that whoever takes the container away finds it.
    pub fn make(&self, root: &Path, state: &Directory) -> Result<()> {
        let failed = |path: &Path, error: std::io::Error| {
            let remedy = match error.kind() {
                std::io::ErrorKind::StorageFull => "make room there, or name a directory elsewhere",
                _ => "name a directory that you may write to; for `--layer tmp`, set TMPDIR to one",
            };
            Error::from_io(format!("--layer: cannot make {}", path.display()), &error).remedy(remedy)
        };
        let look = |path: &Path| {
            fs::metadata(path).map_err(|error| {
                Error::in_config("root.path", format!("{}: {error}", path.display())).remedy("correct root.path")
            })
        };
        let parts = self.parts(root);
        let metadata = look(parts.first().map_or(root, |part| &part.lower))?;
        // Of another user's container, it is that user's.
        let give = |path: &Path, metadata: &fs::Metadata| match creds::effective_uid() {
            0 => chown(path, Some(metadata.uid()), Some(metadata.gid())).map_err(|error| failed(path, error)),
            _ => Ok(()),
        };
        let mut builder = fs::DirBuilder::new();
        builder.mode(0o700);
        if self.is_temporary {
            state.point(LAYER, &self.directory)?;
            builder.create(&self.directory).map_err(|error| failed(&self.directory, error))?;
            give(&self.directory, &metadata)?;
        } else {
            parts.iter().try_for_each(|part| self.check_place(&part.lower))?;
            match builder.create(&self.directory) {
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(failed(&self.directory, error)),
                Ok(()) => give(&self.directory, &metadata)?,
            }
            self.check_owner()?;
            self.take(state)?;
        }
        if !self.over.is_empty() {
            for made in [self.upper(), self.work()] {
                match builder.create(&made) {
                    Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                    created => created.map_err(|error| failed(&made, error)).and_then(|()| give(&made, &metadata))?,
                }
            }
        }
        for part in parts {
            let metadata = look(&part.lower)?;
            for made in [part.upper, part.work] {
                match builder.create(&made) {
                    Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => continue,
                    created => created.map_err(|error| failed(&made, error))?,
                }
                // The root of an overlay is that of its upper layer.
                let mode = fs::Permissions::from_mode(metadata.permissions().mode() & 0o7777);
                fs::set_permissions(&made, mode).map_err(|error| failed(&made, error))?;
                give(&made, &metadata)?;
            }
        }
        Ok(())
    }

    /// What others could shape would be shown in the container, and written to. Root may use what is another's.
    fn check_owner(&self) -> Result<()> {
        let own = creds::effective_uid();
        let wrong = |path: &Path, why: &str| {
            Err(Error::new(format!("--layer: {} {why}", path.display()))
                .because("somebody else decides what is in it")
                .remedy("name a directory of your own, which nobody else may write to"))
        };
        let directory = self.directory.canonicalize();
        let directory = directory.map_err(|error| Error::from_io(self.directory.display(), &error))?;
        let parts = self.over.iter().flat_map(|_| self.parts(Path::new("/")));
        let below: Vec<_> =
            [self.upper(), self.work()].into_iter().chain(parts.flat_map(|part| [part.upper, part.work])).collect();
        for path in [&directory].into_iter().chain(&below) {
            let found = found(path.symlink_metadata()).map_err(|error| Error::from_io(path.display(), &error))?;
            match found {
                None => {}
                // A program in a sandbox may have put a link there.
                Some(found) if !found.is_dir() => return wrong(path, "is no directory"),
                Some(found) if own != 0 && found.uid() != own => return wrong(path, "is another user's"),
                // What is below is as the image has it.
                Some(found) if *path == directory && found.mode() & 0o022 != 0 => {
                    return wrong(path, "may be written to by others");
                }
                Some(_) => {}
            }
        }
        Ok(())
    }

    /// What is written over a root goes neither into that root nor into another layer.
    fn check_place(&self, root: &Path) -> Result<()> {
        let failed = |error: std::io::Error| Error::from_io(self.directory.display(), &error);
        let own = match found(self.directory.canonicalize()).map_err(failed)? {
            Some(own) => own,
            // It is not there yet.
            None => match (self.directory.parent(), self.directory.file_name()) {
                (Some(above), Some(name)) => above.canonicalize().map_err(failed)?.join(name),
                _ => self.directory.clone(),
            },
        };
        let root = root.canonicalize().map_err(failed)?;
        let within = own.ancestors().skip(1).find(|above| {
            // Not known is no: then it is none that this user could have made.
            above.join(OWNER).is_symlink() && above.join("upper").is_dir()
        });
        let wrong = |what: String| {
            Err(Error::new(format!("--layer: {} is in {what}", self.directory.display()))
                .because("what is written would change what it is written over")
                .remedy("name a directory beside it"))
        };
        match within {
            _ if own.starts_with(&root) => wrong(format!("the root file system {}", root.display())),
            _ if root.starts_with(&own) => wrong(format!("the way of the root file system {}", root.display())),
            Some(layer) => wrong(format!("another layer, {}", layer.display())),
            None => Ok(()),
        }
    }

    /// Takes a layer that is kept for a container, if none that lives has it. Two overlays that write to one layer lose what they write,
    /// and the kernel lets them (overlayfs.rst, "Sharing and copying layers").
    fn take(&self, state: &Directory) -> Result<()> {
        let failed = |error: std::io::Error| Error::from_io(format!("--layer: {}", self.directory.display()), &error);
        let lock = fs::File::open(&self.directory).map_err(failed)?;
        fd::lock(lock.as_fd()).map_err(|error| Error::from_call(self.directory.display(), error))?;
        let link = self.directory.join(OWNER);
        if let Some(other) = found(fs::read_link(&link)).map_err(failed)? {
            if other != state.path() && has_life(&other)? {
                let (name, states) = (other.file_name().unwrap_or_default(), other.parent().unwrap_or(Path::new("/")));
                return Err(Error::new(format!("--layer: {} is container {name:?}'s", self.directory.display()))
                    .because("two containers that write to one layer spoil it for each other")
                    .remedy(format!(
                        "`rootlet --root {} delete --force {}`, or name another directory",
                        states.display(),
                        name.display()
                    )));
            }
            fs::remove_file(&link).map_err(failed)?;
        }
        symlink(state.path(), &link).map_err(failed)
    }
}

/// In front of the name of what is deleted, where a server of FUSE could make no whiteout of the kernel's.
const WHITEOUT: &str = ".wh.";

/// What is found in the upper directories of a layer.
struct Listing {
    is_served: bool,
    changes: Vec<(PathBuf, Change)>,
    failures: Vec<Error>,
}

impl Listing {
    /// Lists what an upper directory has over a lower one, which is shown at `shown`. overlayfs.rst: a whiteout is a character device
    /// 0:0, and a directory that is opaque hides the lower one of its name.
    fn list(&mut self, upper: &Path, lower: Option<&Path>, shown: &Path) {
        let closed = upper.symlink_metadata().map(|metadata| metadata.permissions()).ok();
        let closed = closed.filter(|closed| closed.mode() & 0o700 != 0o700);
        if closed.is_some() {
            // Where that fails, so does what follows.
            let _ = fs::set_permissions(upper, fs::Permissions::from_mode(0o700));
        }
        match fs::read_dir(upper).and_then(Iterator::collect::<std::io::Result<Vec<_>>>) {
            Ok(entries) => {
                for entry in entries {
                    if let Err(error) = self.look_at(&entry.path(), &entry.file_name(), lower, shown) {
                        self.failures.push(Error::from_io(entry.path().display(), &error));
                    }
                }
            }
            Err(error) => self.failures.push(Error::from_io(upper.display(), &error)),
        }
        if let Some(closed) = closed
            && let Err(error) = fs::set_permissions(upper, closed)
        {
            self.failures.push(Error::from_io(upper.display(), &error));
        }
    }

    fn look_at(&mut self, path: &Path, name: &OsStr, lower: Option<&Path>, shown: &Path) -> std::io::Result<()> {
        let metadata = path.symlink_metadata()?;
        if let Some(deleted) = name.as_bytes().strip_prefix(WHITEOUT.as_bytes()).filter(|_| self.is_served) {
            if !deleted.starts_with(WHITEOUT.as_bytes()) {
                self.changes.push((shown.join(OsStr::from_bytes(deleted)), Change::Deleted));
            }
            return Ok(());
        }
        let shown = shown.join(name);
        if metadata.file_type().is_char_device() && metadata.rdev() == 0 {
            self.changes.push((shown, Change::Deleted));
            return Ok(());
        }
        let below = lower.map(|lower| lower.join(name));
        let before = below.as_ref().map(|below| found(below.symlink_metadata())).transpose()?.flatten();
        if !metadata.is_dir() {
            self.changes.push((shown, if before.is_some() { Change::Changed } else { Change::Added }));
            return Ok(());
        }
        let was_directory = before.as_ref().is_some_and(fs::Metadata::is_dir);
        let is_opaque = was_directory && is_opaque(path)?;
        match &before {
            None => self.changes.push((shown.clone(), Change::Added)),
            Some(before) if !was_directory || is_opaque || before.mode() != metadata.mode() => {
                self.changes.push((shown.clone(), Change::Changed));
            }
            Some(_) => {}
        }
        let below = below.filter(|_| was_directory && !is_opaque);
        self.list(path, below.as_deref(), &shown);
        Ok(())
    }
}

/// By an attribute of a directory of one's own, which may be closed.
fn is_opaque(directory: &Path) -> std::io::Result<bool> {
    let path = CString::new(directory.as_os_str().as_bytes()).unwrap_or_default();
    for name in [c"user.overlay.opaque", c"trusted.overlay.opaque", c"user.fuseoverlayfs.opaque"] {
        // Without such an attribute, or the right to read it, it is not opaque to this user's overlays.
        if attribute::get_by_path(&path, name, &mut [0; 8]).is_ok_and(|value| value.is_some()) {
            return Ok(true);
        }
    }
    Ok(directory.join(".wh..wh..opq").is_file())
}

/// Whether there is a container with that state, and it may have processes.
fn has_life(state: &Path) -> Result<bool> {
    let (Some(states), Some(id)) = (state.parent(), state.file_name()) else { return Ok(false) };
    // Not known is not no: one that cannot be looked at may live.
    let there = found(state.metadata()).map_err(|error| Error::from_io(state.display(), &error))?;
    if !state.is_absolute() || there.is_none_or(|there| !there.is_dir()) {
        return Ok(false);
    }
    let states = States::new(Some(states))?;
    let container = states.look_for(&String::from_utf8_lossy(id.as_bytes()))?;
    container.map_or(Ok(false), |container| Ok(container.status()? != Status::Stopped))
}
