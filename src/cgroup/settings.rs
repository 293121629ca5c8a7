//! From `linux.resources` to files of cgroup v2 (runtime-spec, config-linux.md; the kernel's cgroup-v2.rst).

use crate::error::{Error, Result};
use crate::plan::Setting;
use crate::spec::{BlockIo, Cpu, Memory, Resources};

/// What is asked for that only cgroup v1 has, by its property; and why it is not done.
pub fn refused(resources: &Resources) -> Vec<(&'static str, &'static str)> {
    let memory = resources.memory.clone().unwrap_or_default();
    let cpu = resources.cpu.clone().unwrap_or_default();
    let network = resources.network.clone().unwrap_or_default();
    let leaf = resources.block_io.as_ref().is_some_and(|block_io| {
        let devices = block_io.weight_device.iter().map(|device| device.leaf_weight);
        devices.chain([block_io.leaf_weight]).flatten().any(|weight| weight != 0)
    });
    const V1: &str = "only cgroup v1 has it, which rootlet does not drive";
    let all = [
        ("linux.resources.memory.swappiness", memory.swappiness.is_some()),
        ("linux.resources.memory.disableOOMKiller", memory.disable_oom_killer == Some(true)),
        ("linux.resources.cpu.realtimeRuntime", cpu.realtime_runtime.is_some_and(|runtime| runtime != 0)),
        ("linux.resources.cpu.realtimePeriod", cpu.realtime_period.is_some_and(|period| period != 0)),
        ("linux.resources.blockIO.leafWeight", leaf),
        ("linux.resources.network.classID", network.class_id.is_some_and(|id| id != 0)),
        ("linux.resources.network.priorities", !network.priorities.is_empty()),
    ];
    all.into_iter().filter(|(_, asked)| *asked).map(|(name, _)| (name, V1)).collect()
}

/// What is written where, in this order.
pub fn translate(resources: &Resources) -> Result<Vec<Setting>> {
    let mut settings = Vec::new();
    if let Some(memory) = &resources.memory {
        translate_memory(memory, &mut settings)?;
    }
    if let Some(cpu) = &resources.cpu {
        translate_cpu(cpu, &mut settings);
    }
    if let Some(limit) = resources.pids.as_ref().and_then(|pids| pids.limit) {
        settings.push(limited("linux.resources.pids.limit", "pids.max", limit));
    }
    if let Some(block_io) = &resources.block_io {
        translate_block_io(block_io, &mut settings);
    }
    for limit in &resources.hugepage_limits {
        let property = "linux.resources.hugepageLimits";
        let file = format!("hugetlb.{}.max", limit.page_size);
        settings.push(Setting::new(property, file, limit.limit.to_string()));
        // What is reserved by mmap(2) and never used counts otherwise, too (Linux 5.7).
        let file = format!("hugetlb.{}.rsvd.max", limit.page_size);
        settings.push(Setting { is_optional: true, ..Setting::new(property, file, limit.limit.to_string()) });
    }
    for (device, limit) in resources.rdma.iter().flatten() {
        let part = |name: &str, most: Option<u32>| most.map(|most| format!(" {name}={most}")).unwrap_or_default();
        let (handles, objects) = (part("hca_handle", limit.hca_handles), part("hca_object", limit.hca_objects));
        settings.push(Setting::new("linux.resources.rdma", "rdma.max", format!("{device}{handles}{objects}")));
    }
    for (file, value) in resources.unified.iter().flatten() {
        settings.extend(value.lines().map(|line| {
            let setting = Setting::new("linux.resources.unified", file, line.to_owned());
            Setting { is_optional: line == "max", ..setting }
        }));
    }
    Ok(settings)
}

/// -1 is no limit, and nothing is lost where it cannot be lifted.
fn limited(property: &'static str, file: &str, limit: i64) -> Setting {
    let value = if limit < 0 { "max".to_owned() } else { limit.to_string() };
    Setting { is_optional: limit < 0, ..Setting::new(property, file, value) }
}

fn translate_memory(memory: &Memory, settings: &mut Vec<Setting>) -> Result<()> {
    // As in runc, 0 is a value that is not given.
    let given = |value: Option<i64>| value.filter(|value| *value != 0);
    let limit = given(memory.limit);
    if let Some(swap) = swap_alone(limit, given(memory.swap))? {
        // Without swap there is nothing to limit.
        let is_optional = swap == "max" || swap == "0";
        let setting = Setting::new("linux.resources.memory.swap", "memory.swap.max", swap);
        settings.push(Setting { is_optional, ..setting });
    }
    if let Some(limit) = limit {
        settings.push(limited("linux.resources.memory.limit", "memory.max", limit));
    }
    if let Some(reservation) = given(memory.reservation) {
        settings.push(limited("linux.resources.memory.reservation", "memory.low", reservation));
    }
    Ok(())
}

