//! What the caller and the kernel allow, asked at most once and only when a property wants to know.

use crate::capability::{CAP_MKNOD, CAP_SYS_ADMIN};
use crate::sys::{creds, fd, sched};
use std::cell::{OnceCell, RefCell};
use std::collections::BTreeMap;
use std::ffi::{CStr, CString};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The version 2 hierarchy, as the caller sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hierarchy {
    /// Where it is mounted.
    pub root: PathBuf,
    /// The directory of the caller's own cgroup.
    pub own: PathBuf,
}

/// What the caller may do with a cgroup.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Level {
    /// Make children, and move processes.
    pub is_writable: bool,
    /// Controllers that it can pass on.
    pub controllers: Vec<String>,
    /// Controllers that it passes on.
    pub enabled: Vec<String>,
    /// Whether no process is in it.
    pub is_empty: bool,
}

/// How the host mounts cgroups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cgroups {
    /// Version 2 alone.
    Unified,
    /// Version 1 controllers, with a version 2 tree beside them or without.
    Legacy,
}

/// The host as the caller sees it. Fields that are cells are filled on the first question; a test fills them beforehand.
#[derive(Debug, Default)]
pub struct Host {
    /// Effective user id.
    pub uid: u32,
    /// Effective group id.
    pub gid: u32,
    /// Effective capabilities, bit n for number n.
    pub capabilities: u64,
    /// Version of the kernel, as `uname -r` says it.
    pub kernel: OnceCell<String>,
    /// Whether the caller is in the initial user namespace.
    pub in_initial_user_namespace: OnceCell<bool>,
    /// The caller's oom_score_adj.
    pub oom_score_adj: OnceCell<i32>,
    /// The cgroup version.
    pub cgroups: OnceCell<Cgroups>,
    /// The version 2 hierarchy, if there is one.
    pub hierarchy: OnceCell<Option<Hierarchy>>,
    /// Cgroups by their directories.
    pub levels: RefCell<BTreeMap<PathBuf, Level>>,
    /// The D-Bus of the caller's systemd.
    pub bus: OnceCell<Option<PathBuf>>,
}

impl Host {
    /// The host of this process.
    pub fn new() -> Host {
        Host {
            uid: creds::effective_uid(),
            gid: creds::effective_gid(),
            capabilities: creds::effective_capabilities(),
            ..Host::default()
        }
    }

    /// True if the caller has that capability (in its own user namespace).
    pub fn may(&self, capability: u8) -> bool {
        self.capabilities & 1 << capability != 0
    }

    /// True if the caller is an ordinary user: namespaces can be had only inside a new user namespace.
    pub fn is_ordinary_user(&self) -> bool {
        !self.may(CAP_SYS_ADMIN)
    }

    /// True if device nodes can be made without a user namespace of the container's own.
    pub fn may_make_devices(&self) -> bool {
        self.may(CAP_MKNOD) && self.in_initial_user_namespace()
    }

    /// True in the initial user namespace: the one that maps every id to itself.
    pub fn in_initial_user_namespace(&self) -> bool {
        *self.in_initial_user_namespace.get_or_init(|| {
            let map = std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
            map.split_whitespace().eq(["0", "0", "4294967295"])
        })
    }

    /// Version of the kernel.
    pub fn kernel(&self) -> &str {
        self.kernel.get_or_init(|| std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default())
    }

    /// The caller's oom_score_adj.
    pub fn oom_score_adj(&self) -> i32 {
        *self.oom_score_adj.get_or_init(|| {
            let text = std::fs::read_to_string("/proc/self/oom_score_adj").unwrap_or_default();
            text.trim().parse().unwrap_or(0)
        })
    }

    /// The cgroup version that /sys/fs/cgroup shows.
    pub fn cgroups(&self) -> Cgroups {
        *self.cgroups.get_or_init(|| {
            let directory = fd::open(c"/sys/fs/cgroup", fd::O_PATH | fd::O_DIRECTORY, 0);
            match directory.and_then(|directory| fd::file_system(directory.as_fd())) {
                Ok(fd::CGROUP2_MAGIC) => Cgroups::Unified,
                _ => Cgroups::Legacy,
            }
        })
    }

    /// The version 2 hierarchy: alone on /sys/fs/cgroup, or beside version 1.
    pub fn hierarchy(&self) -> Option<&Hierarchy> {
        let find = || {
            let root = hierarchy_root()?;
            let own = own_cgroup(&root, &std::fs::read_to_string("/proc/self/cgroup").ok()?)?;
            Some(Hierarchy { root, own })
        };
        self.hierarchy.get_or_init(find).as_ref()
    }

