//! The system calls that are answered, and how.

use super::files::{DEVICE, keep_device};
use super::ids::{self, Credentials, SAME, Table};
use super::task::{PathAt, Task, name};
use super::{State, lock};
use crate::capability::{CAP_SETFCAP, CAP_SETGID, CAP_SETUID};
use crate::owner;
use crate::seccomp::native_number;
use crate::sys::notification::{
    self, AT_EMPTY_PATH, AT_FDCWD, AT_NO_AUTOMOUNT, AT_STATX_SYNC_TYPE, AT_SYMLINK_NOFOLLOW, Answer, Asked, S_IFCHR,
    S_IFMT, S_ISGID, Shown,
};
use crate::sys::{self, Errno, Result, attribute, fd, process};
use std::collections::HashMap;
use std::os::fd::{AsFd, OwnedFd};

/// A call, by what it is about. Numbers are those of its arguments.
#[derive(Clone, Copy, Debug)]
pub enum Call {
    /// A change of owner.
    Chown(Named, usize),
    /// A look at a file; where the answer goes.
    Stat(Named, usize),
    /// The same with flags in front of a mask.
    Statx,
    /// A device node; the argument of its mode.
    Mknod(usize),
    /// A new file, if it is not there; the arguments of directory, flags and mode follow each other around the path.
    Create(Made),
    /// An attribute; its name follows the file.
    Setxattr(Named),
    /// A change of who one is.
    Change(Change),
    /// The question who one is.
    Ask(Ask),
    /// A change of capabilities.
    Capset,
    /// The question who is at the other end of a socket.
    Peer,
    /// A list of attributes; where it goes follows the file.
    Listxattr(Named),
}

/// How a call names a file.
#[derive(Clone, Copy, Debug)]
pub enum Named {
    /// By a path.
    Path,
    /// By a path, of which the last symlink is meant itself.
    Link,
    /// By a descriptor.
    Descriptor,
    /// By a directory and a path; the argument of the flags.
    At(usize),
}

/// What is made.
#[derive(Clone, Copy, Debug)]
pub enum Made {
    /// open(2) and its kind: the argument of the path, and how the flags are known.
    File(usize, Flags),
    /// mkdir(2); the argument of the path.
    Directory(usize),
    /// symlink(2); the argument of the path, which follows its directory, or what it leads to.
    Symlink(usize),
}

/// Flags of open(2).
#[derive(Clone, Copy, Debug)]
pub enum Flags {
    /// They follow the path, and the mode follows them.
    Next,
    /// Those of creat(2).
    OfCreat,
}

/// What is changed.
#[derive(Clone, Copy, Debug)]
pub enum Change {
    One(Whose),
    Two(Whose),
    Three(Whose),
    OfFiles(Whose),
    Groups,
}

/// What is asked.
#[derive(Clone, Copy, Debug)]
pub enum Ask {
    One(Whose, usize),
    Three(Whose),
    Groups,
}

/// A user's ids, or a group's.
#[derive(Clone, Copy, Debug)]
pub enum Whose {
    User,
    Group,
}

use Whose::{Group, User};

/// All of them.
pub const CALLS: [(&str, Call); 42] = [
    ("chown", Call::Chown(Named::Path, 1)),
    ("lchown", Call::Chown(Named::Link, 1)),
    ("fchown", Call::Chown(Named::Descriptor, 1)),
    ("fchownat", Call::Chown(Named::At(4), 2)),
    ("stat", Call::Stat(Named::Path, 1)),
    ("lstat", Call::Stat(Named::Link, 1)),
    ("fstat", Call::Stat(Named::Descriptor, 1)),
    ("newfstatat", Call::Stat(Named::At(3), 2)),
    ("statx", Call::Statx),
    ("mknod", Call::Mknod(1)),
    ("mknodat", Call::Mknod(2)),
    ("open", Call::Create(Made::File(0, Flags::Next))),
    ("creat", Call::Create(Made::File(0, Flags::OfCreat))),
    ("openat", Call::Create(Made::File(1, Flags::Next))),
    ("mkdir", Call::Create(Made::Directory(0))),
    ("mkdirat", Call::Create(Made::Directory(1))),
    ("symlink", Call::Create(Made::Symlink(1))),
    ("symlinkat", Call::Create(Made::Symlink(2))),
    ("setxattr", Call::Setxattr(Named::Path)),
    ("lsetxattr", Call::Setxattr(Named::Link)),
    ("fsetxattr", Call::Setxattr(Named::Descriptor)),
    ("setuid", Call::Change(Change::One(User))),
    ("setgid", Call::Change(Change::One(Group))),
    ("setreuid", Call::Change(Change::Two(User))),
    ("setregid", Call::Change(Change::Two(Group))),
    ("setresuid", Call::Change(Change::Three(User))),
    ("setresgid", Call::Change(Change::Three(Group))),
    ("setfsuid", Call::Change(Change::OfFiles(User))),
    ("setfsgid", Call::Change(Change::OfFiles(Group))),
    ("setgroups", Call::Change(Change::Groups)),
    ("getuid", Call::Ask(Ask::One(User, 0))),
    ("geteuid", Call::Ask(Ask::One(User, 1))),
    ("getgid", Call::Ask(Ask::One(Group, 0))),
    ("getegid", Call::Ask(Ask::One(Group, 1))),
    ("getresuid", Call::Ask(Ask::Three(User))),
    ("getresgid", Call::Ask(Ask::Three(Group))),
    ("getgroups", Call::Ask(Ask::Groups)),
    ("capset", Call::Capset),
    ("getsockopt", Call::Peer),
    ("listxattr", Call::Listxattr(Named::Path)),
    ("llistxattr", Call::Listxattr(Named::Link)),
    ("flistxattr", Call::Listxattr(Named::Descriptor)),
];

