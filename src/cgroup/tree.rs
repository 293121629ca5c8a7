//! A directory of the version 2 hierarchy: making it, writing its files, watching and removing it (cgroups(7)).

use super::PATIENCE;
use super::hold::{Hold, hold, inode, is_marked, mark, open_own, take};
use crate::error::{Absence, Error, Result, found};
use crate::host::{hierarchy_root, own_cgroup};
use crate::plan::Setting;
use crate::sys::{Errno, fd, mount, process, signal};
use std::collections::BTreeSet;
use std::ffi::{CStr, CString};
use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long a removal may go unnoticed: it wakes nobody who waits for a change.
const REMOVAL: Duration = Duration::from_millis(50);

/// How long the last of a pid namespace may take to leave.
const GRACE: Duration = Duration::from_secs(1);

/// Where the processes go that stand in the way of controllers (cgroups(7), no internal processes).
const LEAF: &str = "rootlet.callers";

fn failed(path: &Path, file: &str, error: &io::Error) -> Error {
    Error::from_io(format!("cgroup {}: {file}", path.display()), error)
}

/// Opens the directory, for a process that is to be born in it.
pub fn open(path: &Path) -> Result<OwnedFd> {
    let name = CString::new(path.as_os_str().as_bytes()).unwrap_or_default();
    fd::open(&name, fd::O_RDONLY | fd::O_DIRECTORY, 0).map_err(|error| Error::from_call(path.display(), error))
}

/// Opens a cgroup for a process that is born where others may look at it: a handle that leads nowhere but to this cgroup, as far
/// as the caller may have one. (Others may not look, in a user namespace.)
pub fn open_alone(path: &Path) -> Result<OwnedFd> {
    let name = CString::new(path.as_os_str().as_bytes()).unwrap_or_default();
    match mount::open_tree(&name, false) {
        Err(error) if matches!(error.errno, Errno::EPERM | Errno::ENOSYS | Errno::EINVAL) => open(path),
        other => other.map_err(|error| Error::from_call(path.display(), error)),
    }
}

/// Makes the cgroup, below `base` which exists: its place, and a handle with a lock on it, which keeps others away while
/// no process is in it. An empty one that is there already is nobody's, and made anew, unless somebody has made it ready: then
/// its limits are meant. A proposal that has processes is another container's,
/// and another name is taken; a place that was asked for must be empty. `announce` is told of a place before it is made.
pub fn make(
    base: &Path,
    path: &Path,
    is_proposal: bool,
    announce: &dyn Fn(&Path) -> Result<()>,
) -> Result<(PathBuf, Hold)> {
    let parents = path.strip_prefix(base).unwrap_or(path).parent().into_iter().flatten();
    let mut parent = base.to_owned();
    for part in parents {
        parent.push(part);
        if !make_directory(&parent)? {
            refuse_others(&parent)?;
        }
    }
    announce(path)?;
    loop {
        if !make_directory(path)? {
            match take(path)? {
                // Nobody has had it: it was made for this. (One that passes controllers on can have no processes.)
                Some(lock)
                    if !is_proposal
                        && !is_populated(path)?
                        && !is_marked(&lock)?
                        && words(path, "cgroup.subtree_control")?.is_empty() =>
                {
                    mark(&lock)?;
                    return Ok((path.to_owned(), lock));
                }
                // It has the settings of whoever had it before, or whose maker was killed.
                Some(lock) if !is_populated(path)? && remove_childless(path)? => {
                    drop(lock);
                    continue;
                }
                _ if is_proposal => {
                    let name = path.file_name().unwrap_or_default().to_string_lossy();
                    return make(base, &path.with_file_name(format!("{name}.{}", std::process::id())), false, announce);
                }
                // It has children.
                Some(lock) if !is_populated(path)? => return Ok((path.to_owned(), lock)),
                _ if inode(path)?.is_none() => continue,
                _ => {
                    return Err(Error::new(format!("cgroup {} is another's", path.display()))
                        .because("there are processes in it, or a container is being made there")
                        .remedy("name another in linux.cgroupsPath, or end those processes"));
                }
            }
        }
        if let Some(lock) = take(path).inspect_err(|_| drop(fs::remove_dir(path)))? {
            mark(&lock).inspect_err(|_| drop(fs::remove_dir(path)))?;
            return Ok((path.to_owned(), lock));
        }
        // Somebody took it for a leftover.
    }
}

