//! Who a process is, although pids are reused.

use crate::error::{Error, Result, found};
use crate::host;
use crate::sys::{Errno, fd, process};
use serde::{Deserialize, Serialize};
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::sync::OnceLock;

/// What no other process has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Identity {
    /// The inode of its pidfd (Linux 6.9), and which boot that is of: the next one counts anew, and states can outlive it.
    Inode(u64, String),
    /// When it started, in clock ticks since boot, which with its pid is enough (proc_pid_stat(5), field 22).
    StartTime(u64),
}

impl Default for Identity {
    fn default() -> Identity {
        Identity::StartTime(0)
    }
}

fn unknown(pid: i32, error: crate::sys::Error) -> Error {
    Error::from_call(format!("process {pid}, whether it runs"), error).remedy("try again")
}

impl Identity {
    /// Of a process that has not been reaped.
    pub fn of(pid: i32, pidfd: BorrowedFd) -> Result<Identity> {
        if fd::file_system(pidfd).map_err(|error| unknown(pid, error))? == fd::PIDFS_MAGIC
            && let Some(boot) = boot()?
        {
            let inode = fd::status(pidfd).map_err(|error| unknown(pid, error))?.inode;
            return Ok(Identity::Inode(inode, boot.to_owned()));
        }
        match state_of(pid)? {
            Some((_, start_time)) => Ok(Identity::StartTime(start_time)),
            None => Err(not_shown(pid)),
        }
    }

    /// Whether it was there in this boot, as far as that is known.
    pub fn is_of_this_boot(&self) -> Result<bool> {
        match self {
            Identity::Inode(_, then) => Ok(then == known_boot()?),
            Identity::StartTime(_) => Ok(true),
        }
    }

    /// The pidfd of the process; `None` if it has ended, even if it is still a zombie.
    pub fn open(&self, pid: i32) -> Result<Option<OwnedFd>> {
        let unknown = |error| unknown(pid, error);
        // Looked at behind the pidfd: by then the pid cannot be reused.
        let Some(pidfd) = process::find_pidfd(pid).map_err(unknown)? else { return Ok(None) };
        let is_same = match self {
            Identity::Inode(inode, then) => {
                then == known_boot()? && fd::status(pidfd.as_fd()).map_err(unknown)?.inode == *inode
            }
            Identity::StartTime(time) => match state_of(pid)? {
                Some((_, start_time)) => start_time == *time,
                None if process::wait_readable(pidfd.as_fd(), 0).map_err(unknown)? => false,
                None => return Err(not_shown(pid)),
            },
        };
        let has_ended = !is_same || process::wait_readable(pidfd.as_fd(), 0).map_err(unknown)?;
        Ok((!has_ended).then_some(pidfd))
    }
}

fn not_shown(pid: i32) -> Error {
    Error::new(format!("process {pid} is not in /proc"))
        .because("/proc is not mounted, or is that of another pid namespace, or hides it")
        .remedy("run this where the processes can be seen")
}

/// The inode of the caller's pid namespace.
pub fn pid_namespace() -> Result<Option<u64>> {
    let path = "/proc/self/ns/pid";
    let metadata = found(std::fs::metadata(path)).map_err(|error| Error::from_io(path, &error))?;
    Ok(metadata.map(|metadata| metadata.ino()))
}

const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// The boot that the system is in; `None` where /proc shows processes alone (subset=pid).
fn boot() -> Result<Option<&'static str>> {
    static BOOT: OnceLock<String> = OnceLock::new();
    if let Some(boot) = BOOT.get() {
        return Ok(Some(boot));
    }
    match host::read(BOOT_ID) {
        Ok(id) => Ok(Some(BOOT.get_or_init(|| id.trim().to_owned()))),
        Err(error) if error.errno == Some(Errno::ENOENT) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The boot, where a process was written down with its own.
fn known_boot() -> Result<&'static str> {
    boot()?.ok_or_else(|| Error::from_io(BOOT_ID, &std::io::Error::from_raw_os_error(Errno::ENOENT as i32)))
}

/// Whether all threads of a process are stopped by a signal; `None` if it is gone. Each is looked at: the first may have ended,
/// or rest in a stop of a tracer's (t), from which that and nobody else wakes it, while others run.
pub fn is_stopped(pid: i32) -> Result<Option<bool>> {
    let path = format!("/proc/{pid}/task");
    let unread = |error: std::io::Error| Error::from_io(&path, &error);
    let mut answer = None;
    for entry in found(std::fs::read_dir(&path)).map_err(unread)?.into_iter().flatten() {
        // A directory that is gone while it is listed is a process that is.
        let Some(entry) = found(entry).map_err(unread)? else { continue };
        let text = found(std::fs::read_to_string(entry.path().join("stat"))).map_err(unread)?.unwrap_or_default();
        let letter = text.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next());
        match letter {
            Some('T') => answer = Some(answer.unwrap_or(true)),
            None | Some('X' | 'Z') => {}
            Some(_) => answer = Some(false),
        }
    }
    Ok(answer)
}

