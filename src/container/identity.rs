//! Who a process is, although pids are reused.

use crate::sys::{fd, process};
use serde::{Deserialize, Serialize};
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// What no other process has while the system runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Identity {
    /// The inode of its pidfd (Linux 6.9).
    Inode(u64),
    /// When it started, in clock ticks since boot, which with its pid is enough (proc_pid_stat(5), field 22).
    StartTime(u64),
}

impl Default for Identity {
    fn default() -> Identity {
        Identity::StartTime(0)
    }
}

impl Identity {
    /// Of a process that has not been reaped.
    pub fn of(pid: i32, pidfd: BorrowedFd) -> Identity {
        match fd::file_system(pidfd) {
            Ok(fd::PIDFS_MAGIC) => Identity::Inode(fd::status(pidfd).map_or(0, |status| status.inode)),
            _ => Identity::StartTime(state_of(pid).map_or(0, |(_, start_time)| start_time)),
        }
    }

    /// The pidfd of the process, if it is there and is more than a zombie.
    pub fn open(self, pid: i32) -> Option<OwnedFd> {
        // Looked at behind the pidfd: by then the pid cannot be reused.
        let pidfd = process::open_pidfd(pid).ok()?;
        let is_same = match self {
            Identity::Inode(inode) => fd::status(pidfd.as_fd()).is_ok_and(|status| status.inode == inode),
            Identity::StartTime(time) => state_of(pid).is_some_and(|(_, start_time)| start_time == time),
        };
        (is_same && !process::wait_readable(pidfd.as_fd(), 0).unwrap_or(true)).then_some(pidfd)
    }
}

/// State letter and start time of a process.
pub fn state_of(pid: i32) -> Option<(char, u64)> {
    let mut buffer = [0; 1024];
    let length = std::fs::File::open(format!("/proc/{pid}/stat")).and_then(|mut file| file.read(&mut buffer)).ok()?;
    let stat = str::from_utf8(buffer.get(..length)?).ok()?;
    // The name in parentheses may have spaces and parentheses itself.
    let mut fields = stat.get(stat.rfind(')')? + 1..)?.split_whitespace();
    let state = fields.next()?.chars().next()?;
    Some((state, fields.nth(18)?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_known_by_its_inode_and_its_start_time() {
        let pid = std::process::id() as i32;
        let pidfd = process::open_pidfd(pid).unwrap();
        let (_, start_time) = state_of(pid).unwrap();
        for identity in [Identity::of(pid, pidfd.as_fd()), Identity::StartTime(start_time)] {
            assert!(identity.open(pid).is_some(), "{identity:?}");
        }
        for identity in [Identity::Inode(1), Identity::StartTime(start_time + 1)] {
            assert!(identity.open(pid).is_none(), "a reused pid is another process");
        }
    }
}