/// Whoever is made below a container's cgroup ends with that.
fn refuse_others(parent: &Path) -> Result<()> {
    if words(parent, "cgroup.procs")?.is_empty() || of_process(std::process::id() as i32)?.starts_with(parent) {
        return Ok(());
    }
    Err(Error::new(format!("cgroup {} is another's", parent.display()))
        .because("there are processes in it, and with it all below it is ended")
        .remedy("name a place beside it in linux.cgroupsPath"))
}

/// Makes a directory; false if it is there already.
fn make_directory(path: &Path) -> Result<bool> {
    match fs::create_dir(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(failed(path, "mkdir", &error).remedy("name another place in linux.cgroupsPath")),
    }
}

/// Removes a cgroup that nobody uses, if it is still there; its maker was killed before it was anybody's.
pub fn remove_unused(path: &Path) -> Result<()> {
    match take(path)? {
        Some(_lock) if !is_populated(path)? => remove_childless(path).map(drop),
        _ => Ok(()),
    }
}

/// Removes a cgroup without processes; `false` if it has children.
fn remove_childless(path: &Path) -> Result<bool> {
    match found(fs::remove_dir(path)) {
        Err(error) if matches!(error.raw_os_error().map(Errno::from_raw), Some(Errno::EBUSY | Errno::ENOTEMPTY)) => {
            Ok(false)
        }
        other => other.map(|_| true).map_err(|error| failed(path, "rmdir", &error)),
    }
}

/// Whether a cgroup has that file.
pub fn exists(path: &Path, file: &str) -> Result<bool> {
    path.join(file).try_exists().map_err(|error| failed(path, file, &error))
}

/// Gives `path` these controllers, by all directories from `base` to its parent. Processes of the caller's own cgroup
/// are moved to a leaf of it where they are in the way.
pub fn enable(base: &Path, path: &Path, controllers: &[String], own: &Path) -> Result<()> {
    let parents: Vec<_> = path.ancestors().skip(1).take_while(|parent| parent.starts_with(base)).collect();
    for parent in parents.into_iter().rev() {
        let enabled = list(parent, "cgroup.subtree_control")?;
        let missing: Vec<_> = controllers.iter().filter(|name| !enabled.contains(name)).collect();
        if missing.is_empty() {
            continue;
        }
        let text = missing.iter().map(|name| format!("+{name}")).collect::<Vec<_>>().join(" ");
        // Some controllers could be had all the same, but then its children are threaded and no good. The root of all has no
        // type, and is free of this rule.
        if !words(parent, "cgroup.procs")?.is_empty() && exists(parent, "cgroup.type")? {
            if parent != own {
                return Err(Error::new(format!(
                    "cgroup {} has processes, so its children get no controllers",
                    parent.display()
                ))
                .because("cgroups(7), no internal processes")
                .remedy("move them to a child of it"));
            }
            make_way(parent)?;
        }
        fs::write(parent.join("cgroup.subtree_control"), &text).map_err(|error| {
            let message = failed(parent, &format!("write {text:?} to cgroup.subtree_control"), &error);
            match error.raw_os_error().map(Errno::from_raw) {
                Some(Errno::ENOENT) => match words(parent, "cgroup.controllers") {
                    Ok(controllers) => {
                        message.because(format!("the controllers that it may pass on are: {controllers}"))
                    }
                    Err(_) => message,
                },
                _ => message,
            }
        })?;
    }
    Ok(())
}