/// NGROUPS_MAX.
const MOST_GROUPS: u32 = 65536;

/// They, by their numbers on this machine.
pub fn numbered() -> HashMap<u32, Call> {
    CALLS.iter().filter_map(|(name, call)| Some((native_number(name)?, *call))).collect()
}

impl Call {
    /// The answer; an error where the kernel's own is right.
    pub fn answer(self, state: &State, asked: &Asked) -> Result<Answer> {
        let task = Task::find(state, asked)?;
        match self {
            Call::Chown(named, first) => {
                let [uid, gid] = [argument(asked, first) as u32, argument(asked, first + 1) as u32];
                chown(state, &task, &task.find_file(&named.path_at(asked)?)?, (uid, gid))
            }
            Call::Stat(named, buffer) => {
                let file = task.find_file(&named.path_at(asked)?)?;
                let Some(shown) = state.owners.find(&file)? else { return Ok(Answer::Kernels) };
                task.write(argument(asked, buffer), &notification::stat(file.as_fd(), shown)?)?;
                Ok(Answer::Value(0))
            }
            Call::Statx => {
                let file = task.find_file(&Named::At(2).path_at(asked)?)?;
                let Some(shown) = state.owners.find(&file)? else { return Ok(Answer::Kernels) };
                let told = notification::statx(file.as_fd(), argument(asked, 3) as u32, shown)?;
                task.write(argument(asked, 4), &told)?;
                Ok(Answer::Value(0))
            }
            Call::Mknod(mode) => mknod(&task, asked, mode),
            Call::Create(made) => create(state, &task, asked, made),
            Call::Setxattr(named) => setxattr(&task, asked, named),
            Call::Change(change) => change_ids(state, &task, asked, change),
            Call::Ask(question) => ask(state, &task, asked, question),
            Call::Capset => capset(state, &task, asked),
            Call::Peer => peer(state, &task, asked),
            Call::Listxattr(named) => listxattr(&task, asked, named),
        }
    }
}

fn argument(asked: &Asked, index: usize) -> u64 {
    asked.arguments.get(index).copied().unwrap_or(0)
}

impl Named {
    /// An error for flags that the kernel does not know, or takes in another way.
    fn path_at(self, asked: &Asked) -> Result<PathAt> {
        let [first, second] = [argument(asked, 0), argument(asked, 1)];
        Ok(match self {
            Named::Path => PathAt { directory: AT_FDCWD, path: Some(first), flags: 0 },
            Named::Link => PathAt { directory: AT_FDCWD, path: Some(first), flags: AT_SYMLINK_NOFOLLOW },
            Named::Descriptor => PathAt { directory: first as i32, path: None, flags: 0 },
            Named::At(flags) => {
                let flags = argument(asked, flags) as i32;
                // Linux 6.11: no path at all is an empty one.
                let path = Some(second).filter(|path| *path != 0 || flags & AT_EMPTY_PATH == 0);
                if flags & !(AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | AT_STATX_SYNC_TYPE) != 0 {
                    return Err(sys::Error::new(sys::Call::Stat, Errno::EINVAL));
                }
                PathAt { directory: first as i32, path, flags }
            }
        })
    }
}

