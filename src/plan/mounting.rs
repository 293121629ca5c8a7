//! Steps about mounts, nodes and paths in the container's root.

use super::step::{FuseMount, Slots};
use crate::sys::fd::{self, Kind};
use crate::sys::tty::{self, Size};
use crate::sys::{Call, Errno, Error, Result, mount, process, resolve};
use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// CVE-2019-19921: an image must not choose by a symlink where its /proc or /sys is.
pub fn make_real_directory(root: BorrowedFd, path: &CStr) -> Result<OwnedFd> {
    match resolve::open_in_root_no_symlinks(root, path, fd::O_PATH | fd::O_DIRECTORY) {
        Err(Error { errno: Errno::ENOENT, .. }) => resolve::make_in_root(root, path, Kind::Directory).map(drop),
        Err(error) => Err(error),
        Ok(directory) => return Ok(directory),
    }?;
    resolve::open_in_root_no_symlinks(root, path, fd::O_PATH | fd::O_DIRECTORY)
}

/// A directory to mount on that is not in procfs, whatever the image's symlinks say.
pub fn make_outside_proc(root: BorrowedFd, path: &CStr) -> Result<OwnedFd> {
    let target = resolve::make_in_root(root, path, Kind::Directory)?;
    refuse_proc(&target).map(|()| target)
}

/// CVE-2019-16884 and later: what is mounted over parts of /proc could fake them for the runtime.
fn refuse_proc(target: &OwnedFd) -> Result<()> {
    match fd::file_system(target.as_fd())? {
        fd::PROC_MAGIC => Err(Error::new(Call::Fstatfs, Errno::ELOOP)),
        _ => Ok(()),
    }
}

/// Binds a file or directory of the host; `itself` says of source and target whether a symlink is meant itself.
pub fn bind(
    root: BorrowedFd,
    source: &CStr,
    target: &CStr,
    recursive: bool,
    over_proc: bool,
    itself: (bool, bool),
) -> Result<()> {
    let opened = match itself.0 {
        true => Some(fd::open(source, fd::O_PATH | fd::O_NOFOLLOW, 0)?),
        false => None,
    };
    let flags = fd::O_PATH | if itself.1 { fd::O_NOFOLLOW } else { 0 };
    let place = match resolve::open_in_root(root, target, flags) {
        Err(Error { errno: Errno::ENOENT, .. }) => {
            let kind = match &opened {
                Some(source) => fd::status(source.as_fd())?.kind(),
                None => fd::status(fd::open(source, fd::O_PATH, 0)?.as_fd())?.kind(),
            };
            let kind = if kind == Kind::Directory { Kind::Directory } else { Kind::File };
            resolve::make_in_root(root, target, kind)
        }
        other => other,
    }?;
    if !over_proc {
        refuse_proc(&place)?;
    }
    match &opened {
        Some(source) => mount::bind_fd(source, &place, recursive),
        None => mount::bind(source, &place, recursive),
    }
}

/// Opens a detached copy of a mount whose ids are mapped.
pub fn open_mapped(
    source: &CStr,
    recursive: bool,
    map_recursively: bool,
    uid_map: &[u8],
    gid_map: &[u8],
) -> Result<OwnedFd> {
    let namespace = process::make_user_namespace(uid_map, gid_map)?;
    let tree = mount::open_tree(source, recursive)?;
    mount::map_ids(tree.as_fd(), namespace.as_fd(), map_recursively)?;
    // A copy is a peer of what it was copied from: the container's mounts below it would be the host's.
    mount::set_attributes(tree.as_fd(), 0, 0, mount::MS_SLAVE, true)?;
    Ok(tree)
}

/// Attaches such a copy.
pub fn attach(root: BorrowedFd, tree: &OwnedFd, target: &CStr, over_proc: bool) -> Result<()> {
    let is_directory = fd::status(tree.as_fd())?.kind() == Kind::Directory;
    let place = resolve::make_in_root(root, target, if is_directory { Kind::Directory } else { Kind::File })?;
    if !over_proc {
        refuse_proc(&place)?;
    }
    mount::attach(tree.as_fd(), place.as_fd())
}

