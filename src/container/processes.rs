//! The processes of a container: those in its cgroup, or without one those in its pid namespace.

use super::state::Container;
use crate::cgroup::tree;
use crate::error::{Error, Result, found};
use crate::host;
use crate::sys::{Errno, fd, namespace, process};
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::DirEntryExt;
use std::time::Duration;

/// All processes of the container, as the caller numbers them.
pub fn processes(container: &Container) -> Result<Vec<i32>> {
    Members::of(container)?.list()
}

/// An error if /proc is that of another pid namespace: processes have other numbers there.
pub fn require_own_proc() -> Result<()> {
    match host::has_own_proc()? {
        true => Ok(()),
        false => Err(Error::new("/proc is that of another pid namespace, and has other pids")
            .remedy("mount one of your own: `mount -t proc proc /proc`, or `unshare --mount-proc`")),
    }
}

/// Who the container's processes are; for as long as they are looked for again and again.
pub struct Members<'a> {
    container: &'a Container,
    namespace: Option<PidNamespace>,
    /// Inodes of /proc/PID that are others': no other process gets one of these.
    strangers: RefCell<BTreeSet<u64>>,
}

impl Members<'_> {
    /// The processes of a container.
    pub fn of(container: &Container) -> Result<Members<'_>> {
        let state = container.state()?;
        // With a cgroup, it is asked for those that were moved out of that.
        let is_needed = state.cgroup.is_none() && state.has_own_pids;
        let namespace = if is_needed { PidNamespace::of(container)? } else { None };
        Ok(Members { container, namespace, strangers: RefCell::default() })
    }

    /// The pid of the first one.
    pub fn first(&self) -> Result<i32> {
        Ok(self.container.state()?.pid)
    }

    /// Their pids now.
    pub fn list(&self) -> Result<Vec<i32>> {
        let container = self.container;
        let state = container.state()?;
        require_own_proc()?;
        if let Some(cgroup) = &state.cgroup {
            match cgroup.path()? {
                Some(path) => {
                    let pids = tree::processes(path)?;
                    if pids.contains(&state.pid) || container.pidfd()?.is_none() {
                        return Ok(pids);
                    }
                    if !state.has_own_pids {
                        return Err(Error::new("the container's first process is not in its cgroup")
                            .because(format!("somebody has moved it out of {}", path.display()))
                            .remedy("move it back: write its pid into cgroup.procs there"));
                    }
                }
                // Its first process was moved; who is in its pid namespace is known all the same.
                None if state.has_own_pids => {}
                None => drop(cgroup.require()?),
            }
        }
        if !state.has_own_pids {
            return Err(Error::new(
                "the container has neither a cgroup nor a pid namespace of its own, so its other processes cannot be told from the caller's",
            )
            .remedy("add {\"type\": \"pid\"} to linux.namespaces"));
        }
        let own = if self.namespace.is_none() { PidNamespace::of(container)? } else { None };
        let Some(namespace) = self.namespace.as_ref().or(own.as_ref()) else { return Ok(Vec::new()) };
        let mut pids = self.look_through(namespace)?;
        pids.sort_unstable();
        // As long as its first process lives, the namespace's number is no other's.
        if container.pidfd()?.is_none() {
            return Ok(Vec::new());
        }
        match pids.contains(&state.pid) {
            true => Ok(pids),
            false => Err(Error::new(format!("process {}, the container's first one, is not in /proc", state.pid))
                .because("/proc is that of another pid namespace, or hides it")
                .remedy("run this where the container's processes can be seen")),
        }
    }

    fn look_through(&self, namespace: &PidNamespace) -> Result<Vec<i32>> {
        if host::hides_processes()? {
            return Err(Error::new("which processes the container has is not known")
                .because("/proc is mounted with hidepid, and does not name those that their own user may not look into")
                .remedy("give the container a cgroup of its own, run this as root, or as root: mount -o remount,hidepid=0 /proc"));
        }
        let failed = |error: std::io::Error| Error::from_io("cannot read /proc", &error);
        let mut pids = Vec::new();
        let mut strangers = self.strangers.borrow_mut();
        for entry in std::fs::read_dir("/proc").map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name();
            let Some(pid) = name.to_str().and_then(|name| name.parse::<i32>().ok()) else { continue };
            if strangers.contains(&entry.ino()) {
                continue;
            }
            match namespace.has(pid)? {
                true => pids.push(pid),
                // Nobody gets into a pid namespace later.
                false => drop(strangers.insert(entry.ino())),
            }
        }
        Ok(pids)
    }

    /// A handle on a process, if it still belongs to the container: a pid may have been reused since it was listed.
    pub fn find(&self, pid: i32) -> Result<Option<OwnedFd>> {
        let Some(pidfd) =
            process::find_pidfd(pid).map_err(|error| Error::from_call(format!("process {pid}"), error))?
        else {
            return Ok(None);
        };
        Ok(self.has(pid)?.then_some(pidfd))
    }

    fn has(&self, pid: i32) -> Result<bool> {
        let container = self.container;
        let state = container.state()?;
        if let Some(cgroup) = &state.cgroup
            && cgroup.path()?.is_some()
            && tree::find_of_process(pid)?.is_some_and(|path| path.starts_with(&cgroup.path))
        {
            return Ok(true);
        }
        if state.cgroup.is_some() && !state.has_own_pids {
            return Ok(false);
        }
        let own = if self.namespace.is_none() { PidNamespace::of(container)? } else { None };
        let Some(namespace) = self.namespace.as_ref().or(own.as_ref()) else { return Ok(false) };
        Ok(namespace.has(pid)? && container.pidfd()?.is_some())
    }
}

