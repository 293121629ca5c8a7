//! The bundle while it is made.

use super::failure::cannot_write;
use crate::error::{Error, Result, found};
use crate::log::Log;
use crate::removal;
use crate::sys::{self, creds, fd};
use std::ffi::{CStr, CString};
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

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
        check_is_free(bundle)?;
        let absolute = std::path::absolute(bundle).map_err(|error| cannot_write(bundle, &error))?;
        let (Some(parent), Some(name)) = (absolute.parent(), absolute.file_name()) else {
            return Err(Error::new(format!("{} cannot be a bundle", bundle.display())).remedy("name a new directory"));
        };
        let failed = |error: sys::Error| {
            Error::from_call(bundle.display(), error)
                .remedy(format!("name a directory that you may make; {} must exist, and be writable", parent.display()))
        };
        let c_string =
            |bytes: &[u8]| CString::new(bytes).map_err(|_| Error::new("the bundle's name has a NUL character"));
        let drafts = [b".".as_slice(), name.as_bytes(), format!(".rootlet-{}", std::process::id()).as_bytes()].concat();
        let names = [c_string(&drafts)?, c_string(name.as_bytes())?];
        let [draft, _] = &names;
        let parent =
            fd::open(&c_string(parent.as_os_str().as_bytes())?, fd::O_RDONLY | fd::O_DIRECTORY, 0).map_err(failed)?;
        // Modes are the image's, and so is what is made on the way to its files.
        let umask = creds::set_umask(0o022);
        fd::make_dir_at(parent.as_fd(), draft, 0o700).map_err(failed)?;
        let directory =
            fd::open_at(parent.as_fd(), draft, fd::O_RDONLY | fd::O_DIRECTORY | fd::O_NOFOLLOW, 0).map_err(failed)?;
        let status = fd::status(directory.as_fd()).map_err(failed)?;
        // Somebody who may rename there has put another in its place.
        if status.uid != creds::effective_uid() || status.mode & 0o077 != 0 {
            return Err(Error::new(format!("{}: somebody has replaced what was made", bundle.display()))
                .because("others may rename what is in the directory above")
                .remedy("name a bundle in a directory of your own"));
        }
        Ok(Draft { bundle: absolute, parent, directory, names, umask })
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
        fd::rename_at(self.parent.as_fd(), draft, name).map_err(|error| Error::from_call(self.bundle.display(), error))
    }

    /// Removes it with all that is in it.
    pub fn remove(&self, log: &Log) {
        let [draft, _] = &self.names;
        let inode = |fd: &OwnedFd| fd::status(fd.as_fd()).map(|status| status.inode);
        let removed = found(fd::open_at(self.parent.as_fd(), draft, fd::O_PATH | fd::O_NOFOLLOW, 0)).and_then(
            |there| match there {
                Some(there) if inode(&there)? == inode(&self.directory)? => {
                    removal::remove_tree(self.parent.as_fd(), draft, None)
                }
                _ => Ok(()),
            },
        );
        if let Err(error) = removed {
            log.warn(&Error::from_call(format!("cannot remove {}", draft.to_string_lossy()), error));
        }
    }
}

fn check_is_free(bundle: &Path) -> Result<()> {
    let is_taken = match std::fs::read_dir(bundle) {
        Ok(mut entries) => entries.next().is_some(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => bundle.is_symlink(),
        Err(_) => true,
    };
    match is_taken {
        true => Err(Error::new(format!("{} is there already", bundle.display()))
            .because("a bundle is made as a whole, and nothing is overwritten")
            .remedy("remove it, or name another directory")),
        false => Ok(()),
    }
}