/// `swap` is memory and swap together; cgroup v2 counts swap alone.
fn swap_alone(limit: Option<i64>, swap: Option<i64>) -> Result<Option<String>> {
    let wrong = |message: String, remedy: &str| {
        Err(Error::in_config("linux.resources.memory.swap", message)
            .because("it is the most of memory and swap together")
            .remedy(remedy))
    };
    match (limit, swap) {
        // Whoever lifts one limit has always lifted both.
        (Some(limit), None) if limit < 0 => Ok(Some("max".to_owned())),
        (_, None) => Ok(None),
        (_, Some(swap)) if swap < 0 => Ok(Some("max".to_owned())),
        (Some(limit), Some(swap)) if limit < 0 => Ok(Some(swap.to_string())),
        (None, Some(_)) => wrong("given without memory.limit".to_owned(), "add memory.limit"),
        (Some(limit), Some(swap)) if swap < limit => {
            wrong(format!("{swap} is below memory.limit, {limit}"), "raise it to memory.limit, for no swap, or more")
        }
        (Some(limit), Some(swap)) => Ok(Some((swap - limit).to_string())),
    }
}

fn translate_cpu(cpu: &Cpu, settings: &mut Vec<Setting>) {
    if let Some(idle) = cpu.idle {
        let setting = Setting::new("linux.resources.cpu.idle", "cpu.idle", idle.to_string());
        settings.push(Setting { is_optional: idle == 0, ..setting });
    }
    // Who is idle has no weight, and the kernel takes none.
    if let Some(shares) = cpu.shares.filter(|shares| *shares != 0 && cpu.idle != Some(1)) {
        settings.push(Setting::new("linux.resources.cpu.shares", "cpu.weight", weight_of(shares).to_string()));
    }
    let (quota, period) = (cpu.quota.filter(|quota| *quota != 0), cpu.period.filter(|period| *period != 0));
    let burst = cpu.burst.map(|burst| {
        let setting = Setting::new("linux.resources.cpu.burst", "cpu.max.burst", burst.to_string());
        Setting { is_optional: burst == 0, ..setting }
    });
    if quota.is_some() || period.is_some() {
        // The kernel wants the burst below the quota at every moment.
        let lowered = burst.as_ref().map(|burst| Setting { value: "0".to_owned(), ..burst.clone() });
        settings.extend(lowered);
        let property = if quota.is_some() { "linux.resources.cpu.quota" } else { "linux.resources.cpu.period" };
        let mut setting = limited(property, "cpu.max", quota.unwrap_or(-1));
        setting.value.extend(period.map(|period| format!(" {period}")));
        settings.push(setting);
    }
    settings.extend(burst);
    for (property, file, list) in
        [("linux.resources.cpu.cpus", "cpuset.cpus", &cpu.cpus), ("linux.resources.cpu.mems", "cpuset.mems", &cpu.mems)]
    {
        let list = list.as_deref().filter(|list| !list.is_empty());
        settings.extend(list.map(|list| Setting::new(property, file, list.to_owned())));
    }
}

/// The weight of some shares: a quadratic fit in logarithms through 2 -> 1, 1024 -> 100 and 262144 -> 10000, as runc has
/// it since 1.4, and crun.
pub fn weight_of(shares: u64) -> u64 {
    match shares {
        0..=2 => 1,
        262_144.. => 10_000,
        shares => {
            let logarithm = (shares as f64).log2();
            let exponent = (logarithm * logarithm + 125.0 * logarithm) / 612.0 - 7.0 / 34.0;
            10f64.powf(exponent).ceil() as u64
        }
    }
}

