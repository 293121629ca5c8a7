//! How steps read: one line each, as `rootlet plan` prints them.

use super::{Cgroup, Place, Step, mounting};
use crate::sys::tty::Size;
use crate::sys::{mount, namespace as ns};
use std::ffi::CString;
use std::fmt;

/// Names of the namespaces in a set of clone flags, as config.json has them.
pub fn namespace_names(flags: i32) -> impl Iterator<Item = &'static str> {
    NAMESPACES.iter().filter(move |(_, flag)| flags & flag != 0).map(|(name, _)| *name)
}

/// The clone flags of namespaces by their names in config.json.
pub fn namespace_flags(names: &[String]) -> i32 {
    NAMESPACES.iter().filter(|(name, _)| names.iter().any(|other| other == name)).fold(0, |all, (_, flag)| all | flag)
}

/// The eight types of namespace, the user namespace first.
pub const NAMESPACES: [(&str, i32); 8] = [
    ("user", ns::CLONE_NEWUSER),
    ("mount", ns::CLONE_NEWNS),
    ("pid", ns::CLONE_NEWPID),
    ("ipc", ns::CLONE_NEWIPC),
    ("uts", ns::CLONE_NEWUTS),
    ("network", ns::CLONE_NEWNET),
    ("cgroup", ns::CLONE_NEWCGROUP),
    ("time", ns::CLONE_NEWTIME),
];

