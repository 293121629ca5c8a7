//! What CRIU finds on the host while it makes a container again: its root, and what is mounted in that from outside.

use super::{DESCRIPTORS, external, is_replaced};
use crate::container::state::directory::c_path;
use crate::error::{Error, Result};
use crate::plan::Plan;
use crate::plan::step::MountStep;
use crate::plan::step::trees::Bind;
use crate::spec::Spec;
use crate::sys::fd::Kind;
use crate::sys::{self, Errno, fd, mount, namespace, resolve};
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

/// What CRIU is told of it.
pub struct Scenery {
    /// The container's root.
    pub root: PathBuf,
    /// What is mounted in it from outside: `mnt[NAME]:PLACE`.
    pub external: Vec<String>,
    /// Files that take the place of those that were not the container's, by their names in the images.
    pub inherited: Vec<(String, OwnedFd)>,
}

/// A mount namespace for CRIU alone, in which the container's root is a mount, as CRIU asks for. Nothing is left of it when
/// CRIU has gone. The caller is back where it was when this is dropped.
pub struct Stage {
    home: OwnedFd,
    here: OwnedFd,
    path: PathBuf,
}

impl Stage {
    /// Puts into the namespace what CRIU needs.
    pub fn set(&self, spec: &Spec, rootfs: &Path, plan: &Plan, images: &Path) -> Result<Scenery> {
        let system = |error| Error::from_call("criu", error);
        let root = open(&c_path(rootfs))
            .map_err(|error| Error { property: "root.path".to_owned(), ..Error::from_call(rootfs.display(), error) })?;
        make_mount_points(plan, &root)?;
        let mut inherited = Vec::new();
        for (_, name, path) in external::outer_namespaces(spec) {
            inherited.push((name.to_owned(), inherit(path)?));
        }
        let is_mapped = plan.namespaces & namespace::CLONE_NEWUSER != 0;
        let replaced = external::replaced_mounts(plan, is_mapped, &self.path);
        self.cover().map_err(system)?;
        let root = self.bind("root", &root, true).map_err(system)?;
        let mut external = Vec::new();
        for (number, (name, source, tree)) in replaced.into_iter().enumerate() {
            let path = match tree {
                Some(tree) => self.bind(&number.to_string(), &tree, false).map_err(system)?,
                None => source,
            };
            external.push(format!("mnt[{name}]:{}", path.display()));
        }
        fd::chdir(open(c"/").map_err(system)?.as_fd()).map_err(system)?;
        inherited.extend(standard_streams(images)?);
        Ok(Scenery { root, external, inherited })
    }

    /// Makes the mount namespace and enters it.
    pub fn enter(path: PathBuf) -> sys::Result<Stage> {
        let home = fd::open(c"/proc/self/ns/mnt", fd::O_RDONLY, 0)?;
        let here = open(c".")?;
        namespace::unshare(namespace::CLONE_NEWNS)?;
        let stage = Stage { home, here, path };
        mount::propagate_root(mount::MS_SLAVE | mount::MS_REC)?;
        Ok(stage)
    }

    /// Covers the path, in this namespace alone: whoever the container's root is must be able to get there.
    fn cover(&self) -> sys::Result<()> {
        let path = open(&c_path(&self.path))?;
        // A descriptor is named by its number there.
        fd::chdir(open(c"/proc/self/fd")?.as_fd())?;
        mount::mount(c"tmpfs", &path, c"tmpfs", mount::MS_NOSUID | mount::MS_NODEV, Some(c"mode=0711"))
    }

