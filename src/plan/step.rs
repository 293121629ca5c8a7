//! The verbs. What the child can do to the host is this enum, and nothing else.
//!
//! Steps are plain data, made ready by the parent: running one neither allocates nor formats.

use super::mounting::{self, Attributes, FuseMount, Mapped, NewTree};
use super::programs::{self, Program};
use super::slots::{Home, Slots};
use crate::sys::fd::{self, Kind};
use crate::sys::namespace as ns;
use crate::sys::process::Strings;
use crate::sys::sched::{self, Limit, Scheduling};
use crate::sys::seccomp::{self, Instruction};
use crate::sys::tty::{self, Size};
use crate::sys::{Call, Errno, Error, Result, creds, mount, net, process, resolve};
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// One thing to do. Paths are inside the root unless they are called `source`.
#[derive(Debug, PartialEq)]
#[allow(missing_docs)] // the fields are the arguments of the system calls
pub enum Step {
    /// Writes the maps of the user namespace; texts as in user_namespaces(7).
    MapIds { uid_map: Box<[u8]>, gid_map: Box<[u8]>, deny_setgroups: bool },
    /// Takes ids of the user namespace, with all capabilities in it.
    BecomeId { uid: u32, gid: u32, may_set_groups: bool },
    /// Sets a resource limit.
    SetLimit { resource: u32, limit: Limit },
    /// Writes /proc/PID/oom_score_adj.
    SetOomScoreAdj { value: CString },
    /// Makes namespaces (CLONE_NEW*) that the clone could not make.
    Unshare { kinds: i32 },
    /// Makes a time namespace with these offsets and enters it.
    SetTimeOffsets { offsets: Box<[u8]> },
    /// Joins a new session keyring.
    JoinNewKeyring,
    /// Keeps others from looking into this process, until it is the container's program.
    ForbidTracing,
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
    /// Mounts a new file system; `real_directory`: not over a symlink.
    Mount { source: CString, target: CString, kind: CString, flags: u64, data: Option<CString>, real_directory: bool },
    /// Makes a file system with its attributes, and attaches it.
    MakeTree(Box<NewTree>),
    /// Binds a file or directory; `over_proc`: it may lie in procfs; `itself`: source and target may be symlinks.
    Bind {
        source: CString,
        target: CString,
        recursive: bool,
        over_proc: bool,
        itself: (bool, bool),
        attributes: Box<[Attributes]>,
    },
    /// Attaches a copy of a mount with mapped ids, which the parent opens.
    Attach { source: Box<Mapped>, target: CString, over_proc: bool, attributes: Box<[Attributes]> },
    /// Mounts /dev/fuse for a server that the parent starts; `data` lacks the descriptor at its end.
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
    MakeNode { path: CString, mode: u32, major: u32, minor: u32, uid: u32, gid: u32 },
    /// Binds the host's node of a device, if it is that one; `mode` is its type.
    BindNode { source: CString, path: CString, mode: u32, major: u32, minor: u32, readonly: bool },
    /// Makes a symlink; `optional`: unless there is something already.
    Symlink { path: CString, to: CString, optional: bool },
    /// Moves a network device of the caller into the container's network namespace.
    MoveDevice { name: CString, new_name: CString },
    /// Brings `lo` up.
    LoopbackUp,
    /// Opens a pty of the container's devpts, for standard input, output and error, and for /dev/console.
    OpenTerminal { size: Option<Size>, owner: u32, is_console: bool },
    /// Runs a hook in the container's namespaces.
    RunHook(Box<Program>),
    /// pivot_root(2).
    PivotRoot,
    /// Moves the root over / where pivot_root cannot work; `revealing`: procfs and sysfs of the host, which would be below it.
    MoveRoot { revealing: Box<[CString]> },
    /// sethostname(2).
    SetHostname { name: CString },
    /// setdomainname(2).
    SetDomainname { name: CString },
    /// Writes a kernel parameter; `path` is relative to /proc/self/fd.
    SetSysctl { path: CString, value: CString },
    /// Hides a file behind /dev/null or a directory behind an empty one.
    Mask { path: CString },
    /// Makes a path and what is mounted below it read-only.
    MakeReadonly { path: CString },
    /// personality(2).
    SetPersonality { domain: u64 },
    /// sched_setattr(2).
    SetScheduling(Scheduling),
    /// ioprio_set(2).
    SetIoPriority { class: u16, level: u16 },
    /// sched_setaffinity(2); bit n is CPU n.
    SetAffinity { cpus: Box<[u64]> },
    /// set_mempolicy(2).
    SetMemoryPolicy { mode: u32, nodes: Box<[u64]> },
    /// Writes the label that a security module gives at execve; `path` is relative to /proc/self/fd.
    SetLabel { path: CString, value: CString },
    /// Opens /dev/null again, in the container, for standard streams that are the host's; `may_stay`: where it has none.
    ReopenNull { may_stay: bool },
    /// Gives standard streams that are pipes, or files to write to, to a user.
    GiveStreams { uid: u32 },
    /// A session of its own, with the pty as its terminal if there is one.
    StartSession,
    /// PR_SET_NO_NEW_PRIVS.
    SetNoNewPrivileges,
    /// Changes to the user of the program; `groups`: `None` leaves them.
    BecomeUser { uid: u32, gid: u32, groups: Option<Box<[u32]>>, umask: Option<u32> },
    /// Sets the five capability sets; bit n is capability n.
    SetCapabilities { bounding: u64, effective: u64, permitted: u64, inheritable: u64, ambient: u64 },
    /// Makes a directory that is missing, with those above it.
    MakeDirectory { path: CString },
    /// Enters a directory.
    Chdir { path: CString },
    /// Reads HOME from the container's passwd.
    FindHome { uid: u32 },
    /// Finds the program among these paths, in their order.
    FindExecutable { name: CString, candidates: Box<[CString]> },
    /// What a new program expects of signals: none blocked, none ignored.
    ResetSignals,
    /// Installs a system call filter.
    InstallFilter { filter: Box<[Instruction]>, flags: u64 },
    /// Becomes the program.
    Execute { candidates: Box<[CString]>, arguments: Strings, environment: Strings },
}