impl fmt::Display for Step {
    /// One line, as `rootlet plan` prints it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let data = |data: &Option<CString>| data.as_ref().map_or(String::new(), |data| format!(" data {data:?}"));
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().replace('\n', ", ");
        match self {
            Step::MapIds { uid_map, gid_map, deny_setgroups } => {
                let groups = if *deny_setgroups { "deny" } else { "allow" };
                write!(f, "map ids: uids {}; gids {}; setgroups {groups}", text(uid_map), text(gid_map))
            }
            Step::BecomeId { uid, gid, .. } => write!(f, "become uid {uid} gid {gid} of the user namespace"),
            Step::SetLimit { resource, limit } => {
                write!(f, "set limit {resource}: soft {} hard {}", limit.soft, limit.hard)
            }
            Step::SetOomScoreAdj { value } => write!(f, "set oom_score_adj {}", value.to_string_lossy()),
            Step::Unshare { kinds } => {
                write!(f, "unshare {}", namespace_names(*kinds).collect::<Vec<_>>().join(" "))
            }
            Step::SetTimeOffsets { offsets } => write!(f, "set time offsets {}", text(offsets)),
            Step::JoinNewKeyring => f.write_str("join a new session keyring"),
            Step::ForbidTracing => f.write_str("forbid tracing"),
            Step::MakeProc => f.write_str("make a procfs"),
            Step::OpenProc => f.write_str("open /proc"),
            Step::OpenRoot => f.write_str("take / for the root"),
            Step::EnterDescriptors => f.write_str("enter /proc/self/fd"),
            Step::Propagate { flags } => write!(f, "propagate / {}", MountFlags(*flags)),
            Step::BindRoot { source, set } => {
                write!(f, "bind {} as the root", source.to_string_lossy())?;
                if *set == 0 { Ok(()) } else { write!(f, ": set {}", Attributes(*set)) }
            }
            Step::Mount { source, target, kind, flags, data: text, .. } => {
                write!(
                    f,
                    "mount {} on {} source {} flags {}{}",
                    kind.to_string_lossy(),
                    target.to_string_lossy(),
                    source.to_string_lossy(),
                    MountFlags(*flags),
                    data(text)
                )
            }
            Step::MakeTree(tree) => {
                let options = tree.options.iter().map(|(key, value)| match value {
                    Some(value) => format!("{}={}", key.to_string_lossy(), value.to_string_lossy()),
                    None => key.to_string_lossy().into_owned(),
                });
                write!(
                    f,
                    "mount {} on {} source {} flags {} options {}{}{}{}",
                    tree.kind.to_string_lossy(),
                    tree.target.to_string_lossy(),
                    tree.source.to_string_lossy(),
                    Attributes(tree.set),
                    options.collect::<Vec<_>>().join(","),
                    if tree.copies { " with a copy of its files" } else { "" },
                    if tree.takes_mode { " with the mode of what it covers" } else { "" },
                    Changes(&tree.attributes)
                )
            }
            Step::Bind { source, target, recursive, attributes, .. } => {
                let all = if *recursive { " recursively" } else { "" };
                let (source, target) = (source.to_string_lossy(), target.to_string_lossy());
                write!(f, "bind {source} on {target}{all}{}", Changes(attributes))
            }
            Step::Attach { source, target, attributes, .. } => {
                let all = if source.recursive { " recursively" } else { "" };
                let (from, target) = (source.source.to_string_lossy(), target.to_string_lossy());
                write!(f, "bind {from} on {target}{all}{} with mapped ids: ", Changes(attributes))?;
                match &source.maps {
                    Some((uids, gids)) => write!(f, "uids {}; gids {}", text(uids), text(gids)),
                    None => f.write_str("as the container's"),
                }
            }
            Step::MountFuse(mount) => write!(
                f,
                "mount {} on {} flags {} data {:?}, served by {:?}",
                mount.kind.to_string_lossy(),
                mount.target.to_string_lossy(),
                MountFlags(mount.flags),
                mount.data,
                mount.server.arguments
            ),
            Step::AwaitFuse { target } => write!(f, "wait until {} is served", target.to_string_lossy()),
            Step::SetMountAttributes { target, attributes, .. }
            | Step::SetTreeAttributes { target, attributes, .. } => {
                write!(f, "set attributes of {}{}", target.to_string_lossy(), Changes(&[*attributes]))
            }
            Step::Remount { target, flags, data: text } => {
                write!(f, "remount {} flags {}{}", target.to_string_lossy(), MountFlags(*flags), data(text))
            }
            Step::MakeNode { path, mode, major, minor, uid, gid } => {
                write!(f, "make node {} mode {mode:o} device {major}:{minor} owner {uid}:{gid}", path.to_string_lossy())
            }
            Step::BindNode { source, path, major, minor, readonly, .. } => {
                let (source, path) = (source.to_string_lossy(), path.to_string_lossy());
                write!(f, "bind device {major}:{minor} {source} on {path}")?;
                f.write_str(if *readonly { ", read-only" } else { "" })
            }
            Step::Symlink { path, to, .. } => {
                write!(f, "symlink {} to {}", path.to_string_lossy(), to.to_string_lossy())
            }
            Step::MoveDevice { name, new_name } => {
                write!(f, "move network device {} as {}", name.to_string_lossy(), new_name.to_string_lossy())
            }
            Step::LoopbackUp => f.write_str("bring lo up"),
            Step::OpenTerminal { size, .. } => match size {
                Some(Size { rows, columns }) => write!(f, "open a terminal of {columns}x{rows}"),
                None => f.write_str("open a terminal"),
            },
            Step::RunHook(program) => write!(f, "run hook {}", program.path.to_string_lossy()),
            Step::PivotRoot => f.write_str("pivot root"),
            Step::MoveRoot { revealing } => write!(f, "take away {revealing:?}, and move root"),
            Step::SetHostname { name } => write!(f, "set hostname {}", name.to_string_lossy()),
            Step::SetDomainname { name } => write!(f, "set domainname {}", name.to_string_lossy()),
            Step::SetSysctl { path, value } => {
                write!(f, "write {:?} to {}", value, path.to_string_lossy().replace("../../", "/proc/"))
            }
            Step::Mask { path } => write!(f, "mask {}", path.to_string_lossy()),
            Step::MakeReadonly { path } => write!(f, "make read-only {}", path.to_string_lossy()),
            Step::SetPersonality { domain } => write!(f, "set personality {domain:#x}"),
            Step::SetScheduling(scheduling) => write!(f, "set {scheduling:?}"),
            Step::SetIoPriority { class, level } => write!(f, "set io priority class {class} level {level}"),
            Step::SetAffinity { cpus } => match cpus.iter().all(|cpus| *cpus == u64::MAX) {
                true => f.write_str("set affinity to all CPUs of the cgroup"),
                false => write!(f, "set affinity {cpus:x?}"),
            },
            Step::SetMemoryPolicy { mode, nodes } => write!(f, "set memory policy {mode:#x} nodes {nodes:x?}"),
            Step::SetLabel { path, value } => {
                write!(f, "write {value:?} to {}", path.to_string_lossy().replace("..", "/proc/self"))
            }
            Step::ReopenNull { .. } => f.write_str("open /dev/null again where it is a standard stream"),
            Step::GiveStreams { uid } => write!(f, "give pipes of standard streams to {uid}"),
            Step::StartSession => f.write_str("start a session"),
            Step::SetNoNewPrivileges => f.write_str("set no_new_privs"),
            Step::BecomeUser { uid, gid, groups, umask } => {
                write!(f, "become user {uid}:{gid}")?;
                match groups {
                    Some(groups) => write!(f, " groups {groups:?}")?,
                    None => f.write_str(" groups kept")?,
                }
                umask.map_or(Ok(()), |umask| write!(f, " umask {umask:03o}"))
            }
            Step::SetCapabilities { bounding, effective, permitted, inheritable, ambient } => write!(
                f,
                "set capabilities bounding {bounding:#x} effective {effective:#x} permitted {permitted:#x} inheritable {inheritable:#x} ambient {ambient:#x}"
            ),
            Step::MakeDirectory { path } => write!(f, "make directory {}", path.to_string_lossy()),
            Step::Chdir { path } => write!(f, "enter {}", path.to_string_lossy()),
            Step::FindHome { uid } => write!(f, "read HOME of uid {uid} from /etc/passwd"),
            Step::FindExecutable { name, .. } => write!(f, "find {}", name.to_string_lossy()),
            Step::ResetSignals => f.write_str("reset signals"),
            Step::InstallFilter { filter, flags } => {
                write!(f, "install a system call filter of {} instructions flags {flags:#x}", filter.len())
            }
            Step::Execute { arguments, .. } => write!(f, "execute {arguments:?}"),
        }
    }
}

