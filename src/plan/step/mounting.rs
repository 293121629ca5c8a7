//! Steps about mounts, nodes and paths in the container's root.

use super::nodes::{self, HostNode, Node};
use super::trees::{self, Attach, Attributes, Bind, FuseMount, Mount, NewTree};
use crate::plan::Slots;
use crate::sys::fd::Kind;
use crate::sys::tty::Size;
use crate::sys::{Call, Errno, Error, Result, fd, mount, resolve};
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// What is done with the container's files. Paths are inside the root unless they are called `source`.
#[derive(Debug, PartialEq)]
#[allow(missing_docs)] // the fields are the arguments of the system calls
pub enum MountStep {
    /// Opens the host's /proc, for a process that is about to leave it.
    OpenProc,
    /// Makes a procfs of one's own.
    MakeProc,
    /// Makes /proc/self/fd the current directory.
    EnterDescriptors,
    /// Sets the propagation of all mounts.
    Propagate { flags: u64 },
    /// Takes / for the container's root.
    OpenRoot,
    /// Makes the root a mount; `set`: MOUNT_ATTR_* of all of it.
    BindRoot { source: CString, set: u64 },
    /// Mounts a new file system.
    Mount(Mount),
    /// Makes a file system with its attributes, and attaches it.
    MakeTree(Box<NewTree>),
    /// Binds a file or directory.
    Bind(Bind),
    /// Attaches a copy of a mount with mapped ids.
    Attach(Box<Attach>),
    /// Mounts /dev/fuse for a server that the parent starts.
    MountFuse(Box<FuseMount>),
    /// Waits until the server answers.
    AwaitFuse { target: CString },
    /// Changes flags and propagation of the mount that is found there; `itself`: of a symlink that is one.
    SetMountAttributes { target: CString, attributes: Attributes, itself: bool },
    /// Changes those of a tree that was kept.
    SetTreeAttributes { tree: usize, target: CString, attributes: Attributes },
    /// Changes flags of a file system.
    Remount { target: CString, flags: u64, data: Option<CString> },
    /// Makes a device node or fifo.
    MakeNode(Node),
    /// Binds the host's node of a device, if it is that one.
    BindNode(HostNode),
    /// Makes a symlink; `optional`: unless there is something already.
    Symlink { path: CString, to: CString, optional: bool },
    /// Makes a directory, with those above it, and gives it a mode, if it has one.
    MakeDirectory { path: CString, mode: Option<u32> },
    /// Copies a file of the host's to a new one.
    CopyFile { source: CString, path: CString, mode: u32 },
    /// Changes the mode of what is there.
    SetMode { path: CString, mode: u32 },
    /// Opens a pty of the container's devpts, for standard input, output and error, and for /dev/console.
    OpenTerminal { size: Option<Size>, owner: u32, is_console: bool },
    /// pivot_root(2).
    PivotRoot,
    /// Moves the root over / where pivot_root cannot work; `revealing`: procfs and sysfs of the host, which would be below it.
    MoveRoot { revealing: Box<[CString]> },
    /// Hides a file behind /dev/null or a directory behind an empty one.
    Mask { path: CString },
    /// Puts an empty directory of the container's own in the place of one.
    Replace { path: CString },
    /// Makes a directory a mount of its own, where it is, so that nobody renames it.
    Pin { path: CString },
    /// Makes a path and what is mounted below it read-only.
    MakeReadonly { path: CString },
}

impl MountStep {
    /// True if a directory may be covered by it.
    fn covers(&self) -> bool {
        matches!(
            self,
            MountStep::Mount(_)
                | MountStep::MakeTree(_)
                | MountStep::Bind(_)
                | MountStep::Attach(_)
                | MountStep::MountFuse(_)
        )
    }

    /// What of the host's it shows in the container.
    pub fn source(&self) -> Option<&CStr> {
        match self {
            MountStep::BindRoot { source, .. } => Some(source),
            MountStep::Bind(bind) => Some(&bind.source),
            MountStep::CopyFile { source, .. } => Some(source),
            MountStep::BindNode(bound) => Some(&bound.source),
            MountStep::Attach(attach) => Some(&attach.mapped.source),
            _ => None,
        }
    }

    /// Opens the source of the bind below `root`, as the child sees it, with the caller's privileges: the mount is the child's
    /// own, so that its flags stay locked.
    pub fn open_source(&self, root: BorrowedFd) -> Result<OwnedFd> {
        let (source, flags) = match self {
            MountStep::BindRoot { source, .. } => (source, fd::O_DIRECTORY),
            MountStep::Bind(bind) => (&bind.source, if bind.source_itself { fd::O_NOFOLLOW } else { 0 }),
            MountStep::BindNode(bound) => (&bound.source, 0),
            MountStep::CopyFile { source, .. } => (source, 0),
            _ => return Err(Error::new(Call::Openat2, Errno::EINVAL)),
        };
        resolve::open_in_root(root, source, fd::O_PATH | flags)
    }