/// Opens /dev/fuse and mounts it; the data ends with `fd=`.
pub fn mount_fuse(root: BorrowedFd, mount: &FuseMount) -> Result<OwnedFd> {
    let FuseMount { source, target, kind, flags, data, .. } = mount;
    let place = make_outside_proc(root, target)?;
    let device = fd::open(c"/dev/fuse", fd::O_RDWR, 0)?;
    // Not a file of the caller's that happens to be there.
    if !fd::status(device.as_fd())?.is_char_device(10, 229) {
        return Err(Error::new(Call::Open, Errno::ENODEV));
    }
    let mut text = [0u8; 1024];
    let number = fd::Name::of(&device);
    let parts = data.to_bytes().iter().chain(number.as_cstr().to_bytes());
    if data.count_bytes() + 16 > text.len() {
        return Err(Error::new(Call::Mount, Errno::ENAMETOOLONG));
    }
    for (place, byte) in text.iter_mut().zip(parts) {
        *place = *byte;
    }
    let data = CStr::from_bytes_until_nul(&text).unwrap_or(c"");
    // fuse is nosuid and nodev for who is not root of the host; a container needs neither.
    let flags = flags | mount::MS_NOSUID | mount::MS_NODEV;
    mount::mount(source, &place, kind, flags, Some(data))?;
    Ok(device)
}

/// Waits until a fuse file system answers; ENOTCONN if its server has ended.
pub fn await_fuse(root: BorrowedFd, target: &CStr) -> Result<()> {
    let mounted = resolve::open_in_root(root, target, fd::O_PATH)?;
    fd::file_system(mounted.as_fd()).map(drop)
}

/// The directory that holds `path`, made if it is missing, and the name in it. The last directory stays open: devices
/// and links are made one after the other in /dev.
pub fn directory_of<'a, 'b>(slots: &'b mut Slots, path: &'a CStr) -> Result<(BorrowedFd<'b>, &'a CStr)> {
    let (parent, name) = resolve::split(path)?;
    if slots.directory.as_ref().is_none_or(|(known, _)| *known != parent) {
        let directory = resolve::make_in_root(slots.root()?, parent.as_cstr(), Kind::Directory)?;
        slots.directory = Some((parent, directory));
    }
    let directory = slots.directory.as_ref().map(|(_, directory)| directory.as_fd());
    Ok((directory.ok_or(Error::new(Call::Openat2, Errno::EBADF))?, name))
}

/// Makes a symlink. One that is there already is as good, and with `optional` anything is.
pub fn make_symlink(slots: &mut Slots, path: &CStr, to: &CStr, optional: bool) -> Result<()> {
    let (directory, name) = directory_of(slots, path)?;
    match fd::symlink_at(to, directory, name) {
        Err(Error { errno: Errno::EEXIST, .. }) if optional => Ok(()),
        Err(error @ Error { errno: Errno::EEXIST, .. }) => {
            let mut known = [0u8; fd::PATH_MAX];
            match fd::readlink_at(directory, name, &mut known) {
                Ok(length) if known.get(..length) == Some(to.to_bytes()) => Ok(()),
                _ => Err(error),
            }
        }
        other => other,
    }
}

pub fn make_node(slots: &mut Slots, path: &CStr, mode: u32, major: u32, minor: u32, owner: (u32, u32)) -> Result<()> {
    let (directory, name) = directory_of(slots, path)?;
    match fd::make_node_at(directory, name, mode, major, minor) {
        Err(Error { errno: Errno::EEXIST, .. }) => return Ok(()),
        other => other?,
    }
    fd::chmod_at(directory, name, mode & 0o7777)?;
    if owner == (0, 0) { Ok(()) } else { fd::chown_at(directory, name, owner.0, owner.1) }
}

pub fn bind_node(slots: &mut Slots, source: &CStr, path: &CStr) -> Result<()> {
    let (directory, name) = directory_of(slots, path)?;
    match fd::make_file_at(directory, name) {
        Err(Error { errno: Errno::EEXIST, .. }) => {}
        other => other?,
    }
    // Never through a symlink of the image's (CVE-2026-41579: /dev/null -> elsewhere).
    let place = resolve::open_in_root_no_symlinks(directory, name, fd::O_PATH)?;
    mount::bind(source, &place, false)
}

