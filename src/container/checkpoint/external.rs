//! What in a container is not its own: mounts and namespaces from outside, as CRIU wants to hear of them.
//!
//! What is mounted from the host cannot be in the images. It goes by a name there, which `restore` finds again: the
//! destination as the plan has it, and what lies below. Both sides compile the same config, so that nothing else has to
//! be kept.

use crate::error::{Error, Result};
use crate::host::unescape;
use crate::plan::step::MountStep;
use crate::plan::{Entry, Plan};
use crate::spec::Spec;
use crate::sys::{fd, resolve};
use std::collections::BTreeMap;
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// A mount of the container.
#[derive(Debug)]
struct Mount {
    id: u64,
    parent: u64,
    point: String,
}

/// Lines of a mountinfo (proc_pid_mountinfo(5)).
fn mounts(text: &str) -> Vec<Mount> {
    let mount = |line: &str| {
        let mut words = line.split(' ');
        let (id, parent) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        Some(Mount { id, parent, point: unescape(words.nth(2)?) })
    };
    text.lines().filter_map(mount).collect()
}

/// Where something in the container comes from.
enum Source<'a> {
    /// A file system that is mounted afresh.
    Own,
    /// A bind of this path of the host.
    Host(&'a CStr),
    /// It is masked: a file by the null device, a directory by a tmpfs.
    Null,
}

impl Source<'_> {
    /// True if the host has a mount there, below it.
    fn has_below(&self, below: &str, host: &[Mount]) -> bool {
        let Source::Host(source) = self else { return false };
        let path = Path::new(&*source.to_string_lossy()).canonicalize().unwrap_or_default();
        host.iter().any(|mount| mount.point == format!("{}{below}", path.display()))
    }
}

/// The steps of a plan that mount something, with their destinations.
fn sources(plan: &Plan) -> impl Iterator<Item = (&CStr, Source<'_>)> {
    plan.entries.iter().filter_map(Entry::mount_step).filter_map(|step| match step {
        MountStep::Mount(mount) => Some((mount.target.as_c_str(), Source::Own)),
        MountStep::MakeTree(tree) => Some((tree.target.as_c_str(), Source::Own)),
        MountStep::Bind(bind) => Some((bind.target.as_c_str(), Source::Host(&bind.source))),
        MountStep::BindNode(bound) => Some((bound.node.path.as_c_str(), Source::Host(&bound.source))),
        MountStep::Mask { path } => Some((path.as_c_str(), Source::Null)),
        _ => None,
    })
}

/// Refuses what cannot be made again.
pub fn check(plan: &Plan) -> Result<()> {
    let refused = plan.entries.iter().find_map(|entry| match entry.mount_step()? {
        MountStep::MountFuse(_) => Some((entry, "a fuse file system")),
        MountStep::Attach(_) => Some((entry, "an idmapped mount")),
        MountStep::MakeTree(tree) if tree.target.as_c_str() == c"/" => Some((entry, "a layer over the root")),
        MountStep::Bind(bind) if bind.target.as_c_str() == c"/" => Some((entry, "a directory over the root")),
        _ => None,
    });
    match refused {
        Some((entry, what)) => {
            Err(Error::in_config(entry.origin.to_string(), format!("CRIU can neither write nor restore {what}")))
        }
        None => Ok(()),
    }
}

/// What is not the container's, for a dump: CRIU's `mnt[MOUNTPOINT]:NAME`.
pub fn external_mounts(plan: &Plan, pid: i32) -> Result<Vec<String>> {
    let failed = |error: std::io::Error| Error::from_io("cannot read the container's mounts", &error);
    let mounts = mounts(&std::fs::read_to_string(format!("/proc/{pid}/mountinfo")).map_err(failed)?);
    let host = self::mounts(&std::fs::read_to_string("/proc/self/mountinfo").map_err(failed)?);
    let path = CString::new(format!("/proc/{pid}/root")).unwrap_or_default();
    let root = fd::open(&path, fd::O_PATH | fd::O_DIRECTORY, 0)
        .map_err(|error| Error::from_call("the container's root", error))?;
    let made = makers(plan, &mounts, root.as_fd());
    Ok(mounts.iter().filter_map(|mount| name(mount, &mounts, &made, &host)).collect())
}

/// Steps, with their destinations, by the ids of the mounts that they have made.
type Makers<'a> = BTreeMap<u64, (&'a CStr, Source<'a>)>;

fn find(mounts: &[Mount], id: u64) -> Option<&Mount> {
    mounts.iter().find(|mount| mount.id == id)
}

/// Which step has made which mount.
fn makers<'a>(plan: &'a Plan, mounts: &[Mount], root: BorrowedFd) -> Makers<'a> {
    let mut on_top: BTreeMap<u64, Vec<(&CStr, Source)>> = BTreeMap::new();
    for (target, source) in sources(plan) {
        // Symlinks are followed as they were then.
        let Ok(opened) = resolve::open_in_root(root, target, fd::O_PATH) else { continue };
        let is_directory = fd::status(opened.as_fd()).is_ok_and(|status| status.kind() == fd::Kind::Directory);
        // A masked directory is covered by a tmpfs of the container's own.
        let source = if matches!(source, Source::Null) && is_directory { Source::Own } else { source };
        let path = std::fs::read_link(format!("/proc/self/fd/{}", opened.as_raw_fd())).unwrap_or_default();
        let id = mount_id(std::process::id() as i32, opened.as_raw_fd());
        // Nothing is mounted where the creation made a node instead, or where the container has unmounted it.
        if let Some(mount) = id.and_then(|id| find(mounts, id)).filter(|mount| Path::new(&mount.point) == path) {
            on_top.entry(mount.id).or_default().push((target, source));
        }
    }
    let mut made = BTreeMap::new();
    for (id, steps) in on_top {
        // One mount point may have been mounted on several times. The last mount is on top, and the parent of each is below it.
        let mut mount = find(mounts, id);
        for step in steps.into_iter().rev() {
            let Some(this) = mount else { break };
            made.insert(this.id, step);
            mount = find(mounts, this.parent).filter(|below| below.point == this.point);
        }
    }
    made
}

