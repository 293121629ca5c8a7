//! What the caller and the kernel allow, asked at most once and only when a property wants to know.

use crate::capability::{CAP_MKNOD, CAP_SYS_ADMIN};
use crate::error::{Error, Result, found};
use crate::passwd;
use crate::sys::{Errno, creds, fd, landlock, namespace, process, sched};
use std::cell::{OnceCell, RefCell};
use std::collections::BTreeMap;
use std::ffi::{CStr, CString, OsStr};
use std::io::Read;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The version 2 hierarchy, as the caller sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hierarchy {
    /// Mount point of the hierarchy.
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
    /// Controllers that it passes on; none where the caller may not write.
    pub enabled: Vec<String>,
    /// Whether no process is in it, and the caller may write.
    pub is_empty: bool,
}

/// Where temporary layers may be: on a disk, if there is one.
pub const PLACES_OF_LAYERS: [&str; 3] = ["/var/tmp", "/tmp", "/dev/shm"];

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
    pub fn new() -> Result<Host> {
        let (uid, gid) = (creds::effective_uid(), creds::effective_gid());
        let capabilities = creds::effective_capabilities().map_err(|error| Error::from_call("capabilities", error))?;
        Ok(Host { uid, gid, capabilities, ..Host::default() })
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
    pub fn may_make_devices(&self) -> Result<bool> {
        Ok(self.may(CAP_MKNOD) && self.in_initial_user_namespace()?)
    }

    /// True in the initial user namespace. (Others may have the same maps.)
    pub fn in_initial_user_namespace(&self) -> Result<bool> {
        /// PROC_USER_INIT_INO of linux/proc_ns.h.
        const INITIAL: u64 = 0xEFFF_FFFD;
        remember(&self.in_initial_user_namespace, || {
            let path = "/proc/self/ns/user";
            Ok(std::fs::metadata(path).map_err(|error| Error::from_io(path, &error))?.ino() == INITIAL)
        })
        .copied()
    }

    /// The maps of a user namespace, of uids and of gids, as user_namespaces(7) shows them to who is in it.
    pub fn id_maps(&self, namespace: &Path) -> Result<[String; 2]> {
        let failed = |error| Error::from_call(namespace.display(), error);
        let path = CString::new(namespace.as_os_str().as_bytes()).unwrap_or_default();
        let namespace = fd::open(&path, fd::O_RDONLY, 0).map_err(failed)?;
        // 340 lines of three numbers.
        let mut buffers = [vec![0; 16 << 10], vec![0; 16 << 10]];
        let [uids, gids] = &mut buffers;
        let lengths = process::read_id_maps(namespace.as_fd(), uids, gids).map_err(failed)?;
        let mut buffers = buffers.into_iter().zip(lengths);
        let mut text = || {
            buffers.next().map_or(String::new(), |(text, length)| {
                String::from_utf8_lossy(text.get(..length).unwrap_or_default()).into_owned()
            })
        };
        Ok([text(), text()])
    }

    /// Why the kernel would make no writable overlay in a directory, if that is known.
    pub fn obstacle_to_layer(&self, directory: &Path) -> Result<Option<String>> {
        // Remote ones, and those of the kernel that are served or stacked (ovl_dentry_remote), and those without attributes. Before
        // Linux 6.6, a tmpfs has none that an ordinary user may set.
        const NAMES: [(i64, &str, (u32, u32)); 12] = [
            (0x6969, "NFS", (u32::MAX, 0)),
            (0x794c_7630, "an overlay itself", (u32::MAX, 0)),
            (0x6573_5546, "served by fuse", (u32::MAX, 0)),
            (0x0102_1997, "9p", (u32::MAX, 0)),
            (0xff53_4d42, "CIFS", (u32::MAX, 0)),
            (0xfe53_4d42, "SMB", (u32::MAX, 0)),
            (0x00c3_6400, "Ceph", (u32::MAX, 0)),
            (0x4d44, "FAT", (u32::MAX, 0)),
            (0x2011_bab0, "exFAT", (u32::MAX, 0)),
            (0xf15f, "eCryptfs", (u32::MAX, 0)),
            (0x5346_544e, "NTFS", (u32::MAX, 0)),
            (0x0102_1994, "tmpfs, and of Linux before 6.6", (6, 6)),
        ];
        let failed = |error| Error::from_call(directory.display(), error);
        let path = CString::new(directory.as_os_str().as_bytes()).unwrap_or_default();
        let opened = fd::open(&path, fd::O_PATH | fd::O_DIRECTORY, 0).map_err(failed)?;
        let magic = fd::file_system(opened.as_fd()).map_err(failed)? & 0xffff_ffff;
        let version = self.kernel_version()?;
        if self.is_ordinary_user() && version < (5, 11) {
            return Ok(Some("before Linux 5.11, it lets no ordinary user mount an overlay".to_owned()));
        }
        let found = NAMES.iter().find(|(known, _, since)| *known == magic && version < *since);
        Ok(found.map(|(_, name, _)| format!("the file system of {} is {name}", directory.display())))
    }

    /// The version of the kernel's Landlock, if it has one that is in use.
    pub fn landlock(&self) -> Result<Option<u32>> {
        match landlock::version() {
            Ok(version) => Ok(Some(version)),
            Err(error) if matches!(error.errno, Errno::ENOSYS | Errno::EOPNOTSUPP | Errno::EPERM) => Ok(None),
            Err(error) => Err(Error::from_call("Landlock", error)),
        }
    }

    /// The first two numbers of the kernel's version.
    pub fn kernel_version(&self) -> Result<(u32, u32)> {
        let mut numbers =
            self.kernel()?.split(|letter: char| !letter.is_ascii_digit()).map(|part| part.parse().unwrap_or(0));
        Ok((numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)))
    }

    /// Version of the kernel.
    pub fn kernel(&self) -> Result<&str> {
        let ask = || {
            let release =
                namespace::kernel_release().map_err(|error| Error::from_call("version of the kernel", error))?;
            let release = CStr::from_bytes_until_nul(&release).unwrap_or_default();
            Ok(release.to_string_lossy().into_owned())
        };
        remember(&self.kernel, ask).map(String::as_str)
    }

    /// The caller's oom_score_adj.
    pub fn oom_score_adj(&self) -> Result<i32> {
        let ask = || {
            let path = "/proc/self/oom_score_adj";
            read(path)?.trim().parse().map_err(|_| Error::new(format!("{path} has no number")))
        };
        remember(&self.oom_score_adj, ask).copied()
    }

    /// The cgroup version that /sys/fs/cgroup shows.
    pub fn cgroups(&self) -> Result<Cgroups> {
        let ask = || {
            let is_unified = has_hierarchy(c"/sys/fs/cgroup")?;
            Ok(if is_unified { Cgroups::Unified } else { Cgroups::Legacy })
        };
        remember(&self.cgroups, ask).copied()
    }

    /// The version 2 hierarchy: alone on /sys/fs/cgroup, or beside version 1.
    pub fn hierarchy(&self) -> Result<Option<&Hierarchy>> {
        let find = || {
            let Some(root) = hierarchy_root()? else { return Ok(None) };
            let own = own_cgroup(&root, &read("/proc/self/cgroup")?);
            Ok(own.map(|own| Hierarchy { root, own }))
        };
        remember(&self.hierarchy, find).map(Option::as_ref)
    }

    /// Whether the caller is in the namespace that has this file.
    pub fn is_in_namespace(&self, file: &Path) -> Result<bool> {
        let failed = |error: std::io::Error| Error::from_io(file.display(), &error);
        let id = |path: &Path| Ok(found(path.metadata()).map_err(failed)?.map(|file| (file.dev(), file.ino())));
        let Some(asked) = id(file)? else { return Ok(false) };
        for entry in std::fs::read_dir("/proc/self/ns").map_err(failed)? {
            if id(&entry.map_err(failed)?.path())? == Some(asked) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether the caller may divide a cgroup.
    pub fn may_divide(&self, path: &Path) -> Result<bool> {
        if let Some(level) = self.levels.borrow().get(path) {
            return Ok(level.is_writable);
        }
        let c_path = |name: &str| CString::new(path.join(name).as_os_str().as_bytes()).unwrap_or_default();
        let may_write = |name| fd::may_write(&c_path(name)).map_err(|error| Error::from_call(path.display(), error));
        Ok(may_write("")? && may_write("cgroup.procs")?)
    }

    /// What the caller may do with a cgroup.
    pub fn level(&self, path: &Path) -> Result<Level> {
        if let Some(level) = self.levels.borrow().get(path) {
            return Ok(level.clone());
        }
        let words = |file: &str| match found(std::fs::read_to_string(path.join(file))) {
            // A threaded cgroup does not tell its processes.
            Err(error) if error.raw_os_error() == Some(Errno::EOPNOTSUPP as i32) => Ok(Vec::new()),
            Err(error) => Err(Error::from_io(format!("cgroup {}: {file}", path.display()), &error)),
            Ok(text) => Ok(text.unwrap_or_default().split_whitespace().map(str::to_owned).collect::<Vec<_>>()),
        };
        let mut level = Level {
            is_writable: self.may_divide(path)?,
            controllers: words("cgroup.controllers")?,
            ..Level::default()
        };
        // The kernel sorts all pids for whoever reads them.
        if level.is_writable {
            level.enabled = words("cgroup.subtree_control")?;
            level.is_empty = words("cgroup.procs")?.is_empty();
        }
        Ok(self.levels.borrow_mut().entry(path.to_owned()).or_insert(level).clone())
    }

    /// The socket of the caller's systemd: the user's, or for root the system's.
    pub fn bus(&self) -> Result<Option<PathBuf>> {
        let find = || {
            let candidates: Vec<PathBuf> = match self.has_system_manager()? {
                true => vec!["/run/dbus/system_bus_socket".into()],
                false => {
                    let address = std::env::var("DBUS_SESSION_BUS_ADDRESS").unwrap_or_default();
                    let given = address.split([';', ',']).find_map(|part| part.strip_prefix("unix:path="));
                    let usual = dirs::runtime_dir().map(|directory| directory.join("bus"));
                    given.map(PathBuf::from).into_iter().chain(usual).collect()
                }
            };
            for candidate in candidates {
                if exists(&candidate)? {
                    return Ok(Some(candidate));
                }
            }
            Ok(None)
        };
        remember(&self.bus, find).cloned()
    }

    /// Whether the caller's systemd is that of the system. In rootless podman's user namespace, the uid is 0 all the same.
    pub fn has_system_manager(&self) -> Result<bool> {
        Ok(self.uid == 0 && self.in_initial_user_namespace()?)
    }

    /// Which of these options the version 2 hierarchy has; they are one for the whole host.
    pub fn hierarchy_options(&self, known: &[&str]) -> Result<Vec<String>> {
        let mounts = read("/proc/self/mountinfo")?;
        // proc_pid_mountinfo(5): after the dash the type, the source, and the file system's own options.
        let mut found = mounts.lines().filter_map(|line| line.split_once(" - cgroup2 ")?.1.split_once(' '));
        let options = found.next().map_or("", |(_, options)| options);
        Ok(options.split(',').filter(|option| known.contains(option)).map(str::to_owned).collect())
    }

    /// The cgroup of the caller's systemd; `None` without a version 2 hierarchy.
    pub fn manager_cgroup(&self) -> Result<Option<PathBuf>> {
        let Some(Hierarchy { root, own }) = self.hierarchy()? else { return Ok(None) };
        if self.has_system_manager()? {
            return Ok(Some(root.clone()));
        }
        let user_of = |path: &Path| {
            let name = path.file_name()?.to_str()?;
            name.strip_prefix("user-")?.strip_suffix(".slice")?.parse::<u32>().ok()
        };
        let uid = own.ancestors().find_map(user_of).unwrap_or(self.uid);
        Ok(Some(root.join(format!("user.slice/user-{uid}.slice/user@{uid}.service"))))
    }

    /// Whether AppArmor confines programs.
    pub fn has_apparmor(&self) -> Result<bool> {
        let path = "/sys/module/apparmor/parameters/enabled";
        let text = found(std::fs::read(path)).map_err(|error| Error::from_io(path, &error))?;
        Ok(text.is_some_and(|text| text.starts_with(b"Y")))
    }

    /// Whether SELinux labels programs (selinux(8): its file system is mounted).
    pub fn has_selinux(&self) -> Result<bool> {
        exists(Path::new("/sys/fs/selinux/enforce"))
    }

    /// Whether the file system of Resource Director Technology is mounted.
    pub fn has_resctrl(&self) -> Result<bool> {
        exists(Path::new("/sys/fs/resctrl/schemata"))
    }

    /// Where a symlink of the host leads to; `None` if it is no symlink.
    pub fn symlink(&self, path: &Path) -> Result<Option<PathBuf>> {
        match std::fs::read_link(path) {
            Err(error) if error.raw_os_error() == Some(Errno::EINVAL as i32) => Ok(None),
            other => found(other).map_err(|error| Error::from_io(path.display(), &error)),
        }
    }

    /// A program of the host by its name, in the caller's PATH.
    pub fn find_program(&self, name: &str) -> Option<PathBuf> {
        use std::os::unix::fs::PermissionsExt;
        let is_program = |path: &PathBuf| {
            path.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
        };
        // Those of system programs are not in every user's.
        let path = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&path)
            .filter(|directory| directory.is_absolute())
            .chain(["/usr/sbin".into(), "/sbin".into()])
            .map(|directory| directory.join(name))
            .find(|path| !name.is_empty() && !name.contains('/') && is_program(path))
    }

    /// Other paths by which a directory is to be seen, by what is mounted of its file system.
    pub fn aliases(&self, directory: &Path) -> Result<Vec<PathBuf>> {
        let mounts = read("/proc/self/mountinfo")?;
        let fields = mounts.lines().filter_map(|line| {
            let fields: Vec<_> = line.split(' ').collect();
            match fields[..] {
                [_, _, device, root, point, ..] => {
                    Some((device, PathBuf::from(unescape(root)), PathBuf::from(unescape(point))))
                }
                _ => None,
            }
        });
        let all: Vec<_> = fields.collect();
        // Of several, the last one is on top.
        let above = all.iter().filter(|(.., point)| directory.starts_with(point));
        let Some((device, root, point)) = above.max_by_key(|(.., point)| point.components().count()) else {
            return Ok(Vec::new());
        };
        let Ok(rest) = directory.strip_prefix(point) else { return Ok(Vec::new()) };
        let within = root.join(rest);
        let shown = all.iter().filter(|(other, ..)| other == device).filter_map(|(_, root, point)| {
            let rest = within.strip_prefix(root).ok()?;
            Some(if rest.as_os_str().is_empty() { point.clone() } else { point.join(rest) })
        });
        Ok(shown.filter(|shown| shown != directory).collect())
    }

    /// Something that is mounted below a directory.
    pub fn mount_below(&self, directory: &Path) -> Result<Option<PathBuf>> {
        let mounts = read("/proc/self/mountinfo")?;
        let points = mounts.lines().filter_map(|line| Some(PathBuf::from(unescape(line.split(' ').nth(4)?))));
        Ok(points.into_iter().find(|point| point.starts_with(directory) && point != directory))
    }

    /// Where the caller sees a procfs.
    pub fn proc_mounts(&self) -> Result<Vec<PathBuf>> {
        mount_points(&["proc"])
    }

    /// Where the caller sees a procfs or a sysfs, the innermost first. While a mount namespace has one that nothing covers,
    /// whoever is root in a user namespace may mount another ("mount too revealing").
    pub fn revealing_mounts(&self) -> Result<Vec<PathBuf>> {
        Ok(mount_points(&["proc", "sysfs"])?.into_iter().rev().collect())
    }

    /// Permissions of what is at a path (inode(7)).
    pub fn permissions(&self, path: &Path) -> Result<Option<u32>> {
        let metadata = found(path.metadata()).map_err(|error| Error::from_io(path.display(), &error))?;
        Ok(metadata.map(|metadata| metadata.mode() & 0o7777))
    }

    /// Whether there is a device node.
    pub fn is_device(&self, path: &Path) -> Result<bool> {
        use std::os::unix::fs::FileTypeExt;
        let metadata = found(path.metadata()).map_err(|error| Error::from_io(path.display(), &error))?;
        let kind = metadata.map(|metadata| metadata.file_type());
        Ok(kind.is_some_and(|kind| kind.is_char_device() || kind.is_block_device()))
    }

    /// A path of the host without symlinks; as it is where nothing is there.
    pub fn canonical(&self, path: &Path) -> Result<PathBuf> {
        let canonical = found(path.canonicalize()).map_err(|error| Error::from_io(path.display(), &error))?;
        Ok(canonical.unwrap_or_else(|| path.to_owned()))
    }

    /// The caller's own limit of a resource.
    pub fn limit(&self, resource: u32) -> Result<sched::Limit> {
        sched::limit(resource).map_err(|error| Error::from_call("resource limits", error))
    }
}