fn chown(state: &State, task: &Task, file: &OwnedFd, (uid, gid): (u32, u32)) -> Result<Answer> {
    let status = fd::status(file.as_fd())?;
    let before = state.owners.find(file)?.map_or((status.uid, status.gid), |Shown { owner, .. }| owner);
    let after = (if uid == SAME { before.0 } else { uid }, if gid == SAME { before.1 } else { gid });
    let table = lock(&state.table);
    if after != before && table.find(task)?.is_some_and(|told| !told.may_give(before, after)) {
        return Ok(Answer::Error(Errno::EPERM));
    }
    let is_mapped = |(uid, gid)| table.has_uid(uid) && table.has_gid(gid);
    if is_mapped(after) && is_mapped((status.uid, status.gid)) {
        drop(table);
        // Nothing is to be faked: the file itself is given, or not.
        state.owners.forget(file)?;
        return Ok(Answer::Kernels);
    }
    drop(table);
    // The kernel clears setuid and setgid, whoever gets it, and says if the file cannot be changed.
    match fd::chown_at(file.as_fd(), c"", SAME, SAME) {
        // Somebody else's on the host, such as what was bound.
        Ok(()) => {}
        Err(error) if error.errno == Errno::EPERM => {}
        Err(error) => return Ok(Answer::Error(error.errno)),
    }
    state.owners.keep(file, &status, after);
    Ok(Answer::Value(0))
}

fn mknod(task: &Task, asked: &Asked, at: usize) -> Result<Answer> {
    let directory = if at == 1 { AT_FDCWD } else { argument(asked, 0) as i32 };
    let [path, mode, number] = [argument(asked, at - 1), argument(asked, at), argument(asked, at + 1)];
    let (mode, is_character) = (mode as u32, mode as u32 & S_IFMT == S_IFCHR);
    if is_character && number == 0 {
        // An overlay's mark of what is deleted, which everybody may make (Linux 5.8).
        return Ok(Answer::Kernels);
    }
    let (above, last) = task.find_parent(directory, path, false)?;
    let flags = fd::O_CREAT | fd::O_EXCL | fd::O_WRONLY | fd::O_NOFOLLOW;
    let file = match task.act(|| fd::open_at(above.as_fd(), &last, flags, mode & 0o7777)) {
        Err(error) => return Ok(Answer::Error(error.errno)),
        Ok(file) => file,
    };
    // Said or not: the node is there, and what opens it finds an empty file.
    let _ = keep_device(&file, if is_character { 'c' } else { 'b' }, number_as_shown(number));
    Ok(Answer::Value(0))
}

/// mknod(2) takes 32 bits: twelve of the major number between the lower and the upper ones of the minor number.
fn number_as_shown(number: u64) -> u64 {
    let (major, minor) = ((number & 0xf_ff00) >> 8, (number & 0xff) | (number >> 12 & 0xf_ff00));
    fd::device_number(major as u32, minor as u32)
}

