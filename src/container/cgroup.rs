//! The container's cgroup, from its making to its removal.

use super::state::directory::ANNOUNCED;
use crate::cgroup::delegation;
use crate::cgroup::hold::{self, Hold};
use crate::cgroup::systemd::{self, Scope};
use crate::cgroup::tree;
use crate::error::{Error, Result, found};
use crate::host::Host;
use crate::log::Log;
use crate::plan::{Bus, Cgroup, Decision, Place, Plan};
use crate::sys::process::{self, Process};
use crate::sys::{Errno, bpf, fd};
use serde::{Deserialize, Serialize};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

/// What the state keeps of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Directory of the cgroup.
    pub path: PathBuf,
    /// What its controllers come through, from there down.
    pub base: PathBuf,
    /// The directory's inode: another one at the same place is another's.
    pub inode: u64,
}

impl Record {
    fn new(base: PathBuf, path: PathBuf) -> Result<Record> {
        let inode = hold::inode(&path)?.ok_or_else(|| Error::new(format!("cgroup {} is gone", path.display())))?;
        Ok(Record { path, base, inode })
    }

    /// The cgroup's directory, if it is still there and not another's by now.
    pub fn path(&self) -> Result<Option<&Path>> {
        Ok((hold::inode(&self.path)? == Some(self.inode)).then_some(&self.path))
    }

    /// The cgroup's directory, or an error that says that it is gone.
    pub fn require(&self) -> Result<&Path> {
        self.path()?.ok_or_else(|| {
            Error::new(format!("the container's cgroup {} is gone", self.path.display()))
                .because("somebody else has removed it")
        })
    }

    /// Sends SIGKILL to all processes in it, if it is still there.
    pub fn kill(&self) -> Result<()> {
        tree::kill_known(&self.path, self.inode)
    }

    /// Removes the cgroup, if it is still there, and ends the processes that are left in it; `is_over`: with their pid namespace, none of
    /// the container's are.
    pub fn remove(&self, is_over: bool) -> Result<()> {
        let held = match hold::hold(&self.path, self.inode) {
            // Whoever is left in it may have the lock, where the container's root is its maker.
            Err(_) if !is_over => {
                tree::kill_known(&self.path, self.inode)?;
                hold::hold(&self.path, self.inode)?
            }
            held => held?,
        };
        held.map_or(Ok(()), |_held| tree::remove(&self.path, !is_over))
    }

    /// Has systemd take a process to a place in the container's cgroup, and opens that.
    pub fn take(&self, place: &Path, host: &Host, pid: i32) -> Result<OwnedFd> {
        let is_unit = |path: &&Path| path.extension().is_some_and(|suffix| suffix == "scope" || suffix == "service");
        if let (Some(unit), Some(path)) = (place.ancestors().find(is_unit), host.bus()?) {
            let name = unit.file_name().unwrap_or_default().to_string_lossy();
            let below = place.strip_prefix(unit).unwrap_or(place);
            let bus = Bus { path, is_user: !host.has_system_manager()? };
            systemd::attach(&bus, &name, &format!("/{}", below.display()), pid)?;
        }
        tree::open(place)
    }

    /// Whether the caller may not make a process there by itself: whoever moves one must be allowed to write to the cgroup
    /// that both places have in common (cgroups(7), delegation containment), as a login is not.
    pub fn is_out_of_reach(&self, host: &Host) -> Result<bool> {
        // Out of sight, as in a cgroup namespace, nothing is common.
        let Some(own) = host.hierarchy()?.map(|hierarchy| &hierarchy.own) else { return Ok(false) };
        let common = self.path.ancestors().find(|path| own.starts_with(path));
        common.map_or(Ok(false), |common| Ok(!host.level(common)?.is_writable))
    }
}

/// The cgroup of a plan, as far as it is made.
#[derive(Debug)]
pub struct Making<'a> {
    cgroup: Option<&'a Cgroup>,
    /// The cgroup that was made, as the state keeps it.
    pub record: Option<Record>,
    /// Limits that the kernel has refused, where that is no error.
    pub left_out: Vec<Decision>,
    /// Keeps others away from it while no process is there.
    lock: Option<Hold>,
    /// Whether a scope is kept until it has been looked at.
    is_kept: bool,
    keeper: Option<Keeper>,
}

/// A process that does nothing, in a cgroup of its own beside the container's: systemd removes a scope as soon as it is
/// empty, and with it what it could tell of the container's end.
#[derive(Debug)]
pub struct Keeper(Process);

impl Drop for Keeper {
    fn drop(&mut self) {
        self.0.end();
    }
}