/// The answer to a question that is asked once. What could not be found out is asked again.
fn remember<T>(cell: &OnceCell<T>, ask: impl FnOnce() -> Result<T>) -> Result<&T> {
    if let Some(known) = cell.get() {
        return Ok(known);
    }
    let answer = ask()?;
    Ok(cell.get_or_init(|| answer))
}

/// Reads a file of the kernel's, whose size it does not know.
pub fn read(path: &str) -> Result<String> {
    let opened = fd::open(&CString::new(path).unwrap_or_default(), fd::O_RDONLY, 0);
    let opened = opened.map_err(|error| Error::from_call(path, error))?;
    let mut text = String::with_capacity(USUAL_LENGTH);
    // Without a bound, std asks for size and position first.
    let read = std::fs::File::from(opened).take(u64::MAX).read_to_string(&mut text);
    read.map(|_| text).map_err(|error| Error::from_io(path, &error))
}

/// A path without symlinks, as [`Path::canonicalize`], and cheaper (`sys::fd::real_path`).
pub fn canonicalize(path: &Path) -> std::io::Result<PathBuf> {
    let mut buffer = [0; fd::PATH_MAX];
    let found = fd::real_path(&CString::new(path.as_os_str().as_bytes())?, &mut buffer);
    let found = found.map_err(|error| std::io::Error::from_raw_os_error(error.errno as i32))?;
    Ok(PathBuf::from(OsStr::from_bytes(found.to_bytes())))
}