/// What somebody makes who was told that he is not root is his. What is there already is the kernel's to open, or to refuse.
fn create(state: &State, task: &Task, asked: &Asked, made: Made) -> Result<Answer> {
    let told = lock(&state.table).find(task)?;
    let Some(told) = told.filter(|told| !told.is_root()) else { return Ok(Answer::Kernels) };
    let (Made::File(path, _) | Made::Directory(path) | Made::Symlink(path)) = made;
    let has_directory = match made {
        Made::Symlink(path) => path == 2,
        Made::File(path, _) | Made::Directory(path) => path == 1,
    };
    let directory = if has_directory { argument(asked, path - 1) as i32 } else { AT_FDCWD };
    let is_directory = matches!(made, Made::Directory(_));
    let (above, last) = task.find_parent(directory, argument(asked, path), is_directory)?;
    let owner = told.owner_in(state, &above)?;
    let keep = |file: &OwnedFd| {
        let status = fd::status(file.as_fd())?;
        state.owners.keep(file, &status, owner);
        Ok::<_, sys::Error>(())
    };
    let open_itself = || fd::open_at(above.as_fd(), &last, fd::O_PATH | fd::O_NOFOLLOW, 0);
    // It is made; whose it is said to be is less than that.
    let keep_itself = || {
        let _ = open_itself().and_then(|made| keep(&made));
    };
    match made {
        Made::Directory(_) => {
            let mode = argument(asked, path + 1) as u32 & 0o7777;
            task.act(|| fd::make_dir_at(above.as_fd(), &last, mode))?;
            keep_itself();
        }
        Made::Symlink(_) => {
            let target = task.read_string(argument(asked, 0))?;
            task.act(|| fd::symlink_at(&target, above.as_fd(), &last))?;
            keep_itself();
        }
        Made::File(_, flags) => {
            let (flags, mode) = match flags {
                Flags::Next => (argument(asked, path + 1) as i32, argument(asked, path + 2)),
                Flags::OfCreat => (fd::O_WRONLY | fd::O_TRUNC, argument(asked, path + 1)),
            };
            if flags & (fd::O_PATH | fd::O_DIRECTORY) != 0 {
                // The kernel makes nothing then.
                return Ok(Answer::Kernels);
            }
            let new = flags | fd::O_CREAT | fd::O_EXCL | fd::O_NOFOLLOW | fd::O_NOCTTY;
            let file = task.act(|| fd::open_at(above.as_fd(), &last, new, mode as u32 & 0o7777))?;
            keep(&file)?;
            let closes = flags & fd::O_CLOEXEC != 0;
            return match notification::answer_with(state.listener.as_fd(), asked.id, file.as_fd(), closes) {
                Ok(()) => Ok(Answer::Given),
                Err(error) => {
                    // The thread has no room for a descriptor, or the kernel is older: as if nothing had been made.
                    let (there, own) = (open_itself()?, fd::status(file.as_fd())?);
                    let there = fd::status(there.as_fd())?;
                    if (there.device, there.inode) == (own.device, own.inode) {
                        fd::unlink_at(above.as_fd(), &last)?;
                    }
                    Ok(if error.errno == Errno::EMFILE { Answer::Error(Errno::EMFILE) } else { Answer::Kernels })
                }
            };
        }
    }
    Ok(Answer::Value(0))
}

/// What is kept for fake root is nobody's to copy.
fn listxattr(task: &Task, asked: &Asked, named: Named) -> Result<Answer> {
    let file = task.find_file(&named.path_at(asked)?)?;
    let mut names = vec![0; attribute::LONGEST_LIST];
    let length = attribute::list_by_path(&name(&file), &mut names)?;
    let names = names.get(..length).unwrap_or_default();
    let parts: Vec<_> = names.split(|byte| *byte == 0).filter(|name| !name.is_empty()).collect();
    let is_own = |name: &&&[u8]| [owner::ATTRIBUTE, DEVICE].iter().any(|own| own.to_bytes() == **name);
    if !parts.iter().any(|name| is_own(&name)) {
        return Ok(Answer::Kernels);
    }
    let shown: Vec<u8> = parts.iter().filter(|name| !is_own(name)).flat_map(|name| [*name, b"\0"].concat()).collect();
    let room = argument(asked, 2) as usize;
    if room != 0 && room < shown.len() {
        return Ok(Answer::Error(Errno::ERANGE));
    }
    if room != 0 && !shown.is_empty() {
        task.write(argument(asked, 1), &shown)?;
    }
    Ok(Answer::Value(shown.len() as i64))
}

/// A capability of a file is set if it can be: that needs the file system's owner.
fn setxattr(task: &Task, asked: &Asked, named: Named) -> Result<Answer> {
    let [_, attribute, value, length, flags, _] = asked.arguments;
    let attribute = task.read_string(attribute)?;
    if attribute.as_c_str() != c"security.capability" || length > 65536 {
        return Ok(Answer::Kernels);
    }
    let status = task.read_file(c"status")?;
    let file = task.find_file(&named.path_at(asked)?)?;
    let value = task.read(value, length as usize)?;
    // linux/capability.h, struct vfs_cap_data. execve(2) is EPERM for a file with what nobody here can have.
    let half = |at: usize| value.get(at..at + 4).map_or(0, |half| u64::from(number(half)));
    let given = half(4) | half(12) << 32;
    if capabilities(&status, "CapEff:") & 1 << CAP_SETFCAP == 0 || given & !capabilities(&status, "CapBnd:") != 0 {
        return Ok(Answer::Value(0));
    }
    Ok(match attribute::set_by_path(&name(&file), &attribute, &value, flags as i32) {
        Ok(()) => Answer::Value(0),
        Err(error) if matches!(error.errno, Errno::EPERM | Errno::EOPNOTSUPP) => Answer::Value(0),
        Err(error) => Answer::Error(error.errno),
    })
}

