//! The verbs. What the child can do to the host is this enum, and nothing else.
//!
//! Steps are plain data, made ready by the parent: running one neither allocates nor formats.

use crate::sys::fd::{self, Kind, Status};
use crate::sys::namespace as ns;
use crate::sys::process::Strings;
use crate::sys::sched::{self, Limit, Scheduling};
use crate::sys::tty::{self, Size};
use crate::sys::{Call, Errno, Error, Result, copy, creds, mount, net, process, resolve};
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// What one step leaves for a later one.
#[derive(Default)]
pub struct Slots {
    /// The process that Born steps are about; 0 is the caller.
    pub pid: i32,
    /// /proc/self/fd, which is the current directory until `Chdir`.
    pub descriptors: Option<OwnedFd>,
    /// The container's root.
    pub root: Option<OwnedFd>,
    /// The empty read-only directory that hides others.
    pub mask: Option<OwnedFd>,
    /// The emulator's side of the container's terminal, until it is handed over.
    pub terminal_master: Option<OwnedFd>,
    /// The program's side of the container's terminal.
    pub terminal: Option<OwnedFd>,
    /// The directory in which a node or link was made last.
    pub directory: Option<(resolve::Path, OwnedFd)>,
    /// Which candidate of `FindExecutable` there is.
    pub executable: usize,
    /// `HOME=...` from the container's passwd.
    pub home: Option<Home>,
    /// Where hooks in the container write to.
    pub hook_output: Option<OwnedFd>,
}

impl Slots {
    fn root(&self) -> Result<BorrowedFd<'_>> {
        self.root.as_ref().map(AsFd::as_fd).ok_or(Error::new(Call::Openat2, Errno::EBADF))
    }

    fn descriptors(&self) -> Result<BorrowedFd<'_>> {
        self.descriptors.as_ref().map(AsFd::as_fd).ok_or(Error::new(Call::Open, Errno::EBADF))
    }

    /// The procfs directory of the process that the step is about.
    fn proc_directory(&self) -> Result<OwnedFd> {
        let mut path = *b"/proc/self\0\0\0\0\0\0\0\0";
        if self.pid != 0 {
            let number = fd::Name::of_number(self.pid);
            for (place, byte) in path.iter_mut().skip(6).zip(number.as_cstr().to_bytes_with_nul()) {
                *place = *byte;
            }
        }
        let directory =
            fd::open(CStr::from_bytes_until_nul(&path).unwrap_or(c"/proc/self"), fd::O_PATH | fd::O_DIRECTORY, 0)?;
        // CVE-2019-16884 and later: never write to a /proc that is not procfs.
        match fd::file_system(directory.as_fd())? {
            fd::PROC_MAGIC => Ok(directory),
            _ => Err(Error::new(Call::Fstatfs, Errno::ENOTSUP)),
        }
    }
}

/// A text `HOME=...` of at most 511 bytes.
pub struct Home([u8; 512]);

