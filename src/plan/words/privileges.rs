//! The words of steps about identity and privileges.

use super::Advice;
use crate::plan::step::PrivilegeStep;
use crate::sys::{self, Call, Errno};
use std::fmt;

impl fmt::Display for PrivilegeStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PrivilegeStep::BecomeId { uid, gid, .. } => write!(f, "become uid {uid} gid {gid} of the user namespace"),
            PrivilegeStep::JoinNewKeyring => f.write_str("join a new session keyring"),
            PrivilegeStep::ForbidTracing => f.write_str("forbid tracing"),
            PrivilegeStep::SetLabel { path, value } => {
                write!(f, "write {value:?} to {}", path.to_string_lossy().replace("..", "/proc/self"))
            }
            PrivilegeStep::SetNoNewPrivileges => f.write_str("set no_new_privs"),
            PrivilegeStep::BecomeUser { uid, gid, groups, umask } => {
                write!(f, "become user {uid}:{gid}")?;
                match groups {
                    Some(groups) => write!(f, " groups {groups:?}")?,
                    None => f.write_str(" groups kept")?,
                }
                umask.map_or(Ok(()), |umask| write!(f, " umask {umask:03o}"))
            }
            PrivilegeStep::SetCapabilities { bounding, effective, permitted, inheritable, ambient } => write!(
                f,
                "set capabilities bounding {bounding:#x} effective {effective:#x} permitted {permitted:#x} inheritable {inheritable:#x} ambient {ambient:#x}"
            ),
            PrivilegeStep::Restrict { version, allowed } => {
                write!(f, "restrict by Landlock {version} to {} paths", allowed.len())
            }
            PrivilegeStep::SetTimerSlack { nanoseconds } => write!(f, "set the timer slack to {nanoseconds} ns"),
            PrivilegeStep::InstallFilter { filter, flags } => {
                write!(f, "install a system call filter of {} instructions flags {flags:#x}", filter.len())
            }
        }
    }
}

impl PrivilegeStep {
    pub(super) fn advise(&self, sys::Error { call, errno, .. }: sys::Error) -> Option<Advice> {
        Some(match (self, call, errno) {
            (PrivilegeStep::BecomeUser { .. }, Call::Setgroups, Errno::EPERM) => {
                ("supplementary groups cannot be set with a single mapped gid", "leave process.user.additionalGids out")
            }
            (PrivilegeStep::BecomeUser { groups: Some(groups), .. }, Call::Setgroups, Errno::EINVAL)
                if groups.len() > 65536 =>
            {
                ("a process has at most 65536 groups", "leave some of process.user.additionalGids out")
            }
            (PrivilegeStep::BecomeUser { .. } | PrivilegeStep::BecomeId { .. }, _, Errno::EINVAL) => (
                "the id is not mapped in the container's user namespace",
                "map it in linux.uidMappings and linux.gidMappings",
            ),
            (PrivilegeStep::JoinNewKeyring, _, Errno::EDQUOT) => (
                "you have as many keys as kernel.keys.maxkeys allows",
                "give --no-new-keyring, or end containers that you do not need",
            ),
            (PrivilegeStep::JoinNewKeyring, ..) => {
                ("this kernel, or an outer container's seccomp filter, allows no keyrings", "give --no-new-keyring")
            }
            (PrivilegeStep::SetLabel { .. }, _, Errno::ENOENT | Errno::EINVAL) => {
                ("the security module does not know it", "load the profile or policy, or correct the name")
            }
            (PrivilegeStep::SetCapabilities { .. }, _, Errno::EPERM) => {
                ("the caller does not have all of these capabilities", "take them out of process.capabilities")
            }
            (PrivilegeStep::Restrict { .. }, Call::Open, Errno::ENOENT) => (
                "a path of the annotation org.rootlet.landlock is not in the container",
                "correct it, or make the path",
            ),
            (PrivilegeStep::InstallFilter { .. }, _, Errno::EACCES) => {
                ("a filter without process.noNewPrivileges needs CAP_SYS_ADMIN", "set process.noNewPrivileges to true")
            }
            (PrivilegeStep::InstallFilter { .. }, _, Errno::EINVAL | Errno::ENOSYS) => (
                "this kernel lacks an action or flag of the profile, or system call filters",
                "leave out what is newer than the kernel (SCMP_ACT_NOTIFY: 5.0, WAIT_KILLABLE_RECV: 5.19)",
            ),
            (PrivilegeStep::InstallFilter { .. }, _, Errno::EBUSY) => {
                ("an outer filter has a listener already, and the kernel allows one", "take SCMP_ACT_NOTIFY out")
            }
            (
                PrivilegeStep::BecomeId { .. }
                | PrivilegeStep::ForbidTracing
                | PrivilegeStep::SetLabel { .. }
                | PrivilegeStep::SetNoNewPrivileges
                | PrivilegeStep::BecomeUser { .. }
                | PrivilegeStep::SetCapabilities { .. }
                | PrivilegeStep::Restrict { .. }
                | PrivilegeStep::SetTimerSlack { .. }
                | PrivilegeStep::InstallFilter { .. },
                ..,
            ) => return None,
        })
    }
}