fn change_ids(state: &State, task: &Task, asked: &Asked, change: Change) -> Result<Answer> {
    // A thread's memory may be slow to come: whoever serves it may ask meanwhile.
    let count = argument(asked, 0) as i32;
    let groups = match change {
        Change::Groups if u32::try_from(count).is_ok_and(|count| count <= MOST_GROUPS) => {
            let bytes = task.read(argument(asked, 1), count as usize * 4)?;
            let mut groups: Vec<u32> = bytes.chunks_exact(4).map(number).collect();
            groups.sort_unstable();
            Some(groups)
        }
        _ => None,
    };
    let mut table = lock(&state.table);
    let told = table.find(task)?;
    if told.is_none() && is_for_kernel(&table, asked, change) {
        return Ok(Answer::Kernels);
    }
    let before = told.map_or_else(|| Credentials::of_kernel(task), Ok)?;
    let is_root = before.is_root() || before.is_capable;
    let [first, second, third] = [0, 1, 2].map(|index| argument(asked, index) as u32);
    let mut after = before.clone();
    let change_one = |after: &mut Credentials, whose: Whose, change: &dyn Fn(ids::Ids) -> Result<ids::Ids>| {
        let ids = after.of(whose);
        change(*ids).map(|new| *ids = new)
    };
    let mut value = 0;
    let changed = match change {
        Change::One(_) if first == SAME => Err(sys::Error::new(sys::Call::Setuid, Errno::EINVAL)),
        Change::One(whose) => change_one(&mut after, whose, &|before| ids::set(before, first, is_root)),
        Change::Two(whose) => change_one(&mut after, whose, &|before| ids::set_two(before, first, second, is_root)),
        Change::Three(whose) => {
            change_one(&mut after, whose, &|before| ids::set_three(before, [first, second, third], is_root))
        }
        Change::OfFiles(whose) => {
            value = i64::from(after.of(whose)[3]);
            change_one(&mut after, whose, &|before| Ok(ids::set_of_files(before, first, is_root)))
        }
        Change::Groups if !is_root => Err(sys::Error::new(sys::Call::Setgroups, Errno::EPERM)),
        Change::Groups => groups.map_or(Err(sys::Error::new(sys::Call::Setgroups, Errno::EINVAL)), |groups| {
            after.groups = groups;
            Ok(())
        }),
    };
    if let Err(error) = changed {
        return Ok(Answer::Error(error.errno));
    }
    if after != before {
        match table.tell(task, after) {
            Ok(()) => {}
            // Nobody knows a better word for it.
            Err(_) => return Ok(Answer::Error(Errno::EAGAIN)),
        }
    }
    Ok(Answer::Value(value))
}

/// Whether the kernel does what is asked: who was told nothing and becomes somebody who is mapped.
fn is_for_kernel(table: &Table, asked: &Asked, change: Change) -> bool {
    let count = match change {
        Change::One(_) | Change::OfFiles(_) => 1,
        Change::Two(_) => 2,
        Change::Three(_) => 3,
        Change::Groups => return table.takes_groups,
    };
    let whose = match change {
        Change::One(whose) | Change::Two(whose) | Change::Three(whose) | Change::OfFiles(whose) => whose,
        Change::Groups => User,
    };
    let is_mapped = |id: &u64| match whose {
        User => table.has_uid(*id as u32),
        Group => table.has_gid(*id as u32),
    };
    asked.arguments.iter().take(count).all(is_mapped)
}

fn ask(state: &State, task: &Task, asked: &Asked, question: Ask) -> Result<Answer> {
    let Some(mut told) = lock(&state.table).find(task)? else { return Ok(Answer::Kernels) };
    match question {
        Ask::One(whose, which) => Ok(Answer::Value(told.of(whose).get(which).copied().unwrap_or(0).into())),
        Ask::Three(whose) => {
            let ids = *told.of(whose);
            for (index, id) in ids.iter().take(3).enumerate() {
                task.write(argument(asked, index), &id.to_ne_bytes())?;
            }
            Ok(Answer::Value(0))
        }
        Ask::Groups => {
            let (room, count) = (argument(asked, 0) as i32, told.groups.len());
            if room < 0 || room != 0 && (room as usize) < count {
                return Ok(Answer::Error(Errno::EINVAL));
            }
            if room != 0 {
                let bytes: Vec<u8> = told.groups.iter().flat_map(|group| group.to_ne_bytes()).collect();
                task.write(argument(asked, 1), &bytes)?;
            }
            Ok(Answer::Value(count as i64))
        }
    }
}