    /// Binds something under a name.
    fn bind(&self, name: &str, source: &OwnedFd, recursive: bool) -> sys::Result<PathBuf> {
        let directory = open(&c_path(&self.path))?;
        let file = CString::new(name).unwrap_or_default();
        match fd::status(source.as_fd())?.kind() {
            Kind::Directory => fd::make_dir_at(directory.as_fd(), &file, 0o755)?,
            _ => fd::make_file_at(directory.as_fd(), &file)?,
        }
        mount::bind_fd(source, &fd::open_at(directory.as_fd(), &file, fd::O_PATH, 0)?, recursive)?;
        Ok(self.path.join(name))
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        let _ = namespace::join(self.home.as_fd(), namespace::CLONE_NEWNS);
        let _ = fd::chdir(self.here.as_fd());
    }
}

fn open(directory: &CStr) -> sys::Result<OwnedFd> {
    fd::open(directory, fd::O_PATH | fd::O_DIRECTORY, 0)
}

/// Makes the mount points that are needed in the root, as a fresh copy of it may lack them.
fn make_mount_points(plan: &Plan, root: &OwnedFd) -> Result<()> {
    let mut covered: Vec<&CStr> = Vec::new();
    for entry in &plan.entries {
        let (target, kind) = match entry.mount_step() {
            Some(MountStep::Mount(mount)) => (&mount.target, Kind::Directory),
            Some(MountStep::MakeTree(tree)) => (&tree.target, Kind::Directory),
            Some(MountStep::Bind(Bind { source, target, .. })) => {
                let status = fd::open(source, fd::O_PATH, 0).and_then(|file| fd::status(file.as_fd()));
                let kind = status.map_or(Kind::Directory, |status| status.kind());
                (target, if kind == Kind::Directory { kind } else { Kind::File })
            }
            _ => continue,
        };
        // What lies in another mount comes with it.
        if !covered.iter().any(|above| target.as_bytes().starts_with(&[above.to_bytes(), b"/"].concat())) {
            resolve::make_in_root(root.as_fd(), target, kind).map_err(|error| Error {
                property: entry.origin.to_string(),
                ..Error::from_call(target.to_string_lossy(), error)
            })?;
        }
        covered.push(target);
    }
    Ok(())
}

/// Opens a file for CRIU, which inherits it.
fn inherit(path: &str) -> Result<OwnedFd> {
    let name = CString::new(path).unwrap_or_default();
    let open = || {
        let file = fd::open(&name, fd::O_RDONLY, 0)?;
        fd::dup_to(file.as_fd(), file.as_raw_fd()).map(|()| file)
    };
    open().map_err(|error| Error::from_call(path, error).because("linux.namespaces names it, and it must be there"))
}

/// The caller's standard streams take the place of those that were not the container's.
fn standard_streams(images: &Path) -> Result<Vec<(String, OwnedFd)>> {
    let path = images.join(DESCRIPTORS);
    let failed = |message: String| {
        Error::new(format!("{}: {message}", path.display()))
            .because("`checkpoint` writes it beside CRIU's images")
            .remedy("name the directory of a checkpoint with --image-path")
    };
    let text = std::fs::read(&path).map_err(|error| Error {
        errno: error.raw_os_error().map(Errno::from_raw),
        ..failed("cannot be read".to_owned())
    })?;
    let names: Vec<String> = serde_json::from_slice(&text).map_err(|error| failed(error.to_string()))?;
    let mut streams = Vec::new();
    for (number, name) in (0..3).zip(names) {
        if name.starts_with("file[") && !fd::status(fd::borrow(number)).is_ok_and(|status| status.is_regular()) {
            return Err(Error::new(format!("descriptor {number} of the container was a file, and here it is none"))
                .because("CRIU sets the position in it")
                .remedy(format!("redirect it to a file, as in `rootlet restore ... {number}>FILE`")));
        }
        if is_replaced(&name) {
            // CRIU takes what it is given away from its number, and wants its own standard input as well.
            let copy = fd::duplicate_above(fd::borrow(number), 3);
            let copy = copy.and_then(|copy| fd::dup_to(copy.as_fd(), copy.as_raw_fd()).map(|()| copy));
            streams.push((name, copy.map_err(|error| Error::from_call(format!("descriptor {number}"), error))?));
        }
    }
    Ok(streams)
}
