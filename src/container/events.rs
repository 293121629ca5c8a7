//! `events`: statistics from time to time, and each end of a process for want of memory.

use super::processes::processes;
use super::state::identity::stat_of;
use super::state::{Container, not_running};
use super::status::Status;
use crate::cgroup::{stats, tree};
use crate::error::{Error, Result, found};
use crate::sys::fd;
use crate::sys::memory::page_size;
use serde_json::{Value, json};
use std::io::Read;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

/// What the container uses now, as runc's `data`.
pub fn statistics(container: &Container) -> Result<Value> {
    if container.status()? == Status::Stopped {
        return Err(not_running());
    }
    match &container.state()?.cgroup {
        Some(cgroup) => {
            let resident = || Ok(use_of_all(&processes(container)?)?.2);
            stats::of(cgroup.require()?, &resident)
        }
        None => {
            let pids = processes(container)?;
            let (user, kernel, memory) = use_of_all(&pids)?;
            Ok(stats::of_processes(user, kernel, memory, pids.len() as u64))
        }
    }
}

fn use_of_all(pids: &[i32]) -> Result<(u64, u64, u64)> {
    let mut sum = (0, 0, 0);
    for pid in pids {
        // One that has ended since uses nothing.
        if let Some((user, kernel, memory)) = use_of(*pid)? {
            sum = (sum.0 + user, sum.1 + kernel, sum.2 + memory);
        }
    }
    Ok(sum)
}

/// Nanoseconds in user and in kernel mode, and resident bytes, of a process (proc_pid_stat(5), fields 14, 15 and 24).
fn use_of(pid: i32) -> Result<Option<(u64, u64, u64)>> {
    // USER_HZ is 100 on every machine that rootlet runs on.
    const TICK: u64 = 10_000_000;
    let Some(fields) = stat_of(pid)? else { return Ok(None) };
    let number = |field: usize| {
        let number = fields.get(field - 3).and_then(|field| field.parse::<u64>().ok());
        number.ok_or_else(|| Error::new(format!("/proc/{pid}/stat: field {field} is no number")))
    };
    Ok(Some((number(14)? * TICK, number(15)? * TICK, number(24)? * page_size())))
}

/// Tells statistics at once and after each interval, and what runs out of memory when it does, until the container ends
/// or `tell` says that nobody listens.
pub fn watch(
    container: &Container,
    interval: Duration,
    tell: &mut dyn FnMut(&str, Option<Value>) -> Result<bool>,
) -> Result<()> {
    let Some(pidfd) = container.pidfd()? else { return Err(not_running()) };
    let system = |error| Error::from_call("events", error);
    let cgroup = container.state()?.cgroup.as_ref().map(|cgroup| cgroup.path()).transpose()?.flatten();
    let mut memory = cgroup.map(Memory::open).transpose()?.flatten();
    let mut next = Instant::now();
    loop {
        if next <= Instant::now() {
            // It may end in between.
            match statistics(container) {
                Ok(statistics) => {
                    if !tell("stats", Some(statistics))? {
                        return Ok(());
                    }
                }
                Err(_) if container.pidfd()?.is_none() => return Ok(()),
                Err(error) => return Err(error),
            }
            next = Instant::now() + interval;
        }
        let left = next.saturating_duration_since(Instant::now()).as_millis() as i32 + 1;
        let events = memory.as_ref().map(|memory| memory.file.as_fd());
        let [ended, changed] = fd::wait_for_end_or_change(pidfd.as_fd(), events, left).map_err(system)?;
        if changed {
            for _ in 0..memory.as_mut().map_or(Ok(0), Memory::new_kills)? {
                if !tell("oom", None)? {
                    return Ok(());
                }
            }
        }
        if ended {
            return Ok(());
        }
    }
}

fn unread(error: std::io::Error) -> Error {
    Error::from_io("memory.events", &error)
}

/// memory.events, and how many ends it told of when it was last read.
struct Memory {
    file: std::fs::File,
    kills: u64,
}

impl Memory {
    /// Without the controller, there are none.
    fn open(path: &std::path::Path) -> Result<Option<Memory>> {
        let Some(file) = found(std::fs::File::open(path.join("memory.events"))).map_err(unread)? else {
            return Ok(None);
        };
        let mut memory = Memory { file, kills: 0 };
        memory.new_kills()?;
        Ok(Some(memory))
    }

    /// How many processes were ended since.
    fn new_kills(&mut self) -> Result<u64> {
        let mut text = String::new();
        fd::rewind(self.file.as_fd()).map_err(|error| Error::from_call("memory.events", error))?;
        // A cgroup that was removed tells of no more.
        found(self.file.read_to_string(&mut text)).map_err(unread)?;
        let kills = tree::value(&text, "oom_kill").unwrap_or(self.kills);
        let new = kills.saturating_sub(self.kills);
        self.kills = kills;
        Ok(new)
    }
}

/// A line of `events`.
pub fn line(container: &Container, kind: &str, data: Option<Value>) -> String {
    let mut event = json!({"type": kind, "id": container.id});
    if let (Some(object), Some(data)) = (event.as_object_mut(), data) {
        object.insert("data".to_owned(), data);
    }
    format!("{event}\n")
}
