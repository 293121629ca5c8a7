//! What a user names, as it was when it was named.

use crate::error::{Error, Result};
use crate::sys::{fd, resolve};
use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

/// A file or directory of the host's, as it was when the user named it: whoever puts another one there since gets an error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its path, without links.
    pub path: PathBuf,
    /// Its device and inode.
    pub inode: (u64, u64),
}

impl Found {
    /// What a flag names. Links on the way are root's, and in no directory in which a sandbox may have made them.
    pub fn named(flag: &str, path: &Path, current: &Path) -> Result<Found> {
        let what = format!("{flag} {}", path.display());
        let failed = |error: std::io::Error| {
            Error::from_io(&what, &error)
                .remedy("name a file or directory that is there; a sandbox makes none on the host")
        };
        let mut absolute = std::path::absolute(path).map_err(failed)?;
        for _ in 0..MOST_LINKS {
            let Some((link, rest)) = first_link(&absolute).map_err(failed)? else {
                return Found::at(&what, &clean(&absolute));
            };
            let metadata = link.symlink_metadata().map_err(failed)?;
            let above = link.parent().and_then(|above| above.canonicalize().ok());
            if metadata.uid() != 0 || above.is_some_and(|above| above.starts_with(current)) {
                return Err(Error::new(format!("{what} leads by the link {}", link.display()))
                    .because("a program in a sandbox may have made it, to be shown what it leads to")
                    .remedy("name the path itself: see `realpath` of it"));
            }
            absolute = link.canonicalize().map_err(failed)?.join(rest);
        }
        Err(Error::new(format!("{what} leads by links in a circle")))
    }

    /// The current directory, whatever its name leads to by now.
    pub fn current() -> Result<Found> {
        let failed = |error| Error::from_call("the current directory", error);
        let path = std::env::current_dir().map_err(|error| {
            Error::from_io("the current directory", &error)
                .remedy("go to a directory that is there, or name one with --cwd")
        })?;
        let opened = fd::open(c".", fd::O_PATH | fd::O_DIRECTORY, 0).map_err(failed)?;
        let status = fd::status(opened.as_fd()).map_err(failed)?;
        Ok(Found { path, inode: (status.device, status.inode) })
    }

    /// It, as it was found; whoever has put a link on its way since gets an error.
    pub fn open(&self) -> Result<OwnedFd> {
        open_plain(&self.path).map_err(|error| Error::from_call(self.path.display(), error))
    }

    fn at(what: &str, path: &Path) -> Result<Found> {
        let failed = |error| {
            Error::from_call(what, error)
                .remedy("name a file or directory that is there; a sandbox makes none on the host")
        };
        let opened = open_plain(path).map_err(failed)?;
        let status = fd::status(opened.as_fd()).map_err(failed)?;
        Ok(Found { path: path.to_owned(), inode: (status.device, status.inode) })
    }
}

/// Opens an absolute path without links.
fn open_plain(path: &Path) -> crate::sys::Result<OwnedFd> {
    let root = fd::open(c"/", fd::O_PATH | fd::O_DIRECTORY, 0)?;
    match path.strip_prefix("/") {
        Ok(relative) if !relative.as_os_str().is_empty() => {
            let relative = CString::new(relative.as_os_str().as_bytes()).unwrap_or_default();
            resolve::open_in_root_no_symlinks(root.as_fd(), &relative, fd::O_PATH)
        }
        _ => Ok(root),
    }
}

/// As the kernel follows at most.
const MOST_LINKS: usize = 40;

/// The first link on the way of a path, and what follows it.
fn first_link(path: &Path) -> std::io::Result<Option<(PathBuf, PathBuf)>> {
    let mut walked = PathBuf::new();
    let mut parts = path.components();
    while let Some(part) = parts.next() {
        walked.push(part);
        if walked.symlink_metadata()?.is_symlink() {
            return Ok(Some((walked, parts.as_path().to_owned())));
        }
    }
    Ok(None)
}

/// A path without links, `.` and `..`.
fn clean(path: &Path) -> PathBuf {
    let mut clean = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => drop(clean.pop()),
            Component::CurDir => {}
            part => clean.push(part),
        }
    }
    clean
}
