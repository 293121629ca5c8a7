//! Steps about mounts, nodes and paths in the container's root.

use super::slots::Slots;
use crate::sys::fd::{self, Kind};
use crate::sys::process::{Process, Strings};
use crate::sys::tty::{self, Size};
use crate::sys::{Call, Errno, Error, Result, copy, mount, namespace, process, resolve};
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Who serves a fuse file system: a program of the host, beside the container.
#[derive(Debug, PartialEq)]
pub struct Server {
    /// Absolute path on the host.
    pub path: CString,
    /// Including argument 0.
    pub arguments: Strings,
    /// Its ids in the container's user namespace.
    pub ids: (u32, u32),
    /// Whether it must let go of the caller's supplementary groups.
    pub drops_groups: bool,
}

/// A fuse file system, and who serves it.
#[derive(Debug, PartialEq)]
#[allow(missing_docs)] // the fields are the arguments of mount(2)
pub struct FuseMount {
    pub source: CString,
    pub target: CString,
    pub kind: CString,
    pub flags: u64,
    pub data: CString,
    pub server: Server,
}

/// A change of mount_setattr(2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attributes {
    /// MOUNT_ATTR_* that are set.
    pub set: u64,
    /// MOUNT_ATTR_* that are cleared.
    pub clear: u64,
    /// A propagation type, or 0.
    pub propagation: u64,
    /// Whether it is for all below, too.
    pub recursive: bool,
}

/// Maps of uids and of gids, as user_namespaces(7) has them.
pub type Maps = (Box<[u8]>, Box<[u8]>);

/// A mount of the host's whose ids are mapped.
#[derive(Debug, PartialEq)]
pub struct Mapped {
    /// Where it is.
    pub source: CString,
    /// Whether all below it comes along.
    pub recursive: bool,
    /// Whether the ids of that are mapped, too.
    pub map_recursively: bool,
    /// `None`: those of the container.
    pub maps: Option<Maps>,
    /// Whether flags of the host's mount stay as they are.
    pub locked: bool,
}

/// An option of a file system: a key, perhaps with a value.
pub type Key = (CString, Option<CString>);

/// A new file system that mount(2) could not make in one call: it is complete before it is anywhere to be seen.
#[derive(Debug, PartialEq)]
pub struct NewTree {
    /// Where it goes.
    pub target: CString,
    /// Its type.
    pub kind: CString,
    /// What mountinfo calls its source.
    pub source: CString,
    /// For fsconfig(2).
    pub options: Box<[Key]>,
    /// MOUNT_ATTR_*.
    pub set: u64,
    /// Propagation.
    pub attributes: Box<[Attributes]>,
    /// Whether it starts with a copy of what it covers.
    pub copies: bool,
    /// Whether it has the mode of what it covers.
    pub takes_mode: bool,
    /// The number under which it is kept for `SetTreeAttributes`.
    pub number: Option<usize>,
}

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

/// Changes the attributes of a mount, one after the other.
pub fn set_attributes(mounted: BorrowedFd, attributes: &[Attributes]) -> Result<()> {
    attributes.iter().try_for_each(|Attributes { set, clear, propagation, recursive }| {
        mount::set_attributes(mounted, *set, *clear, *propagation, *recursive)
    })
}

/// Makes a file system, and attaches it when it is as it should be: what lies at its destination then may be another's
/// to rename, so nothing is looked up a second time.
pub fn make_tree(slots: &mut Slots, new: &NewTree) -> Result<()> {
    // What is made for it has no mode that anybody has chosen.
    let covered = match new.takes_mode {
        true => found(resolve::open_in_root(slots.root()?, &new.target, fd::O_PATH | fd::O_DIRECTORY))?,
        false => None,
    };
    let place = make_outside_proc(slots.root()?, &new.target)?;
    let options = new.options.iter().map(|(key, value)| (key.as_c_str(), value.as_deref()));
    let tree = mount::make_tree(&new.kind, &new.source, options, new.set)?;
    set_attributes(tree.as_fd(), &new.attributes)?;
    if new.copies {
        let flags = fd::O_RDONLY | fd::O_DIRECTORY;
        let (before, after) = (fd::open_at(place.as_fd(), c".", flags, 0)?, fd::open_at(tree.as_fd(), c".", flags, 0)?);
        copy::tree(before.as_fd(), after.as_fd())?;
    }
    if let Some(covered) = covered {
        let directory = fd::open_at(tree.as_fd(), c".", fd::O_RDONLY | fd::O_DIRECTORY, 0)?;
        fd::chmod(directory.as_fd(), fd::status(covered.as_fd())?.mode & 0o7777)?;
    }
    mount::attach(tree.as_fd(), place.as_fd())?;
    if new.target.as_c_str() == c"/" {
        slots.root = Some(tree);
        return Ok(());
    }
    match new.number {
        // The parent has made room for it.
        Some(_) if slots.trees.len() == slots.trees.capacity() => Err(Error::new(Call::MoveMount, Errno::ENOMEM)),
        Some(number) => {
            slots.trees.push((number, tree));
            Ok(())
        }
        None => Ok(()),
    }
}