impl Step {
    /// True if a directory may be covered by it.
    fn mounts(&self) -> bool {
        matches!(
            self,
            Step::Mount { .. } | Step::MakeTree(_) | Step::Bind { .. } | Step::Attach { .. } | Step::MountFuse(_)
        )
    }

    /// What of the host's it shows in the container.
    pub fn source(&self) -> Option<&CStr> {
        match self {
            Step::BindRoot { source, .. } | Step::Bind { source, .. } | Step::BindNode { source, .. } => Some(source),
            Step::Attach { source, .. } => Some(&source.source),
            _ => None,
        }
    }

    /// Opens that below `root`, as the child sees it, with the caller's privileges: the mount is the child's own, so that its
    /// flags stay locked.
    pub fn open_source(&self, root: BorrowedFd) -> Result<OwnedFd> {
        let (source, flags) = match self {
            Step::BindRoot { source, .. } => (source, fd::O_DIRECTORY),
            Step::Bind { source, itself: (true, _), .. } => (source, fd::O_NOFOLLOW),
            Step::Bind { source, .. } | Step::BindNode { source, .. } => (source, 0),
            _ => return Err(Error::new(Call::Openat2, Errno::EINVAL)),
        };
        resolve::open_in_root(root, source, fd::O_PATH | flags)
    }