/// Whether a process is at its end, from which no signal keeps it (PF_EXITING).
pub fn is_exiting(pid: i32) -> Result<bool> {
    const EXITING: u64 = 0x4;
    let flags = stat_of(pid)?.and_then(|fields| fields.get(9 - 3)?.parse::<u64>().ok());
    Ok(flags.is_none_or(|flags| flags & EXITING != 0))
}

/// Whether a process has become another program since it was cloned (PF_FORKNOEXEC, which a zombie still shows); `None` if it
/// is gone, or is out of sight.
pub fn has_executed(pid: i32, pidfd: BorrowedFd) -> Result<Option<bool>> {
    const FORKED_ONLY: u64 = 0x40;
    // At once: whoever is reaped shows nothing any more.
    let mut fields = stat_of(pid)?;
    if !host::has_own_proc()? {
        fields = stat_of_pidfd(pidfd)?;
    }
    let flags = fields.and_then(|fields| fields.get(9 - 3)?.parse::<u64>().ok());
    // Its number may be another's by now.
    let is_there = match process::send_signal(pidfd, 0) {
        Err(error) if error.errno == Errno::ESRCH => false,
        // It is there, as another user.
        Err(error) if error.errno == Errno::EPERM => true,
        other => other.map(|_| true).map_err(|error| Error::from_call(format!("process {pid}"), error))?,
    };
    Ok(flags.filter(|_| is_there).map(|flags| flags & FORKED_ONLY == 0))
}

/// A child of a process, which must not have been reaped; `None` if it has none. The one that was made first, unless that has ended.
pub fn first_child(parent: i32) -> Result<Option<i32>> {
    // Linux 3.5, with CONFIG_PROC_CHILDREN.
    let path = format!("/proc/{parent}/task/{parent}/children");
    if let Ok(text) = std::fs::read_to_string(&path) {
        return Ok(text.split_whitespace().next().and_then(|pid| pid.parse().ok()));
    }
    let failed = |error: std::io::Error| Error::from_io("cannot read /proc", &error);
    let mut children = Vec::new();
    for entry in std::fs::read_dir("/proc").map_err(failed)? {
        let name = entry.map_err(failed)?.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse::<i32>().ok()) else { continue };
        // The fourth field of proc_pid_stat(5).
        if stat_of(pid)?.is_some_and(|fields| fields.get(4 - 3).is_some_and(|field| *field == parent.to_string())) {
            children.push(pid);
        }
    }
    Ok(children.into_iter().min())
}

/// State letter and start time of a process; `None` if it is gone.
pub fn state_of(pid: i32) -> Result<Option<(char, u64)>> {
    let Some(fields) = stat_of(pid)? else { return Ok(None) };
    let letter = fields.first().and_then(|field| field.chars().next());
    let time = fields.get(22 - 3).and_then(|field| field.parse().ok());
    match (letter, time) {
        (Some(letter), Some(time)) => Ok(Some((letter, time))),
        _ => Err(Error::new(format!("/proc/{pid}/stat: a field is missing"))),
    }
}

/// The fields of proc_pid_stat(5) from the third on: the second, a name in parentheses, may have spaces and parentheses.
/// `None` if the process is gone.
pub fn stat_of(pid: i32) -> Result<Option<Vec<String>>> {
    let path = format!("/proc/{pid}/stat");
    let stat = found(std::fs::read_to_string(&path)).map_err(|error| Error::from_io(path, &error))?;
    Ok(stat.map(|stat| fields_of(&stat)))
}

/// The same of a process whose number in /proc is not the caller's.
fn stat_of_pidfd(pidfd: BorrowedFd) -> Result<Option<Vec<String>>> {
    let unknown = |error| Error::from_call("a process in /proc", error);
    let Some(directory) = found(process::directory_of(pidfd)).map_err(unknown)? else { return Ok(None) };
    let Some(stat) = found(fd::open_at(directory.as_fd(), c"stat", fd::O_RDONLY, 0)).map_err(unknown)? else {
        return Ok(None);
    };
    let mut text = String::new();
    let read = found(std::fs::File::from(stat).read_to_string(&mut text));
    let read = read.map_err(|error| Error::from_io("a process in /proc", &error))?;
    Ok(read.map(|_| fields_of(&text)))
}

fn fields_of(stat: &str) -> Vec<String> {
    let rest = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    rest.split_whitespace().map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_known_by_its_inode_and_its_start_time() {
        let pid = std::process::id() as i32;
        let pidfd = process::open_pidfd(pid).unwrap();
        let (_, start_time) = state_of(pid).unwrap().unwrap();
        for identity in [Identity::of(pid, pidfd.as_fd()).unwrap(), Identity::StartTime(start_time)] {
            assert!(identity.open(pid).unwrap().is_some(), "{identity:?}");
        }
        let others = [Identity::Inode(1, known_boot().unwrap().to_owned()), Identity::StartTime(start_time + 1)];
        let earlier = match Identity::of(pid, pidfd.as_fd()).unwrap() {
            Identity::Inode(inode, _) => Identity::Inode(inode, "an earlier one".to_owned()),
            Identity::StartTime(time) => Identity::StartTime(time + 2),
        };
        for identity in others.into_iter().chain([earlier]) {
            assert!(identity.open(pid).unwrap().is_none(), "a reused pid is another process");
        }
    }
}