/// Moves all processes of a cgroup to a leaf below it.
fn make_way(path: &Path) -> Result<()> {
    let leaf = path.join(LEAF);
    match fs::create_dir(&leaf) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(failed(&leaf, "mkdir", &error)),
        _ => {}
    }
    // One that forks meanwhile leaves a child behind.
    for _ in 0..100 {
        let pids = words(path, "cgroup.procs")?;
        if pids.is_empty() {
            return Ok(());
        }
        for pid in pids.split_whitespace() {
            match fs::write(leaf.join("cgroup.procs"), pid) {
                // It has ended.
                Err(error) if error.raw_os_error() == Some(Errno::ESRCH as i32) => {}
                other => other.map_err(|error| failed(&leaf, &format!("move process {pid}"), &error))?,
            }
        }
    }
    Err(Error::new(format!("cgroup {}: processes appear faster than they can be moved", path.display())))
}

/// Writes a setting.
pub fn write(path: &Path, setting: &Setting) -> Result<()> {
    if !exists(path, &setting.file)? {
        if let Some(other) = &setting.instead {
            return write(path, other);
        }
        if setting.is_optional {
            return Ok(());
        }
    }
    let file = path.join(&setting.file);
    fs::OpenOptions::new()
        .write(true)
        .open(&file)
        .and_then(|mut file| io::Write::write_all(&mut file, setting.value.as_bytes()))
        .map_err(|error| {
            let message = Error {
                property: setting.property.to_owned(),
                ..Error::from_io(format!("write {:?} to {}", setting.value, setting.file), &error)
            };
            match error.raw_os_error().map(Errno::from_raw) {
                Some(Errno::ENOENT | Errno::EACCES) => message
                    .because("this kernel has no such file in a cgroup")
                    .remedy(format!("see the files in {}", path.display())),
                Some(Errno::EINVAL | Errno::ERANGE) => {
                    message.because("the kernel refuses the value").remedy("correct it")
                }
                Some(Errno::ENODEV) => {
                    message.because("there is no such device").remedy("see major and minor in `lsblk`")
                }
                Some(Errno::EBUSY) => message.because("the container uses more than that"),
                Some(Errno::EOPNOTSUPP) => message.because("the device's scheduler has no such limit"),
                _ => message,
            }
        })
}

/// The directory of a process's cgroup.
pub fn of_process(pid: i32) -> Result<PathBuf> {
    find_of_process(pid)?.ok_or_else(|| Error::new(format!("process {pid} has ended")))
}

/// The cgroup of a process; `None` if the process is gone.
pub fn find_of_process(pid: i32) -> Result<Option<PathBuf>> {
    let path = format!("/proc/{pid}/cgroup");
    let text = found(fs::read_to_string(&path)).map_err(|error| Error::from_io(&path, &error))?;
    let Some(text) = text else { return Ok(None) };
    let place = hierarchy_root()?.and_then(|root| own_cgroup(&root, &text));
    place.map(Some).ok_or_else(|| Error::new(format!("{path}: the cgroup is out of sight")))
}

/// What the files of these settings say now, as settings that bring it back.
pub fn values(path: &Path, settings: &[Setting]) -> Result<Vec<Setting>> {
    let now = |setting: &Setting| {
        let setting = match &setting.instead {
            Some(other) if !exists(path, &setting.file)? => other,
            _ => setting,
        };
        let text = found(fs::read_to_string(path.join(&setting.file)));
        let Some(text) = text.map_err(|error| failed(path, &setting.file, &error))? else { return Ok(None) };
        let key = setting.value.split(' ').next().unwrap_or_default();
        let value = match setting.file.as_str() {
            // A line for each device that has a limit.
            "io.max" => {
                let line = text.lines().find(|line| line.split(' ').next() == Some(key));
                line.map_or(format!("{key} rbps=max wbps=max riops=max wiops=max"), str::to_owned)
            }
            "io.weight" | "io.bfq.weight" => {
                let line = text.lines().find(|line| line.split(' ').next() == Some(key));
                line.map_or(format!("{key} default"), str::to_owned)
            }
            _ if text.lines().count() > 1 => match text.lines().find(|line| line.split(' ').next() == Some(key)) {
                Some(line) => line.to_owned(),
                None => return Ok(None),
            },
            // Nothing is written by no bytes.
            _ if text.trim().is_empty() => "\n".to_owned(),
            _ => text.trim().to_owned(),
        };
        Ok(Some(Setting { value, instead: None, ..setting.clone() }))
    };
    settings.iter().rev().filter_map(|setting| now(setting).transpose()).collect()
}

