//! The words of steps about mounts.

use super::{Advice, in_one_line};
use crate::plan::step::MountStep;
use crate::plan::step::nodes::{HostNode, Node};
use crate::plan::step::trees::{self, Attach, Bind, FuseMount, Key, Mount, NewTree};
use crate::sys::tty::Size;
use crate::sys::{self, Call, Errno, mount};
use std::ffi::{CStr, CString};
use std::fmt;

impl fmt::Display for MountStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let data = |data: &Option<CString>| data.as_ref().map_or(String::new(), |data| format!(" data {data:?}"));
        match self {
            MountStep::MakeProc => f.write_str("make a procfs"),
            MountStep::OpenProc => f.write_str("open /proc"),
            MountStep::OpenRoot => f.write_str("take / for the root"),
            MountStep::EnterDescriptors => f.write_str("enter /proc/self/fd"),
            MountStep::Propagate { flags } => write!(f, "propagate / {}", MountFlags(*flags)),
            MountStep::BindRoot { source, set } => {
                write!(f, "bind {} as the root", source.to_string_lossy())?;
                if *set == 0 { Ok(()) } else { write!(f, ": set {}", AttributeNames(*set)) }
            }
            MountStep::Mount(Mount { source, target, kind, flags, data: text, .. }) => {
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
            MountStep::MakeTree(tree) => tree.fmt(f),
            MountStep::Bind(Bind { source, target, recursive, attributes, inode, .. }) => {
                let all = if *recursive { " recursively" } else { "" };
                let (source, target) = (source.to_string_lossy(), target.to_string_lossy());
                write!(f, "bind {source} on {target}{all}{}", Changes(attributes))?;
                inode.map_or(Ok(()), |(device, inode)| write!(f, ", if it is inode {inode} of device {device}"))
            }
            MountStep::Attach(attach) => {
                let Attach { mapped, target, attributes, .. } = &**attach;
                let all = if mapped.recursive { " recursively" } else { "" };
                let (source, target) = (mapped.source.to_string_lossy(), target.to_string_lossy());
                write!(f, "bind {source} on {target}{all}{} with mapped ids: ", Changes(attributes))?;
                match &mapped.maps {
                    Some((uids, gids)) => write!(f, "uids {}; gids {}", in_one_line(uids), in_one_line(gids)),
                    None => f.write_str("as the container's"),
                }
            }
            MountStep::MountFuse(mount) => {
                let FuseMount { target, options, set, server, .. } = &**mount;
                let (target, flags) = (target.to_string_lossy(), AttributeNames(*set));
                let options = in_one_option(options);
                write!(f, "mount fuse on {target} flags {flags} options {options}, served by {:?}", server.arguments)
            }
            MountStep::AwaitFuse { target } => write!(f, "wait until {} is served", target.to_string_lossy()),
            MountStep::SetMountAttributes { target, attributes, .. }
            | MountStep::SetTreeAttributes { target, attributes, .. } => {
                write!(f, "set attributes of {}{}", target.to_string_lossy(), Changes(&[*attributes]))
            }
            MountStep::Remount { target, flags, data: text } => {
                write!(f, "remount {} flags {}{}", target.to_string_lossy(), MountFlags(*flags), data(text))
            }
            MountStep::MakeNode(Node { path, mode, major, minor, uid, gid }) => {
                write!(f, "make node {} mode {mode:o} device {major}:{minor} owner {uid}:{gid}", path.to_string_lossy())
            }
            MountStep::BindNode(HostNode { source, node: Node { path, major, minor, .. }, readonly }) => {
                let (source, path) = (source.to_string_lossy(), path.to_string_lossy());
                write!(f, "bind device {major}:{minor} {source} on {path}")?;
                f.write_str(if *readonly { ", read-only" } else { "" })
            }
            MountStep::MakeDirectory { path, mode } => {
                write!(f, "make directory {}", path.to_string_lossy())?;
                mode.map_or(Ok(()), |mode| write!(f, " mode {mode:o}"))
            }
            MountStep::CopyFile { source, path, mode } => {
                write!(f, "copy {} to {} mode {mode:o}", source.to_string_lossy(), path.to_string_lossy())
            }
            MountStep::SetMode { path, mode } => write!(f, "set the mode of {} to {mode:o}", path.to_string_lossy()),
            MountStep::Symlink { path, to, .. } => {
                write!(f, "symlink {} to {}", path.to_string_lossy(), to.to_string_lossy())
            }
            MountStep::OpenTerminal { size, .. } => match size {
                Some(Size { rows, columns }) => write!(f, "open a terminal of {columns}x{rows}"),
                None => f.write_str("open a terminal"),
            },
            MountStep::PivotRoot => f.write_str("pivot root"),
            MountStep::MoveRoot { revealing } => write!(f, "take away {revealing:?}, and move root"),
            MountStep::Mask { path } => write!(f, "mask {}", path.to_string_lossy()),
            MountStep::Replace { path } => {
                write!(f, "put an empty directory in the place of {}", path.to_string_lossy())
            }
            MountStep::Pin { path } => write!(f, "make {} a mount of its own", path.to_string_lossy()),
            MountStep::MakeReadonly { path } => write!(f, "make read-only {}", path.to_string_lossy()),
        }
    }
}

