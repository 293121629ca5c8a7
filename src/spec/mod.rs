//! config.json: its types, loading it, and the configs that `rootlet spec` writes.
//!
//! The types follow runtime-spec 1.3 and are tolerant as runc is: `null` is absence, unknown keys are collected and
//! warned about, capability and flag names stay text until a property resolves them. (oci-spec's types refuse configs
//! that runc runs: a future capability, `SCHED_FLAG_DL_OVERRUN`, a process without `user`. They serve for writing.)

pub mod default;
pub mod load;

use serde::{Deserialize, Deserializer, Serialize};
use std::collections::BTreeMap;
use std::ops::Deref;

pub use load::{Loaded, load};

/// A list that may be absent or `null`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct List<T>(pub Vec<T>);

impl<T> Default for List<T> {
    fn default() -> List<T> {
        List(Vec::new())
    }
}

impl<T> Deref for List<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.0
    }
}

impl<'a, T> IntoIterator for &'a List<T> {
    type Item = &'a T;
    type IntoIter = std::slice::Iter<'a, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for List<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<List<T>, D::Error> {
        Ok(List(Option::<Vec<T>>::deserialize(deserializer)?.unwrap_or_default()))
    }
}

/// A map that may be absent or `null`.
pub type Map = Option<BTreeMap<String, String>>;

/// A part that rootlet only looks at to refuse it, or to pass it on.
pub type Raw = Option<serde_json::Value>;

macro_rules! object {
    ($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $type:ty),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Default, PartialEq, Deserialize)]
        #[serde(rename_all = "camelCase", default)]
        pub struct $name { $($(#[$field_doc])* pub $field: $type),* }
    };
}

object! {
    /// The whole of config.json (runtime-spec, config.md).
    Spec {
        /// Version of the specification, `1.x.y`.
        oci_version: String,
        /// What the container's name is in its UTS namespace.
        hostname: Option<String>,
        /// The NIS domain name.
        domainname: Option<String>,
        /// The program.
        process: Option<Process>,
        /// The root file system.
        root: Option<Root>,
        /// What is mounted, in order.
        mounts: List<Mount>,
        /// Programs run around the life of the container.
        hooks: Option<Hooks>,
        /// Free text.
        annotations: Map,
        /// What only Linux has.
        linux: Option<Linux>,
        /// For another platform.
        windows: Raw,
        /// For another platform.
        solaris: Raw,
        /// For another platform.
        zos: Raw,
        /// For another platform.
        freebsd: Raw,
        /// For virtual machines.
        vm: Raw,
    }
}

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
        exec_cpu_affinity: Raw,
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

object! {
    /// `root`.
    Root {
        /// Absolute, or relative to the bundle.
        path: String,
        /// Mount it read-only.
        readonly: bool,
    }
}

object! {
    /// One of `mounts`.
    Mount {
        /// An absolute path in the container.
        destination: String,
        /// File system type; `bind` and `none` for binds.
        #[serde(rename = "type")]
        kind: Option<String>,
        /// A path (relative to the bundle) or what the file system takes.
        source: Option<String>,
        /// As in mount(8).
        options: List<String>,
        /// For an idmapped mount.
        uid_mappings: List<IdMapping>,
        /// For an idmapped mount.
        gid_mappings: List<IdMapping>,
    }
}

/// `hooks`: lists of programs by moment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Hooks {
    /// Deprecated; in the runtime's namespaces, before createRuntime.
    pub prestart: List<Hook>,
    /// In the runtime's namespaces, when the container's exist.
    pub create_runtime: List<Hook>,
    /// In the container's namespaces, before its root is entered.
    pub create_container: List<Hook>,
    /// In the container, before its program.
    pub start_container: List<Hook>,
    /// In the runtime's namespaces, after the program has begun.
    pub poststart: List<Hook>,
    /// In the runtime's namespaces, after delete.
    pub poststop: List<Hook>,
}

/// One hook.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Hook {
    /// An absolute path.
    pub path: String,
    /// Including argument 0.
    pub args: List<String>,
    /// `NAME=VALUE`; absent: the runtime's environment.
    pub env: Option<Vec<String>>,
    /// Seconds, above 0.
    pub timeout: Option<i64>,
}