/// Nobody gets what he has not got, but he is told so.
fn capset(state: &State, task: &Task, asked: &Asked) -> Result<Answer> {
    let header = task.read(argument(asked, 0), 8)?;
    // _LINUX_CAPABILITY_VERSION_1 has one half, the others have two.
    let halves = if header.get(..4).map(number) == Some(0x1998_0330) { 1 } else { 2 };
    let data = task.read(argument(asked, 1), halves * 12)?;
    let set = |at: usize| {
        let half = |half: &[u8]| half.get(at..at + 4).map_or(0, |half| u64::from(number(half)));
        data.chunks_exact(12).rev().fold(0u64, |all, bytes| all << 32 | half(bytes))
    };
    let (effective, permitted) = (set(0), set(4));
    let mut table = lock(&state.table);
    if let Some(told) = table.find(task)?.filter(|told| !told.is_root()) {
        let is_capable = effective & (1 << CAP_SETUID | 1 << CAP_SETGID) != 0;
        if told.is_capable != is_capable {
            table.tell(task, Credentials { is_capable, ..told })?;
        }
    }
    drop(table);
    let status = task.read_file(c"status")?;
    Ok(if permitted & !capabilities(&status, "CapPrm:") == 0 { Answer::Kernels } else { Answer::Value(0) })
}

/// A set of capabilities, as /proc/PID/status has it.
fn capabilities(status: &str, key: &str) -> u64 {
    let text = status.lines().find_map(|line| line.strip_prefix(key));
    text.and_then(|text| u64::from_str_radix(text.trim(), 16).ok()).unwrap_or(0)
}

/// unix(7), SO_PEERCRED: who was told that he is somebody is that for others.
fn peer(state: &State, task: &Task, asked: &Asked) -> Result<Answer> {
    let status = task.read_file(c"status")?;
    let process: i32 = numbers(&status, "Tgid:").first().copied().unwrap_or(0);
    let pidfd = process::open_pidfd(process)?;
    let socket = notification::copy_descriptor(pidfd.as_fd(), argument(asked, 0) as i32)?;
    let other = notification::peer(socket.as_fd())?;
    if other == 0 {
        return Ok(Answer::Kernels);
    }
    let other = Task::of(state, other)?;
    let Some(told) = lock(&state.table).find(&other)? else { return Ok(Answer::Kernels) };
    // Its pid where the caller is: as many namespaces down.
    let level = numbers(&status, "NSpid:").len();
    let pids = numbers(&other.read_file(c"status")?, "NSpid:");
    let pid = level.checked_sub(1).and_then(|level| pids.get(level)).copied().unwrap_or(0);
    let length = number(&task.read(argument(asked, 4), 4)?);
    let told = [pid as u32, told.uids[1], told.gids[1]].map(u32::to_ne_bytes).concat();
    let told = told.get(..length as usize).unwrap_or(&told);
    task.write(argument(asked, 3), told)?;
    task.write(argument(asked, 4), &(told.len() as u32).to_ne_bytes())?;
    Ok(Answer::Value(0))
}

/// The numbers behind a key of /proc/PID/status.
fn numbers(status: &str, key: &str) -> Vec<i32> {
    let line = status.lines().find_map(|line| line.strip_prefix(key));
    line.unwrap_or_default().split_whitespace().filter_map(|number| number.parse().ok()).collect()
}

fn number(bytes: &[u8]) -> u32 {
    bytes.try_into().map_or(0, u32::from_ne_bytes)
}

impl Credentials {
    /// Whether it may change a file's owner from this to that (chown(2)).
    fn may_give(&self, before: (u32, u32), after: (u32, u32)) -> bool {
        let is_own = before.0 == self.uids[1] && after.0 == before.0;
        let is_in = after.1 == before.1 || self.gids[1] == after.1 || self.groups.contains(&after.1);
        self.is_root() || is_own && is_in
    }

    /// Whose what it makes in a directory is: its own, or of the directory's group where that is set so.
    fn owner_in(&self, state: &State, directory: &OwnedFd) -> Result<(u32, u32)> {
        let status = fd::status(directory.as_fd())?;
        let group = match status.mode & S_ISGID {
            0 => self.gids[3],
            _ => state.owners.find(directory)?.map_or(status.gid, |shown| shown.owner.1),
        };
        Ok((self.uids[3], group))
    }

    fn of(&mut self, whose: Whose) -> &mut ids::Ids {
        match whose {
            User => &mut self.uids,
            Group => &mut self.gids,
        }
    }
}
