//! Steps about who a process is and what it may do.

use crate::plan::Slots;
use crate::sys::landlock::Rules;
use crate::sys::seccomp::{self, Instruction};
use crate::sys::{Result, creds, fd, mount};
use std::ffi::CString;
use std::os::fd::AsFd;

/// What is taken or given of identity and privileges.
#[derive(Debug, PartialEq)]
#[allow(missing_docs)] // the fields are the arguments of the system calls
pub enum PrivilegeStep {
    /// Takes ids of the user namespace, with all capabilities in it.
    BecomeId { uid: u32, gid: u32, may_set_groups: bool },
    /// Joins a new session keyring.
    JoinNewKeyring,
    /// Keeps others from looking into this process, until it is the container's program.
    ForbidTracing,
    /// Writes the label that a security module gives at execve; `path` is relative to /proc/self/fd.
    SetLabel { path: CString, value: CString },
    /// PR_SET_NO_NEW_PRIVS.
    SetNoNewPrivileges,
    /// Changes to the user of the program; `groups`: `None` leaves them.
    BecomeUser { uid: u32, gid: u32, groups: Option<Box<[u32]>>, umask: Option<u32> },
    /// Sets the five capability sets; bit n is capability n.
    SetCapabilities { bounding: u64, effective: u64, permitted: u64, inheritable: u64, ambient: u64 },
    /// Lets Landlock, of that version, forbid all with files but the rights by path (LANDLOCK_ACCESS_FS_*).
    Restrict { version: u32, allowed: Box<[(CString, u64)]> },
    /// Installs a system call filter.
    InstallFilter { filter: Box<[Instruction]>, flags: u64 },
    /// prctl(2), PR_SET_TIMERSLACK.
    SetTimerSlack { nanoseconds: u64 },
}

impl PrivilegeStep {
    /// Does the step.
    pub fn run(&self, slots: &mut Slots) -> Result<()> {
        match self {
            PrivilegeStep::BecomeId { uid, gid, may_set_groups } => {
                if *may_set_groups {
                    creds::set_groups(&[])?;
                }
                creds::set_gid(*gid)?;
                creds::set_uid(*uid)?;
                // The change has cleared it.
                creds::die_with_parent(true)
            }
            PrivilegeStep::JoinNewKeyring => creds::join_new_session_keyring(),
            PrivilegeStep::ForbidTracing => creds::set_dumpable(false),
            PrivilegeStep::SetLabel { path, value } => {
                let file = mount::open_own_proc(slots.descriptors()?, path, fd::O_WRONLY)?;
                fd::write(file.as_fd(), value.to_bytes()).map(drop)
            }
            PrivilegeStep::SetNoNewPrivileges => creds::set_no_new_privileges(),
            PrivilegeStep::BecomeUser { uid, gid, groups, umask } => {
                if let Some(umask) = umask {
                    creds::set_umask(*umask);
                }
                if let Some(groups) = groups {
                    creds::set_groups(groups)?;
                }
                creds::set_gid(*gid)?;
                creds::keep_capabilities()?;
                creds::set_uid(*uid)?;
                creds::regain_capabilities()
            }
            PrivilegeStep::SetCapabilities { bounding, effective, permitted, inheritable, ambient } => {
                creds::limit_bounding_set(*bounding)?;
                creds::set_capabilities(*effective, *permitted, *inheritable)?;
                creds::set_ambient(*ambient)
            }
            PrivilegeStep::Restrict { version, allowed } => {
                let rules = Rules::new(*version)?;
                allowed.iter().try_for_each(|(path, rights)| rules.allow(path, *rights))?;
                rules.enforce()
            }
            PrivilegeStep::SetTimerSlack { nanoseconds } => creds::set_timer_slack(*nanoseconds),
            PrivilegeStep::InstallFilter { filter, flags } => {
                slots.listener = seccomp::install(filter, *flags)?;
                Ok(())
            }
        }
    }
}