object! {
    /// `linux` (config-linux.md).
    Linux {
        /// New namespaces, or ones to join.
        namespaces: List<Namespace>,
        /// Ids of the user namespace.
        uid_mappings: List<IdMapping>,
        /// Ids of the user namespace.
        gid_mappings: List<IdMapping>,
        /// Clocks of the time namespace.
        time_offsets: Option<BTreeMap<String, TimeOffset>>,
        /// Device nodes to make.
        devices: List<Device>,
        /// Network devices to move in.
        net_devices: Raw,
        /// Where the container's cgroup is.
        cgroups_path: Option<String>,
        /// Limits.
        resources: Raw,
        /// `shared`, `slave`, `private`, `unbindable` and their recursive forms.
        rootfs_propagation: Option<String>,
        /// System call filter.
        seccomp: Raw,
        /// Kernel parameters.
        sysctl: Map,
        /// Paths to hide.
        masked_paths: List<String>,
        /// Paths to make read-only.
        readonly_paths: List<String>,
        /// SELinux label of mounts.
        mount_label: Option<String>,
        /// Execution domain.
        personality: Option<Personality>,
        /// Cache and memory bandwidth.
        intel_rdt: Raw,
        /// NUMA policy.
        memory_policy: Raw,
    }
}

object! {
    /// One of `linux.namespaces`.
    Namespace {
        /// `pid`, `network`, `mount`, `ipc`, `uts`, `user`, `cgroup` or `time`.
        #[serde(rename = "type")]
        kind: String,
        /// One to join.
        path: Option<String>,
    }
}

object! {
    /// A range of ids.
    IdMapping {
        /// First id in the container.
        #[serde(rename = "containerID")]
        container_id: u32,
        /// First id outside.
        #[serde(rename = "hostID")]
        host_id: u32,
        /// How many.
        size: u32,
    }
}

object! {
    /// One of `linux.timeOffsets`.
    TimeOffset {
        /// Seconds.
        secs: i64,
        /// Nanoseconds.
        nanosecs: u32,
    }
}

object! {
    /// One of `linux.devices`.
    Device {
        /// `c`, `b`, `u` or `p`.
        #[serde(rename = "type")]
        kind: String,
        /// In the container.
        path: String,
        /// Not for `p`.
        major: Option<i64>,
        /// Not for `p`.
        minor: Option<i64>,
        /// Permissions.
        file_mode: Option<u32>,
        /// Owner in the container.
        uid: Option<u32>,
        /// Group in the container.
        gid: Option<u32>,
    }
}

object! {
    /// `linux.personality`.
    Personality {
        /// `LINUX` or `LINUX32`.
        domain: String,
        /// None is defined.
        flags: List<String>,
    }
}

impl Spec {
    /// `linux`, or its default.
    pub fn linux(&self) -> &Linux {
        static DEFAULT: std::sync::LazyLock<Linux> = std::sync::LazyLock::new(Linux::default);
        self.linux.as_ref().unwrap_or(&DEFAULT)
    }

    /// `process`, or its default.
    pub fn process(&self) -> &Process {
        static DEFAULT: std::sync::LazyLock<Process> = std::sync::LazyLock::new(Process::default);
        self.process.as_ref().unwrap_or(&DEFAULT)
    }

    /// The namespace of that type, if the config has one.
    pub fn namespace(&self, kind: &str) -> Option<&Namespace> {
        self.linux().namespaces.iter().find(|namespace| namespace.kind == kind)
    }

    /// True if the container gets a namespace of that type for itself.
    pub fn has_new_namespace(&self, kind: &str) -> bool {
        self.namespace(kind).is_some_and(Namespace::is_new)
    }
}

impl Namespace {
    /// Made for the container, not joined.
    pub fn is_new(&self) -> bool {
        self.path.as_deref().is_none_or(str::is_empty)
    }
}

impl TryFrom<oci_spec::runtime::Spec> for Spec {
    type Error = crate::error::Error;

    /// Takes over a config that was built with the types of oci-spec.
    fn try_from(spec: oci_spec::runtime::Spec) -> crate::error::Result<Spec> {
        let text =
            serde_json::to_string(&spec).map_err(|error| crate::error::Error::new(format!("config: {error}")))?;
        Ok(load::parse(&text)?.spec)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_config_of_oci_spec_is_taken_over() {
        let theirs = oci_spec::runtime::Spec::rootless(1000, 1001);
        let ours = Spec::try_from(theirs.clone()).unwrap();
        assert_eq!(ours.mounts.len(), theirs.mounts().as_ref().unwrap().len());
        assert_eq!(ours.linux().gid_mappings.first().map(|mapping| mapping.host_id), Some(1001));
        assert_eq!(ours.process().args.first(), theirs.process().as_ref().unwrap().args().as_ref().unwrap().first());
        assert!(ours.has_new_namespace("user") && !ours.has_new_namespace("network"));
    }
}
