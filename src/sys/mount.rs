//! Mounts. Targets are descriptors: the caller's current directory is /proc/self/fd, so that `7` names descriptor 7
//! and no path is looked up twice (mount(2) on such a name costs 10 us, the fsopen family 14 to 33).

use super::fd::{Name, open_at};
use super::{Call, Result, fd, syscall};
use core::ffi::CStr;
use core::ptr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

pub use libc::{
    MNT_DETACH, MS_BIND, MS_DIRSYNC, MS_LAZYTIME, MS_MANDLOCK, MS_MOVE, MS_NOATIME, MS_NODEV, MS_NODIRATIME, MS_NOEXEC,
    MS_NOSUID, MS_POSIXACL, MS_PRIVATE, MS_RDONLY, MS_REC, MS_RELATIME, MS_SHARED, MS_SILENT, MS_SLAVE, MS_STRICTATIME,
    MS_SYNCHRONOUS, MS_UNBINDABLE,
};
pub use libc::{
    MOUNT_ATTR__ATIME, MOUNT_ATTR_NOATIME, MOUNT_ATTR_NODEV, MOUNT_ATTR_NODIRATIME, MOUNT_ATTR_NOEXEC,
    MOUNT_ATTR_NOSUID, MOUNT_ATTR_NOSYMFOLLOW, MOUNT_ATTR_RDONLY, MOUNT_ATTR_RELATIME, MOUNT_ATTR_STRICTATIME,
};

/// MS_NOSYMFOLLOW (Linux 5.10), which libc lacks.
pub const MS_NOSYMFOLLOW: u64 = 256;
/// MS_I_VERSION, which libc has with another type on some targets.
pub const MS_I_VERSION: u64 = 1 << 23;

/// /proc, if it is procfs.
pub fn open_proc() -> Result<OwnedFd> {
    let proc = fd::open(c"/proc", fd::O_PATH | fd::O_DIRECTORY, 0)?;
    // CVE-2019-16884 and later: a /proc that is not procfs would let others choose what we write to.
    match fd::file_system(proc.as_fd())? {
        fd::PROC_MAGIC => Ok(proc),
        _ => Err(super::Error::new(Call::Fstatfs, super::Errno::ENOTSUP)),
    }
}

/// mount(2) of a new file system on `target`.
pub fn mount(source: &CStr, target: &OwnedFd, kind: &CStr, flags: u64, data: Option<&CStr>) -> Result<()> {
    let target = Name::of(target);
    let data = data.map_or(ptr::null(), CStr::as_ptr);
    syscall!(Call::Mount, libc::SYS_mount, source.as_ptr(), target.as_cstr().as_ptr(), kind.as_ptr(), flags, data)
        .map(drop)
}

/// mount(2) with MS_BIND of a path.
pub fn bind(source: &CStr, target: &OwnedFd, recursive: bool) -> Result<()> {
    let flags = MS_BIND | if recursive { MS_REC } else { 0 };
    let target = Name::of(target);
    syscall!(
        Call::Mount,
        libc::SYS_mount,
        source.as_ptr(),
        target.as_cstr().as_ptr(),
        ptr::null::<u8>(),
        flags,
        ptr::null::<u8>()
    )
    .map(drop)
}

/// mount(2) with MS_BIND of an open file.
pub fn bind_fd(source: &OwnedFd, target: &OwnedFd, recursive: bool) -> Result<()> {
    bind(Name::of(source).as_cstr(), target, recursive)
}

/// Changes the propagation of the caller's root, and with `recursive` of all below it.
pub fn propagate_root(propagation: u64) -> Result<()> {
    syscall!(
        Call::Mount,
        libc::SYS_mount,
        ptr::null::<u8>(),
        c"/".as_ptr(),
        ptr::null::<u8>(),
        propagation,
        ptr::null::<u8>()
    )
    .map(drop)
}

/// Binds a directory with all below it on itself, which makes it a mount; returns its root. With `set`, MOUNT_ATTR_* of all.
pub fn bind_root(root: BorrowedFd, set: u64) -> Result<OwnedFd> {
    let tree = clone_tree(root, true)?;
    if set != 0 {
        set_attributes(tree.as_fd(), set, 0, 0, true)?;
    }
    attach(tree.as_fd(), root)?;
    Ok(tree)
}

