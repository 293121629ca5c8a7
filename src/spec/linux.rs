//! `linux` (runtime-spec, config-linux.md).

use super::{List, Map, Resources, Seccomp, object};
use std::collections::BTreeMap;

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
        net_devices: Option<BTreeMap<String, NetDevice>>,
        /// Where the container's cgroup is.
        cgroups_path: Option<String>,
        /// Limits.
        resources: Option<Resources>,
        /// `shared`, `slave`, `private`, `unbindable` and their recursive forms.
        rootfs_propagation: Option<String>,
        /// System call filter.
        seccomp: Option<Seccomp>,
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
        intel_rdt: Option<IntelRdt>,
        /// NUMA policy.
        memory_policy: Option<MemoryPolicy>,
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

impl Namespace {
    /// Made for the container, not joined.
    pub fn is_new(&self) -> bool {
        self.path.as_deref().is_none_or(str::is_empty)
    }
}

object! {
    /// One of `linux.netDevices`, by its name in the runtime's network namespace.
    NetDevice {
        /// Its name in the container; absent: the same.
        name: Option<String>,
    }
}

object! {
    /// `linux.memoryPolicy` (set_mempolicy(2)).
    MemoryPolicy {
        /// `MPOL_BIND`, ...
        mode: String,
        /// A list of NUMA nodes such as `0-1,3`.
        nodes: String,
        /// `MPOL_F_*`.
        flags: List<String>,
    }
}

object! {
    /// `linux.intelRdt`.
    IntelRdt {
        /// Name of the class of service.
        #[serde(rename = "closID")]
        clos_id: Option<String>,
        /// Lines of the file `schemata`.
        schemata: List<String>,
        /// A line of the file `schemata`.
        l3_cache_schema: Option<String>,
        /// A line of the file `schemata`.
        mem_bw_schema: Option<String>,
        /// Make a monitoring group.
        enable_monitoring: bool,
        /// Deprecated for `enableMonitoring`.
        #[serde(rename = "enableCMT")]
        enable_cmt: bool,
        /// Deprecated for `enableMonitoring`.
        #[serde(rename = "enableMBM")]
        enable_mbm: bool,
    }
}