/// What there is, or nothing.
fn found(opened: Result<OwnedFd>) -> Result<Option<OwnedFd>> {
    match opened {
        Err(Error { errno: Errno::ENOENT, .. }) => Ok(None),
        other => other.map(Some),
    }
}

/// Binds a file or directory of the host, which the parent may have opened; `itself` says of source and target whether a symlink is meant itself. Attributes
/// are those of the copy before it is attached, which is returned if there is one.
pub fn bind(
    root: BorrowedFd,
    (source, opened): (&CStr, Option<OwnedFd>),
    target: &CStr,
    recursive: bool,
    over_proc: bool,
    itself: (bool, bool),
    attributes: &[Attributes],
) -> Result<Option<OwnedFd>> {
    // A plain bind by its path is the cheapest.
    let opened = match opened.is_none() && (itself.0 || !attributes.is_empty() || target == c"/") {
        false => opened,
        true => Some(fd::open(source, fd::O_PATH | if itself.0 { fd::O_NOFOLLOW } else { 0 }, 0)?),
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
        Some(source) => {
            let tree = mount::clone_tree(source.as_fd(), recursive)?;
            set_attributes(tree.as_fd(), attributes)?;
            mount::attach(tree.as_fd(), place.as_fd())?;
            Ok(Some(tree))
        }
        None => mount::bind(source, &place, recursive).map(|()| None),
    }
}

/// Opens a detached copy of a mount whose ids are mapped, by maps of its own or those of the container's first process. With
/// `locked` it is copied from the mounts of that, so that flags of the host's are locked in it as they are in any other bind:
/// the container cannot make it writable.
pub fn open_mapped(mapped: &Mapped, child: Option<&Process>) -> Result<OwnedFd> {
    let user_namespace = match (&mapped.maps, child) {
        (Some((uid_map, gid_map)), _) => {
            let holder = process::start_idle(namespace::CLONE_NEWUSER, false, None)?;
            let opened = process::map_and_open(holder.pid, uid_map, gid_map);
            holder.end();
            opened
        }
        (None, Some(child)) => process::open_user_namespace(child.pid),
        (None, None) => Err(Error::new(Call::OpenTree, Errno::ECHILD)),
    }?;
    let tree = match child.filter(|_| mapped.locked) {
        Some(child) => open_tree_of(child, &mapped.source, mapped.recursive),
        None => mount::open_tree(&mapped.source, mapped.recursive),
    }?;
    mount::map_ids(tree.as_fd(), user_namespace.as_fd(), mapped.map_recursively)?;
    // A copy is a peer of what it was copied from: the container's mounts below it would be the host's.
    mount::set_attributes(tree.as_fd(), 0, 0, mount::MS_SLAVE, true)?;
    Ok(tree)
}

/// A copy of a mount as another process sees it, but with the caller's privileges.
fn open_tree_of(process: &Process, source: &CStr, recursive: bool) -> Result<OwnedFd> {
    let mut tree = Err(Error::new(Call::OpenTree, Errno::ECHILD));
    let open = || {
        namespace::join(process.pidfd.as_fd(), namespace::CLONE_NEWNS)?;
        mount::open_tree(source, recursive)
    };
    let helper = process::run_apart(&mut || tree = open())?;
    process::wait(helper, true)?;
    tree
}