/// mount_setattr(2) (Linux 5.12): changes what is named and leaves the rest, so flags that a user namespace may not lift stay.
pub fn set_attributes(target: BorrowedFd, set: u64, clear: u64, propagation: u64, recursive: bool) -> Result<()> {
    let attributes = libc::mount_attr { attr_set: set, attr_clr: clear, propagation, userns_fd: 0 };
    change_attributes(Call::MountSetattr, target, &attributes, recursive)
}

fn change_attributes(call: Call, target: BorrowedFd, attributes: &libc::mount_attr, recursive: bool) -> Result<()> {
    let flags = libc::AT_EMPTY_PATH | if recursive { libc::AT_RECURSIVE } else { 0 };
    syscall!(
        call,
        libc::SYS_mount_setattr,
        target.as_raw_fd(),
        c"".as_ptr(),
        flags,
        ptr::from_ref(attributes),
        size_of::<libc::mount_attr>()
    )
    .map(drop)
}

/// open_tree(2) with OPEN_TREE_CLONE: a detached copy of a mount.
pub fn open_tree(path: &CStr, recursive: bool) -> Result<OwnedFd> {
    copy_tree(fd::borrow_cwd(), path, recursive, 0)
}

/// A detached copy of what a descriptor stands for.
pub fn clone_tree(of: BorrowedFd, recursive: bool) -> Result<OwnedFd> {
    copy_tree(of, c"", recursive, libc::AT_EMPTY_PATH)
}

fn copy_tree(directory: BorrowedFd, path: &CStr, recursive: bool, flags: i32) -> Result<OwnedFd> {
    let recursive = if recursive { libc::AT_RECURSIVE } else { 0 };
    let flags = libc::OPEN_TREE_CLONE | libc::OPEN_TREE_CLOEXEC | (recursive | flags) as u32;
    syscall!(Call::OpenTree, libc::SYS_open_tree, directory.as_raw_fd(), path.as_ptr(), flags).map(fd::own)
}

/// A new file system that is mounted nowhere yet (fsopen(2), fsconfig(2), fsmount(2); Linux 5.2). Options are keys, or
/// keys with values of at most 255 bytes; `attributes` are MOUNT_ATTR_*.
pub fn make_tree<'a>(
    kind: &CStr,
    source: &CStr,
    options: impl Iterator<Item = (&'a CStr, Option<&'a CStr>)>,
    attributes: u64,
) -> Result<OwnedFd> {
    // FSOPEN_CLOEXEC, FSMOUNT_CLOEXEC, FSCONFIG_* of linux/mount.h.
    const CLOEXEC: u32 = 1;
    const SET_FLAG: u32 = 0;
    const SET_STRING: u32 = 1;
    const CREATE: u32 = 6;
    let context = fd::own(syscall!(Call::Fsopen, libc::SYS_fsopen, kind.as_ptr(), CLOEXEC)?);
    let configure = |command: u32, key: Option<&CStr>, value: Option<&CStr>| {
        let (key, value) = (key.map_or(ptr::null(), CStr::as_ptr), value.map_or(ptr::null(), CStr::as_ptr));
        syscall!(Call::Fsopen, libc::SYS_fsconfig, context.as_raw_fd(), command, key, value, 0).map(drop)
    };
    configure(SET_STRING, Some(c"source"), Some(source))?;
    for (key, value) in options {
        configure(if value.is_some() { SET_STRING } else { SET_FLAG }, Some(key), value)?;
    }
    configure(CREATE, None, None)?;
    syscall!(Call::Fsopen, libc::SYS_fsmount, context.as_raw_fd(), CLOEXEC, attributes).map(fd::own)
}

/// A procfs of one's own, of the pid namespace that one is in: nothing covers parts of it, and `..` stays in it.
pub fn make_proc() -> Result<OwnedFd> {
    let attributes = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC;
    make_tree(c"proc", c"proc", core::iter::empty(), attributes)
}

/// mount_setattr(2) with MOUNT_ATTR_IDMAP, of a detached mount (Linux 5.12).
pub fn map_ids(tree: BorrowedFd, user_namespace: BorrowedFd, recursive: bool) -> Result<()> {
    let attributes = libc::mount_attr {
        attr_set: libc::MOUNT_ATTR_IDMAP,
        attr_clr: 0,
        propagation: 0,
        userns_fd: user_namespace.as_raw_fd() as u64,
    };
    change_attributes(Call::MapMount, tree, &attributes, recursive)
}

