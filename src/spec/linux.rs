//! `linux` (runtime-spec, config-linux.md).

use super::{List, Map, Resources, Seccomp, object};
use std::collections::BTreeMap;

object! {
    /// `linux` (config-linux.md).
    Linux {
        /// Namespaces that are made, or joined by a path.
        namespaces: List<Namespace>,
        /// User ids in the container and those that they are outside.
        uid_mappings: List<IdMapping>,
        /// Group ids in the container and those that they are outside.
        gid_mappings: List<IdMapping>,
        /// What the clocks `monotonic` and `boottime` of the time namespace are ahead.
        time_offsets: Option<BTreeMap<String, TimeOffset>>,
        /// Device nodes that are made, besides the usual ones.
        devices: List<Device>,
        /// Network devices that are moved in, by their names in the runtime's network namespace.
        net_devices: Option<BTreeMap<String, NetDevice>>,
        /// Path of the container's cgroup, or `SLICE:PREFIX:NAME` of a systemd scope.
        cgroups_path: Option<String>,
        /// Limits of the container's cgroup.
        resources: Option<Resources>,
        /// `shared`, `slave`, `private`, `unbindable` and their recursive forms.
        rootfs_propagation: Option<String>,
        /// Which system calls are allowed.
        seccomp: Option<Seccomp>,
        /// Kernel parameters of the container's namespaces, such as `net.ipv4.ip_forward`.
        sysctl: Map,
        /// Paths in the container that show nothing.
        masked_paths: List<String>,
        /// Paths in the container that cannot be written to.
        readonly_paths: List<String>,
        /// SELinux context of the container's mounts.
        mount_label: Option<String>,
        /// Execution domain (personality(2)).
        personality: Option<Personality>,
        /// Shares of the cache and of the bandwidth of memory (resctrl).
        intel_rdt: Option<IntelRdt>,
        /// NUMA policy of the process.
        memory_policy: Option<MemoryPolicy>,
    }
}

object! {
    /// One of `linux.namespaces`.
    Namespace {
        /// `pid`, `network`, `mount`, `ipc`, `uts`, `user`, `cgroup` or `time`.
        #[serde(rename = "type")]
        kind: String,
        /// File of the namespace that is joined, such as `/proc/PID/ns/net`; absent: a new one.
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
        /// How many ids follow one another.
        size: u32,
    }
}

object! {
    /// One of `linux.timeOffsets`.
    TimeOffset {
        /// Seconds ahead; negative: behind.
        secs: i64,
        /// Nanoseconds that are added.
        nanosecs: u32,
    }
}

object! {
    /// One of `linux.devices`.
    Device {
        /// `c` and `u` for character devices, `b` for block devices, `p` for a FIFO.
        #[serde(rename = "type")]
        kind: String,
        /// Absolute path in the container.
        path: String,
        /// Major number; a FIFO has none.
        major: Option<i64>,
        /// Minor number; a FIFO has none.
        minor: Option<i64>,
        /// Permission bits of the node, 0666 if absent.
        file_mode: Option<u32>,
        /// Owner, as an id of the container.
        uid: Option<u32>,
        /// Group, as an id of the container.
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
        /// Name in the container; absent: the same as outside.
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