fn in_one_option(options: &[Key]) -> String {
    let options = options.iter().map(|(key, value)| match value {
        Some(value) => format!("{}={}", key.to_string_lossy(), value.to_string_lossy()),
        None => key.to_string_lossy().into_owned(),
    });
    options.collect::<Vec<_>>().join(",")
}

impl fmt::Display for NewTree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let options = in_one_option(&self.options);
        write!(
            f,
            "mount {} on {} source {} flags {}{}{options}{}{}{}",
            self.kind.to_string_lossy(),
            self.target.to_string_lossy(),
            self.source.to_string_lossy(),
            AttributeNames(self.set),
            if options.is_empty() { "" } else { " options " },
            if self.copies { " with a copy of its files" } else { "" },
            if self.takes_mode { " with the mode of what it covers" } else { "" },
            Changes(&self.attributes)
        )
    }
}

impl MountStep {
    pub(super) fn subject(&self) -> Option<&CStr> {
        match self {
            MountStep::Mount(mount) => Some(&mount.target),
            MountStep::MakeTree(tree) => Some(&tree.target),
            MountStep::Bind(bind) => Some(&bind.target),
            MountStep::Attach(attach) => Some(&attach.target),
            MountStep::MountFuse(mount) => Some(&mount.target),
            MountStep::BindRoot { source, .. } => Some(source),
            MountStep::MakeNode(node) => Some(&node.path),
            MountStep::BindNode(bound) => Some(&bound.node.path),
            MountStep::AwaitFuse { target }
            | MountStep::SetMountAttributes { target, .. }
            | MountStep::SetTreeAttributes { target, .. }
            | MountStep::Remount { target, .. } => Some(target),
            MountStep::MakeDirectory { path, .. }
            | MountStep::CopyFile { path, .. }
            | MountStep::SetMode { path, .. }
            | MountStep::Symlink { path, .. }
            | MountStep::Mask { path }
            | MountStep::Pin { path }
            | MountStep::Replace { path }
            | MountStep::MakeReadonly { path } => Some(path),
            MountStep::OpenProc
            | MountStep::MakeProc
            | MountStep::EnterDescriptors
            | MountStep::Propagate { .. }
            | MountStep::OpenRoot
            | MountStep::OpenTerminal { .. }
            | MountStep::PivotRoot
            | MountStep::MoveRoot { .. } => None,
        }
    }