    /// True if the caller is in the namespace that has this file.
    pub fn is_in_namespace(&self, file: &Path) -> bool {
        let id = |path: &Path| path.metadata().map(|file| (file.dev(), file.ino())).ok();
        let Some(asked) = id(file) else { return false };
        let own = std::fs::read_dir("/proc/self/ns").into_iter().flatten().flatten();
        own.into_iter().any(|entry| id(&entry.path()) == Some(asked))
    }

    /// What the caller may do with a cgroup.
    pub fn level(&self, path: &Path) -> Level {
        let look = || {
            let c_path = |name: &str| CString::new(path.join(name).as_os_str().as_bytes()).unwrap_or_default();
            let words = |file: &str| {
                let text = std::fs::read_to_string(path.join(file)).unwrap_or_default();
                text.split_whitespace().map(str::to_owned).collect::<Vec<_>>()
            };
            Level {
                is_writable: fd::may_write(&c_path("")) && fd::may_write(&c_path("cgroup.procs")),
                controllers: words("cgroup.controllers"),
                enabled: words("cgroup.subtree_control"),
                is_empty: words("cgroup.procs").is_empty(),
            }
        };
        self.levels.borrow_mut().entry(path.to_owned()).or_insert_with(look).clone()
    }

    /// The socket of the caller's systemd: the user's, or for root the system's.
    pub fn bus(&self) -> Option<PathBuf> {
        let find = || {
            let exists = |path: &PathBuf| path.exists();
            if self.has_system_manager() {
                return Some(PathBuf::from("/run/dbus/system_bus_socket")).filter(exists);
            }
            let address = std::env::var("DBUS_SESSION_BUS_ADDRESS").unwrap_or_default();
            let given = address.split([';', ',']).find_map(|part| part.strip_prefix("unix:path=")).map(PathBuf::from);
            let usual = dirs::runtime_dir().map(|directory| directory.join("bus"));
            given.into_iter().chain(usual).find(exists)
        };
        self.bus.get_or_init(find).clone()
    }

    /// True if the caller's systemd is that of the system. In rootless podman's user namespace, the uid is 0 all the same.
    pub fn has_system_manager(&self) -> bool {
        self.uid == 0 && self.in_initial_user_namespace()
    }

    /// The cgroup of the caller's systemd.
    pub fn manager_cgroup(&self) -> PathBuf {
        let Some(Hierarchy { root, own }) = self.hierarchy() else { return PathBuf::new() };
        if self.has_system_manager() {
            return root.clone();
        }
        let user_of = |path: &Path| {
            let name = path.file_name()?.to_str()?;
            name.strip_prefix("user-")?.strip_suffix(".slice")?.parse::<u32>().ok()
        };
        let uid = own.ancestors().find_map(user_of).unwrap_or(self.uid);
        root.join(format!("user.slice/user-{uid}.slice/user@{uid}.service"))
    }

    /// True if AppArmor confines programs.
    pub fn has_apparmor(&self) -> bool {
        std::fs::read("/sys/module/apparmor/parameters/enabled").is_ok_and(|text| text.starts_with(b"Y"))
    }

    /// True if SELinux labels programs (selinux(8): its file system is mounted).
    pub fn has_selinux(&self) -> bool {
        Path::new("/sys/fs/selinux/enforce").exists()
    }

    /// True if the file system of Resource Director Technology is mounted.
    pub fn has_resctrl(&self) -> bool {
        Path::new("/sys/fs/resctrl/schemata").exists()
    }

    /// Where a symlink of the host leads to; `None` if it is no symlink.
    pub fn symlink(&self, path: &Path) -> Option<PathBuf> {
        std::fs::read_link(path).ok()
    }

    /// A program of the host by its name, in the caller's PATH.
    pub fn find_program(&self, name: &str) -> Option<PathBuf> {
        use std::os::unix::fs::PermissionsExt;
        let is_program = |path: &PathBuf| {
            path.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
        };
        let path = std::env::var_os("PATH")?;
        std::env::split_paths(&path)
            .filter(|directory| directory.is_absolute())
            .map(|directory| directory.join(name))
            .find(|path| !name.is_empty() && !name.contains('/') && is_program(path))
    }