/// The text of a file, trimmed; empty if there is none, or it tells nothing here (EOPNOTSUPP: threaded cgroups, pressure that
/// is not measured).
pub fn words(path: &Path, file: &str) -> Result<String> {
    match found(regain(path, || fs::read_to_string(path.join(file)))) {
        Ok(text) => Ok(text.unwrap_or_default().trim().to_owned()),
        // ENODEV: it was removed while it was read.
        Err(error) if matches!(error.raw_os_error().map(Errno::from_raw), Some(Errno::EOPNOTSUPP | Errno::ENODEV)) => {
            Ok(String::new())
        }
        Err(error) => Err(failed(path, file, &error)),
    }
}

/// The words of a file, such as the names of controllers.
pub fn list(path: &Path, file: &str) -> Result<Vec<String>> {
    Ok(words(path, file)?.split_whitespace().map(str::to_owned).collect())
}

/// The number behind a key of a flat-keyed file, such as `populated` in cgroup.events.
pub fn value(text: &str, key: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' ')?.trim().parse().ok())
}

/// Whether there are processes in it or below it. One that somebody has just removed has none.
pub fn is_populated(path: &Path) -> Result<bool> {
    Ok(value(&words(path, "cgroup.events")?, "populated") == Some(1))
}

/// True if its processes are to be frozen. (They are also if a cgroup above is; but that is not the container's business.)
pub fn is_frozen(path: &Path) -> Result<bool> {
    Ok(words(path, "cgroup.freeze")? == "1")
}

/// The cgroup that keeps processes at that place frozen, there or above, as far as it is in sight. The container's own does not
/// count: whether that is frozen is its status, or a signal's doing for a moment.
pub fn find_frozen<'a>(place: &'a Path, own: &Path) -> Result<Option<&'a Path>> {
    for above in place.ancestors().take_while(|above| above.starts_with("/sys/fs/cgroup")).filter(|path| *path != own) {
        // It tells of those above, too.
        if value(&words(above, "cgroup.events")?, "frozen") == Some(0) {
            break;
        }
        if is_frozen(above)? {
            return Ok(Some(above));
        }
    }
    Ok(None)
}

/// Freezes its processes, and waits until that is done.
pub fn freeze(path: &Path) -> Result<()> {
    set_frozen(path, "1")?;
    if wait_for(path, "frozen", 1, PATIENCE)? {
        return Ok(());
    }
    thaw(path)?;
    Err(Error::new(format!("cgroup {}: its processes do not freeze", path.display()))
        .because("one of them hangs in the kernel")
        .remedy("see `dmesg`"))
}

/// Lets its processes go on, as far as no cgroup above is frozen.
pub fn thaw(path: &Path) -> Result<()> {
    set_frozen(path, "0")
}

fn set_frozen(path: &Path, value: &str) -> Result<()> {
    regain(path, || fs::write(path.join("cgroup.freeze"), value)).map_err(|error| failed(path, "cgroup.freeze", &error))
}

