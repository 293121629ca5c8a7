//! The container's cgroup, from its making to its removal.

use crate::cgroup::{systemd, tree};
use crate::error::{Error, Result};
use crate::plan::{Cgroup, Place};
use crate::sys::{bpf, process, signal};
use serde::{Deserialize, Serialize};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

/// What the state keeps of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Its directory.
    pub path: PathBuf,
    /// What its controllers come through, from there down.
    pub base: PathBuf,
    /// The scope that it is in, if systemd has made one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
}

/// A cgroup that was just made.
#[derive(Debug)]
pub struct Made {
    /// Where.
    pub record: Record,
    /// Holds a scope open until the container is in it.
    placeholder: Option<Placeholder>,
}

/// Makes the cgroup of a plan, with all that can be set before a process is in it.
pub fn make(cgroup: &Cgroup, id: &str) -> Result<Option<Made>> {
    match &cgroup.place {
        Place::None => Ok(None),
        Place::Directory { base, path, is_proposal } => {
            let path = tree::make(base, path, *is_proposal)?;
            let record = Record { path, base: base.clone(), scope: None };
            let made = Made { record, placeholder: None };
            let set = || match cgroup.is_set_late {
                true => Ok(()),
                false => set(cgroup, &made.record),
            };
            set().inspect_err(|_| made.remove())?;
            Ok(Some(made))
        }
        Place::Scope { bus, slice, name } => {
            let placeholder = Placeholder::new()?;
            systemd::start_scope(bus, slice, name, &format!("rootlet container {id}"), placeholder.pid)?;
            let scope = tree::of_process(placeholder.pid)?;
            // The scope itself is systemd's to set; what is below it is ours.
            let path = tree::make(&scope, &scope.join("container"), false)?;
            let record = Record { path, base: scope, scope: Some(name.clone()) };
            Ok(Some(Made { record, placeholder: Some(placeholder) }))
        }
    }
}

impl Made {
    /// The directory, for the process that is born in it.
    pub fn open(&self) -> Result<OwnedFd> {
        tree::open(&self.record.path)
    }

    /// Sets what could not be set before the process was there.
    pub fn complete(&mut self, cgroup: &Cgroup) -> Result<()> {
        let was_held = self.placeholder.take().is_some();
        if was_held || cgroup.is_set_late { set(cgroup, &self.record) } else { Ok(()) }
    }

    /// Takes it back.
    pub fn remove(&self) {
        let _ = tree::remove(&self.record.path);
    }
}

fn set(cgroup: &Cgroup, record: &Record) -> Result<()> {
    let own = tree::of_process(std::process::id() as i32).unwrap_or_default();
    tree::enable(&record.base, &record.path, &cgroup.controllers, &own)?;
    for controller in &cgroup.optional_controllers {
        let _ = tree::enable(&record.base, &record.path, std::slice::from_ref(controller), Path::new(""));
    }
    if let Some(program) = &cgroup.devices {
        let attach = || {
            let program = bpf::load_device_program(program)?;
            let handle = tree::open(&record.path);
            handle.map(|handle| bpf::attach_device_program(handle.as_fd(), &program)).unwrap_or(Ok(()))
        };
        attach().map_err(|error| {
            Error { property: "linux.resources.devices".to_owned(), ..Error::from_call("device rules", error) }
                .because("this kernel, or an outer container, has no BPF_PROG_TYPE_CGROUP_DEVICE for you")
                .remedy("run it in a user namespace of its own, which needs no device rules (`rootlet spec`)")
        })?;
    }
    cgroup.settings.iter().try_for_each(|setting| tree::write(&record.path, setting))
}

/// A process that does nothing.
#[derive(Debug)]
struct Placeholder {
    pid: i32,
    pidfd: OwnedFd,
}

impl Placeholder {
    fn new() -> Result<Placeholder> {
        let (pid, pidfd) = process::start_idle(0).map_err(|error| Error::from_call("cgroup", error))?;
        Ok(Placeholder { pid, pidfd })
    }
}

impl Drop for Placeholder {
    fn drop(&mut self) {
        let _ = process::send_signal(self.pidfd.as_fd(), signal::SIGKILL);
        let _ = process::wait(self.pid, true);
    }
}

/// True if the kernel has ended a process of the cgroup for want of memory.
pub fn ran_out_of_memory(record: &Record) -> bool {
    tree::value(&tree::words(&record.path, "memory.events"), "oom_kill").is_some_and(|count| count > 0)
}
