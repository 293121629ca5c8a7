//! The bundle while it is made.

use super::failure::cannot_write;
use crate::error::{Error, Result, found};
use crate::log::Log;
use crate::removal;
use crate::sys::{self, Errno, creds, fd};
use std::ffi::{CStr, CString, OsStr};
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// What drafts begin with.
const PREFIX: &[u8] = b".rootlet-";

/// How old a draft is at least whose maker may be gone.
const YOUNG: Duration = Duration::from_secs(60);

/// A directory beside the bundle's name, which takes that when it is complete. It is the caller's alone: what an image calls setuid
/// is the caller's in it, and nobody else may run that. All is made by its descriptor, whatever becomes of its name meanwhile.
pub struct Draft {
    /// The bundle to be.
    pub bundle: PathBuf,
    parent: OwnedFd,
    directory: OwnedFd,
    names: [CString; 2],
    umask: u32,
}

impl Drop for Draft {
    fn drop(&mut self) {
        creds::set_umask(self.umask);
    }
}

impl Draft {
    /// Makes it, if the bundle's name is free, or an empty directory's.
    pub fn make(bundle: &Path) -> Result<Draft> {
        let absolute = std::path::absolute(bundle).map_err(|error| cannot_write(bundle, &error))?;
        let (Some(parent), Some(name)) = (absolute.parent(), absolute.file_name()) else {
            return Err(Error::new(format!("{} cannot be a bundle", bundle.display())).remedy("name a new directory"));
        };
        check_is_free(bundle, &absolute)?;
        let failed = |error: sys::Error| {
            Error::from_call(bundle.display(), error)
                .remedy(format!("name a directory that you may make; {} must exist, and be writable", parent.display()))
        };
        let c_string =
            |bytes: &[u8]| CString::new(bytes).map_err(|_| Error::new("the bundle's name has a NUL character"));
        let name = c_string(name.as_bytes())?;
        let parent =
            fd::open(&c_string(parent.as_os_str().as_bytes())?, fd::O_RDONLY | fd::O_DIRECTORY, 0).map_err(failed)?;
        sweep(&parent, absolute.parent().unwrap_or(Path::new("/")));
        // Modes are the image's, and so is what is made on the way to its files.
        let umask = creds::set_umask(0o022);
        let draft = loop {
            // What was left by who was killed, or what a neighbour has put there, is in no way.
            let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            let draft = c_string(format!(".rootlet-{}-{:x}", std::process::id(), time.subsec_nanos()).as_bytes())?;
            match fd::make_dir_at(parent.as_fd(), &draft, 0o700) {
                Err(sys::Error { errno: Errno::EEXIST, .. }) => {}
                other => break other.map(|()| draft).map_err(failed)?,
            }
        };
        let directory =
            fd::open_at(parent.as_fd(), &draft, fd::O_RDONLY | fd::O_DIRECTORY | fd::O_NOFOLLOW, 0).map_err(failed)?;
        let status = fd::status(directory.as_fd()).map_err(failed)?;
        if status.uid != creds::effective_uid() || status.mode & 0o077 != 0 {
            return Err(replaced(bundle));
        }
        // As long as this lives, it is no leftover.
        fd::try_lock(directory.as_fd()).map_err(failed)?;
        Ok(Draft { bundle: absolute, parent, directory, names: [draft, name], umask })
    }

    /// Makes a directory in it.
    pub fn make_directory(&self, name: &CStr) -> Result<OwnedFd> {
        let make = || {
            fd::make_dir_at(self.directory.as_fd(), name, 0o755)?;
            fd::open_at(self.directory.as_fd(), name, fd::O_RDONLY | fd::O_DIRECTORY | fd::O_NOFOLLOW, 0)
        };
        make().map_err(|error| Error::from_call(self.bundle.display(), error))
    }

    /// Makes a file in it.
    pub fn make_file(&self, name: &CStr, mode: u32) -> Result<File> {
        let flags = fd::O_RDWR | fd::O_CREAT | fd::O_EXCL | fd::O_NOFOLLOW;
        let made = fd::open_at(self.directory.as_fd(), name, flags, mode).map(File::from);
        made.map_err(|error| Error::from_call(self.bundle.display(), error))
    }

    /// A file without a name, for what is not to stay.
    pub fn make_spool(&self) -> Result<File> {
        let file = self.make_file(c"spool", 0o600)?;
        fd::unlink_at(self.directory.as_fd(), c"spool")
            .map_err(|error| Error::from_call(self.bundle.display(), error))?;
        Ok(file)
    }