/// A container's pid namespace.
struct PidNamespace {
    inode: u64,
    /// `None` while nobody may look its first process up: as long as that waits for its start, for one.
    opened: Option<OwnedFd>,
    first: i32,
}

impl PidNamespace {
    /// `None` if the container has ended.
    fn of(container: &Container) -> Result<Option<PidNamespace>> {
        let state = container.state()?;
        if container.pidfd()?.is_none() {
            return Ok(None);
        }
        let sight = namespace_of(container.looked_into()?)?;
        // If it has just ended, its number may be another's.
        if container.pidfd()?.is_none() {
            return Ok(None);
        }
        let recorded = state.pid_namespace.map(u64::from);
        if state.is_creating && recorded.is_none() && !matches!(sight, Sight::Seen(_)) {
            return Err(Error::new("the container is being created").remedy("wait until it is created"));
        }
        let (inode, opened) = match (sight, recorded) {
            (Sight::Seen(namespace), _) => (inode(&namespace)?, Some(namespace)),
            (_, Some(recorded)) => (recorded, None),
            _ => {
                return Err(Error::new(format!("/proc/{}/ns/pid is out of reach", state.pid))
                    .because("it belongs to a user namespace that you have no privilege in")
                    .remedy("run this as the user who created the container"));
            }
        };
        Ok(Some(PidNamespace { inode, opened, first: state.pid }))
    }

    /// Whether a process is in it, or in one below it.
    fn has(&self, pid: i32) -> Result<bool> {
        if pid == self.first {
            return Ok(true);
        }
        if let Some(namespace) = &self.opened
            && let Some(answer) = namespace::has_process(namespace.as_fd(), pid)
                .map_err(|error| Error::from_call("pid namespace", error))?
        {
            return Ok(answer);
        }
        let mut looks = 0;
        let mut own = loop {
            match namespace_of(pid)? {
                Sight::Seen(own) => break own,
                Sight::Gone => return Ok(false),
                Sight::Forbidden => {}
            }
            if let Some(answer) = descends(pid, self.first)? {
                return Ok(answer);
            }
            // It may be on its way to a program, and can be looked into before long.
            looks += 1;
            if looks == LOOKS {
                return Err(Error::new(format!("whether process {pid} is one of the container's is not known"))
                    .because("it runs a program that its user may not read, and was started from outside")
                    .remedy("give the container a cgroup of its own, or run this as root"));
            }
            std::thread::sleep(Duration::from_millis(1));
        };
        while inode(&own)? != self.inode {
            own = match namespace::parent(own.as_fd()) {
                // What is above belongs to the caller's own, or is out of its sight (ioctl_ns(2)).
                Err(error) if error.errno == Errno::EPERM => return Ok(false),
                other => other.map_err(|error| Error::from_call("pid namespace", error))?,
            };
        }
        Ok(true)
    }
}

