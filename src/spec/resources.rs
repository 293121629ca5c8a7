//! `linux.resources` (runtime-spec, config-linux.md): limits of the container's cgroup.

use super::{List, object};
use std::collections::BTreeMap;

object! {
    /// `linux.resources`.
    Resources {
        /// Which device nodes may be read, written and made; the last rule that matches counts.
        devices: List<DeviceRule>,
        /// Limits of memory.
        memory: Option<Memory>,
        /// Shares of processors, and which ones.
        cpu: Option<Cpu>,
        /// How many processes there may be.
        pids: Option<Pids>,
        /// Weights and rates of block devices.
        #[serde(rename = "blockIO")]
        block_io: Option<BlockIo>,
        /// Limits of huge pages, by their size.
        hugepage_limits: List<HugepageLimit>,
        /// Class and priorities of packets (cgroup v1 only).
        network: Option<Network>,
        /// Limits of RDMA, by the name of the device.
        rdma: Option<BTreeMap<String, Rdma>>,
        /// Values by the names of their files in cgroup v2, such as `memory.high`.
        unified: Option<BTreeMap<String, String>>,
        /// Stands in `process.oomScoreAdj` since version 1.0.0 of the specification.
        oom_score_adj: Option<i64>,
        /// Stands in `memory` since version 1.0.0 of the specification.
        #[serde(rename = "disableOOMKiller")]
        disable_oom_killer: Option<bool>,
    }
}

object! {
    /// One of `linux.resources.devices`.
    DeviceRule {
        /// Whether what matches is allowed.
        allow: bool,
        /// `b` for block devices, `c` for character devices; `a` or absent: both.
        #[serde(rename = "type")]
        kind: Option<String>,
        /// Major number of the device; absent: any.
        major: Option<i64>,
        /// Minor number of the device; absent: any.
        minor: Option<i64>,
        /// Letters of `r` (read), `w` (write) and `m` (make its node).
        access: Option<String>,
    }
}

object! {
    /// `linux.resources.memory`, in bytes; -1 is no limit.
    Memory {
        /// The most that may be used (memory.max).
        limit: Option<i64>,
        /// What is left to it under pressure (memory.low).
        reservation: Option<i64>,
        /// The most of memory and swap together (memory.swap.max holds the difference).
        swap: Option<i64>,
        /// The most of the kernel's memory; obsolete: no kernel since 5.16 takes it.
        kernel: Option<i64>,
        /// The most of the buffers of TCP (cgroup v1 only).
        #[serde(rename = "kernelTCP")]
        kernel_tcp: Option<i64>,
        /// How readily pages are swapped, 0 to 100 (cgroup v1 only).
        swappiness: Option<u64>,
        /// Whether processes wait instead of being killed when memory is used up (cgroup v1 only).
        #[serde(rename = "disableOOMKiller")]
        disable_oom_killer: Option<bool>,
        /// Whether cgroups below are counted in (cgroup v1 only).
        use_hierarchy: Option<bool>,
        /// Whether a new limit below what is used is refused, where `update` would else have processes killed.
        check_before_update: Option<bool>,
    }
}

object! {
    /// `linux.resources.cpu`.
    Cpu {
        /// Relative weight, as in cgroup v1: 2 to 262144 (cpu.weight, to which it is converted).
        shares: Option<u64>,
        /// Time in each period, in microseconds; -1 is no limit (cpu.max).
        quota: Option<i64>,
        /// Time that may be saved up for a later period, in microseconds (cpu.max.burst).
        burst: Option<u64>,
        /// Length of a period, in microseconds (cpu.max).
        period: Option<u64>,
        /// Time of realtime processes in each period, in microseconds (cgroup v1 only).
        realtime_runtime: Option<i64>,
        /// Length of a period of realtime processes, in microseconds (cgroup v1 only).
        realtime_period: Option<u64>,
        /// Processors that may be used, a list such as `0-3,7` (cpuset.cpus).
        cpus: Option<String>,
        /// NUMA nodes whose memory may be used, a list such as `0-1` (cpuset.mems).
        mems: Option<String>,
        /// 1 if all of it is scheduled as SCHED_IDLE (cpu.idle).
        idle: Option<i64>,
    }
}

object! {
    /// `linux.resources.pids`.
    Pids {
        /// The most processes and threads; -1 is no limit (pids.max).
        limit: Option<i64>,
    }
}

object! {
    /// `linux.resources.blockIO`.
    BlockIo {
        /// Relative weight, 10 to 1000 (io.bfq.weight, or io.weight, to which it is converted).
        weight: Option<u16>,
        /// Weight against the cgroups below (cgroup v1 only).
        leaf_weight: Option<u16>,
        /// Weights for single devices.
        weight_device: List<WeightDevice>,
        /// The most that is read, in bytes a second (io.max).
        throttle_read_bps_device: List<ThrottleDevice>,
        /// The most that is written, in bytes a second (io.max).
        throttle_write_bps_device: List<ThrottleDevice>,
        /// The most reads, in operations a second (io.max).
        #[serde(rename = "throttleReadIOPSDevice")]
        throttle_read_iops_device: List<ThrottleDevice>,
        /// The most writes, in operations a second (io.max).
        #[serde(rename = "throttleWriteIOPSDevice")]
        throttle_write_iops_device: List<ThrottleDevice>,
    }
}

object! {
    /// One of `linux.resources.blockIO.weightDevice`.
    WeightDevice {
        /// Major number of the device.
        major: i64,
        /// Minor number of the device.
        minor: i64,
        /// Relative weight, 10 to 1000.
        weight: Option<u16>,
        /// Weight against the cgroups below (cgroup v1 only).
        leaf_weight: Option<u16>,
    }
}

object! {
    /// One of `linux.resources.blockIO.throttle*Device`.
    ThrottleDevice {
        /// Major number of the device.
        major: i64,
        /// Minor number of the device.
        minor: i64,
        /// Bytes or operations a second, as the list says that it is in.
        rate: u64,
    }
}

object! {
    /// One of `linux.resources.hugepageLimits`.
    HugepageLimit {
        /// Size of the pages with its unit, such as `2MB`.
        page_size: String,
        /// The most of such pages, in bytes (hugetlb.2MB.max).
        limit: u64,
    }
}

object! {
    /// `linux.resources.network`.
    Network {
        /// Class of the packets, for tc(8) (cgroup v1 only).
        #[serde(rename = "classID")]
        class_id: Option<u32>,
        /// Priorities by interface (cgroup v1 only).
        priorities: List<InterfacePriority>,
    }
}

object! {
    /// One of `linux.resources.network.priorities`.
    InterfacePriority {
        /// Name of the interface.
        name: String,
        /// The higher, the sooner a packet is sent.
        priority: u32,
    }
}

object! {
    /// One of `linux.resources.rdma`.
    Rdma {
        /// The most handles of the device.
        hca_handles: Option<u32>,
        /// The most objects of the device.
        hca_objects: Option<u32>,
    }
}
