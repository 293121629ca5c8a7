//! What `checkpoint` and `restore` have in common: the directories of images, and what in a container is not its own.
//!
//! What is mounted from the host cannot be in the images. It goes by a name there, which `restore` finds again: the
//! destination as the plan has it, and what lies below. Both sides compile the same config, so that nothing else has to
//! be kept.

use crate::criu::{self, CgroupMode, Request};
use crate::error::{Error, Result};
use crate::host::Host;
use crate::plan::{Plan, Slots, Step};
use crate::spec::Spec;
use crate::sys::{fd, namespace, resolve};
use std::collections::BTreeMap;
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// What both commands are told.
#[derive(Debug, Default)]
pub struct Images {
    /// The directory of the images.
    pub path: PathBuf,
    /// The directory of CRIU's log; the images' without one.
    pub work: Option<PathBuf>,
    /// Keep TCP connections.
    pub tcp_established: bool,
    /// Take in unix sockets whose peer is outside.
    pub ext_unix_sk: bool,
    /// The terminal is the caller's.
    pub shell_job: bool,
    /// Keep file locks.
    pub file_locks: bool,
    /// How cgroups are treated.
    pub cgroups: Option<CgroupMode>,
    /// Make an empty network namespace.
    pub empty_network: bool,
    /// Punch out of the parent's images what is written anew.
    pub auto_dedup: bool,
    /// Leave memory to a page server.
    pub lazy_pages: bool,
}

/// Marks images of a container that was run in the foreground: it ends with its maker (PR_SET_PDEATHSIG), and CRIU
/// makes that again.
pub const ATTACHED: &str = "attached";

/// The directories, opened.
pub struct Opened {
    images: OwnedFd,
    work: Option<OwnedFd>,
    log: PathBuf,
}

impl Images {
    /// Opens the directories; `make`: the images' are made if they are missing.
    pub fn open(&self, log: &str, make: bool) -> Result<Opened> {
        let open = |path: &Path, make: bool| {
            if make {
                std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(|error| {
                    Error::from_io(format!("cannot make {}", path.display()), &error).remedy("correct --image-path")
                })?;
            }
            let name = CString::new(path.as_os_str().as_bytes()).unwrap_or_default();
            fd::open(&name, fd::O_RDONLY | fd::O_DIRECTORY, 0).map_err(|error| {
                Error::from_call(format!("images in {}", path.display()), error).remedy("correct --image-path")
            })
        };
        let images = open(&self.path, make)?;
        let work = self.work.as_deref().map(|path| open(path, true)).transpose()?;
        let log = self.work.as_ref().unwrap_or(&self.path).join(log);
        // An older one would be taken for this one's.
        let _ = std::fs::remove_file(&log);
        Ok(Opened { images, work, log })
    }

    /// The request that both commands begin with.
    pub fn request(&self, opened: &Opened, log: &'static str) -> Request {
        Request {
            images: opened.images.as_raw_fd(),
            work: opened.work.as_ref().map(AsRawFd::as_raw_fd),
            log,
            tcp_established: self.tcp_established,
            ext_unix_sk: self.ext_unix_sk,
            shell_job: self.shell_job,
            file_locks: self.file_locks,
            auto_dedup: self.auto_dedup,
            lazy_pages: self.lazy_pages,
            cgroups: self.cgroups,
            empty_namespaces: if self.empty_network { namespace::CLONE_NEWNET } else { 0 },
            ..Request::default()
        }
    }
}

impl Opened {
    /// Whoever is root in a new user namespace reads the images, too: where that is another than the caller, they are seen
    /// through a mount of mapped ids. (A file system that has no such mounts is left as it is.)
    pub fn give_to_root_of(&mut self, plan: &Plan) {
        let Some((uid_map, gid_map)) = plan.id_maps() else { return };
        let step = Step::OpenMapped {
            tree: 0,
            source: CString::new(format!("/proc/self/fd/{}", self.images.as_raw_fd())).unwrap_or_default(),
            recursive: false,
            map_recursively: false,
            uid_map: uid_map.into(),
            gid_map: gid_map.into(),
        };
        let mut slots = Slots::default();
        let (Ok(()), Some((_, mapped))) = (step.run(&mut slots), slots.opened.take()) else { return };
        // What CRIU writes stays the caller's.
        let plain = std::mem::replace(&mut self.images, mapped);
        self.work.get_or_insert(plain);
    }

    /// An error of CRIU's, with what its log says.
    pub fn explain(&self, error: Error) -> Error {
        let said = criu::errors_in(&self.log);
        let error = if said.is_empty() { error } else { error.because(format!("it said: {said}")) };
        error.remedy(format!("see {}", self.log.display()))
    }
}

/// The least version that rootlet talks to, and the one that works for others than root.
const LEAST: i64 = 30_000;
const UNPRIVILEGED: i64 = 31_800;

