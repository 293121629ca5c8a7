//! What can be wrong with an image, and what is said of it.

use crate::error::{Error, Result};
use crate::sys::{self, Errno, signal};
use std::fmt::Display;
use std::io;
use std::path::Path;

/// What fails.
pub enum Failure {
    /// The archive cannot be read.
    Read(io::Error),
    /// It says something that cannot be done.
    Refused(Error),
    /// The kernel says no.
    Call(sys::Error),
}

/// What can fail in one of these ways.
pub type Done<T> = std::result::Result<T, Failure>;

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure::Refused(error)
    }
}

impl From<sys::Error> for Failure {
    fn from(error: sys::Error) -> Failure {
        Failure::Call(error)
    }
}

/// What is said of something else.
pub fn no_image(path: &Path, is: &str) -> Error {
    Error::new(format!("{} {is}", path.display())).because(
        "an image is an OCI layout, an archive of one, what `docker save` writes, or a tar of a root file system",
    )
}

/// How an archive that cannot be read is blamed.
pub fn unreadable(what: &impl Display, error: io::Error) -> Error {
    match error.downcast::<Error>() {
        Ok(own) => own,
        Err(error) if error.raw_os_error().is_some() => Error::from_io(what, &error),
        Err(error) => Error::new(format!("{what}: {error}"))
            .because("the archive is damaged, or was cut off")
            .remedy("fetch or save it again"),
    }
}

/// What is said of bytes that are others than the image names.
pub fn wrong_digest(what: &str) -> Error {
    Error::new(format!("{what}: these are not the bytes that the image names: the digest is another"))
        .because("the archive is damaged, or somebody has changed it")
        .remedy("fetch or save it again")
}

/// What is said of headers that would fill the memory.
pub fn too_long(limit: u64) -> Error {
    Error::new(format!("the headers of one file have more than {limit} bytes"))
        .because("no name and no attribute is that long")
}

/// What is said of a bomb.
pub fn too_large(limit: u64) -> Error {
    Error::new(format!("the image unpacks to more than {limit} bytes"))
        .because("that is the limit, so that no image fills the disk")
        .remedy("give another with --max-size, if it is meant")
}

/// What is said of an archive that contradicts itself.
pub fn damaged(is: &str) -> Error {
    Error::new(is).because("the archive is damaged, or was made to deceive")
}

/// Fails once a signal has come that ends this command: it waits until what was made is taken back.
pub fn check_not_interrupted() -> Result<()> {
    match signal::endings().into_iter().any(signal::is_pending) {
        true => Err(Error::new("ended by a signal before the bundle was complete")),
        false => Ok(()),
    }
}

/// What is said where the bundle cannot be made.
pub fn cannot_write(path: &Path, error: &std::io::Error) -> Error {
    unwritten(&format!("cannot write {}", path.display()), error)
}

/// A write that has failed: a full disk can be mended.
pub fn unwritten(what: &str, error: &std::io::Error) -> Error {
    let failed = Error::from_io(what, error);
    match failed.errno {
        Some(Errno::ENOSPC | Errno::EDQUOT) => failed.remedy("make room, or name a bundle on another disk"),
        _ => failed,
    }
}
