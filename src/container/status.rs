//! What a container does.

use super::entrance;
use super::processes::processes;
use super::state::directory::SIGNALLED;
use super::state::{Container, identity};
use crate::cgroup::tree;
use crate::error::{Error, Result, found};
use crate::sys::fd;
use std::fmt;
use std::os::fd::AsFd;
use std::path::Path;

/// Status of a container (runtime.md).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Whoever creates it has not finished.
    Creating,
    /// Waits for `start`.
    Created,
    /// The program runs.
    Running,
    /// Its processes are stopped, until `resume`.
    Paused,
    /// The first process has ended.
    Stopped,
}

impl fmt::Display for Status {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(match self {
            Status::Creating => "creating",
            Status::Created => "created",
            Status::Running => "running",
            Status::Paused => "paused",
            Status::Stopped => "stopped",
        })
    }
}

impl Container {
    /// What the container does now.
    pub fn status(&self) -> Result<Status> {
        if let Some(damage) = &self.damage {
            return Err(damage.clone());
        }
        let Some(state) = &self.state else {
            return Ok(if self.is_being_made() { Status::Creating } else { Status::Stopped });
        };
        Ok(if state.process()?.is_none() {
            Status::Stopped
        } else if state.is_creating {
            Status::Creating
        } else if self.is_paused()? {
            Status::Paused
        } else if self.is_waiting() && entrance::is_waiting(self)? {
            Status::Created
        } else {
            Status::Running
        })
    }

    /// Whether `pause` has stopped its processes.
    pub fn is_paused(&self) -> Result<bool> {
        let Some(state) = &self.state else { return Ok(false) };
        match &state.cgroup {
            Some(cgroup) => cgroup.path()?.map_or(Ok(false), |path| self.is_frozen(path)),
            None if !state.is_suspended => Ok(false),
            // A timer or another program of its own may have woken one of them.
            None if identity::is_stopped(state.pid)? != Some(true) => Ok(false),
            None => processes(self)?
                .into_iter()
                .try_fold(true, |all, pid| Ok(all && identity::is_stopped(pid)?.unwrap_or(true))),
        }
    }

    /// Whether its cgroup is frozen, and not only until a signal has reached all of it.
    fn is_frozen(&self, cgroup: &Path) -> Result<bool> {
        if !tree::is_frozen(cgroup)? {
            return Ok(false);
        }
        let failed = |error| Error::from_call(SIGNALLED, error);
        let file = found(self.directory.open_file(SIGNALLED, fd::O_RDONLY)).map_err(failed)?;
        let Some(file) = file else { return Ok(true) };
        let is_free = fd::try_share_lock(file.as_fd()).map_err(failed)?;
        // The signal may have arrived since; who has the lock keeps the next one from freezing it.
        Ok(is_free && tree::is_frozen(cgroup)?)
    }

    /// Whether nobody is left to delete it, unless somebody has its lock: its maker was killed before it ran, or while it ran
    /// in the foreground.
    pub fn is_abandoned(&self) -> Result<bool> {
        match &self.state {
            None => Ok(self.damage.is_none()),
            Some(state) => Ok((state.is_attached || self.is_waiting()) && self.status()? == Status::Stopped),
        }
    }
}