fn inode(namespace: &OwnedFd) -> Result<u64> {
    fd::status(namespace.as_fd()).map(|status| status.inode).map_err(|error| Error::from_call("pid namespace", error))
}

/// What is seen of a process's pid namespace.
enum Sight {
    Seen(OwnedFd),
    /// The process is gone.
    Gone,
    /// It is another user's, or runs a program that its own user may not read (ptrace(2)).
    Forbidden,
}

fn namespace_of(pid: i32) -> Result<Sight> {
    let path = format!("/proc/{pid}/ns/pid");
    match File::open(&path) {
        Err(error) if error.raw_os_error() == Some(Errno::EACCES as i32) => Ok(Sight::Forbidden),
        other => {
            let file = found(other).map_err(|error| Error::from_io(path, &error))?;
            Ok(file.map_or(Sight::Gone, |file| Sight::Seen(file.into())))
        }
    }
}

/// What everybody may know of a process (proc_pid_status(5)).
struct Lineage {
    parent: i32,
    /// Its numbers in the caller's pid namespace and all below it that it is in.
    numbers: Vec<i32>,
}

impl Lineage {
    /// `None` if it is gone.
    fn of(pid: i32) -> Result<Option<Lineage>> {
        let path = format!("/proc/{pid}/status");
        let status = found(std::fs::read(&path)).map_err(|error| Error::from_io(&path, &error))?;
        let Some(status) = status else { return Ok(None) };
        // A process names itself as it likes.
        let status = String::from_utf8_lossy(&status);
        let field = |name| status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
        let numbers = field("NSpid:").split_whitespace().filter_map(|number| number.parse().ok()).collect();
        Ok(Some(Lineage { parent: field("PPid:").trim().parse().unwrap_or(0), numbers }))
    }
}

/// How often a process is looked for that nobody may look into: half a second, which a slow machine may need to a program.
const LOOKS: usize = 500;

/// Whether a process is in the pid namespace of `first`, told by its forebears; `None` if that cannot be told.
fn descends(pid: i32, first: i32) -> Result<Option<bool>> {
    let Some(depth) = Lineage::of(first)?.map(|lineage| lineage.numbers.len()) else { return Ok(Some(false)) };
    let mut next = pid;
    while next != first {
        let Some(lineage) = Lineage::of(next)? else {
            // Forebears end, and another one takes their children.
            return Ok(if next == pid { Some(false) } else { None });
        };
        match lineage.numbers.get(depth.saturating_sub(1)) {
            // Whoever is in the namespace has as many numbers, and the first process of another one is not.
            None if next == pid => return Ok(Some(false)),
            Some(1) => return Ok(Some(false)),
            Some(_) if lineage.parent != 0 => next = lineage.parent,
            // It has entered a namespace (setns(2)): this one, if that has the same ids.
            _ => return Ok(if have_same_ids(pid, first)? { None } else { Some(false) }),
        }
    }
    Ok(Some(true))
}

fn have_same_ids(one: i32, other: i32) -> Result<bool> {
    let ids = |pid: i32| {
        let path = format!("/proc/{pid}/uid_map");
        match std::fs::read(&path) {
            // It has ended since its directory was looked up (Linux, proc_id_map_open).
            Err(error) if error.raw_os_error() == Some(Errno::EINVAL as i32) => Ok(None),
            other => found(other).map_err(|error| Error::from_io(path, &error)),
        }
    };
    Ok(ids(one)? == ids(other)?)
}