    /// Gives it its name: an empty directory may have it, as rename(2) allows.
    pub fn publish(&self) -> Result<()> {
        let [draft, name] = &self.names;
        let failed = |error: sys::Error| match error.errno {
            Errno::ENOTEMPTY | Errno::EEXIST | Errno::ENOTDIR => is_there(&self.bundle),
            _ => Error::from_call(self.bundle.display(), error),
        };
        match self.has_its_name().map_err(failed)? {
            true => fd::rename_at(self.parent.as_fd(), draft, name).map_err(failed),
            false => Err(replaced(&self.bundle)),
        }
    }

    /// Removes it with all that is in it.
    pub fn remove(&self, log: &Log) {
        let [draft, _] = &self.names;
        let removed = self.has_its_name().and_then(|has| match has {
            true => removal::remove_tree(self.parent.as_fd(), draft, None),
            false => Ok(()),
        });
        if let Err(error) = removed {
            let path = self.bundle.with_file_name(draft.to_string_lossy().into_owned());
            log.warn(&Error::from_call(format!("cannot remove {}", path.display()), error));
        }
    }

    /// Whether its name still is its own: who may rename in the directory above may have put another there.
    fn has_its_name(&self) -> sys::Result<bool> {
        let [draft, _] = &self.names;
        let inode = |fd: &OwnedFd| fd::status(fd.as_fd()).map(|status| status.inode);
        match found(fd::open_at(self.parent.as_fd(), draft, fd::O_PATH | fd::O_NOFOLLOW, 0))? {
            Some(there) => Ok(inode(&there)? == inode(&self.directory)?),
            None => Ok(false),
        }
    }
}

/// Removes drafts of this user's whose makers were killed. What cannot be removed is in nobody's way.
fn sweep(parent: &OwnedFd, path: &Path) {
    for name in removal::names(parent).unwrap_or_default() {
        if !name.to_bytes().starts_with(PREFIX) {
            continue;
        }
        let modified =
            path.join(OsStr::from_bytes(name.to_bytes())).symlink_metadata().and_then(|data| data.modified());
        // One that was just made may not be locked yet.
        if !modified.is_ok_and(|modified| modified.elapsed().is_ok_and(|age| age > YOUNG)) {
            continue;
        }
        let flags = fd::O_RDONLY | fd::O_DIRECTORY | fd::O_NOFOLLOW;
        let Ok(draft) = fd::open_at(parent.as_fd(), &name, flags, 0) else { continue };
        let is_own = fd::status(draft.as_fd())
            .is_ok_and(|status| status.uid == creds::effective_uid() && status.mode & 0o077 == 0);
        if is_own && fd::try_lock(draft.as_fd()).unwrap_or(false) {
            let _ = removal::remove_tree(parent.as_fd(), &name, None);
        }
    }
}

fn replaced(bundle: &Path) -> Error {
    Error::new(format!("{}: somebody has replaced what was made", bundle.display()))
        .because("others may rename what is in the directory above")
        .remedy("name a bundle in a directory of your own")
}

fn is_there(bundle: &Path) -> Error {
    Error::new(format!("{} is there already", bundle.display()))
        .because("a bundle is made as a whole, and nothing is overwritten")
        .remedy("name another directory")
}

/// Refuses a name that cannot become the bundle's in the end.
fn check_is_free(bundle: &Path, absolute: &Path) -> Result<()> {
    let failed = |error| cannot_write(bundle, &error);
    let Some(metadata) = found(bundle.symlink_metadata()).map_err(failed)? else { return Ok(()) };
    if metadata.is_file() {
        return Err(Error::new(format!("{} is a file", bundle.display()))
            .because("the bundle is a directory that is made, and is named behind the image")
            .remedy(format!("`rootlet unpack {} BUNDLE`, if that is the image", bundle.display())));
    }
    if !metadata.is_dir() {
        return Err(is_there(bundle));
    }
    let device = absolute.parent().and_then(|parent| parent.metadata().ok()).map(|parent| parent.dev());
    let is_current = std::env::current_dir().is_ok_and(|current| current.starts_with(absolute));
    if is_current || device != Some(metadata.dev()) {
        return Err(Error::new(format!("{} is in use", bundle.display()))
            .because("a new directory takes its name, and this one is the current one or has something mounted on it")
            .remedy("name one in it, or another one"));
    }
    match std::fs::read_dir(bundle).map_err(failed)?.next() {
        Some(_) => Err(is_there(bundle)),
        None => Ok(()),
    }
}
