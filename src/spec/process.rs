//! `process` (runtime-spec, config.md).

use super::{List, Raw, object};

object! {
    /// `process` (config.md).
    Process {
        /// Attach a terminal.
        terminal: bool,
        /// Its first size.
        console_size: Option<ConsoleSize>,
        /// Who runs it.
        user: User,
        /// The program and its arguments.
        args: List<String>,
        /// Only for Windows.
        command_line: Raw,
        /// `NAME=VALUE`.
        env: List<String>,
        /// An absolute path in the container.
        cwd: String,
        /// The five sets.
        capabilities: Option<Capabilities>,
        /// Resource limits.
        rlimits: List<Rlimit>,
        /// PR_SET_NO_NEW_PRIVS.
        no_new_privileges: bool,
        /// Profile of AppArmor.
        apparmor_profile: Option<String>,
        /// -1000 to 1000.
        oom_score_adj: Option<i32>,
        /// Scheduling policy.
        scheduler: Option<Scheduler>,
        /// Label of SELinux.
        selinux_label: Option<String>,
        /// Priority of input and output.
        #[serde(rename = "ioPriority")]
        io_priority: Option<IoPriority>,
        /// CPUs of an exec'd process.
        #[serde(rename = "execCPUAffinity")]
        exec_cpu_affinity: Option<ExecCpuAffinity>,
    }
}

object! {
    /// `process.execCPUAffinity`: lists of CPUs such as `0-3,7`.
    ExecCpuAffinity {
        /// Before the process is in its cgroup.
        initial: Option<String>,
        /// From then on.
        #[serde(rename = "final")]
        last: Option<String>,
    }
}

object! {
    /// `process.consoleSize`, in characters.
    ConsoleSize {
        /// Lines.
        height: u16,
        /// Columns.
        width: u16,
    }
}

object! {
    /// `process.user` (config.md, POSIX-platform user).
    User {
        /// In the container's user namespace.
        uid: u32,
        /// In the container's user namespace.
        gid: u32,
        /// The file mode creation mask.
        umask: Option<u32>,
        /// Supplementary groups.
        additional_gids: List<u32>,
        /// Only for Windows.
        username: Option<String>,
    }
}

object! {
    /// `process.capabilities`: names such as `CAP_CHOWN`.
    Capabilities {
        /// What may ever be gained.
        bounding: List<String>,
        /// What is in force.
        effective: List<String>,
        /// What execve keeps for files that inherit.
        inheritable: List<String>,
        /// What may be put in force.
        permitted: List<String>,
        /// What execve keeps for ordinary files.
        ambient: List<String>,
    }
}

object! {
    /// One of `process.rlimits`.
    Rlimit {
        /// `RLIMIT_NOFILE`, ...
        #[serde(rename = "type")]
        kind: String,
        /// What is enforced.
        soft: u64,
        /// What soft may be raised to.
        hard: u64,
    }
}

object! {
    /// `process.scheduler` (sched(7)).
    Scheduler {
        /// `SCHED_OTHER`, ...
        policy: String,
        /// For SCHED_OTHER and SCHED_BATCH.
        nice: i32,
        /// For SCHED_FIFO and SCHED_RR.
        priority: i32,
        /// `SCHED_FLAG_*`.
        flags: List<String>,
        /// For SCHED_DEADLINE, nanoseconds.
        runtime: u64,
        /// For SCHED_DEADLINE, nanoseconds.
        deadline: u64,
        /// For SCHED_DEADLINE, nanoseconds.
        period: u64,
    }
}

object! {
    /// `process.ioPriority` (ioprio_set(2)).
    IoPriority {
        /// `IOPRIO_CLASS_RT`, `IOPRIO_CLASS_BE` or `IOPRIO_CLASS_IDLE`.
        class: String,
        /// 0 (highest) to 7.
        priority: i64,
    }
}
