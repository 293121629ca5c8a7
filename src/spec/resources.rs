//! `linux.resources` (runtime-spec, config-linux.md): limits of the container's cgroup.

use super::{List, object};
use std::collections::BTreeMap;

object! {
    /// `linux.resources`.
    Resources {
        /// Which devices may be used.
        devices: List<DeviceRule>,
        /// Memory.
        memory: Option<Memory>,
        /// Processors.
        cpu: Option<Cpu>,
        /// Number of processes.
        pids: Option<Pids>,
        /// Block devices.
        #[serde(rename = "blockIO")]
        block_io: Option<BlockIo>,
        /// Huge pages.
        hugepage_limits: List<HugepageLimit>,
        /// Network priorities, of cgroup v1.
        network: Option<Network>,
        /// RDMA, by device.
        rdma: Option<BTreeMap<String, Rdma>>,
        /// Files of cgroup v2 by their names.
        unified: Option<BTreeMap<String, String>>,
        /// Not here, but in `process.oomScoreAdj`, since 1.0.0.
        oom_score_adj: Option<i64>,
        /// Not here, but in `memory`, since 1.0.0.
        #[serde(rename = "disableOOMKiller")]
        disable_oom_killer: Option<bool>,
    }
}

object! {
    /// One of `linux.resources.devices`.
    DeviceRule {
        /// Allow or deny.
        allow: bool,
        /// `a`, `b` or `c`; absent: all.
        #[serde(rename = "type")]
        kind: Option<String>,
        /// Absent: all.
        major: Option<i64>,
        /// Absent: all.
        minor: Option<i64>,
        /// Of `r`, `w`, `m`.
        access: Option<String>,
    }
}

object! {
    /// `linux.resources.memory`, in bytes; -1 is no limit.
    Memory {
        /// Most.
        limit: Option<i64>,
        /// What it should have under pressure.
        reservation: Option<i64>,
        /// Most of memory and swap together.
        swap: Option<i64>,
        /// Obsolete.
        kernel: Option<i64>,
        /// Of cgroup v1.
        #[serde(rename = "kernelTCP")]
        kernel_tcp: Option<i64>,
        /// Of cgroup v1: 0 to 100.
        swappiness: Option<u64>,
        /// Of cgroup v1.
        #[serde(rename = "disableOOMKiller")]
        disable_oom_killer: Option<bool>,
        /// Of cgroup v1.
        use_hierarchy: Option<bool>,
        /// Refuse a new limit below what is used.
        check_before_update: Option<bool>,
    }
}

object! {
    /// `linux.resources.cpu`.
    Cpu {
        /// Relative weight.
        shares: Option<u64>,
        /// Microseconds in a period.
        quota: Option<i64>,
        /// Microseconds that may be saved up.
        burst: Option<u64>,
        /// Microseconds.
        period: Option<u64>,
        /// Of cgroup v1.
        realtime_runtime: Option<i64>,
        /// Of cgroup v1.
        realtime_period: Option<u64>,
        /// A list such as `0-3,7`.
        cpus: Option<String>,
        /// A list of memory nodes.
        mems: Option<String>,
        /// 1: SCHED_IDLE for the whole cgroup.
        idle: Option<i64>,
    }
}

object! {
    /// `linux.resources.pids`.
    Pids {
        /// -1 is no limit.
        limit: Option<i64>,
    }
}

object! {
    /// `linux.resources.blockIO`.
    BlockIo {
        /// 10 to 1000.
        weight: Option<u16>,
        /// Of cgroup v1.
        leaf_weight: Option<u16>,
        /// Weights of devices.
        weight_device: List<WeightDevice>,
        /// Bytes in a second.
        throttle_read_bps_device: List<ThrottleDevice>,
        /// Bytes in a second.
        throttle_write_bps_device: List<ThrottleDevice>,
        /// Operations in a second.
        #[serde(rename = "throttleReadIOPSDevice")]
        throttle_read_iops_device: List<ThrottleDevice>,
        /// Operations in a second.
        #[serde(rename = "throttleWriteIOPSDevice")]
        throttle_write_iops_device: List<ThrottleDevice>,
    }
}

object! {
    /// One of `linux.resources.blockIO.weightDevice`.
    WeightDevice {
        /// Of the device.
        major: i64,
        /// Of the device.
        minor: i64,
        /// 10 to 1000.
        weight: Option<u16>,
        /// Of cgroup v1.
        leaf_weight: Option<u16>,
    }
}

object! {
    /// One of `linux.resources.blockIO.throttle*Device`.
    ThrottleDevice {
        /// Of the device.
        major: i64,
        /// Of the device.
        minor: i64,
        /// In a second.
        rate: u64,
    }
}

object! {
    /// One of `linux.resources.hugepageLimits`.
    HugepageLimit {
        /// Such as `2MB`.
        page_size: String,
        /// Bytes.
        limit: u64,
    }
}

object! {
    /// `linux.resources.network`.
    Network {
        /// Of cgroup v1.
        #[serde(rename = "classID")]
        class_id: Option<u32>,
        /// Of cgroup v1.
        priorities: List<InterfacePriority>,
    }
}

object! {
    /// One of `linux.resources.network.priorities`.
    InterfacePriority {
        /// Of the interface.
        name: String,
        /// The higher, the sooner.
        priority: u32,
    }
}

object! {
    /// One of `linux.resources.rdma`.
    Rdma {
        /// Most handles.
        hca_handles: Option<u32>,
        /// Most objects.
        hca_objects: Option<u32>,
    }
}
