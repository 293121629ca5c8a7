//! File systems and binds: what they are, and how they get into the container's root.

use crate::plan::Slots;
use crate::sys::fd::{self, Kind};
use crate::sys::process::Process;
use crate::sys::program::Strings;
use crate::sys::{Call, Errno, Error, Result, copy, mount, namespace, process, resolve};
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// A new file system.
#[derive(Debug, Default, PartialEq)]
#[allow(missing_docs)] // the fields are the arguments of mount(2)
pub struct Mount {
    pub source: CString,
    pub target: CString,
    pub kind: CString,
    pub flags: u64,
    pub data: Option<CString>,
    /// Whether the destination must not be a symlink.
    pub real_directory: bool,
}

/// A file or directory of the host that is shown in the container.
#[derive(Debug, Default, PartialEq)]
pub struct Bind {
    /// Path on the host.
    pub source: CString,
    /// Mount point in the container.
    pub target: CString,
    /// Whether all below it comes along.
    pub recursive: bool,
    /// Whether its destination may lie in procfs.
    pub over_proc: bool,
    /// Whether a source that is a symlink is meant itself.
    pub source_itself: bool,
    /// Whether a destination that is a symlink is meant itself.
    pub target_itself: bool,
    /// The device and inode of what is bound, if no other may be.
    pub inode: Option<(u64, u64)>,
    /// Made before it is attached.
    pub attributes: Box<[Attributes]>,
}

/// A copy of a mount with mapped ids, which the parent opens.
#[derive(Debug, Default, PartialEq)]
pub struct Attach {
    /// What is copied, and how its ids are mapped.
    pub mapped: Mapped,
    /// Mount point in the container.
    pub target: CString,
    /// Whether its destination may lie in procfs.
    pub over_proc: bool,
    /// Made before it is attached.
    pub attributes: Box<[Attributes]>,
}

/// Who serves a fuse file system: a program of the host, beside the container.
#[derive(Debug, PartialEq)]
pub struct Server {
    /// Absolute path on the host.
    pub path: CString,
    /// Arguments, of which the first is argument 0.
    pub arguments: Strings,
    /// Its ids in the container's user namespace.
    pub ids: (u32, u32),
    /// Whether it must let go of the caller's supplementary groups.
    pub drops_groups: bool,
}