/// Waits until a key of cgroup.events has that value; false if it takes too long.
fn wait_for(path: &Path, key: &str, wanted: u64, patience: Duration) -> Result<bool> {
    let open = || {
        regain(path, || fs::File::open(path.join("cgroup.events")))
            .map_err(|error| failed(path, "cgroup.events", &error))
    };
    let file = open()?;
    let start = Instant::now();
    loop {
        let text = match found(io::read_to_string(&file)).map_err(|error| failed(path, "cgroup.events", &error))? {
            Some(text) => text,
            // It was removed, and so neither has processes nor keeps any.
            None => return Ok(wanted == 0),
        };
        if value(&text, key) == Some(wanted) {
            return Ok(true);
        }
        let left = patience.saturating_sub(start.elapsed());
        if left.is_zero() {
            return Ok(false);
        }
        let system = |error| Error::from_call(path.display(), error);
        fd::wait_for_change(file.as_fd(), left.min(REMOVAL).as_millis() as i32).map_err(system)?;
        fd::rewind(file.as_fd()).map_err(system)?;
    }
}

/// Sends SIGKILL to all processes in it and below it.
pub fn kill(path: &Path) -> Result<()> {
    match regain(path, || fs::write(path.join("cgroup.kill"), "1")) {
        Err(error) if error.is_absence() && inode(path)?.is_none() => Ok(()),
        // Before Linux 5.14.
        Err(error) if error.kind() == io::ErrorKind::NotFound => kill_each(path),
        other => other.map_err(|error| failed(path, "cgroup.kill", &error)),
    }
}

/// Sends SIGKILL to all in the cgroup with this inode. Nobody else's is hit: by its descriptor it is that one, whatever has its
/// place by now.
pub fn kill_known(path: &Path, inode: u64) -> Result<()> {
    let system = |error| Error::from_call(path.display(), error);
    let name = CString::new(path.as_os_str().as_bytes()).unwrap_or_default();
    let Some(directory) = open_own(fd::borrow_cwd(), &name).map_err(system)? else { return Ok(()) };
    if fd::status(directory.as_fd()).map_err(system)?.inode != inode {
        return Ok(());
    }
    match fd::write_file(directory.as_fd(), c"cgroup.kill", b"1") {
        // Before Linux 5.14, or its container has taken the permissions away.
        Err(error) if matches!(error.errno, Errno::ENOENT | Errno::EACCES) => {
            let held = hold(path, inode)?;
            held.map_or(Ok(()), |_held| kill(path))
        }
        Err(error) if error.errno == Errno::ENODEV => Ok(()),
        other => other.map_err(system),
    }
}

/// Sends SIGKILL to one process after the other, until there is none that has not got it: they may fork meanwhile.
fn kill_each(path: &Path) -> Result<()> {
    let mut killed = BTreeSet::new();
    loop {
        let new: Vec<_> = processes(path)?.into_iter().filter(|pid| killed.insert(*pid)).collect();
        if new.is_empty() {
            return Ok(());
        }
        for pid in new {
            let system = |error| Error::from_call(path.display(), error);
            let Some(pidfd) = process::find_pidfd(pid).map_err(system)? else { continue };
            // Looked at again behind the pidfd: the pid may have been reused.
            if find_of_process(pid)?.is_some_and(|place| place.starts_with(path)) {
                found(process::send_signal(pidfd.as_fd(), signal::SIGKILL)).map_err(system)?;
            }
        }
    }
}

/// All processes in it and below it, as the caller's pid namespace numbers them.
pub fn processes(path: &Path) -> Result<Vec<i32>> {
    let mut pids = Vec::new();
    walk(path, &mut |directory, _| {
        // Children that were just removed have none, and threaded ones are listed where they belong.
        let text = words(&place_of(directory), "cgroup.procs")?;
        pids.extend(text.lines().filter_map(|line| line.parse::<i32>().ok()).filter(|pid| *pid != 0));
        Ok(())
    })?;
    pids.sort_unstable();
    Ok(pids)
}

/// What is done with an opened cgroup, which has a name in its parent.
type Visit<'a> = dyn FnMut(&OwnedFd, Option<(BorrowedFd, &CStr)>) -> Result<()> + 'a;