    pub(super) fn advise(&self, error: sys::Error) -> Option<Advice> {
        let sys::Error { call, errno, .. } = error;
        Some(match (self, call, errno) {
            (MountStep::Mount(mount), ..) => return advise_mount(mount, error),
            (MountStep::MakeTree(tree), ..) => {
                return of_file_system(&tree.kind, error).or_else(|| of_destination(error));
            }
            (MountStep::Bind(bind), _, Errno::ESTALE) if bind.inode.is_some() => (
                "another file lies at the source's path by now than the one that was meant",
                "see who moves it, and try again",
            ),
            (MountStep::Bind(bind), ..) => return advise_bind(bind, error),
            (MountStep::Attach(attach), Call::MountSetattr, Errno::EPERM) => locked(&attach.attributes),
            (MountStep::Attach(_), Call::MapMount, Errno::EINVAL) => (
                "the file system of the source, or this kernel, has no idmapped mounts",
                "take idmap and the mappings out, or move the source to a file system that has them, such as ext4",
            ),
            (MountStep::Attach(_), Call::MapMount, Errno::EPERM) => {
                ("the file system belongs to another user namespace", "take idmap and the mappings out")
            }
            (MountStep::SetMountAttributes { attributes, .. }, Call::MountSetattr, Errno::EPERM) => {
                locked(&[*attributes])
            }
            (MountStep::Remount { .. }, Call::Mount, Errno::EINVAL) => OPTIONS,
            (MountStep::MountFuse(_), Call::Open, Errno::EACCES | Errno::EPERM) => (
                "you may not open /dev/fuse",
                "as root: chmod 666 /dev/fuse (what most distributions have), or give the outer container the device",
            ),
            (MountStep::MountFuse(_), Call::Open, Errno::ENOENT | Errno::ENODEV | Errno::ENXIO) => (
                "this host has no /dev/fuse",
                "as root: modprobe fuse, or give the outer container the device /dev/fuse",
            ),
            (MountStep::MountFuse(_), Call::Fsopen, Errno::EINVAL) => {
                ("the kernel does not know one of the options", "see max_read and blksize in the options of the mount")
            }
            (MountStep::AwaitFuse { .. }, ..) => {
                ("the program that serves it has ended", "correct source and options of the mount")
            }
            (MountStep::CopyFile { .. }, Call::Open, Errno::EEXIST) => {
                ("there is something already", "choose another destination, or bind the file over it")
            }
            (MountStep::Symlink { .. }, Call::Symlink, Errno::EEXIST) => (
                "the image has something else there",
                "choose another destination, or take copy-symlink out of the options",
            ),
            (MountStep::BindNode(_), Call::Open | Call::Mount, Errno::ENOENT) => (
                "the host has no such device, and a user namespace cannot make one",
                "leave the device out, or make it on the host",
            ),
            (MountStep::BindNode(_), Call::Fstat, Errno::ENODEV) => (
                "what the host has at that path is another device, or none, and a user namespace cannot make one",
                "correct type, major and minor: see `ls -l` of it",
            ),
            (MountStep::MakeNode(_), Call::Mknod, Errno::EEXIST) => (
                "something else is there already, which the image or a volume has brought",
                "mount a tmpfs on /dev, or remove it from the root file system",
            ),
            (MountStep::MakeNode(_), Call::Mknod, Errno::EPERM) => {
                ("the caller may not make device nodes", "leave the device out of linux.devices")
            }
            (MountStep::BindRoot { .. }, _, Errno::ENOENT) => (
                "the root file system is missing",
                "put one there, or write a config that needs none with `rootlet spec --host`; or correct root.path, which is relative to the bundle",
            ),
            (MountStep::BindRoot { .. }, _, Errno::ENOTDIR) => {
                ("the root file system is not a directory", "unpack the image into a directory")
            }
            (MountStep::BindRoot { .. }, _, Errno::EACCES) => (
                "you may not search a directory on the way to the root file system",
                "chmod a+x it, or move the bundle",
            ),
            (MountStep::BindRoot { .. }, Call::PivotRoot, Errno::EBUSY) => (
                "it leads to the host's root, which cannot be the container's",
                "name another directory, and bind those that you need; see `rootlet spec --host`",
            ),
            (MountStep::BindRoot { .. }, Call::OpenTree, Errno::EINVAL) => (
                "the root file system has mounts below it, and a user namespace may not show what they cover",
                "unmount them, or choose another directory",
            ),
            (MountStep::PivotRoot, Call::PivotRoot, Errno::EINVAL) => {
                ("the host's root is an initramfs, or shared where it may not be", "give --no-pivot")
            }
            (MountStep::OpenTerminal { .. }, _, Errno::ENOENT | Errno::ENOTTY | Errno::ENOTDIR) => (
                "a terminal comes from the container's own devpts, and none is mounted on /dev/pts",
                "add {\"destination\": \"/dev/pts\", \"type\": \"devpts\", \"source\": \"devpts\", \"options\": [\"newinstance\", \"ptmxmode=0666\"]} to mounts",
            ),
            (MountStep::Mask { .. }, Call::Openat2 | Call::Fstat, _) => (
                "the container's /dev/null is not the null device",
                "mount a tmpfs on /dev, or leave /dev/null out of linux.devices",
            ),
            (
                MountStep::OpenProc
                | MountStep::MakeProc
                | MountStep::EnterDescriptors
                | MountStep::Propagate { .. }
                | MountStep::OpenRoot
                | MountStep::BindRoot { .. }
                | MountStep::Attach(_)
                | MountStep::MountFuse(_)
                | MountStep::SetMountAttributes { .. }
                | MountStep::SetTreeAttributes { .. }
                | MountStep::Remount { .. }
                | MountStep::MakeNode(_)
                | MountStep::BindNode(_)
                | MountStep::MakeDirectory { .. }
                | MountStep::CopyFile { .. }
                | MountStep::SetMode { .. }
                | MountStep::Symlink { .. }
                | MountStep::OpenTerminal { .. }
                | MountStep::PivotRoot
                | MountStep::MoveRoot { .. }
                | MountStep::Mask { .. }
                | MountStep::Pin { .. }
                | MountStep::Replace { .. }
                | MountStep::MakeReadonly { .. },
                ..,
            ) => return None,
        })
    }
}

