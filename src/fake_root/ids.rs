//! Who the threads are that were told that they are somebody: credentials(7), as the kernel keeps them.

use super::task::Task;
use crate::sys::{Call, Errno, Error, Result};
use std::fs;

/// `u32::MAX` as an argument: leave it as it is.
pub const SAME: u32 = u32::MAX;

/// The timer slack of who was told nothing: the kernel's default, in nanoseconds.
pub const PLAIN: u64 = 50_000;

/// How much can be told: this process is in no cgroup of the container's.
const MOST: usize = 20_000;
const MOST_GROUPS: usize = 500_000;

/// Real, effective, saved and file system id.
pub type Ids = [u32; 4];

/// What a thread takes itself for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials {
    pub uids: Ids,
    pub gids: Ids,
    pub groups: Vec<u32>,
    /// Whether it has raised capabilities over ids again, which it had kept over a change of them (setpriv(1)).
    pub is_capable: bool,
}

/// All that was told, by the timer slack that says who has heard it.
pub struct Table {
    told: Vec<Credentials>,
    groups: usize,
    maps: [Vec<(u32, u32)>; 2],
    /// Whether the kernel sets groups in this namespace.
    pub takes_groups: bool,
}

impl Table {
    /// For the user namespace that this process is in.
    pub fn read() -> Table {
        let ranges = |path| {
            let text = fs::read_to_string(path).unwrap_or_default();
            let range = |line: &str| {
                let mut numbers = line.split_whitespace().map(|number| number.parse::<u32>().unwrap_or(0));
                Some((numbers.next()?, numbers.nth(1)?))
            };
            text.lines().filter_map(range).collect()
        };
        let takes_groups = fs::read_to_string("/proc/self/setgroups").is_ok_and(|text| text.starts_with("allow"));
        Table {
            told: Vec::new(),
            groups: 0,
            maps: [ranges("/proc/self/uid_map"), ranges("/proc/self/gid_map")],
            takes_groups,
        }
    }

    /// Whether a uid is one for the kernel.
    pub fn has_uid(&self, id: u32) -> bool {
        is_mapped(&self.maps[0], id)
    }

    /// Whether a gid is.
    pub fn has_gid(&self, id: u32) -> bool {
        is_mapped(&self.maps[1], id)
    }

    /// Whether more than one id is mapped: then threads have other rights than each other, and than who answers.
    pub fn has_others(&self) -> bool {
        self.maps.iter().any(|map| map.len() != 1 || map.first().is_some_and(|(_, length)| *length != 1))
    }

    /// What a thread was told, or whoever it comes from; `None`: nothing.
    pub fn find(&self, task: &Task) -> Result<Option<Credentials>> {
        let slack: u64 = task.read_file(c"timerslack_ns")?.trim().parse().unwrap_or(PLAIN);
        let index = slack.checked_sub(PLAIN + 1).and_then(|index| usize::try_from(index).ok());
        Ok(index.and_then(|index| self.told.get(index)).cloned())
    }

    /// Tells a thread who it is from now on.
    pub fn tell(&mut self, task: &Task, credentials: Credentials) -> Result<()> {
        let index = match self.told.iter().position(|known| *known == credentials) {
            Some(index) => index,
            None if self.told.len() >= MOST || self.groups + credentials.groups.len() > MOST_GROUPS => {
                return Err(Error::new(Call::Write, Errno::ENOMEM));
            }
            None => {
                self.groups += credentials.groups.len();
                self.told.push(credentials);
                self.told.len() - 1
            }
        };
        task.write_file(c"timerslack_ns", &(PLAIN + 1 + index as u64).to_string())
    }
}

fn is_mapped(map: &[(u32, u32)], id: u32) -> bool {
    id == SAME || map.iter().any(|(first, length)| id.wrapping_sub(*first) < *length)
}