/// A program to run beside the container's.
#[derive(Debug, PartialEq)]
pub struct Program {
    /// Absolute path.
    pub path: CString,
    /// Including argument 0.
    pub arguments: Strings,
    /// The whole environment.
    pub environment: Strings,
    /// Milliseconds, or -1.
    pub timeout: i32,
    /// The state on its standard input, up to its pid and from there on.
    pub input: (CString, CString),
}

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
    /// Makes a time namespace with these offsets, entered by execve.
    SetTimeOffsets { offsets: Box<[u8]> },
    /// Joins a new session keyring.
    JoinKeyring { name: CString },
    /// Makes /proc/self/fd the current directory.
    EnterDescriptors,
    /// Sets the propagation of all mounts.
    Propagate { flags: u64 },
    /// Makes the root a mount.
    BindRoot { source: CString },
    /// Mounts a new file system; `real_directory`: not over a symlink.
    Mount { source: CString, target: CString, kind: CString, flags: u64, data: Option<CString>, real_directory: bool },
    /// Mounts a tmpfs that starts with a copy of what it covers.
    MountCopy { target: CString, flags: u64, data: Option<CString> },
    /// Binds a file or directory; `over_proc`: it may lie in procfs.
    Bind { source: CString, target: CString, recursive: bool, over_proc: bool },
    /// Changes flags and propagation of a mount.
    SetMountAttributes { target: CString, set: u64, clear: u64, propagation: u64, recursive: bool },
    /// Changes flags of a file system.
    Remount { target: CString, flags: u64, data: Option<CString> },
    /// Makes a device node or fifo.
    MakeNode { path: CString, mode: u32, major: u32, minor: u32, uid: u32, gid: u32 },
    /// Binds the host's node of a device.
    BindNode { source: CString, path: CString },
    /// Makes a symlink, unless there is something already.
    Symlink { path: CString, to: CString },
    /// Brings `lo` up.
    LoopbackUp,
    /// Opens a pty of the container's devpts, for /dev/console and standard input, output and error.
    OpenTerminal { size: Option<Size>, owner: u32 },
    /// Runs a hook in the container's namespaces.
    RunHook(Program),
    /// pivot_root(2).
    PivotRoot,
    /// Moves the root over / where pivot_root cannot work.
    MoveRoot,
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
    /// A session of its own, with the pty as its terminal if there is one.
    StartSession,
    /// PR_SET_NO_NEW_PRIVS.
    SetNoNewPrivileges,
    /// Changes to the user of the program; `groups`: `None` leaves them.
    BecomeUser { uid: u32, gid: u32, groups: Option<Box<[u32]>>, umask: Option<u32> },
    /// Sets the five capability sets; bit n is capability n.
    SetCapabilities { bounding: u64, effective: u64, permitted: u64, inheritable: u64, ambient: u64 },
    /// Enters a directory, which is made if it is missing.
    Chdir { path: CString },
    /// Reads HOME from the container's passwd.
    FindHome { uid: u32 },
    /// Finds the program among these paths, in their order.
    FindExecutable { name: CString, candidates: Box<[CString]> },
    /// Closes all descriptors from `first` on at execve.
    CloseDescriptors { first: u32 },
    /// Becomes the program.
    Execute { candidates: Box<[CString]>, arguments: Strings, environment: Strings },
}