/// Most files of the kernel's are read at once then.
const USUAL_LENGTH: usize = 4 << 10;

fn exists(path: &Path) -> Result<bool> {
    match path.try_exists() {
        // What the caller cannot get at is not there for it.
        Err(error) if error.raw_os_error() == Some(Errno::EACCES as i32) => Ok(false),
        other => other.map_err(|error| Error::from_io(path.display(), &error)),
    }
}

/// Where the caller sees file systems of these types (proc_pid_mountinfo(5)).
fn mount_points(kinds: &[&str]) -> Result<Vec<PathBuf>> {
    let mounts = read("/proc/self/mountinfo")?;
    let is_one = |line: &&str| {
        let kind = line.split(" - ").nth(1).and_then(|rest| rest.split(' ').next());
        kind.is_some_and(|kind| kinds.contains(&kind))
    };
    let points = mounts.lines().filter(is_one).filter_map(|line| line.split(' ').nth(4));
    Ok(points.map(|path| unescape(path).into()).collect())
}

/// Whether /proc is of the caller's pid namespace: in that of another, processes have other numbers.
pub fn has_own_proc() -> Result<bool> {
    let own = std::fs::read_link("/proc/self").map_err(|error| Error::from_io("cannot read /proc/self", &error))?;
    Ok(own.to_str() == Some(&std::process::id().to_string()))
}