/// A fuse file system, and who serves it; `data` lacks the descriptor at its end.
#[derive(Debug, PartialEq)]
pub struct FuseMount {
    /// What mountinfo shows as its source.
    pub source: CString,
    /// Mount point in the container.
    pub target: CString,
    /// For fsconfig(2); the descriptor is added to them.
    pub options: Box<[Key]>,
    /// MOUNT_ATTR_*.
    pub set: u64,
    /// The program that serves the file system.
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
#[derive(Debug, Default, PartialEq)]
pub struct Mapped {
    /// Path on the host.
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
#[derive(Debug, Default, PartialEq)]
pub struct NewTree {
    /// Mount point in the container.
    pub target: CString,
    /// Type of the file system.
    pub kind: CString,
    /// What mountinfo calls its source.
    pub source: CString,
    /// Options, as keys of fsconfig(2).
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
    let mount_point = make_outside_proc(slots.root()?, &new.target)?;
    let options = new.options.iter().map(|(key, value)| (key.as_c_str(), value.as_deref()));
    let tree = mount::make_tree(&new.kind, &new.source, options, new.set)?;
    set_attributes(tree.as_fd(), &new.attributes)?;
    if new.copies {
        let flags = fd::O_RDONLY | fd::O_DIRECTORY;
        let (before, after) =
            (fd::open_at(mount_point.as_fd(), c".", flags, 0)?, fd::open_at(tree.as_fd(), c".", flags, 0)?);
        copy::tree(before.as_fd(), after.as_fd())?;
    }
    if let Some(covered) = covered {
        let directory = fd::open_at(tree.as_fd(), c".", fd::O_RDONLY | fd::O_DIRECTORY, 0)?;
        fd::chmod(directory.as_fd(), fd::status(covered.as_fd())?.mode & 0o7777)?;
    }
    mount::attach(tree.as_fd(), mount_point.as_fd())?;
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

/// Mounts a new file system.
pub fn mount(slots: &Slots, Mount { source, target, kind, flags, data, real_directory }: &Mount) -> Result<()> {
    let target = match real_directory {
        true => make_real_directory(slots.root()?, target),
        false => make_outside_proc(slots.root()?, target),
    }?;
    mount::mount(source, &target, kind, *flags, data.as_deref())
}

/// Binds a file or directory of the host, which the parent may have opened. Attributes are those of the copy before it is
/// attached.
pub fn bind(slots: &mut Slots, bind: &Bind) -> Result<()> {
    let Bind { source, target, recursive, .. } = bind;
    let is_root = target.as_c_str() == c"/";
    // A plain bind by its path is the cheapest.
    let tree = match slots.source.take() {
        Some(opened) => Some(mount::clone_tree(opened.as_fd(), *recursive)?),
        None if bind.source_itself || !bind.attributes.is_empty() || is_root || bind.inode.is_some() => {
            Some(open_source(bind)?)
        }
        None => None,
    };
    let flags = fd::O_PATH | if bind.target_itself { fd::O_NOFOLLOW } else { 0 };
    let mount_point = match resolve::open_in_root(slots.root()?, target, flags) {
        Err(Error { errno: Errno::ENOENT, .. }) => {
            let kind = match &tree {
                Some(tree) => fd::status(tree.as_fd())?.kind(),
                None => fd::status(fd::open(source, fd::O_PATH, 0)?.as_fd())?.kind(),
            };
            let kind = if kind == Kind::Directory { Kind::Directory } else { Kind::File };
            resolve::make_in_root(slots.root()?, target, kind)
        }
        other => other,
    }?;
    if !bind.over_proc {
        refuse_proc(&mount_point)?;
    }
    let Some(tree) = tree else { return mount::bind(source, &mount_point, *recursive) };
    if let Some(expected) = bind.inode {
        let status = fd::status(tree.as_fd())?;
        if (status.device, status.inode) != expected {
            return Err(Error::new(Call::OpenTree, Errno::ESTALE));
        }
    }
    set_attributes(tree.as_fd(), &bind.attributes)?;
    mount::attach(tree.as_fd(), mount_point.as_fd())?;
    if is_root {
        slots.root = Some(tree);
    }
    Ok(())
}

/// A detached copy of what a bind shows.
fn open_source(Bind { source, source_itself, recursive, .. }: &Bind) -> Result<OwnedFd> {
    if !source_itself && let Ok(tree) = mount::open_tree(source, *recursive) {
        return Ok(tree);
    }
    // In two calls, of which one says what is wrong.
    let opened = fd::open(source, fd::O_PATH | if *source_itself { fd::O_NOFOLLOW } else { 0 }, 0)?;
    mount::clone_tree(opened.as_fd(), *recursive)
}

/// Opens a detached copy of a mount whose ids are mapped, by maps of its own or those of the container's first process. With
/// `locked` it is copied from the mounts of that, so that flags of the host's are locked in it as they are in any other bind:
/// the container cannot make it writable.
pub fn open_mapped(mapped: &Mapped, child: Option<&Process>) -> Result<OwnedFd> {
    let user_namespace = match (&mapped.maps, child) {
        (Some((uid_map, gid_map)), _) => {
            let holder = process::start_idle(namespace::CLONE_NEWUSER, false, None)?;
            let opened = holder.map_and_open(uid_map, gid_map);
            holder.end();
            opened
        }
        (None, Some(child)) => child.open_user_namespace(),
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
pub fn attach(slots: &mut Slots, Attach { target, over_proc, attributes, .. }: &Attach) -> Result<()> {
    let tree = slots.source.take().ok_or(Error::new(Call::OpenTree, Errno::EBADF))?;
    let is_directory = fd::status(tree.as_fd())?.kind() == Kind::Directory;
    let mount_point =
        resolve::make_in_root(slots.root()?, target, if is_directory { Kind::Directory } else { Kind::File })?;
    if !over_proc {
        refuse_proc(&mount_point)?;
    }
    set_attributes(tree.as_fd(), attributes)?;
    mount::attach(tree.as_fd(), mount_point.as_fd())
}

/// Opens /dev/fuse and mounts it.
pub fn mount_fuse(slots: &mut Slots, new: &FuseMount) -> Result<OwnedFd> {
    let mount_point = make_outside_proc(slots.root()?, &new.target)?;
    let device = fd::open(c"/dev/fuse", fd::O_RDWR, 0)?;
    // Not a file of the caller's that happens to be there.
    if !fd::status(device.as_fd())?.is_char_device(10, 229) {
        return Err(Error::new(Call::Open, Errno::ENODEV));
    }
    let number = fd::Name::of(&device);
    let options = new.options.iter().map(|(key, value)| (key.as_c_str(), value.as_deref()));
    let options = options.chain([(c"fd", Some(number.as_cstr()))]);
    // fuse is nosuid and nodev for who is not root of the host; a container needs neither.
    let set = new.set | mount::MOUNT_ATTR_NOSUID | mount::MOUNT_ATTR_NODEV;
    let tree = mount::make_tree(c"fuse", &new.source, options, set)?;
    mount::attach(tree.as_fd(), mount_point.as_fd())?;
    if new.target.as_c_str() == c"/" {
        slots.root = Some(tree);
    }
    Ok(device)
}

/// Waits until a fuse file system answers; ENOTCONN if its server has ended.
pub fn await_fuse(root: BorrowedFd, target: &CStr) -> Result<()> {
    let mounted = resolve::open_in_root(root, target, fd::O_PATH)?;
    fd::file_system(mounted.as_fd()).map(drop)
}