impl Credentials {
    /// What the kernel has.
    pub fn of_kernel(task: &Task) -> Result<Credentials> {
        let status = task.read_file(c"status")?;
        let numbers = |key: &str| -> Vec<u32> {
            let line = status.lines().find_map(|line| line.strip_prefix(key));
            line.unwrap_or_default().split_whitespace().filter_map(|number| number.parse().ok()).collect()
        };
        let four = |key| numbers(key).try_into().map_err(|_| Error::new(Call::Read, Errno::EINVAL));
        Ok(Credentials { uids: four("Uid:")?, gids: four("Gid:")?, groups: numbers("Groups:"), is_capable: false })
    }

    /// Whether it may do what root may.
    pub fn is_root(&self) -> bool {
        self.uids[1] == 0
    }
}

/// setuid(2) and setgid(2).
pub fn set(ids: Ids, id: u32, is_root: bool) -> Result<Ids> {
    match is_root {
        true => Ok([id; 4]),
        false if id == ids[0] || id == ids[2] => Ok([ids[0], id, ids[2], id]),
        false => Err(refused()),
    }
}

/// setreuid(2) and setregid(2).
pub fn set_two(ids: Ids, real: u32, effective: u32, is_root: bool) -> Result<Ids> {
    let may_be_real = real == SAME || is_root || real == ids[0] || real == ids[1];
    let may_be_effective = effective == SAME || is_root || ids[..3].contains(&effective);
    if !may_be_real || !may_be_effective {
        return Err(refused());
    }
    let new_real = if real == SAME { ids[0] } else { real };
    let new = if effective == SAME { ids[1] } else { effective };
    let saves = real != SAME || effective != SAME && effective != ids[0];
    Ok([new_real, new, if saves { new } else { ids[2] }, new])
}

/// setresuid(2) and setresgid(2).
pub fn set_three(ids: Ids, new: [u32; 3], is_root: bool) -> Result<Ids> {
    if !is_root && new.iter().any(|id| *id != SAME && !ids[..3].contains(id)) {
        return Err(refused());
    }
    let mut after = ids;
    for (after, new) in after.iter_mut().zip(new) {
        if new != SAME {
            *after = new;
        }
    }
    Ok([after[0], after[1], after[2], after[1]])
}

/// setfsuid(2) and setfsgid(2): what cannot be is left as it is.
pub fn set_of_files(ids: Ids, id: u32, is_root: bool) -> Ids {
    match is_root || ids.contains(&id) {
        true if id != SAME => [ids[0], ids[1], ids[2], id],
        _ => ids,
    }
}

fn refused() -> Error {
    Error::new(Call::Setuid, Errno::EPERM)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_change_as_the_manual_says() {
        let root = [0; 4];
        assert_eq!(set(root, 42, true), Ok([42; 4]));
        assert_eq!(set([0, 42, 0, 42], 0, false), Ok([0, 0, 0, 0]));
        assert!(set([42; 4], 0, false).is_err());
        // Saved is set where real is, or where effective is another than real.
        assert_eq!(set_two(root, SAME, 42, true), Ok([0, 42, 42, 42]));
        assert_eq!(set_two([0, 42, 0, 42], SAME, 0, false), Ok([0, 0, 0, 0]));
        assert_eq!(set_two([1, 2, 3, 2], 2, 1, false), Ok([2, 1, 1, 1]));
        assert_eq!(set_two([1, 2, 3, 2], SAME, 3, false), Ok([1, 3, 3, 3]));
        assert!(set_two([1, 2, 3, 2], 3, SAME, false).is_err());
        assert_eq!(set_three(root, [SAME, 42, SAME], true), Ok([0, 42, 0, 42]));
        assert_eq!(set_three([1, 2, 3, 2], [3, 1, SAME], false), Ok([3, 1, 3, 1]));
        assert!(set_three([1, 2, 3, 2], [0, SAME, SAME], false).is_err());
        assert_eq!(set_of_files([1, 2, 3, 2], 1, false), [1, 2, 3, 1]);
        assert_eq!(set_of_files([1, 2, 3, 2], 9, false), [1, 2, 3, 2]);
        assert_eq!(set_of_files([1, 2, 3, 2], SAME, true), [1, 2, 3, 2]);
    }
}