    /// Does the step.
    pub fn run(&self, slots: &mut Slots) -> Result<()> {
        if self.covers() {
            // What was open may be covered now.
            slots.directory = None;
        }
        match self {
            MountStep::MakeProc => slots.proc = Some(mount::make_proc()?),
            MountStep::OpenProc => slots.proc = Some(mount::open_proc()?),
            MountStep::EnterDescriptors => {
                let directory = slots.proc_directory()?;
                let descriptors = fd::open_at(directory.as_fd(), c"fd", fd::O_PATH | fd::O_DIRECTORY, 0)?;
                fd::chdir(descriptors.as_fd())?;
                slots.descriptors = Some(descriptors);
            }
            MountStep::OpenRoot => slots.root = Some(fd::open(c"/", fd::O_PATH | fd::O_DIRECTORY, 0)?),
            MountStep::Propagate { flags } => mount::propagate_root(*flags)?,
            MountStep::BindRoot { source, set } => {
                let root = match slots.source.take() {
                    Some(root) => root,
                    None => fd::open(source, fd::O_PATH | fd::O_DIRECTORY, 0)?,
                };
                // Whatever path or link leads there.
                let inode = |fd| fd::status(fd).map(|status| (status.device, status.inode));
                let hosts = fd::open(c"/", fd::O_PATH | fd::O_DIRECTORY, 0)?;
                if inode(root.as_fd())? == inode(hosts.as_fd())?
                    && fd::mount_number(root.as_fd())? == fd::mount_number(hosts.as_fd())?
                {
                    return Err(Error::new(Call::PivotRoot, Errno::EBUSY));
                }
                drop(hosts);
                slots.root = Some(mount::bind_root(root.as_fd(), *set)?);
            }
            MountStep::Mount(mount) => trees::mount(slots, mount)?,
            MountStep::MakeTree(tree) => trees::make_tree(slots, tree)?,
            MountStep::Bind(bind) => trees::bind(slots, bind)?,
            MountStep::Attach(attach) => trees::attach(slots, attach)?,
            MountStep::MountFuse(mount) => slots.fuse = Some(trees::mount_fuse(slots, mount)?),
            MountStep::AwaitFuse { target } => trees::await_fuse(slots.root()?, target)?,
            MountStep::SetMountAttributes { target, attributes, itself } => {
                let flags = fd::O_PATH | if *itself { fd::O_NOFOLLOW } else { 0 };
                let target = resolve::open_in_root(slots.root()?, target, flags)?;
                trees::set_attributes(target.as_fd(), &[*attributes])?;
            }
            MountStep::SetTreeAttributes { tree, attributes, .. } => {
                trees::set_attributes(slots.tree(*tree)?.as_fd(), &[*attributes])?;
            }
            MountStep::Remount { target, flags, data } => {
                let target = resolve::open_in_root(slots.root()?, target, fd::O_PATH)?;
                mount::remount(&target, *flags, data.as_deref())?;
            }
            MountStep::MakeNode(node) => nodes::make_node(slots, node)?,
            MountStep::BindNode(bound) => nodes::bind_node(slots, bound)?,
            MountStep::Symlink { path, to, optional } => nodes::make_symlink(slots, path, to, *optional)?,
            MountStep::MakeDirectory { path, mode } => {
                // One that is there may be the host's, and stays as it is.
                match resolve::open_in_root(slots.root()?, path, fd::O_PATH | fd::O_DIRECTORY) {
                    Err(Error { errno: Errno::ENOENT, .. }) => {
                        let made = resolve::make_in_root(slots.root()?, path, Kind::Directory)?;
                        mode.map_or(Ok(()), |mode| fd::chmod_path(&made, mode))?;
                    }
                    other => drop(other?),
                }
            }
            MountStep::CopyFile { source, path, mode } => nodes::copy_file(slots, source, path, *mode)?,
            MountStep::SetMode { path, mode } => {
                fd::chmod_path(&resolve::open_in_root(slots.root()?, path, fd::O_PATH)?, *mode)?;
            }
            MountStep::OpenTerminal { size, owner, is_console } => {
                nodes::open_terminal(slots, *size, *owner, *is_console)?;
            }
            MountStep::PivotRoot => {
                mount::pivot_root(slots.root()?)?;
                fd::chdir(slots.descriptors()?)?;
            }
            MountStep::MoveRoot { revealing } => {
                revealing.iter().try_for_each(|path| mount::take_away(path))?;
                mount::move_root(slots.root()?)?;
                fd::chdir(slots.descriptors()?)?;
            }
            MountStep::Mask { path } => nodes::mask(slots, path)?,
            MountStep::Replace { path } => nodes::replace(slots.root()?, path)?,
            MountStep::Pin { path } => nodes::pin(slots.root()?, path)?,
            MountStep::MakeReadonly { path } => nodes::make_readonly(slots.root()?, path)?,
        }
        Ok(())
    }
}
