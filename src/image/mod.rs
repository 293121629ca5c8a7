//! From an image to a bundle: parts found and verified, layers put one upon the other, config.json written.

mod blobs;
mod compression;
mod config;
mod digest;
mod failure;
mod layer;
mod manifest;
mod source;
mod tree;

pub use manifest::Platform;
pub use source::Source;

use crate::error::{Error, Result};
use crate::host::Host;
use crate::log::Log;
use crate::removal;
use crate::spec::default;
use crate::sys::{creds, fd, tty};
use blobs::Blobs;
use failure::cannot_write;
use layer::Stream;
use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use tree::Tree;

/// What one image may bring.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of all its layers, unpacked.
    pub bytes: u64,
    /// Files of all its layers.
    pub files: u64,
}

/// Nobody's image is larger by chance.
pub const LIMITS: Limits = Limits { bytes: 64 << 30, files: 4_000_000 };

/// How to unpack.
#[derive(Debug)]
pub struct Options {
    /// For which machine, where an image is for several.
    pub platform: Platform,
    /// For whom config.json is written.
    pub kind: default::Kind,
    /// What the image may bring.
    pub limits: Limits,
}

/// Makes a bundle from an image, as a whole or not at all. It appears when it is complete.
pub fn unpack(source: &Source, bundle: &Path, options: &Options, log: &Log) -> Result<()> {
    let draft = Draft::make(bundle)?;
    let done = fill(source, &draft, options, log).and_then(|()| draft.publish());
    if done.is_err() {
        draft.remove(log);
    }
    done
}

fn fill(source: &Source, draft: &Draft, options: &Options, log: &Log) -> Result<()> {
    let host = Host::new()?;
    let blobs = Blobs::open(source, &draft.path, options.limits.bytes)?;
    let image = manifest::choose(&blobs, source, &options.platform)?;
    let rootfs = draft.path.join("rootfs");
    let mut tree = Tree::make(&rootfs, &host, options.limits)?;
    for (number, layer) in image.layers.iter().enumerate() {
        let what = format!("layer {} of {} ({})", number + 1, image.layers.len(), layer.name);
        tell(&what);
        let stream = Stream::open(&blobs, layer, what)?;
        stream.apply(&mut tree, image.has_whiteouts)?;
    }
    tree.finish()?;
    drop(blobs);
    draft.discard_spool()?;
    let text = config::text(&image.config, open_directory(&rootfs)?, options.kind, &host, log)?;
    tree.left_out.tell(log);
    let path = draft.path.join("config.json");
    std::fs::write(&path, text).map_err(|error| cannot_write(&path, &error))
}

/// Says to who waits at a terminal what goes on.
fn tell(what: &str) {
    let error = fd::borrow(2);
    if tty::is_terminal(error) {
        let _ = fd::write_all(error, format!("unpacking {what}\n").as_bytes());
    }
}

/// The bundle while it is made: beside its name, so that it can take it, and the caller's alone. What an image calls setuid is
/// the caller's in it, and nobody else must be able to run that.
struct Draft {
    bundle: PathBuf,
    path: PathBuf,
}

impl Draft {
    fn make(bundle: &Path) -> Result<Draft> {
        let absolute = std::path::absolute(bundle).map_err(|error| cannot_write(bundle, &error))?;
        let (Some(parent), Some(name)) = (absolute.parent(), absolute.file_name()) else {
            return Err(Error::new(format!("{} cannot be a bundle", bundle.display())).remedy("name a new directory"));
        };
        Draft::check_is_free(bundle)?;
        let path = parent.join(format!(".{}.rootlet-{}", name.to_string_lossy(), std::process::id()));
        std::fs::DirBuilder::new().mode(0o700).create(&path).map_err(|error| {
            cannot_write(bundle, &error)
                .remedy(format!("name a directory that you may make; {} must exist", parent.display()))
        })?;
        // Modes are the image's, and so is what is made on the way to its files.
        creds::set_umask(0o022);
        Ok(Draft { bundle: absolute, path })
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

    /// Where what cannot be read twice is kept meanwhile.
    fn discard_spool(&self) -> Result<()> {
        let path = self.path.join(blobs::SPOOL);
        crate::error::found(std::fs::remove_file(&path)).map(drop).map_err(|error| cannot_write(&path, &error))
    }

    fn publish(&self) -> Result<()> {
        // Over an empty directory, as rename(2) allows; over nothing else.
        std::fs::rename(&self.path, &self.bundle).map_err(|error| cannot_write(&self.bundle, &error))
    }

    fn remove(&self, log: &Log) {
        let remove = || {
            let parent = open_directory(self.path.parent().unwrap_or(Path::new("/")))?;
            let name = CString::new(self.path.file_name().unwrap_or_default().as_bytes()).unwrap_or_default();
            removal::remove_tree(parent.as_fd(), &name, None)
                .map_err(|error| Error::from_call(format!("cannot remove {}", self.path.display()), error))
        };
        remove().unwrap_or_else(|error| log.warn(&error));
    }
}

fn open_directory(path: &Path) -> Result<OwnedFd> {
    let name = CString::new(path.as_os_str().as_bytes()).map_err(|_| Error::new("a path has a NUL character"))?;
    fd::open(&name, fd::O_RDONLY | fd::O_DIRECTORY, 0).map_err(|error| Error::from_call(path.display(), error))
}
