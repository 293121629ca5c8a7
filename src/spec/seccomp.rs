//! `linux.seccomp` (runtime-spec, config-linux.md).

use super::{List, object};

object! {
    /// `linux.seccomp`.
    Seccomp {
        /// `SCMP_ACT_*` for what no rule names.
        default_action: String,
        /// The errno of a default action `SCMP_ACT_ERRNO`; absent: EPERM.
        default_errno_ret: Option<u32>,
        /// `SCMP_ARCH_*`; the native one is always among them.
        architectures: List<String>,
        /// `SECCOMP_FILTER_FLAG_*`; absent is not the same as empty.
        flags: Option<Vec<String>>,
        /// Socket of an agent that answers for `SCMP_ACT_NOTIFY`.
        listener_path: Option<String>,
        /// What the agent is told besides the state.
        listener_metadata: Option<String>,
        /// The rules.
        syscalls: List<Syscall>,
    }
}

object! {
    /// One of `linux.seccomp.syscalls`.
    Syscall {
        /// Names of system calls.
        names: List<String>,
        /// `SCMP_ACT_*`.
        action: String,
        /// The errno of `SCMP_ACT_ERRNO`, or the message of `SCMP_ACT_TRACE`.
        errno_ret: Option<u32>,
        /// All must hold; several of one argument are alternatives.
        args: List<SyscallArgument>,
    }
}

object! {
    /// One of `linux.seccomp.syscalls[].args`.
    SyscallArgument {
        /// 0 to 5.
        index: u32,
        /// What it is compared with, or the mask.
        value: u64,
        /// What is left under the mask.
        value_two: u64,
        /// `SCMP_CMP_*`.
        op: String,
    }
}
