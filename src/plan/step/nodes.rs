//! Device nodes, links and masks in the container's root, and its terminal.

use crate::plan::Slots;
use crate::sys::fd::{self, Kind};
use crate::sys::tty::{self, Size};
use crate::sys::{Call, Errno, Error, Result, mount, resolve};
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// A device node or fifo.
#[derive(Debug, Default, PartialEq)]
pub struct Node {
    /// Path in the container.
    pub path: CString,
    /// Its type and permissions (inode(7)).
    pub mode: u32,
    /// Major number of the device.
    pub major: u32,
    /// Minor number of the device.
    pub minor: u32,
    /// Owner, as an id of the container.
    pub uid: u32,
    /// Group, as an id of the container.
    pub gid: u32,
}

/// The host's node of a device.
#[derive(Debug, Default, PartialEq)]
pub struct HostNode {
    /// Path on the host.
    pub source: CString,
    /// What it must be, and where it goes; its permissions and owner stay as they are.
    pub node: Node,
    /// Whether the container may not change it.
    pub readonly: bool,
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

/// Makes a device node or fifo. One that is there already must be the same; another is not the image's to choose.
pub fn make_node(slots: &mut Slots, node: &Node) -> Result<()> {
    let Node { path, mode, major, minor, uid, gid } = node;
    let (mode, major, minor) = (*mode, *major, *minor);
    let (directory, name) = directory_of(slots, path)?;
    let is_new = match fd::make_node_at(directory, name, mode, major, minor) {
        Err(Error { errno: Errno::EEXIST, .. }) => false,
        other => other.map(|()| true)?,
    };
    // Somebody who shares the directory may have put something else there since.
    let opened = fd::open_at(directory, name, fd::O_PATH | fd::O_NOFOLLOW, 0)?;
    let status = fd::status(opened.as_fd())?;
    if !status.is_device(mode & S_IFMT, major, minor) {
        return Err(Error::new(Call::Mknod, Errno::EEXIST));
    }
    if !is_new {
        return Ok(());
    }
    if (*uid, *gid) != (0, 0) {
        fd::chown_at(opened.as_fd(), c"", *uid, *gid)?;
    }
    if status.mode & 0o7777 == mode & 0o7777 { Ok(()) } else { fd::chmod_path(&opened, mode & 0o7777) }
}

/// Of a file that is copied.
const LARGEST: usize = 64 << 20;

/// Copies a file of the host's to a new one in the container.
pub fn copy_file(slots: &mut Slots, source: &CStr, path: &CStr, mode: u32) -> Result<()> {
    let from = match slots.source.take() {
        // The parent has it by its path alone.
        Some(opened) => fd::open(fd::Name::of(&opened).as_cstr(), fd::O_RDONLY | fd::O_NONBLOCK, 0)?,
        None => fd::open(source, fd::O_RDONLY | fd::O_NONBLOCK, 0)?,
    };
    // Files of procfs are about who reads them, and that is rootlet.
    let is_about_reader = fd::file_system(from.as_fd())? == fd::PROC_MAGIC;
    if is_about_reader || !fd::status(from.as_fd())?.is_regular() {
        return Err(Error::new(Call::Open, Errno::EINVAL));
    }
    let (directory, name) = directory_of(slots, path)?;
    let to = fd::open_at(directory, name, fd::O_WRONLY | fd::O_CREAT | fd::O_EXCL | fd::O_NOFOLLOW, 0o600)?;
    let (mut buffer, mut copied) = ([0; 16384], 0);
    loop {
        match fd::read(from.as_fd(), &mut buffer)? {
            0 => return fd::chmod(to.as_fd(), mode),
            // What grows meanwhile has no end.
            length if copied + length > LARGEST => return Err(Error::new(Call::Write, Errno::EFBIG)),
            length => {
                copied += length;
                fd::write_all(to.as_fd(), buffer.get(..length).unwrap_or_default())?;
            }
        }
    }
}

/// inode(7).
const S_IFMT: u32 = 0o170_000;
const S_IFCHR: u32 = 0o020_000;

/// Binds the host's node of a device, if it is the one that is meant: whatever else lies there is not shown.
pub fn bind_node(slots: &mut Slots, HostNode { source, node, readonly }: &HostNode) -> Result<()> {
    let opened = match slots.source.take() {
        Some(opened) => opened,
        None => fd::open(source, fd::O_PATH, 0)?,
    };
    if !fd::status(opened.as_fd())?.is_device(node.mode & S_IFMT, node.major, node.minor) {
        return Err(Error::new(Call::Fstat, Errno::ENODEV));
    }
    let (directory, name) = directory_of(slots, &node.path)?;
    match fd::make_file_at(directory, name) {
        Err(Error { errno: Errno::EEXIST, .. }) => {}
        other => other?,
    }
    // Never through a symlink of the image's (CVE-2026-41579: /dev/null -> elsewhere).
    let mount_point = resolve::open_in_root_no_symlinks(directory, name, fd::O_PATH)?;
    if !readonly {
        return mount::bind_fd(&opened, &mount_point, false);
    }
    let tree = mount::clone_tree(opened.as_fd(), false)?;
    mount::set_attributes(tree.as_fd(), mount::MOUNT_ATTR_RDONLY, 0, 0, false)?;
    mount::attach(tree.as_fd(), mount_point.as_fd())
}

/// Opens a pty of the container's devpts; `is_console`: it is bound on /dev/console.
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
    let mount_point = resolve::open_in_root_no_symlinks(dev, console, fd::O_PATH)?;
    mount::bind_fd(terminal, &mount_point, false)
}

