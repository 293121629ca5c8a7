//! Who a process is, although pids are reused.

use crate::sys::{fd, process};
use serde::{Deserialize, Serialize};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
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

impl Identity {
    /// Of a process that has not been reaped.
    pub fn of(pid: i32, pidfd: BorrowedFd) -> Identity {
        match fd::file_system(pidfd) {
            Ok(fd::PIDFS_MAGIC) => {
                Identity::Inode(fd::status(pidfd).map_or(0, |status| status.inode), boot().to_owned())
            }
            _ => Identity::StartTime(state_of(pid).map_or(0, |(_, start_time)| start_time)),
        }
    }

    /// The pidfd of the process, if it is there and is more than a zombie.
    pub fn open(&self, pid: i32) -> Option<OwnedFd> {
        // Looked at behind the pidfd: by then the pid cannot be reused.
        let pidfd = process::open_pidfd(pid).ok()?;
        let is_same = match self {
            Identity::Inode(inode, then) => {
                then == boot() && fd::status(pidfd.as_fd()).is_ok_and(|status| status.inode == *inode)
            }
            Identity::StartTime(time) => state_of(pid).is_some_and(|(_, start_time)| start_time == *time),
        };
        (is_same && !process::wait_readable(pidfd.as_fd(), 0).unwrap_or(true)).then_some(pidfd)
    }
}

/// The boot that the system is in.
fn boot() -> &'static str {
    static BOOT: OnceLock<String> = OnceLock::new();
    BOOT.get_or_init(|| {
        let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        id.trim().to_owned()
    })
}

/// State letter and start time of a process.
pub fn state_of(pid: i32) -> Option<(char, u64)> {
    let fields = stat_of(pid)?;
    Some((fields.first()?.chars().next()?, fields.get(22 - 3)?.parse().ok()?))
}

/// The fields of proc_pid_stat(5) from the third on: the second, a name in parentheses, may have spaces and parentheses.
pub fn stat_of(pid: i32) -> Option<Vec<String>> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    Some(stat.get(stat.rfind(')')? + 1..)?.split_whitespace().map(str::to_owned).collect())
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
        let others = [Identity::Inode(1, boot().to_owned()), Identity::StartTime(start_time + 1)];
        let earlier = match Identity::of(pid, pidfd.as_fd()) {
            Identity::Inode(inode, _) => Identity::Inode(inode, "an earlier one".to_owned()),
            Identity::StartTime(time) => Identity::StartTime(time + 2),
        };
        for identity in others.into_iter().chain([earlier]) {
            assert!(identity.open(pid).is_none(), "a reused pid is another process");
        }
    }
}