/// move_mount(2) of a detached mount.
pub fn attach(tree: BorrowedFd, target: BorrowedFd) -> Result<()> {
    // MOVE_MOUNT_F_EMPTY_PATH and MOVE_MOUNT_T_EMPTY_PATH of linux/mount.h.
    const EMPTY_PATHS: u32 = 0x4 | 0x40;
    let (tree, target) = (tree.as_raw_fd(), target.as_raw_fd());
    syscall!(Call::MoveMount, libc::SYS_move_mount, tree, c"".as_ptr(), target, c"".as_ptr(), EMPTY_PATHS).map(drop)
}

/// mount(2) with MS_REMOUNT, for what is a flag of the file system and not of the mount.
pub fn remount(target: &OwnedFd, flags: u64, data: Option<&CStr>) -> Result<()> {
    let target = Name::of(target);
    let data = data.map_or(ptr::null(), CStr::as_ptr);
    syscall!(
        Call::Mount,
        libc::SYS_mount,
        ptr::null::<u8>(),
        target.as_cstr().as_ptr(),
        ptr::null::<u8>(),
        flags | libc::MS_REMOUNT,
        data
    )
    .map(drop)
}

/// Makes `root` the root of the mount namespace and lets go of the old one, without a mount point for it: pivot_root(".", ".").
/// No mount may be shared, or the host would see the unmounting.
pub fn pivot_root(root: BorrowedFd) -> Result<()> {
    let old = fd::open(c"/", fd::O_PATH | fd::O_DIRECTORY, 0)?;
    fd::chdir(root)?;
    syscall!(Call::PivotRoot, libc::SYS_pivot_root, c".".as_ptr(), c".".as_ptr())?;
    fd::chdir(old.as_fd())?;
    unmount_detached(c".")
}

/// The way without pivot_root(2), for a root that is an initramfs: moves the mount over `/` and changes root.
pub fn move_root(root: BorrowedFd) -> Result<()> {
    fd::chdir(root)?;
    syscall!(
        Call::Mount,
        libc::SYS_mount,
        c".".as_ptr(),
        c"/".as_ptr(),
        ptr::null::<u8>(),
        MS_MOVE,
        ptr::null::<u8>()
    )?;
    syscall!(Call::Chroot, libc::SYS_chroot, c".".as_ptr()).map(drop)
}

/// Unmounts something; what a user namespace has locked is covered by an empty directory.
pub fn take_away(path: &CStr) -> Result<()> {
    match unmount_detached(path) {
        Err(super::Error { errno: super::Errno::EINVAL | super::Errno::EPERM, .. }) => syscall!(
            Call::Mount,
            libc::SYS_mount,
            c"tmpfs".as_ptr(),
            path.as_ptr(),
            c"tmpfs".as_ptr(),
            MS_RDONLY,
            c"size=0k".as_ptr()
        )
        .map(drop),
        // It went with what it was on.
        Err(super::Error { errno: super::Errno::ENOENT, .. }) => Ok(()),
        other => other,
    }
}

/// umount2(2) with MNT_DETACH.
pub fn unmount_detached(path: &CStr) -> Result<()> {
    syscall!(Call::Umount, libc::SYS_umount2, path.as_ptr(), MNT_DETACH).map(drop)
}

/// Opens `name` below /proc/self, where the current directory is /proc/self/fd.
pub fn open_own_proc(directory: BorrowedFd, name: &CStr, flags: i32) -> Result<OwnedFd> {
    let file = open_at(directory, name, flags, 0)?;
    if fd::file_system(file.as_fd())? != fd::PROC_MAGIC {
        return Err(super::Error::new(Call::Fstatfs, super::Errno::ENOTSUP));
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_in_procfs_is_not_written_to() {
        // CVE-2019-16884, CVE-2025-52881: a label or a parameter that goes to a file of somebody else's choice.
        let temporary = tempfile::tempdir().unwrap();
        std::fs::write(temporary.path().join("exec"), "").unwrap();
        let directory = OwnedFd::from(std::fs::File::open(temporary.path()).unwrap());
        let error = open_own_proc(directory.as_fd(), c"exec", fd::O_WRONLY).unwrap_err();
        assert_eq!(error.errno, super::super::Errno::ENOTSUP);
        let proc = OwnedFd::from(std::fs::File::open("/proc/self/fd").unwrap());
        open_own_proc(proc.as_fd(), c"../stat", fd::O_RDONLY).unwrap();
    }
}