impl Step {
    /// Does it. May run in the child: no allocation, no formatting, no panic.
    pub fn run(&self, slots: &mut Slots) -> Result<()> {
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
                creds::set_uid(*uid)
            }
            Step::SetLimit { resource, limit } => sched::set_limit(slots.pid, *resource, *limit),
            Step::SetOomScoreAdj { value } => {
                fd::write_file(slots.proc_directory()?.as_fd(), c"oom_score_adj", value.to_bytes())
            }
            Step::SetTimeOffsets { offsets } => {
                // time_namespaces(7): offsets can be set only while no process is in it; execve enters it (Linux 6.1).
                ns::unshare(ns::CLONE_NEWTIME)?;
                fd::write_file(slots.proc_directory()?.as_fd(), c"timens_offsets", offsets)
            }
            Step::JoinKeyring { name } => creds::join_session_keyring(name),
            Step::EnterDescriptors => {
                slots.descriptors = Some(mount::enter_descriptor_directory()?);
                Ok(())
            }
            Step::Propagate { flags } => mount::propagate_root(*flags),
            Step::BindRoot { source } => {
                slots.root = Some(mount::bind_root(source)?);
                Ok(())
            }
            Step::Mount { source, target, kind, flags, data, real_directory } => {
                let target = if *real_directory {
                    make_real_directory(slots.root()?, target)?
                } else {
                    make_outside_proc(slots.root()?, target)?
                };
                mount::mount(source, &target, kind, *flags, data.as_deref())
            }
            Step::MountCopy { target, flags, data } => {
                let place = make_outside_proc(slots.root()?, target)?;
                let before = fd::open_at(place.as_fd(), c".", fd::O_RDONLY | fd::O_DIRECTORY, 0)?;
                mount::mount(c"tmpfs", &place, c"tmpfs", *flags, data.as_deref())?;
                let after = resolve::open_in_root(slots.root()?, target, fd::O_RDONLY | fd::O_DIRECTORY)?;
                copy::tree(before.as_fd(), after.as_fd())
            }
            Step::Bind { source, target, recursive, over_proc } => {
                bind(slots.root()?, source, target, *recursive, *over_proc)
            }
            Step::SetMountAttributes { target, set, clear, propagation, recursive } => {
                let target = resolve::open_in_root(slots.root()?, target, fd::O_PATH)?;
                mount::set_attributes(target.as_fd(), *set, *clear, *propagation, *recursive)
            }
            Step::Remount { target, flags, data } => {
                let target = resolve::open_in_root(slots.root()?, target, fd::O_PATH)?;
                mount::remount(&target, *flags, data.as_deref())
            }
            Step::MakeNode { path, mode, major, minor, uid, gid } => {
                make_node(slots, path, *mode, *major, *minor, (*uid, *gid))
            }
            Step::BindNode { source, path } => bind_node(slots, source, path),
            Step::Symlink { path, to } => {
                let (directory, name) = directory_of(slots, path)?;
                match fd::symlink_at(to, directory, name) {
                    Err(Error { errno: Errno::EEXIST, .. }) => Ok(()),
                    other => other,
                }
            }
            Step::LoopbackUp => net::bring_loopback_up(),
            Step::OpenTerminal { size, owner } => open_terminal(slots, *size, *owner),
            Step::RunHook(program) => run_hook(program, slots),
            Step::PivotRoot => {
                mount::pivot_root(slots.root()?)?;
                fd::chdir(slots.descriptors()?)
            }
            Step::MoveRoot => {
                mount::move_root(slots.root()?)?;
                fd::chdir(slots.descriptors()?)
            }
            Step::SetHostname { name } => ns::set_hostname(name),
            Step::SetDomainname { name } => ns::set_domainname(name),
            Step::SetSysctl { path, value } => {
                let file = mount::open_own_proc(slots.descriptors()?, path, fd::O_WRONLY)?;
                fd::write(file.as_fd(), value.to_bytes()).map(drop)
            }
            Step::Mask { path } => mask(slots, path),
            Step::MakeReadonly { path } => make_readonly(slots.root()?, path),
            Step::SetPersonality { domain } => sched::set_personality(*domain),
            Step::SetScheduling(scheduling) => sched::set_scheduling(*scheduling),
            Step::SetIoPriority { class, level } => sched::set_io_priority(*class, *level),
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
            Step::Chdir { path } => {
                // CVE-2024-21626: a directory outside the root, reached by /proc/self/fd/N, is never entered.
                let directory = resolve::make_in_root(slots.root()?, path, Kind::Directory)?;
                fd::chdir(directory.as_fd())
            }
            Step::FindHome { uid } => {
                slots.home = find_home(*uid, slots.root()?);
                Ok(())
            }
            Step::FindExecutable { candidates, .. } => {
                slots.executable = find_executable(candidates)?;
                Ok(())
            }
            Step::CloseDescriptors { first } => fd::close_on_exec_from(*first),
            Step::Execute { candidates, arguments, environment } => {
                crate::sys::signal::reset()?;
                let home = slots.home.as_ref().and_then(|home| CStr::from_bytes_until_nul(&home.0).ok());
                let path = candidates.get(slots.executable).ok_or(Error::new(Call::Execve, Errno::ENOENT))?;
                Err(process::execute(path, arguments, environment, home))
            }
        }
    }
}

/// CVE-2019-19921: an image must not choose by a symlink where its /proc or /sys is.
fn make_real_directory(root: BorrowedFd, path: &CStr) -> Result<OwnedFd> {
    match resolve::open_in_root_no_symlinks(root, path, fd::O_PATH | fd::O_DIRECTORY) {
        Err(Error { errno: Errno::ENOENT, .. }) => resolve::make_in_root(root, path, Kind::Directory).map(drop),
        Err(error) => Err(error),
        Ok(directory) => return Ok(directory),
    }?;
    resolve::open_in_root_no_symlinks(root, path, fd::O_PATH | fd::O_DIRECTORY)
}