    /// Does it. May run in the child: no allocation, no formatting, no panic.
    pub fn run(&self, slots: &mut Slots) -> Result<()> {
        if self.mounts() {
            // What was open may be covered now.
            slots.directory = None;
        }
        match self {
            Step::MapIds { uid_map, gid_map, deny_setgroups } => {
                let directory = slots.proc_directory()?;
                if *deny_setgroups {
                    // CVE-2014-8989: without this, a group that only restricts could be dropped.
                    fd::write_file(directory.as_fd(), c"setgroups", b"deny")?;
                }
                fd::write_file(directory.as_fd(), c"gid_map", gid_map)?;
                fd::write_file(directory.as_fd(), c"uid_map", uid_map)
            }
            Step::BecomeId { uid, gid, may_set_groups } => {
                if *may_set_groups {
                    creds::set_groups(&[])?;
                }
                creds::set_gid(*gid)?;
                creds::set_uid(*uid)?;
                // The change has cleared it.
                creds::die_with_parent(true)
            }
            Step::SetLimit { resource, limit } => sched::set_limit(slots.pid, *resource, *limit),
            Step::SetOomScoreAdj { value } => {
                fd::write_file(slots.proc_directory()?.as_fd(), c"oom_score_adj", value.to_bytes())
            }
            Step::Unshare { kinds } => ns::unshare(*kinds),
            Step::SetTimeOffsets { offsets } => {
                // time_namespaces(7): offsets can be set only while no process is in it.
                ns::unshare(ns::CLONE_NEWTIME)?;
                let directory = slots.proc_directory()?;
                if !offsets.is_empty() {
                    fd::write_file(directory.as_fd(), c"timens_offsets", offsets)?;
                }
                // Without this, Linux 6.1 (not 6.12) leaves the program itself outside, and only its children are in it.
                let namespace = fd::open_at(directory.as_fd(), c"ns/time_for_children", fd::O_RDONLY, 0)?;
                ns::join(namespace.as_fd(), ns::CLONE_NEWTIME)
            }
            Step::JoinNewKeyring => creds::join_new_session_keyring(),
            Step::ForbidTracing => creds::set_dumpable(false),
            Step::MakeProc => {
                slots.proc = Some(mount::make_proc()?);
                Ok(())
            }
            Step::OpenProc => {
                slots.proc = Some(mount::open_proc()?);
                Ok(())
            }
            Step::EnterDescriptors => {
                let directory = slots.proc_directory()?;
                let descriptors = fd::open_at(directory.as_fd(), c"fd", fd::O_PATH | fd::O_DIRECTORY, 0)?;
                fd::chdir(descriptors.as_fd())?;
                slots.descriptors = Some(descriptors);
                Ok(())
            }
            Step::OpenRoot => {
                slots.root = Some(fd::open(c"/", fd::O_PATH | fd::O_DIRECTORY, 0)?);
                Ok(())
            }
            Step::Propagate { flags } => mount::propagate_root(*flags),
            Step::BindRoot { source, set } => {
                let place = match slots.source.take() {
                    Some(place) => place,
                    None => fd::open(source, fd::O_PATH | fd::O_DIRECTORY, 0)?,
                };
                slots.root = Some(mount::bind_root(place.as_fd(), *set)?);
                Ok(())
            }
            Step::Mount { source, target, kind, flags, data, real_directory } => {
                let target = if *real_directory {
                    mounting::make_real_directory(slots.root()?, target)?
                } else {
                    mounting::make_outside_proc(slots.root()?, target)?
                };
                mount::mount(source, &target, kind, *flags, data.as_deref())
            }
            Step::MakeTree(tree) => mounting::make_tree(slots, tree),
            Step::Bind { source, target, recursive, over_proc, itself, attributes } => {
                let opened = slots.source.take();
                let source = (source.as_c_str(), opened);
                let tree = mounting::bind(slots.root()?, source, target, *recursive, *over_proc, *itself, attributes)?;
                if let Some(root) = tree.filter(|_| target.as_c_str() == c"/") {
                    slots.root = Some(root);
                }
                Ok(())
            }
            Step::Attach { target, over_proc, attributes, .. } => {
                let tree = slots.source.take().ok_or(Error::new(Call::OpenTree, Errno::EBADF))?;
                mounting::attach(slots.root()?, &tree, target, *over_proc, attributes)
            }
            Step::MountFuse(mount) => {
                slots.fuse = Some(mounting::mount_fuse(slots.root()?, mount)?);
                Ok(())
            }
            Step::AwaitFuse { target } => mounting::await_fuse(slots.root()?, target),
            Step::SetMountAttributes { target, attributes, itself } => {
                let flags = fd::O_PATH | if *itself { fd::O_NOFOLLOW } else { 0 };
                let target = resolve::open_in_root(slots.root()?, target, flags)?;
                mounting::set_attributes(target.as_fd(), &[*attributes])
            }
            Step::SetTreeAttributes { tree, attributes, .. } => {
                mounting::set_attributes(slots.tree(*tree)?.as_fd(), &[*attributes])
            }
            Step::Remount { target, flags, data } => {
                let target = resolve::open_in_root(slots.root()?, target, fd::O_PATH)?;
                mount::remount(&target, *flags, data.as_deref())
            }
            Step::MakeNode { path, mode, major, minor, uid, gid } => {
                mounting::make_node(slots, path, *mode, *major, *minor, (*uid, *gid))
            }
            Step::BindNode { source, path, mode, major, minor, readonly } => {
                mounting::bind_node(slots, source, path, (*mode, *major, *minor), *readonly)
            }
            Step::Symlink { path, to, optional } => mounting::make_symlink(slots, path, to, *optional),
            Step::MoveDevice { name, new_name } => {
                let theirs = fd::open_at(slots.proc_directory()?.as_fd(), c"ns/net", fd::O_RDONLY, 0)?;
                net::move_device(name, new_name, theirs.as_fd())
            }
            Step::LoopbackUp => net::bring_loopback_up(),
            Step::OpenTerminal { size, owner, is_console } => {
                mounting::open_terminal(slots, *size, *owner, *is_console)
            }
            Step::RunHook(program) => programs::run_hook(program, slots),
            Step::PivotRoot => {
                mount::pivot_root(slots.root()?)?;
                fd::chdir(slots.descriptors()?)
            }
            Step::MoveRoot { revealing } => {
                revealing.iter().try_for_each(|path| mount::take_away(path))?;
                mount::move_root(slots.root()?)?;
                fd::chdir(slots.descriptors()?)
            }
            Step::SetHostname { name } => ns::set_hostname(name),
            Step::SetDomainname { name } => ns::set_domainname(name),
            Step::SetSysctl { path, value } => {
                let file = mount::open_own_proc(slots.descriptors()?, path, fd::O_WRONLY)?;
                fd::write(file.as_fd(), value.to_bytes()).map(drop)
            }
            Step::Mask { path } => mounting::mask(slots, path),
            Step::MakeReadonly { path } => mounting::make_readonly(slots.root()?, path),
            Step::SetPersonality { domain } => sched::set_personality(*domain),
            Step::SetScheduling(scheduling) => sched::set_scheduling(*scheduling),
            Step::SetIoPriority { class, level } => sched::set_io_priority(*class, *level),
            Step::SetAffinity { cpus } => sched::set_affinity(cpus),
            Step::SetMemoryPolicy { mode, nodes } => sched::set_memory_policy(*mode, nodes),
            Step::SetLabel { path, value } => {
                let file = mount::open_own_proc(slots.descriptors()?, path, fd::O_WRONLY)?;
                fd::write(file.as_fd(), value.to_bytes()).map(drop)
            }
            Step::ReopenNull { may_stay } => mounting::reopen_null(slots.root()?, *may_stay),
            Step::GiveStreams { uid } => (0..3).try_for_each(|number| fd::give(fd::borrow(number), *uid)),
            Step::StartSession => {
                process::start_session()?;
                let Some(terminal) = &slots.terminal else { return Ok(()) };
                tty::take_control(terminal.as_fd())?;
                (0..3).try_for_each(|number| fd::dup_to(terminal.as_fd(), number))
            }
            Step::SetNoNewPrivileges => creds::set_no_new_privileges(),
            Step::BecomeUser { uid, gid, groups, umask } => {
                if let Some(umask) = umask {
                    creds::set_umask(*umask);
                }
                if let Some(groups) = groups {
                    creds::set_groups(groups)?;
                }
                creds::set_gid(*gid)?;
                creds::keep_capabilities()?;
                creds::set_uid(*uid)?;
                creds::regain_capabilities()
            }
            Step::SetCapabilities { bounding, effective, permitted, inheritable, ambient } => {
                creds::limit_bounding_set(*bounding)?;
                creds::set_capabilities(*effective, *permitted, *inheritable)?;
                creds::set_ambient(*ambient)
            }
            Step::MakeDirectory { path } => resolve::make_in_root(slots.root()?, path, Kind::Directory).map(drop),
            Step::Chdir { path } => {
                // CVE-2024-21626: a directory outside the root, reached by /proc/self/fd/N, is never entered.
                let directory = resolve::open_in_root(slots.root()?, path, fd::O_PATH | fd::O_DIRECTORY)?;
                fd::chdir(directory.as_fd())
            }
            Step::FindHome { uid } => {
                slots.home = Some(programs::find_home(*uid, slots.root()?)?);
                Ok(())
            }
            Step::FindExecutable { candidates, .. } => {
                slots.executable = programs::find_executable(candidates)?;
                Ok(())
            }
            Step::ResetSignals => crate::sys::signal::reset(),
            Step::InstallFilter { filter, flags } => {
                slots.listener = seccomp::install(filter, *flags)?;
                Ok(())
            }
            Step::Execute { candidates, arguments, environment } => {
                let home = slots.home.as_ref().and_then(Home::as_cstr);
                let path = candidates.get(slots.executable).ok_or(Error::new(Call::Execve, Errno::ENOENT))?;
                Err(process::execute(path, arguments, environment, home))
            }
        }
    }
}