fn translate_block_io(block_io: &BlockIo, settings: &mut Vec<Setting>) {
    // Where bfq schedules, it has weights of its own, in the scale of cgroup v1.
    let mut push_weight = |property, weight: u16, device: Option<(i64, i64)>| {
        let place = device.map_or("default ".to_owned(), |(major, minor)| format!("{major}:{minor} "));
        let bfq = Setting::new(property, "io.bfq.weight", format!("{place}{weight}"));
        let weight = 1 + u64::from(weight.saturating_sub(10)) * 9999 / 990;
        let otherwise = Setting::new(property, "io.weight", format!("{place}{weight}"));
        settings.push(Setting { instead: Some(Box::new(otherwise)), ..bfq });
    };
    if let Some(weight) = block_io.weight.filter(|weight| *weight != 0) {
        push_weight("linux.resources.blockIO.weight", weight, None);
    }
    for device in &block_io.weight_device {
        if let Some(weight) = device.weight.filter(|weight| *weight != 0) {
            push_weight("linux.resources.blockIO.weightDevice", weight, Some((device.major, device.minor)));
        }
    }
    for (property, name, devices) in [
        ("linux.resources.blockIO.throttleReadBpsDevice", "rbps", &block_io.throttle_read_bps_device),
        ("linux.resources.blockIO.throttleWriteBpsDevice", "wbps", &block_io.throttle_write_bps_device),
        ("linux.resources.blockIO.throttleReadIOPSDevice", "riops", &block_io.throttle_read_iops_device),
        ("linux.resources.blockIO.throttleWriteIOPSDevice", "wiops", &block_io.throttle_write_iops_device),
    ] {
        for device in devices {
            let line = format!("{}:{} {name}={}", device.major, device.minor, device.rate);
            settings.push(Setting::new(property, "io.max", line));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn settings(resources: serde_json::Value) -> Vec<(String, String)> {
        let resources: Resources = serde_json::from_value(resources).unwrap();
        translate(&resources).unwrap().into_iter().map(|setting| (setting.file, setting.value)).collect()
    }

    fn pair(file: &str, value: &str) -> (String, String) {
        (file.to_owned(), value.to_owned())
    }

    #[test]
    fn shares_become_weights() {
        for (shares, weight) in
            [(1, 1), (2, 1), (1024, 100), (2048, 174), (512, 59), (262_144, 10_000), (1 << 40, 10_000)]
        {
            assert_eq!(weight_of(shares), weight, "{shares}");
        }
    }

    #[test]
    fn swap_is_counted_alone() {
        let both = |limit, swap| settings(json!({"memory": {"limit": limit, "swap": swap}}));
        assert_eq!(both(100, 300), [pair("memory.swap.max", "200"), pair("memory.max", "100")]);
        assert_eq!(both(100, 100), [pair("memory.swap.max", "0"), pair("memory.max", "100")]);
        assert_eq!(both(100, -1), [pair("memory.swap.max", "max"), pair("memory.max", "100")]);
        assert_eq!(both(-1, 300), [pair("memory.swap.max", "300"), pair("memory.max", "max")]);
        assert_eq!(
            settings(json!({"memory": {"limit": -1}})),
            [pair("memory.swap.max", "max"), pair("memory.max", "max")]
        );
        for (memory, words) in [(json!({"swap": 5}), "without memory.limit"), (json!({"limit": 9, "swap": 5}), "below")]
        {
            let resources: Resources = serde_json::from_value(json!({"memory": memory})).unwrap();
            assert!(translate(&resources).unwrap_err().message.contains(words));
        }
    }

    #[test]
    fn everything_else_has_its_file() {
        let cpu =
            json!({"cpu": {"quota": 50000, "period": 200000, "burst": 1000, "idle": 1, "cpus": "0-1", "mems": "0"}});
        let expected = [
            pair("cpu.idle", "1"),
            pair("cpu.max.burst", "0"),
            pair("cpu.max", "50000 200000"),
            pair("cpu.max.burst", "1000"),
            pair("cpuset.cpus", "0-1"),
            pair("cpuset.mems", "0"),
        ];
        assert_eq!(settings(cpu), expected);
        assert_eq!(settings(json!({"cpu": {"quota": -1}})), [pair("cpu.max", "max")]);
        assert_eq!(settings(json!({"pids": {"limit": 0}})), [pair("pids.max", "0")]);
        assert_eq!(settings(json!({"pids": {"limit": -1}})), [pair("pids.max", "max")]);
        let block_io =
            json!({"blockIO": {"weight": 1000, "throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 7}]}});
        assert_eq!(settings(block_io), [pair("io.bfq.weight", "default 1000"), pair("io.max", "8:0 rbps=7")]);
        let huge = json!({"hugepageLimits": [{"pageSize": "2MB", "limit": 4096}]});
        assert_eq!(settings(huge), [pair("hugetlb.2MB.max", "4096"), pair("hugetlb.2MB.rsvd.max", "4096")]);
        let rdma = json!({"rdma": {"mlx5_1": {"hcaHandles": 3}}});
        assert_eq!(settings(rdma), [pair("rdma.max", "mlx5_1 hca_handle=3")]);
        assert_eq!(settings(json!({"unified": {"memory.high": "9"}})), [pair("memory.high", "9")]);
    }
}