/// Attaches such a copy.
pub fn attach(
    root: BorrowedFd,
    tree: &OwnedFd,
    target: &CStr,
    over_proc: bool,
    attributes: &[Attributes],
) -> Result<()> {
    let is_directory = fd::status(tree.as_fd())?.kind() == Kind::Directory;
    let place = resolve::make_in_root(root, target, if is_directory { Kind::Directory } else { Kind::File })?;
    if !over_proc {
        refuse_proc(&place)?;
    }
    set_attributes(tree.as_fd(), attributes)?;
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

/// Makes a device node or fifo. One that is there already must be the same; another is not the image's to choose.
pub fn make_node(slots: &mut Slots, path: &CStr, mode: u32, major: u32, minor: u32, owner: (u32, u32)) -> Result<()> {
    let (directory, name) = directory_of(slots, path)?;
    let is_new = match fd::make_node_at(directory, name, mode, major, minor) {
        Err(Error { errno: Errno::EEXIST, .. }) => false,
        other => other.map(|()| true)?,
    };
    // Somebody who shares the directory may have put something else there since.
    let node = fd::open_at(directory, name, fd::O_PATH | fd::O_NOFOLLOW, 0)?;
    let status = fd::status(node.as_fd())?;
    if !status.is_device(mode & S_IFMT, major, minor) {
        return Err(Error::new(Call::Mknod, Errno::EEXIST));
    }
    if !is_new {
        return Ok(());
    }
    if owner != (0, 0) {
        fd::chown_at(node.as_fd(), c"", owner.0, owner.1)?;
    }
    if status.mode & 0o7777 == mode & 0o7777 { Ok(()) } else { fd::chmod_path(&node, mode & 0o7777) }
}

/// inode(7).
const S_IFMT: u32 = 0o170_000;
const S_IFCHR: u32 = 0o020_000;

/// Binds the host's node of a device, if it is the one that is meant: whatever else lies there is not shown.
pub fn bind_node(slots: &mut Slots, source: &CStr, path: &CStr, device: (u32, u32, u32), readonly: bool) -> Result<()> {
    let node = match slots.source.take() {
        Some(node) => node,
        None => fd::open(source, fd::O_PATH, 0)?,
    };
    let (mode, major, minor) = device;
    if !fd::status(node.as_fd())?.is_device(mode, major, minor) {
        return Err(Error::new(Call::Fstat, Errno::ENODEV));
    }
    let (directory, name) = directory_of(slots, path)?;
    match fd::make_file_at(directory, name) {
        Err(Error { errno: Errno::EEXIST, .. }) => {}
        other => other?,
    }
    // Never through a symlink of the image's (CVE-2026-41579: /dev/null -> elsewhere).
    let place = resolve::open_in_root_no_symlinks(directory, name, fd::O_PATH)?;
    if !readonly {
        return mount::bind_fd(&node, &place, false);
    }
    let tree = mount::clone_tree(node.as_fd(), false)?;
    mount::set_attributes(tree.as_fd(), mount::MOUNT_ATTR_RDONLY, 0, 0, false)?;
    mount::attach(tree.as_fd(), place.as_fd())
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
    let place = resolve::open_in_root_no_symlinks(dev, console, fd::O_PATH)?;
    mount::bind_fd(terminal, &place, false)
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
        let null = match open_null(root) {
            Err(Error {
                errno: Errno::ELOOP | Errno::ENODEV | Errno::ENOENT | Errno::ENOTDIR | Errno::EXDEV, ..
            }) if may_stay => return Ok(()),
            Err(Error {
                errno: Errno::ELOOP | Errno::ENODEV | Errno::ENOENT | Errno::ENOTDIR | Errno::EXDEV, ..
            }) => make_null()?,
            other => {
                drop(other?);
                let flags = fd::O_RDWR | fd::O_NONBLOCK | fd::O_NOCTTY;
                resolve::open_in_root_no_symlinks(root, c"/dev/null", flags)?
            }
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
    let place = match resolve::open_in_root(root, path, fd::O_PATH) {
        Err(Error { errno: Errno::ENOENT | Errno::ENOTDIR, .. }) => return Ok(()),
        other => other?,
    };
    let tree = mount::clone_tree(place.as_fd(), true)?;
    mount::set_attributes(tree.as_fd(), mount::MOUNT_ATTR_RDONLY, 0, 0, true)?;
    mount::attach(tree.as_fd(), place.as_fd())
}