/// Goes to all cgroups below it and to itself, children first: each by a descriptor, and by its name in its parent. No path
/// leads there: a container that may write to its cgroup can make longer ones than the kernel takes.
fn walk(top: &Path, visit: &mut Visit) -> Result<()> {
    let system = |error| Error::from_call(format!("cgroup {}: what is below it", top.display()), error);
    let name = CString::new(top.as_os_str().as_bytes()).unwrap_or_default();
    let Some(mut at) = open_own(fd::borrow_cwd(), &name).map_err(system)? else { return Ok(()) };
    let mut above: Vec<(CString, Vec<CString>)> = Vec::new();
    let mut left = children(&at)?;
    loop {
        if let Some(name) = left.pop() {
            // It may be gone by now.
            let Some(child) = open_own(at.as_fd(), &name).map_err(system)? else { continue };
            let below = children(&child)?;
            above.push((name, std::mem::replace(&mut left, below)));
            at = child;
            continue;
        }
        let Some((name, rest)) = above.pop() else { return visit(&at, None) };
        let parent = fd::open_at(at.as_fd(), c"..", fd::O_RDONLY | fd::O_DIRECTORY, 0).map_err(system)?;
        visit(&at, Some((parent.as_fd(), &name)))?;
        (at, left) = (parent, rest);
    }
}

/// A path of an opened directory.
fn place_of(directory: &OwnedFd) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", directory.as_raw_fd()))
}

fn children(directory: &OwnedFd) -> Result<Vec<CString>> {
    let place = place_of(directory);
    let unread = |error: io::Error| failed(&place, "children", &error);
    let mut names = Vec::new();
    for entry in found(fs::read_dir(&place)).map_err(unread)?.into_iter().flatten() {
        let entry = entry.map_err(unread)?;
        if found(entry.file_type()).map_err(unread)?.is_some_and(|kind| kind.is_dir()) {
            names.push(CString::new(entry.file_name().into_encoded_bytes()).unwrap_or_default());
        }
    }
    Ok(names)
}

/// A container that may write to its cgroup belongs to the caller, and may have taken all permissions away: these are given
/// back.
fn regain<T>(path: &Path, act: impl Fn() -> io::Result<T>) -> io::Result<T> {
    let give_back = || -> io::Result<()> {
        fs::set_permissions(path, fs::Permissions::from_mode(0o755))?;
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            if entry.file_name().as_bytes().starts_with(b"cgroup.") {
                // Only its owner opens what it is locked by.
                let mode = if entry.file_name() == "cgroup.kill" { 0o200 } else { 0o644 };
                fs::set_permissions(entry.path(), fs::Permissions::from_mode(mode))?;
            }
        }
        Ok(())
    };
    match act() {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied && give_back().is_ok() => act(),
        other => other,
    }
}

/// Removes a cgroup with all that is below it. Processes that are left in it are ended, unless none can be the container's.
pub fn remove(path: &Path, ends_processes: bool) -> Result<()> {
    if remove_childless(path)? {
        return Ok(());
    }
    // One that was just being added keeps it busy once more.
    for _ in 0..3 {
        if is_populated(path)? {
            if ends_processes {
                kill(path)?;
            }
            if !wait_for(path, "populated", 0, if ends_processes { PATIENCE } else { GRACE })? && !ends_processes {
                return Err(Error::new(format!("cgroup {} cannot be removed", path.display()))
                    .because(format!("processes {:?} are in it, which are not the container's: that has ended with its pid namespace", processes(path)?))
                    .remedy("end them, or move them elsewhere; and name another linux.cgroupsPath for them"));
            }
        }
        walk(path, &mut |_, place| match place.map(|(parent, name)| found(fd::remove_dir_at(parent, name))) {
            Some(Err(error)) if !matches!(error.errno, Errno::EBUSY | Errno::ENOTEMPTY) => {
                Err(Error::from_call(format!("cgroup {}: what is below it", path.display()), error))
            }
            _ => Ok(()),
        })?;
        if remove_childless(path)? {
            return Ok(());
        }
    }
    Err(Error::new(format!("cgroup {} cannot be removed", path.display()))
        .because(format!("processes {:?} do not end after SIGKILL", processes(path)?))
        .remedy("see `dmesg`"))
}