/// A directory to mount on that is not in procfs, whatever the image's symlinks say.
fn make_outside_proc(root: BorrowedFd, path: &CStr) -> Result<OwnedFd> {
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

fn bind(root: BorrowedFd, source: &CStr, target: &CStr, recursive: bool, over_proc: bool) -> Result<()> {
    let place = match resolve::open_in_root(root, target, fd::O_PATH) {
        Err(Error { errno: Errno::ENOENT, .. }) => {
            let source = fd::open(source, fd::O_PATH, 0)?;
            let kind = if fd::status(source.as_fd())?.kind() == Kind::Directory { Kind::Directory } else { Kind::File };
            resolve::make_in_root(root, target, kind)
        }
        other => other,
    }?;
    if !over_proc {
        refuse_proc(&place)?;
    }
    mount::bind(source, &place, recursive)
}

/// The directory that holds `path`, made if it is missing, and the name in it. The last directory stays open: devices
/// and links are made one after the other in /dev.
fn directory_of<'a, 'b>(slots: &'b mut Slots, path: &'a CStr) -> Result<(BorrowedFd<'b>, &'a CStr)> {
    let (parent, name) = resolve::split(path)?;
    if slots.directory.as_ref().is_none_or(|(known, _)| *known != parent) {
        let directory = resolve::make_in_root(slots.root()?, parent.as_cstr(), Kind::Directory)?;
        slots.directory = Some((parent, directory));
    }
    let directory = slots.directory.as_ref().map(|(_, directory)| directory.as_fd());
    Ok((directory.ok_or(Error::new(Call::Openat2, Errno::EBADF))?, name))
}

fn make_node(slots: &mut Slots, path: &CStr, mode: u32, major: u32, minor: u32, owner: (u32, u32)) -> Result<()> {
    let (directory, name) = directory_of(slots, path)?;
    match fd::make_node_at(directory, name, mode, major, minor) {
        Err(Error { errno: Errno::EEXIST, .. }) => return Ok(()),
        other => other?,
    }
    fd::chmod_at(directory, name, mode & 0o7777)?;
    if owner == (0, 0) { Ok(()) } else { fd::chown_at(directory, name, owner.0, owner.1) }
}

fn bind_node(slots: &mut Slots, source: &CStr, path: &CStr) -> Result<()> {
    let (directory, name) = directory_of(slots, path)?;
    match fd::make_file_at(directory, name) {
        Err(Error { errno: Errno::EEXIST, .. }) => {}
        other => other?,
    }
    // Never through a symlink of the image's (CVE-2026-41579: /dev/null -> elsewhere).
    let place = resolve::open_in_root_no_symlinks(directory, name, fd::O_PATH)?;
    mount::bind(source, &place, false)
}

fn open_terminal(slots: &mut Slots, size: Option<Size>, owner: u32) -> Result<()> {
    let devpts = resolve::open_in_root(slots.root()?, c"/dev/pts", fd::O_PATH | fd::O_DIRECTORY)?;
    let pty = tty::open_pty(devpts.as_fd())?;
    if let Some(size) = size {
        tty::set_size(pty.slave.as_fd(), size)?;
    }
    if owner != 0 {
        fd::chown_at(pty.slave.as_fd(), c"", owner, u32::MAX)?;
    }
    let (dev, console) = directory_of(slots, c"/dev/console")?;
    match fd::make_file_at(dev, console) {
        Err(Error { errno: Errno::EEXIST, .. }) => {}
        other => other?,
    }
    let place = resolve::open_in_root_no_symlinks(dev, console, fd::O_PATH)?;
    mount::bind_fd(&pty.slave, &place, false)?;
    (slots.terminal_master, slots.terminal) = (Some(pty.master), Some(pty.slave));
    Ok(())
}

fn run_hook(program: &Program, slots: &Slots) -> Result<()> {
    let input = fd::memory_file(c"state")?;
    fd::write(input.as_fd(), program.input.0.to_bytes())?;
    fd::write(input.as_fd(), fd::Name::of_number(process::own_pid()).as_cstr().to_bytes())?;
    fd::write(input.as_fd(), program.input.1.to_bytes())?;
    fd::rewind(input.as_fd())?;
    let output = slots.hook_output.as_ref().map_or(fd::borrow(2), AsFd::as_fd);
    process::run_to_end(&program.path, &program.arguments, &program.environment, input.as_fd(), output, program.timeout)
}

fn mask(slots: &mut Slots, path: &CStr) -> Result<()> {
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

fn make_readonly(root: BorrowedFd, path: &CStr) -> Result<()> {
    let place = match resolve::open_in_root(root, path, fd::O_PATH) {
        Err(Error { errno: Errno::ENOENT | Errno::ENOTDIR, .. }) => return Ok(()),
        other => other?,
    };
    mount::bind_fd(&place, &place, true)?;
    let mounted = resolve::open_in_root(root, path, fd::O_PATH)?;
    mount::set_attributes(mounted.as_fd(), mount::MOUNT_ATTR_RDONLY, 0, 0, true)
}

/// The home directory of `uid` in /etc/passwd, read piece by piece through a fixed buffer; `/` if there is none.
fn find_home(uid: u32, root: BorrowedFd) -> Option<Home> {
    let mut text = *b"HOME=/\0";
    let mut home = Home([0; 512]);
    let mut set = |parts: [&[u8]; 2]| {
        home.0 = [0; 512];
        for (place, byte) in home.0.iter_mut().take(511).zip(parts.iter().flat_map(|part| part.iter())) {
            *place = *byte;
        }
    };
    set([&mut text, b""]);
    let passwd = resolve::open_in_root(root, c"/etc/passwd", fd::O_RDONLY).ok();
    let mut buffer = [0u8; 2048];
    let mut line = [0u8; 1024];
    let mut length = 0;
    'file: while let Some(passwd) = &passwd {
        let count = fd::read(passwd.as_fd(), &mut buffer).unwrap_or(0);
        for byte in buffer.get(..count).unwrap_or_default() {
            if *byte != b'\n' {
                if let Some(place) = line.get_mut(length) {
                    *place = *byte;
                }
                length += 1;
                continue;
            }
            // passwd(5): name:password:uid:gid:comment:home:shell
            let mut fields = line.get(..length).unwrap_or_default().split(|byte| *byte == b':');
            length = 0;
            let number =
                fields.nth(2).and_then(|field| str::from_utf8(field).ok()).and_then(|field| field.parse::<u32>().ok());
            if let (true, Some(directory)) = (number == Some(uid), fields.nth(2)) {
                if !directory.is_empty() && directory.len() < 500 {
                    set([b"HOME=", directory]);
                }
                break 'file;
            }
        }
        if count == 0 {
            break;
        }
    }
    Some(home)
}

/// The first candidate that may be executed, or the most telling error: one that exists but may not be run over ENOENT.
fn find_executable(candidates: &[CString]) -> Result<usize> {
    let mut error = Error::new(Call::Lookup, Errno::ENOENT);
    for (index, candidate) in candidates.iter().enumerate() {
        match check_executable(candidate) {
            Ok(()) => return Ok(index),
            Err(other) if matches!(other.errno, Errno::ENOENT | Errno::ENOTDIR) => {}
            Err(other) => error = Error::new(Call::Lookup, other.errno),
        }
    }
    Err(error)
}

fn check_executable(path: &CStr) -> Result<()> {
    let file = fd::open(path, fd::O_PATH, 0)?;
    let status: Status = fd::status(file.as_fd())?;
    if status.kind() == Kind::Directory {
        return Err(Error::new(Call::Lookup, Errno::EISDIR));
    }
    if !status.is_regular() {
        return Err(Error::new(Call::Lookup, Errno::EACCES));
    }
    fd::check_executable(file.as_fd())
}