/// How a mount is named, if it is from the host: by the step that has made it, or one that it came along with.
fn name(mount: &Mount, mounts: &[Mount], made: &Makers, host: &[Mount]) -> Option<String> {
    let mut above = mount;
    loop {
        match made.get(&above.id) {
            Some((_, Source::Own)) => return None,
            Some((target, source)) => {
                let below = mount.point.strip_prefix(&above.point)?;
                // What was mounted since then, in the container, is for CRIU to write.
                let is_from_host = below.is_empty() || source.has_below(below, host);
                return is_from_host.then(|| format!("mnt[{}]:{}{below}", mount.point, target.to_string_lossy()));
            }
            None => above = find(mounts, above.parent).filter(|parent| parent.id != above.id)?,
        }
    }
}

/// What is not the container's, for a restore: its name, where it is, and for what has mounts below it (`open_trees`) a
/// handle: in a user namespace these are locked to it, so that it could not be bound without them. So has what lies in
/// `covered`, which will not be seen.
pub fn replaced_mounts(plan: &Plan, open_trees: bool, covered: &Path) -> Vec<(String, PathBuf, Option<OwnedFd>)> {
    let own = mounts(&std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default());
    let mut found = Vec::new();
    for (target, source) in sources(plan) {
        let source = match source {
            Source::Own => continue,
            Source::Host(source) => source,
            Source::Null => c"/dev/null",
        };
        let path = PathBuf::from(&*source.to_string_lossy());
        // What is not there any more was perhaps not there then.
        let Ok(path) = path.canonicalize() else { continue };
        let below = own.iter().filter_map(|mount| Some((mount, Path::new(&mount.point).strip_prefix(&path).ok()?)));
        let below: Vec<_> = below.filter(|(_, rest)| !rest.as_os_str().is_empty()).collect();
        let target = target.to_string_lossy();
        let needs_handle = open_trees && !below.is_empty() || path.starts_with(covered);
        let tree = if needs_handle { fd::open(source, fd::O_PATH, 0).ok() } else { None };
        for (mount, rest) in below {
            let path = PathBuf::from(&mount.point);
            let has_more =
                own.iter().any(|other| Path::new(&other.point).parent().is_some_and(|above| above.starts_with(&path)));
            let c_path = CString::new(path.as_os_str().as_bytes()).unwrap_or_default();
            let tree = if open_trees && has_more { fd::open(&c_path, fd::O_PATH, 0).ok() } else { None };
            found.push((format!("{target}/{}", rest.display()), path, tree));
        }
        found.push((target.into_owned(), path, tree));
    }
    found
}

/// The id of the mount that a process's descriptor is on.
pub fn mount_id(pid: i32, descriptor: i32) -> Option<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/fdinfo/{descriptor}")).ok()?;
    text.lines().find_map(|line| line.strip_prefix("mnt_id:"))?.trim().parse().ok()
}

/// Ids of all mounts that a process sees.
pub fn mount_ids(pid: i32) -> Vec<u64> {
    mounts(&std::fs::read_to_string(format!("/proc/{pid}/mountinfo")).unwrap_or_default())
        .iter()
        .map(|mount| mount.id)
        .collect()
}

/// Namespaces that CRIU takes from elsewhere: their short names, and what they are called in the images.
const OUTER: [(&str, &str, &str); 2] = [("network", "net", "extRootNetNS"), ("pid", "pid", "extRootPidNS")];

/// Namespaces with a path in the config that CRIU leaves alone: the config's type, CRIU's name, the name in the images,
/// and the path.
pub fn outer_namespaces(spec: &Spec) -> impl Iterator<Item = (&'static str, &'static str, &str)> {
    OUTER.iter().filter_map(|(kind, short, name)| {
        let path = spec.namespace(kind)?.path.as_deref().filter(|path| !path.is_empty())?;
        Some((*short, *name, path))
    })
}

/// The namespaces with a path that CRIU joins itself: its names for them, and their paths.
pub fn joined_namespaces(spec: &Spec) -> Vec<(&'static str, String)> {
    [("uts", "uts"), ("ipc", "ipc"), ("mount", "mnt"), ("user", "user"), ("time", "time")]
        .into_iter()
        .filter_map(|(kind, short)| {
            let path = spec.namespace(kind)?.path.clone().filter(|path| !path.is_empty())?;
            Some((short, path))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_are_read_with_their_blanks() {
        let text = "40 30 0:5 / /a\\040b ro - tmpfs x rw\nnonsense\n41 40 0:6 / /a\\040b/c rw - proc proc rw\n";
        let read: Vec<_> = mounts(text).into_iter().map(|mount| (mount.id, mount.parent, mount.point)).collect();
        assert_eq!(read, [(40, 30, "/a b".to_owned()), (41, 40, "/a b/c".to_owned())]);
    }
}