pub fn open_terminal(slots: &mut Slots, size: Option<Size>, owner: u32, is_console: bool) -> Result<()> {
    let devpts = resolve::open_in_root(slots.root()?, c"/dev/pts", fd::O_PATH | fd::O_DIRECTORY)?;
    let pty = tty::open_pty(devpts.as_fd())?;
    if let Some(size) = size {
        tty::set_size(pty.slave.as_fd(), size)?;
    }
    if owner != 0 {
        fd::chown_at(pty.slave.as_fd(), c"", owner, u32::MAX)?;
    }
    if is_console {
        bind_console(slots, &pty.slave)?;
    }
    (slots.terminal_master, slots.terminal) = (Some(pty.master), Some(pty.slave));
    Ok(())
}

fn bind_console(slots: &mut Slots, terminal: &OwnedFd) -> Result<()> {
    let (dev, console) = directory_of(slots, c"/dev/console")?;
    match fd::make_file_at(dev, console) {
        Err(Error { errno: Errno::EEXIST, .. }) => {}
        other => other?,
    }
    let place = resolve::open_in_root_no_symlinks(dev, console, fd::O_PATH)?;
    mount::bind_fd(terminal, &place, false)
}

pub fn mask(slots: &mut Slots, path: &CStr) -> Result<()> {
    let target = match resolve::open_in_root(slots.root()?, path, fd::O_PATH) {
        // runtime-spec, masked paths: one that does not exist hides nothing.
        Err(Error { errno: Errno::ENOENT | Errno::ENOTDIR, .. }) => return Ok(()),
        other => other?,
    };
    // A bind that fails with ENOTDIR waits 60 us for RCU, so look first.
    if fd::status(target.as_fd())?.kind() != Kind::Directory {
        return mount::bind_fd(&open_null(slots.root()?)?, &target, false);
    }
    match &slots.mask {
        Some(mask) => mount::bind_fd(mask, &target, false),
        None => {
            mount::mount(c"tmpfs", &target, c"tmpfs", mount::MS_RDONLY, Some(c"size=0k"))?;
            slots.mask = Some(resolve::open_in_root(slots.root()?, path, fd::O_PATH | fd::O_DIRECTORY)?);
            Ok(())
        }
    }
}

/// CVE-2025-31133: /dev/null of the image may be something else.
fn open_null(root: BorrowedFd) -> Result<OwnedFd> {
    let null = resolve::open_in_root_no_symlinks(root, c"/dev/null", fd::O_PATH)?;
    match fd::status(null.as_fd())? {
        status if status.is_char_device(1, 3) => Ok(null),
        _ => Err(Error::new(Call::Fstat, Errno::ENODEV)),
    }
}

/// Replaces the caller's null device by the container's own, so that nothing of the host stays open. (CRIU cannot
/// dump what it does not find in the container.) Where the container has none, the caller's stays.
pub fn reopen_null(root: BorrowedFd, descriptors: BorrowedFd) -> Result<()> {
    for number in 0..3 {
        if !fd::is_open(number) || !fd::status(fd::borrow(number))?.is_char_device(1, 3) {
            continue;
        }
        let Ok(null) = open_null(root) else { return Ok(()) };
        let null = fd::open_at(descriptors, fd::Name::of(&null).as_cstr(), fd::O_RDWR, 0)?;
        fd::dup_to(null.as_fd(), number)?;
    }
    Ok(())
}

pub fn make_readonly(root: BorrowedFd, path: &CStr) -> Result<()> {
    let place = match resolve::open_in_root(root, path, fd::O_PATH) {
        Err(Error { errno: Errno::ENOENT | Errno::ENOTDIR, .. }) => return Ok(()),
        other => other?,
    };
    mount::bind_fd(&place, &place, true)?;
    let mounted = resolve::open_in_root(root, path, fd::O_PATH)?;
    mount::set_attributes(mounted.as_fd(), mount::MOUNT_ATTR_RDONLY, 0, 0, true)
}