const OPTIONS: Advice = (
    "the file system does not take one of the options or its value, or an id in them is not mapped in the container",
    "correct the options; what the kernel says of them is in `dmesg`, which root may read",
);

fn advise_mount(mount: &Mount, error: sys::Error) -> Option<Advice> {
    Some(match (mount.kind.to_bytes(), error.call, error.errno) {
        (b"sysfs", Call::Mount, Errno::EPERM) => (
            "a fresh sysfs needs a network namespace of the container's own",
            "add {\"type\": \"network\"} to linux.namespaces, or bind /sys",
        ),
        (b"mqueue", Call::Mount, Errno::EPERM) => (
            "mqueue needs an ipc namespace of the container's own",
            "add {\"type\": \"ipc\"} to linux.namespaces, or leave the mount out",
        ),
        (b"cgroup2", Call::Mount, Errno::EPERM) => (
            "cgroup2 needs a cgroup namespace of the container's own",
            "add {\"type\": \"cgroup\"} to linux.namespaces",
        ),
        (_, Call::Mount, Errno::EPERM) => (
            "not every file system may be mounted in a user namespace; proc, sysfs, tmpfs, devpts, mqueue, cgroup2, overlay and fuse may",
            "mount the device as root and bind it",
        ),
        (_, Call::Openat2, Errno::ELOOP) if mount.real_directory => {
            ("the destination is a symlink in the image", "make it a directory in the root file system")
        }
        _ => return of_file_system(&mount.kind, error).or_else(|| of_destination(error)),
    })
}

