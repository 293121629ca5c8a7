//! Capabilities by name and number (capabilities(7), linux/capability.h).

/// The position is the number.
pub const NAMES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

/// To give files to others.
pub const CAP_CHOWN: u8 = 0;
/// To keep setuid bits of files that are changed.
pub const CAP_FSETID: u8 = 4;
/// To set groups, and to map gids other than one's own.
pub const CAP_SETGID: u8 = 6;
/// To map uids other than one's own.
pub const CAP_SETUID: u8 = 7;
/// To move network devices.
pub const CAP_NET_ADMIN: u8 = 12;
/// To mount and to make namespaces.
pub const CAP_SYS_ADMIN: u8 = 21;
/// To raise hard limits and to lower oom_score_adj.
pub const CAP_SYS_RESOURCE: u8 = 24;
/// To map uid 0 of an outer namespace (Linux 5.12).
pub const CAP_SETFCAP: u8 = 31;
/// To make device nodes.
pub const CAP_MKNOD: u8 = 27;
/// To checkpoint and restore processes.
pub const CAP_CHECKPOINT_RESTORE: u8 = 40;