/// Whether the caller must do without privileges; an error if CRIU cannot.
pub fn check_privileges(host: &Host) -> Result<bool> {
    let version = criu::version()?;
    let name = format!("CRIU {}.{}.{}", version / 10_000, version / 100 % 100, version % 100);
    if version < LEAST {
        return Err(Error::new(format!("{name} is too old")).remedy("install CRIU 3.0 or newer"));
    }
    let is_privileged = !host.is_ordinary_user() && host.in_initial_user_namespace();
    if !is_privileged && version < UNPRIVILEGED {
        return Err(Error::new(format!("{name} works for the host's root alone"))
            .because("an ordinary user needs CRIU 3.18 or newer, and for it CAP_CHECKPOINT_RESTORE in the host's user namespace")
            .remedy("call it as root with your --root; or install CRIU 3.18 and `setcap cap_checkpoint_restore+eip` it"));
    }
    Ok(!is_privileged)
}

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

/// Blanks and backslashes are written as octal numbers.
fn unescape(text: &str) -> String {
    [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")]
        .iter()
        .fold(text.to_owned(), |text, (code, letter)| text.replace(code, letter))
}

/// Where something in the container comes from.
enum Source<'a> {
    /// It is mounted afresh.
    Own,
    /// From the host.
    Host(&'a CStr),
    /// It is masked: a file by the null device, a directory by a tmpfs.
    Null,
}

/// The steps of a plan that mount something, with their destinations.
fn sources(plan: &Plan) -> impl Iterator<Item = (&CStr, Source<'_>)> {
    plan.entries.iter().filter_map(|entry| match &entry.step {
        Step::Mount { target, .. } | Step::MountCopy { target, .. } => Some((target.as_c_str(), Source::Own)),
        Step::Bind { source, target, .. } => Some((target.as_c_str(), Source::Host(source))),
        Step::BindNode { source, path } => Some((path.as_c_str(), Source::Host(source))),
        Step::Mask { path } => Some((path.as_c_str(), Source::Null)),
        _ => None,
    })
}

/// Refuses what cannot be made again.
pub fn check(plan: &Plan) -> Result<()> {
    let refused = plan.entries.iter().find_map(|entry| match &entry.step {
        Step::MountFuse(_) => Some((entry, "a fuse file system")),
        Step::Attach { .. } => Some((entry, "an idmapped mount")),
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
    let path = CString::new(format!("/proc/{pid}/root")).unwrap_or_default();
    let root = fd::open(&path, fd::O_PATH | fd::O_DIRECTORY, 0)
        .map_err(|error| Error::from_call("the container's root", error))?;
    // Steps by the mounts that they have made; symlinks are followed as they were then.
    let mut steps: BTreeMap<u64, Vec<(&CStr, Source)>> = BTreeMap::new();
    for (target, source) in sources(plan) {
        let Ok(place) = resolve::open_in_root(root.as_fd(), target, fd::O_PATH) else { continue };
        let is_directory = fd::status(place.as_fd()).is_ok_and(|status| status.kind() == fd::Kind::Directory);
        // A masked directory is covered by a tmpfs of the container's own.
        let source = if matches!(source, Source::Null) && is_directory { Source::Own } else { source };
        if let Some(id) = mount_id(std::process::id() as i32, place.as_raw_fd()) {
            steps.entry(id).or_default().push((target, source));
        }
    }
    let find = |id: u64| mounts.iter().find(|mount| mount.id == id);
    let mut made: BTreeMap<u64, (&CStr, Source)> = BTreeMap::new();
    for (id, steps) in steps {
        // One place may have been mounted on several times. The last mount is on top, and the parent of each is below it.
        let mut mount = find(id);
        for step in steps.into_iter().rev() {
            let Some(this) = mount else { break };
            made.insert(this.id, step);
            mount = find(this.parent).filter(|below| below.point == this.point);
        }
    }
    let own = self::mounts(&std::fs::read_to_string("/proc/self/mountinfo").map_err(failed)?);
    let is_there = |source: &Source, below: &str| {
        let Source::Host(source) = source else { return false };
        let path = Path::new(&*source.to_string_lossy()).canonicalize().unwrap_or_default();
        own.iter().any(|mount| mount.point == format!("{}{below}", path.display()))
    };
    let name = |mount: &Mount| {
        let mut above = mount;
        loop {
            match made.get(&above.id) {
                Some((target, source @ (Source::Host(_) | Source::Null))) => {
                    let below = mount.point.strip_prefix(&above.point)?;
                    if !below.is_empty() && !is_there(source, below) {
                        // Mounted since then, in the container: it is for CRIU to write.
                        return None;
                    }
                    return Some(format!("mnt[{}]:{}{below}", mount.point, target.to_string_lossy()));
                }
                Some((_, Source::Own)) => return None,
                None => above = find(above.parent).filter(|parent| parent.id != above.id)?,
            }
        }
    };
    Ok(mounts.iter().filter_map(name).collect())
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
            let place = PathBuf::from(&mount.point);
            let has_more =
                own.iter().any(|other| Path::new(&other.point).parent().is_some_and(|above| above.starts_with(&place)));
            let c_place = CString::new(place.as_os_str().as_bytes()).unwrap_or_default();
            let tree = if open_trees && has_more { fd::open(&c_place, fd::O_PATH, 0).ok() } else { None };
            found.push((format!("{target}/{}", rest.display()), place, tree));
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

/// Those with a path that CRIU joins itself: its names for them, and their paths.
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