impl<'a> Making<'a> {
    /// Makes a directory, with all that can be set before a process is in it. A scope is made later, around a process.
    /// Its place is written into the state's directory first: whoever finds that and no state takes it back.
    pub fn begin(plan: &'a Plan, is_kept: bool, directory: &Path) -> Result<Making<'a>> {
        let mut making = Making {
            cgroup: plan.cgroup.as_ref(),
            record: None,
            left_out: Vec::new(),
            lock: None,
            is_kept,
            keeper: None,
        };
        if let Some(cgroup @ Cgroup { place: Place::Directory { base, path, is_proposal }, .. }) = making.cgroup {
            // What is at a proposed place is another container's, and another place is taken.
            if let Some(frozen) = tree::find_frozen(path, if *is_proposal { path } else { Path::new("") })? {
                return Err(Error::new(format!(
                    "cgroup {}, in which the container would be, is frozen",
                    frozen.display()
                ))
                .because("its process would wait until somebody thaws it")
                .remedy("write 0 to cgroup.freeze there, or name another place in linux.cgroupsPath"));
            }
            let (path, lock) = tree::make(base, path, *is_proposal, &|path| announce(directory, path))?;
            let inode = lock.inode().inspect_err(|_| drop(tree::remove(&path, true)))?;
            making.lock = Some(lock);
            let record = making.record.insert(Record { path, base: base.clone(), inode });
            let set = if cgroup.is_set_late { Ok(()) } else { set(cgroup, record, &mut making.left_out) };
            set.and_then(|()| give(cgroup, &record.path)).inspect_err(|_| making.take_back())?;
        }
        Ok(making)
    }

    /// The directory, if it is made. Whoever joins others' namespaces is seen by them at once.
    pub fn open(&self, joins: bool) -> Result<Option<OwnedFd>> {
        let open = if joins { tree::open_alone } else { tree::open };
        self.record.as_ref().map(|record| open(&record.path)).transpose()
    }

    /// True if a process has to be taken there.
    pub fn is_scope(&self) -> bool {
        self.cgroup.is_some_and(|cgroup| matches!(cgroup.place, Place::Scope { .. }))
    }

    /// Has systemd make the scope around a process, and opens the cgroup below it that its sibling is born in.
    pub fn take(&mut self, id: &str, pid: i32) -> Result<OwnedFd> {
        let Some(cgroup) = self.cgroup else { return Err(Error::new("the plan has no cgroup")) };
        let Place::Scope { bus, slice, name, subgroup, properties, is_proposal } = &cgroup.place else {
            return Err(Error::new("the plan has no scope"));
        };
        let description = format!("rootlet container {id}");
        let start =
            |name: &str| systemd::start_scope(bus, &Scope { slice, name, description: &description, properties }, pid);
        let mut name = name.clone();
        if let Err(error) = start(&name) {
            let Some(stem) = name.strip_suffix(".scope").filter(|_| *is_proposal) else { return Err(error) };
            // Another container has it, or had it and systemd has not forgotten it yet.
            name = format!("{stem}-{pid}.scope");
            start(&name)?;
        }
        let scope = tree::of_process(pid)?;
        if !scope.ends_with(&name) {
            return Err(Error::new(format!("systemd makes no scope {name}: the process is in {}", scope.display())));
        }
        // The scope itself is systemd's to set; what is below it is ours.
        let (path, _) = tree::make(&scope, &scope.join(subgroup), false, &|_| Ok(()))?;
        give(cgroup, &path)?;
        if self.is_kept {
            let (_, place) = tree::make(&scope, &scope.join("keeper"), false, &|_| Ok(()))?;
            // Whoever takes is a helper of the container's maker, and so this one is the maker's child.
            let keeper = process::start_idle(0, true, Some(place.directory()));
            self.keeper = Some(Keeper(keeper.map_err(|error| Error::from_call("the scope's keeper", error))?));
        }
        let record = self.record.insert(Record::new(scope, path)?);
        tree::open(&record.path)
    }

    /// Takes a process there that exists already.
    pub fn adopt(&mut self, id: &str, pid: i32) -> Result<()> {
        let place = if self.is_scope() { Some(self.take(id, pid)?) } else { self.open(false)? };
        let Some(place) = place else { return Ok(()) };
        let name = fd::Name::of_number(pid);
        fd::write_file(place.as_fd(), c"cgroup.procs", name.as_cstr().to_bytes())
            .map_err(|error| Error::from_call("the container's cgroup", error))?;
        // A limit holds before there is somebody to be limited; but with pids.max of 0 nobody could be made.
        match self.cgroup {
            Some(cgroup) if !cgroup.is_set_late => self.complete(),
            _ => Ok(()),
        }
    }

    /// Sets what could not be set before the process was there.
    pub fn complete(&mut self) -> Result<()> {
        if let Some(lock) = self.lock.take() {
            // The process has a copy of it.
            lock.let_go()?;
        }
        match (self.cgroup, &self.record) {
            (Some(cgroup), Some(record)) if cgroup.is_set_late || self.is_scope() => {
                set(cgroup, record, &mut self.left_out)
            }
            _ => Ok(()),
        }
    }

    /// Warns of limits that are not enforced.
    pub fn tell_what_is_left_out(&self, log: &Log) {
        self.left_out.iter().for_each(|decision| log.warn(&Error::new(decision.to_string())));
    }

    /// Who keeps the scope.
    pub fn into_keeper(self) -> Option<Keeper> {
        self.keeper
    }

    /// Removes what was made of the cgroup.
    pub fn take_back(&mut self) {
        if let Some(lock) = self.lock.take() {
            let _ = lock.let_go();
        }
        if let Some(record) = &self.record {
            let _ = record.remove(false);
        }
    }
}

fn announce(directory: &Path, path: &Path) -> Result<()> {
    let link = directory.join(ANNOUNCED);
    let failed = |error: std::io::Error| Error::from_io(format!("cannot write {}", link.display()), &error);
    found(std::fs::remove_file(&link)).map_err(failed)?;
    std::os::unix::fs::symlink(path, &link).map_err(failed)
}

/// Gives the cgroup to whoever divides it.
fn give(cgroup: &Cgroup, path: &Path) -> Result<()> {
    cgroup.owner.map_or(Ok(()), |owner| delegation::give(path, owner))
}

/// Takes the container's process from its cgroup to the one below, if the plan has one.
pub fn enter_leaf(plan: &Plan, record: Option<&Record>, pid: i32) -> Result<()> {
    let Some((cgroup, record)) = plan.cgroup.as_ref().zip(record) else { return Ok(()) };
    let Some(leaf) = &cgroup.leaf else { return Ok(()) };
    let leaf = delegation::make_leaf(record.require()?, leaf)?;
    give(cgroup, &leaf)?;
    delegation::enter(&leaf, pid)
}

/// Removes what was announced, and is nobody's.
pub fn remove_announced(directory: &Path) -> Result<()> {
    let link = directory.join(ANNOUNCED);
    let path = found(std::fs::read_link(&link)).map_err(|error| Error::from_io(link.display(), &error))?;
    path.map_or(Ok(()), |path| tree::remove_unused(&path))
}

fn set(cgroup: &Cgroup, record: &Record, left_out: &mut Vec<Decision>) -> Result<()> {
    let mut require = |property: &str, done: Result<()>| match done {
        Err(error) if cgroup.may_lack_limits => {
            let (property, reason) = (property.to_owned(), error.in_one_line());
            left_out.push(Decision { property, done: "not enforced".to_owned(), reason });
            Ok(())
        }
        other => other,
    };
    if !cgroup.controllers.is_empty() {
        let own = tree::of_process(std::process::id() as i32)?;
        let enabled = tree::enable(&record.base, &record.path, &cgroup.controllers, &own);
        require("linux.resources", enabled)?;
    }
    for controller in &cgroup.optional_controllers {
        // Only for what statistics show.
        let _ = tree::enable(&record.base, &record.path, std::slice::from_ref(controller), Path::new(""));
    }
    if let Some(program) = &cgroup.devices {
        let handle = tree::open(&record.path)?;
        let attach = || {
            bpf::load_device_program(program).and_then(|program| bpf::attach_device_program(handle.as_fd(), &program))
        };
        attach().map_err(|error| {
            let blame =
                Error { property: "linux.resources.devices".to_owned(), ..Error::from_call("device rules", error) };
            if matches!(error.errno, Errno::EMFILE | Errno::ENFILE | Errno::ENOMEM) {
                return blame
                    .because("there are too few descriptors, or no memory")
                    .remedy("raise RLIMIT_NOFILE (`ulimit -n`)");
            }
            blame
                .because("this kernel, or an outer container, has no BPF_PROG_TYPE_CGROUP_DEVICE for you")
                .remedy("run it in a user namespace of its own, which needs no device rules (`rootlet spec`)")
        })?;
    }
    cgroup.settings.iter().try_for_each(|setting| require(setting.property, tree::write(&record.path, setting)))
}

/// What is said if the kernel has ended a process of the cgroup for want of memory: its own, or what is above it.
pub fn explain_out_of_memory(record: &Record) -> Option<Error> {
    // What is not known is not said.
    let path = record.path().ok()??;
    let events = tree::words(path, "memory.events").ok()?;
    let count = |key| tree::value(&events, key).unwrap_or(0);
    if count("oom_kill") == 0 {
        return None;
    }
    if count("oom") == 0 {
        return Some(
            Error::new("the kernel has ended a process of the container, which ran out of memory")
                .because(
                    "the host has none left, or a cgroup above the container's (memory.events: oom_kill without oom)",
                )
                .remedy("see `dmesg`"),
        );
    }
    Some(
        Error::new("the container ran out of memory, and the kernel ended a process of it")
            .because("its processes wanted more than linux.resources.memory allows (memory.events: oom, oom_kill)")
            .remedy("raise linux.resources.memory.limit"),
    )
}