/// Hides a file or a directory that is there.
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
            let options = [(c"size", Some(c"0k")), (c"ro", None)].into_iter();
            let mask = mount::make_tree(c"tmpfs", c"tmpfs", options, mount::MOUNT_ATTR_RDONLY)?;
            mount::attach(mask.as_fd(), target.as_fd())?;
            slots.mask = Some(mask);
            Ok(())
        }
    }
}

/// Puts an empty directory in the place of one that is there, which nobody else has.
pub fn replace(root: BorrowedFd, path: &CStr) -> Result<()> {
    let target = match resolve::open_in_root(root, path, fd::O_PATH | fd::O_DIRECTORY) {
        Err(Error { errno: Errno::ENOENT | Errno::ENOTDIR, .. }) => return Ok(()),
        other => other?,
    };
    let options = [(c"mode", Some(c"0700")), (c"size", Some(c"16m"))].into_iter();
    let attributes = mount::MOUNT_ATTR_NOSUID | mount::MOUNT_ATTR_NODEV;
    mount::attach(mount::make_tree(c"tmpfs", c"tmpfs", options, attributes)?.as_fd(), target.as_fd())
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
/// dump what it does not find in the container.) Where the container has none, it gets a node that is nowhere to be seen:
/// who has the host's could change its mode. Where nobody could, the caller's stays.
pub fn reopen_null(root: BorrowedFd, may_stay: bool) -> Result<()> {
    for number in 0..3 {
        if !fd::is_open(number) || !fd::status(fd::borrow(number))?.is_char_device(1, 3) {
            continue;
        }
        // Looked at before it is opened, as opening some devices does something, and afterwards, as it may be another by then.
        let opened = open_null(root).and_then(|_| {
            let flags = fd::O_RDWR | fd::O_NONBLOCK | fd::O_NOCTTY;
            resolve::open_in_root_no_symlinks(root, c"/dev/null", flags)
        });
        let null = match opened {
            // EACCES: it lies on a mount that is nodev.
            Err(Error {
                errno: Errno::ELOOP | Errno::ENODEV | Errno::ENOENT | Errno::ENOTDIR | Errno::EXDEV | Errno::EACCES,
                ..
            }) if may_stay => return Ok(()),
            Err(Error {
                errno: Errno::ELOOP | Errno::ENODEV | Errno::ENOENT | Errno::ENOTDIR | Errno::EXDEV | Errno::EACCES,
                ..
            }) => make_null()?,
            other => other?,
        };
        if !fd::status(null.as_fd())?.is_char_device(1, 3) {
            return Err(Error::new(Call::Fstat, Errno::ENODEV));
        }
        fd::set_blocking(null.as_fd())?;
        fd::dup_to(null.as_fd(), number)?;
    }
    Ok(())
}

/// A null device of one's own, in a file system that is mounted nowhere.
fn make_null() -> Result<OwnedFd> {
    let tree = mount::make_tree(c"tmpfs", c"tmpfs", [(c"size", Some(c"4k"))].into_iter(), 0)?;
    fd::make_node_at(tree.as_fd(), c"null", S_IFCHR | 0o666, 1, 3)?;
    fd::open_at(tree.as_fd(), c"null", fd::O_RDWR | fd::O_NONBLOCK | fd::O_NOCTTY, 0)
}

/// Makes a path and all that is mounted below it read-only: a copy of it, which then covers it.
pub fn make_readonly(root: BorrowedFd, path: &CStr) -> Result<()> {
    cover_by_itself(root, path, mount::MOUNT_ATTR_RDONLY)
}

/// Makes a directory a mount of its own: what is a mount cannot be renamed (rename(2), EBUSY).
pub fn pin(root: BorrowedFd, path: &CStr) -> Result<()> {
    cover_by_itself(root, path, 0)
}

fn cover_by_itself(root: BorrowedFd, path: &CStr, set: u64) -> Result<()> {
    let opened = match resolve::open_in_root(root, path, fd::O_PATH) {
        Err(Error { errno: Errno::ENOENT | Errno::ENOTDIR, .. }) => return Ok(()),
        other => other?,
    };
    let tree = mount::clone_tree(opened.as_fd(), true)?;
    if set != 0 {
        mount::set_attributes(tree.as_fd(), set, 0, 0, true)?;
    }
    mount::attach(tree.as_fd(), opened.as_fd())
}