/// What a file system says of its options.
fn of_file_system(kind: &CStr, error: sys::Error) -> Option<Advice> {
    match (error.call, error.errno) {
        (Call::Mount | Call::Fsopen, Errno::EINVAL) => Some(OPTIONS),
        (Call::Mount | Call::Fsopen, Errno::ENOENT) if kind == c"overlay" => Some((
            "lowerdir, upperdir or workdir is missing",
            "make it, or correct the options; they may be relative to the bundle",
        )),
        (Call::Openat2, Errno::EACCES) => Some((
            "you may not search the root file system (root.path), or a directory of it on the way",
            "give it to whom it is to belong: `chown -R` as root, or unpack it as the user who runs it",
        )),
        _ => None,
    }
}

fn advise_bind(bind: &Bind, error: sys::Error) -> Option<Advice> {
    Some(match (error.call, error.errno) {
        (Call::Open | Call::Mount | Call::OpenTree, Errno::EACCES) => {
            ("you may not search a directory on the way to the source", "choose a source that you may read")
        }
        (Call::Mount | Call::MoveMount, Errno::ENOTDIR) | (Call::MoveMount, Errno::EINVAL) => (
            "one of source and destination is a directory and the other is not",
            "bind a directory on a directory, a file on a file",
        ),
        (Call::Mount | Call::OpenTree, Errno::EINVAL) if !bind.recursive => (
            "the source has mounts below it, and a user namespace may not show what they cover",
            "write \"rbind\" instead of \"bind\" in the options",
        ),
        (Call::MountSetattr, Errno::EPERM) => locked(&bind.attributes),
        _ => return of_destination(error),
    })
}

/// Where something is mounted.
fn of_destination(error: sys::Error) -> Option<Advice> {
    Some(match (error.call, error.errno) {
        (Call::Fstatfs, Errno::ELOOP) => (
            "the destination lies in procfs, where a mount could deceive the runtime",
            "choose another destination; below /proc only single files as lxcfs serves them may be bound",
        ),
        (Call::Mkdir | Call::Mknod, Errno::EROFS) => (
            "the destination is missing, and what it lies in is read-only: the root file system, or an earlier mount such as /usr of the host's",
            "make it there beforehand, or choose a destination that is not below a read-only mount",
        ),
        (Call::Mkdir | Call::Mknod, Errno::EACCES | Errno::EPERM) => (
            "the destination is missing in the root file system and cannot be made there",
            "make it beforehand, with the same owner as the root file system",
        ),
        _ => return None,
    })
}

/// Flags that the host's mount has and that a user namespace may not lift.
fn locked(attributes: &[trees::Attributes]) -> Advice {
    let clear = attributes.iter().fold(0, |clear, one| clear | one.clear);
    let because = "the host has mounted the source with a flag that a user namespace may not lift";
    let options = [
        (mount::MOUNT_ATTR_NODEV, "leave \"dev\" out of the options"),
        (mount::MOUNT_ATTR_NOSUID, "leave \"suid\" out of the options"),
        (mount::MOUNT_ATTR_NOEXEC, "leave \"exec\" out of the options"),
        (mount::MOUNT_ATTR_RDONLY, "write \"ro\" instead of \"rw\" in the options"),
    ];
    let option = options
        .iter()
        .find(|(flag, _)| clear & flag != 0)
        .map_or("leave the access time options out", |(_, option)| option);
    (because, option)
}

/// Changes of mount_setattr(2), one after the other.
struct Changes<'a>(&'a [trees::Attributes]);

impl fmt::Display for Changes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|trees::Attributes { set, clear, propagation, recursive }| {
            f.write_str(if *recursive { "; all below, too:" } else { ":" })?;
            if *set != 0 {
                write!(f, " set {}", AttributeNames(*set))?;
            }
            if *clear != 0 {
                write!(f, " clear {}", AttributeNames(*clear))?;
            }
            if *propagation != 0 {
                write!(f, " propagation {}", MountFlags(*propagation))?;
            }
            Ok(())
        })
    }
}

/// Attributes of mount_setattr(2) by the names that they have in mount(8).
struct AttributeNames(u64);

impl fmt::Display for AttributeNames {
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