    /// Where the caller sees a procfs.
    pub fn proc_mounts(&self) -> Vec<PathBuf> {
        mount_points(&["proc"])
    }

    /// Where the caller sees a procfs or a sysfs, the innermost first. While a mount namespace has one that nothing covers,
    /// whoever is root in a user namespace may mount another ("mount too revealing").
    pub fn revealing_mounts(&self) -> Vec<PathBuf> {
        mount_points(&["proc", "sysfs"]).into_iter().rev().collect()
    }

    /// True if there is a device node.
    pub fn is_device(&self, path: &Path) -> bool {
        use std::os::unix::fs::FileTypeExt;
        let kind = path.metadata().map(|metadata| metadata.file_type());
        kind.is_ok_and(|kind| kind.is_char_device() || kind.is_block_device())
    }

    /// A path of the host without symlinks.
    pub fn canonical(&self, path: &Path) -> PathBuf {
        path.canonicalize().unwrap_or_else(|_| path.to_owned())
    }

    /// The caller's own limit of a resource.
    pub fn limit(&self, resource: u32) -> sched::Limit {
        sched::limit(resource).unwrap_or(sched::Limit { soft: u64::MAX, hard: u64::MAX })
    }
}

/// Where the caller sees file systems of these types (proc_pid_mountinfo(5)).
fn mount_points(kinds: &[&str]) -> Vec<PathBuf> {
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let is_one = |line: &&str| {
        let kind = line.split(" - ").nth(1).and_then(|rest| rest.split(' ').next());
        kind.is_some_and(|kind| kinds.contains(&kind))
    };
    mounts.lines().filter(is_one).filter_map(|line| line.split(' ').nth(4)).map(|path| unescape(path).into()).collect()
}

/// Blanks and backslashes in mountinfo are written as octal numbers.
pub fn unescape(text: &str) -> String {
    [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")]
        .iter()
        .fold(text.to_owned(), |text, (code, letter)| text.replace(code, letter))
}

/// Where the version 2 hierarchy is mounted: alone on /sys/fs/cgroup, or beside version 1.
pub fn hierarchy_root() -> Option<PathBuf> {
    let is_version_2 = |path: &&CStr| {
        let directory = fd::open(path, fd::O_PATH | fd::O_DIRECTORY, 0);
        directory.and_then(|directory| fd::file_system(directory.as_fd())) == Ok(fd::CGROUP2_MAGIC)
    };
    let found = [c"/sys/fs/cgroup", c"/sys/fs/cgroup/unified"].into_iter().find(is_version_2)?;
    Some(PathBuf::from(found.to_str().unwrap_or_default()))
}

/// The directory that the text of /proc/PID/cgroup names; `None` if it is out of the hierarchy's sight, as in another
/// cgroup namespace.
pub fn own_cgroup(root: &Path, text: &str) -> Option<PathBuf> {
    let own = text.lines().find_map(|line| line.strip_prefix("0::"))?;
    let is_seen = !own.split('/').any(|part| part == "..");
    is_seen.then(|| if own == "/" { root.to_owned() } else { root.join(own.trim_start_matches('/')) })
}

/// True in a chroot: its root is no mount, or a mount below that of the namespace, which mountinfo does not show.
pub fn is_in_chroot() -> bool {
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    !mounts.is_empty() && !mounts.lines().any(|line| line.split(' ').nth(4) == Some("/"))
}

/// The profile of AppArmor that confines the caller.
pub fn apparmor_profile() -> Option<String> {
    let text = std::fs::read_to_string("/proc/self/attr/current").ok()?;
    let (profile, mode) = text.trim_end_matches(['\n', '\0']).rsplit_once(' ')?;
    (mode == "(enforce)").then(|| profile.to_owned())
}

/// True if a system call filter is in force already (proc_pid_status(5), Seccomp).
pub fn is_filtered() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    status.lines().any(|line| line.strip_prefix("Seccomp:").is_some_and(|mode| mode.trim() == "2"))
}

/// What covers parts of the caller's /proc, which makes a fresh one EPERM in a user namespace ("mount too revealing").
pub fn masks_of_proc() -> Vec<String> {
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    mounts
        .lines()
        .filter_map(|line| line.split(' ').nth(4))
        .filter(|target| target.starts_with("/proc/") && Path::new(target) != Path::new("/proc/sys/fs/binfmt_misc"))
        .map(str::to_owned)
        .collect()
}