/// Whether /proc does not even name processes that the caller may not look into (hidepid=invisible or ptraceable, proc(5)). Root sees
/// all of them, and so does the group that the mount names.
pub fn hides_processes() -> Result<bool> {
    if creds::effective_uid() == 0 {
        return Ok(false);
    }
    let mounts = read("/proc/self/mountinfo")?;
    // The last one covers the others.
    let Some(line) = mounts.lines().rfind(|line| line.split(' ').nth(4) == Some("/proc")) else { return Ok(false) };
    let options = line.split(" - ").nth(1).and_then(|rest| rest.split(' ').nth(2)).unwrap_or_default();
    let value = |name: &str| options.split(',').find_map(|option| option.strip_prefix(name)?.strip_prefix('='));
    let is_hidden = matches!(value("hidepid"), Some("2" | "4" | "invisible" | "ptraceable"));
    let group = value("gid").and_then(|gid| gid.parse::<u32>().ok());
    let is_exempt = group.is_some_and(|gid| creds::effective_gid() == gid);
    Ok(is_hidden && !is_exempt)
}

/// Blanks and backslashes in mountinfo are written as octal numbers.
pub fn unescape(text: &str) -> String {
    [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")]
        .iter()
        .fold(text.to_owned(), |text, (code, letter)| text.replace(code, letter))
}

/// Where the version 2 hierarchy is mounted: alone on /sys/fs/cgroup, or beside version 1.
pub fn hierarchy_root() -> Result<Option<PathBuf>> {
    for path in [c"/sys/fs/cgroup", c"/sys/fs/cgroup/unified"] {
        if has_hierarchy(path)? {
            return Ok(Some(PathBuf::from(path.to_str().unwrap_or_default())));
        }
    }
    Ok(None)
}

fn has_hierarchy(path: &CStr) -> Result<bool> {
    let failed = |error| Error::from_call(path.to_string_lossy(), error);
    match fd::file_system_at(path) {
        Err(error) if error.errno == Errno::EACCES => Ok(false),
        other => Ok(found(other).map_err(failed)? == Some(fd::CGROUP2_MAGIC)),
    }
}

/// The directory that the text of /proc/PID/cgroup names; `None` if it is out of the hierarchy's sight, as in another
/// cgroup namespace.
pub fn own_cgroup(root: &Path, text: &str) -> Option<PathBuf> {
    let own = text.lines().find_map(|line| line.strip_prefix("0::"))?;
    let is_seen = !own.split('/').any(|part| part == "..");
    is_seen.then(|| if own == "/" { root.to_owned() } else { root.join(own.trim_start_matches('/')) })
}

/// What the host's /etc/passwd says of a user, if it says something that is text.
fn look_up(uid: u32, field: impl Fn(passwd::User) -> Vec<u8>) -> Option<String> {
    // Without the file, there is nobody.
    let users = std::fs::read("/etc/passwd").ok()?;
    let user = users.split(|byte| *byte == b'\n').map(passwd::User::of).find(|user| user.uid == Some(uid))?;
    String::from_utf8(field(user)).ok().filter(|text| !text.is_empty())
}

/// The name of a user of the host's.
pub fn name_of(uid: u32) -> Option<String> {
    look_up(uid, |user| user.name.to_owned())
}

/// The home of a user of the host's.
pub fn home_of(uid: u32) -> Option<String> {
    look_up(uid, |user| user.home.to_owned())
}

/// True in a chroot: its root is no mount, which mountinfo does not show then, or a mount that the first process has elsewhere.
pub fn is_in_chroot() -> bool {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let mounts = read("/proc/self/mountinfo");
    let point = |line: &str| line.split(' ').nth(4).map(str::to_owned);
    let id = |line: &str| line.split(' ').next().map(str::to_owned);
    if mounts.is_empty() {
        return false;
    }
    let Some(root) = mounts.lines().rfind(|line| point(line).as_deref() == Some("/")) else { return true };
    let others = read("/proc/1/mountinfo");
    let same = others.lines().find(|line| id(line) == id(root));
    same.is_some_and(|same| point(same).as_deref() != Some("/"))
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
