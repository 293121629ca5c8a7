//! Where states of containers are kept: nobody in a container sees that, whatever is bound. Who could write there could have hooks run
//! outside, and who could connect to a start socket would be let into another container.

use super::{Planner, Property, Scope};
use crate::error::{Error, Result, found};
use crate::host;
use crate::plan::Phase;
use crate::plan::step::MountStep;
use crate::spec::Mount;
use crate::sys::Errno;
use std::collections::BTreeMap;
use std::fs::metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// When all is mounted.
pub const PROPERTY: Property = Property { paths: &["mounts"], phase: Phase::Jailed, scope: Scope::Create, plan };

/// File systems that show none of the host's directories.
const KERNELS: [&str; 7] = ["proc", "sysfs", "tmpfs", "devpts", "mqueue", "cgroup", "cgroup2"];

/// A directory by its device and inode, whatever it is called.
type Inode = (u64, u64);

fn plan(planner: &mut Planner) -> Result<()> {
    // Root's containers that get the host's files manage it, as with runc.
    if !planner.host.is_ordinary_user() && !planner.request.is_sandbox {
        return Ok(());
    }
    let mut hidden: Vec<(PathBuf, Vec<PathBuf>)> = Vec::new();
    // Sources of the kernel's own are only names.
    let is_bind = |mount: &&Mount| {
        let is_kernels = mount.kind.as_deref().is_some_and(|kind| KERNELS.contains(&kind));
        !is_kernels || mount.options.iter().any(|option| option == "bind" || option == "rbind")
    };
    for states in &planner.request.states {
        let above = directories_above(states)?;
        let binds = planner.spec.mounts.iter().filter(is_bind);
        let binds = binds.filter_map(|mount| Some((mount.source.as_deref()?, mount)));
        for (source, mount) in binds.filter(|(source, _)| !source.is_empty()) {
            let Some(inode) = inode_of(&planner.request.bundle.join(source))? else { continue };
            let Some(rest) = above.get(&inode) else { continue };
            let shown = Path::new("/").join(mount.destination.trim_start_matches('/')).join(rest);
            // Who may write above it could put another one in its place.
            let between: Vec<_> = rest.ancestors().skip(1).filter(|path| !path.as_os_str().is_empty()).collect();
            let destination = Path::new(&mount.destination);
            let is_readonly = mount.options.iter().any(|option| option == "ro" || option == "rro");
            let pinned: Vec<PathBuf> = match is_readonly {
                true => Vec::new(),
                false => between.iter().rev().map(|path| destination.join(path)).collect(),
            };
            match hidden.iter_mut().find(|(known, _)| *known == shown) {
                Some((_, known)) if known.len() < pinned.len() => *known = pinned,
                Some(_) => {}
                None => hidden.push((shown, pinned)),
            }
        }
    }
    for (path, pinned) in hidden {
        if !planner.request.is_sandbox {
            planner.decide(
                format!("{}, where states of containers are, is an empty directory", path.display()),
                "who could write there could have hooks run outside of the container",
            )?;
        }
        for directory in pinned {
            let path = planner.c_string(&directory)?;
            planner.step(MountStep::Pin { path });
        }
        let path = planner.c_string(&path)?;
        // Not a mask: a rootlet in the container has its states there.
        planner.step(MountStep::Replace { path });
    }
    Ok(())
}

/// The directories that a path is in, and itself, with what follows from there on.
fn directories_above(path: &Path) -> Result<BTreeMap<Inode, PathBuf>> {
    let mut above = BTreeMap::new();
    let Some(path) = found(host::canonicalize(path)).map_err(|error| Error::from_io(path.display(), &error))? else {
        return Ok(above);
    };
    for directory in path.ancestors() {
        if let (Some(inode), Ok(rest)) = (inode_of(directory)?, path.strip_prefix(directory)) {
            above.insert(inode, rest.to_owned());
        }
    }
    Ok(above)
}

fn inode_of(path: &Path) -> Result<Option<Inode>> {
    match found(metadata(path)) {
        // What the caller cannot look at, it cannot bind.
        Err(error) if error.raw_os_error() == Some(Errno::EACCES as i32) => Ok(None),
        other => {
            let found = other.map_err(|error| Error::from_io(path.display(), &error))?;
            Ok(found.filter(std::fs::Metadata::is_dir).map(|metadata| (metadata.dev(), metadata.ino())))
        }
    }
}