impl fmt::Display for Cgroup {
    /// A line for the cgroup, and one for each setting.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::None => write!(f, "cgroup  none, because {}", self.reason)?,
            Place::Directory { path, .. } => write!(f, "cgroup  {}, because {}", path.display(), self.reason)?,
            Place::Scope { bus, slice, name, subgroup, .. } => {
                let whose = if bus.is_user { "the user's" } else { "the system's" };
                write!(f, "cgroup  {name}/{subgroup} in {slice} of {whose} systemd, because {}", self.reason)?;
            }
        }
        if let Some((uid, _)) = self.owner {
            write!(f, "\ncgroup  its files belong to uid {uid}, who may divide it")?;
        }
        if let Some(leaf) = &self.leaf {
            write!(f, "\ncgroup  the container's processes are below it, in {leaf}")?;
        }
        if let Some(devices) = &self.devices {
            write!(f, "\ncgroup  {:28} a program of {} instructions", "linux.resources.devices", devices.len())?;
        }
        self.settings.iter().try_for_each(|setting| {
            let property = setting.property.strip_prefix("linux.").unwrap_or_default();
            write!(f, "\ncgroup  {property:28} {} = {}", setting.file, setting.value)
        })
    }
}

/// Changes of mount_setattr(2), one after the other.
struct Changes<'a>(&'a [mounting::Attributes]);

impl fmt::Display for Changes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|mounting::Attributes { set, clear, propagation, recursive }| {
            f.write_str(if *recursive { "; all below, too:" } else { ":" })?;
            if *set != 0 {
                write!(f, " set {}", Attributes(*set))?;
            }
            if *clear != 0 {
                write!(f, " clear {}", Attributes(*clear))?;
            }
            if *propagation != 0 {
                write!(f, " propagation {}", MountFlags(*propagation))?;
            }
            Ok(())
        })
    }
}

/// Attributes of mount_setattr(2) by the names that they have in mount(8).
struct Attributes(u64);

impl fmt::Display for Attributes {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        const NAMES: [(&str, u64); 8] = [
            ("ro", mount::MOUNT_ATTR_RDONLY),
            ("nosuid", mount::MOUNT_ATTR_NOSUID),
            ("nodev", mount::MOUNT_ATTR_NODEV),
            ("noexec", mount::MOUNT_ATTR_NOEXEC),
            ("nosymfollow", mount::MOUNT_ATTR_NOSYMFOLLOW),
            ("noatime", mount::MOUNT_ATTR_NOATIME),
            ("strictatime", mount::MOUNT_ATTR_STRICTATIME),
            ("nodiratime", mount::MOUNT_ATTR_NODIRATIME),
        ];
        write_names(formatter, &NAMES, self.0)
    }
}

fn write_names(formatter: &mut fmt::Formatter<'_>, names: &[(&str, u64)], flags: u64) -> fmt::Result {
    let names: Vec<_> = names.iter().filter(|(_, flag)| flags & flag != 0).map(|(name, _)| *name).collect();
    formatter.write_str(if names.is_empty() { "none".to_owned() } else { names.join(",") }.as_str())
}

/// Mount flags by their names in mount(8).
struct MountFlags(u64);

impl fmt::Display for MountFlags {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        const NAMES: [(&str, u64); 19] = [
            ("ro", mount::MS_RDONLY),
            ("nosuid", mount::MS_NOSUID),
            ("nodev", mount::MS_NODEV),
            ("noexec", mount::MS_NOEXEC),
            ("sync", mount::MS_SYNCHRONOUS),
            ("mand", mount::MS_MANDLOCK),
            ("dirsync", mount::MS_DIRSYNC),
            ("nosymfollow", mount::MS_NOSYMFOLLOW),
            ("noatime", mount::MS_NOATIME),
            ("nodiratime", mount::MS_NODIRATIME),
            ("relatime", mount::MS_RELATIME),
            ("strictatime", mount::MS_STRICTATIME),
            ("lazytime", mount::MS_LAZYTIME),
            ("silent", mount::MS_SILENT),
            ("private", mount::MS_PRIVATE),
            ("slave", mount::MS_SLAVE),
            ("shared", mount::MS_SHARED),
            ("unbindable", mount::MS_UNBINDABLE),
            ("recursive", mount::MS_REC),
        ];
        write_names(formatter, &NAMES, self.0)
    }
}
