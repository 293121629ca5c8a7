//! A writable layer over a container's root: the directories of an overlay, which are kept, or removed with the container.

use super::state::directory::{Directory, KEPT_LAYER, LAYER};
use super::state::states::States;
use super::status::Status;
use crate::error::{Error, Result, found};
use std::fs;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Where an overlay writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layer {
    /// What it is made in.
    pub directory: PathBuf,
    /// Whether it is gone with the container.
    pub is_temporary: bool,
}

impl Layer {
    /// overlayfs's upperdir: what was changed.
    pub fn upper(&self) -> PathBuf {
        self.directory.join("upper")
    }

    /// overlayfs's workdir, on the same file system.
    pub fn work(&self) -> PathBuf {
        self.directory.join("work")
    }

    /// Makes it for a container that is being created; `root` is what it lies over. It is named in the state before it is there, so
    /// that whoever takes the container away finds it.
    pub fn make(&self, root: &Path, states: &States, state: &Directory) -> Result<()> {
        state.point(if self.is_temporary { LAYER } else { KEPT_LAYER }, &self.directory)?;
        if !self.is_temporary {
            self.check_is_free(states, state)?;
        }
        let failed = |error: std::io::Error| {
            Error::from_io(format!("--layer: cannot make {}", self.directory.display()), &error)
                .remedy("name a directory that you may write to, or set TMPDIR to one")
        };
        let mut builder = fs::DirBuilder::new();
        builder.mode(0o700);
        match builder.create(&self.directory) {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists && !self.is_temporary => {}
            made => made.map_err(failed)?,
        }
        for made in [self.upper(), self.work()] {
            match builder.create(&made) {
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => continue,
                created => created.map_err(failed)?,
            }
            // The root of an overlay is that of its upper layer.
            let mode = fs::metadata(root).map_or(0o755, |metadata| metadata.permissions().mode());
            fs::set_permissions(&made, fs::Permissions::from_mode(mode & 0o7777)).map_err(failed)?;
        }
        Ok(())
    }

    /// Two overlays that write to one layer lose what they write, and the kernel lets them (overlayfs.rst, "Sharing and copying layers").
    fn check_is_free(&self, states: &States, state: &Directory) -> Result<()> {
        let Some(own) = canonical(&self.directory)? else { return Ok(()) };
        for container in states.all()? {
            let container = container?;
            let Some(other) = container.directory.pointed(KEPT_LAYER)? else { continue };
            let is_same = container.directory.path() != state.path() && canonical(&other)?.as_ref() == Some(&own);
            if is_same && container.status()? != Status::Stopped {
                return Err(Error::new(format!(
                    "--layer: {} is container {:?}'s",
                    self.directory.display(),
                    container.id
                ))
                .because("two containers that write to one layer spoil it for each other")
                .remedy(format!("`rootlet delete --force {}`, or name another directory", container.id)));
            }
        }
        Ok(())
    }
}

fn canonical(path: &Path) -> Result<Option<PathBuf>> {
    found(path.canonicalize()).map_err(|error| Error::from_io(path.display(), &error))
}
