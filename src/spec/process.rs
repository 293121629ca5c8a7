//! `process` (runtime-spec, config.md).

use super::{List, Raw, object};

object! {
    /// `process` (config.md).
    Process {
        /// Whether the standard streams are a new terminal.
        terminal: bool,
        /// Size of the terminal at first.
        console_size: Option<ConsoleSize>,
        /// User and groups that the program runs as.
        user: User,
        /// The program and its arguments.
        args: List<String>,
        /// Only for Windows.
        command_line: Raw,
        /// The whole environment of the program, each `NAME=VALUE`.
        env: List<String>,
        /// Current directory of the program, an absolute path in the container.
        cwd: String,
        /// Capabilities of the program, in five sets.
        capabilities: Option<Capabilities>,
        /// Resource limits (setrlimit(2)).
        rlimits: List<Rlimit>,
        /// Whether execve gains nothing by setuid bits and file capabilities (PR_SET_NO_NEW_PRIVS).
        no_new_privileges: bool,
        /// AppArmor profile that the program runs under.
        apparmor_profile: Option<String>,
        /// How likely it is killed when memory is used up, -1000 to 1000 (proc_pid_oom_score_adj(5)).
        oom_score_adj: Option<i32>,
        /// Scheduling policy and what belongs to it.
        scheduler: Option<Scheduler>,
        /// SELinux label that the program runs under.
        selinux_label: Option<String>,
        /// Class and priority of input and output.
        #[serde(rename = "ioPriority")]
        io_priority: Option<IoPriority>,
        /// Processors of a program that `exec` starts.
        #[serde(rename = "execCPUAffinity")]
        exec_cpu_affinity: Option<ExecCpuAffinity>,
    }
}

object! {
    /// `process.execCPUAffinity`: lists of CPUs such as `0-3,7`.
    ExecCpuAffinity {
        /// Processors until the process is in the container's cgroup.
        initial: Option<String>,
        /// Processors from then on.
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
        /// User id in the container.
        uid: u32,
        /// Group id in the container.
        gid: u32,
        /// File mode creation mask, such as 18 for 0022.
        umask: Option<u32>,
        /// Supplementary group ids in the container.
        additional_gids: List<u32>,
        /// Only for Windows.
        username: Option<String>,
    }
}

object! {
    /// `process.capabilities`: names such as `CAP_CHOWN`.
    Capabilities {
        /// What may ever be gained by execve.
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
