//! Properties of the process and of the machine: scheduling, memory, limits, labels, network devices.

use crate::sandbox::{Sandbox, finish, is_root, skip};
use serde_json::{Value, json};
use std::fs;
use std::process::Command;

#[test]
fn every_limit_has_its_name() {
    let sandbox = Sandbox::ordinary();
    let names = [
        ("CPU", "Max cpu time"),
        ("FSIZE", "Max file size"),
        ("DATA", "Max data size"),
        ("STACK", "Max stack size"),
        ("CORE", "Max core file size"),
        ("RSS", "Max resident set"),
        ("NPROC", "Max processes"),
        ("NOFILE", "Max open files"),
        ("MEMLOCK", "Max locked memory"),
        ("AS", "Max address space"),
        ("LOCKS", "Max file locks"),
        ("SIGPENDING", "Max pending signals"),
        ("MSGQUEUE", "Max msgqueue size"),
        ("NICE", "Max nice priority"),
        ("RTPRIO", "Max realtime priority"),
        ("RTTIME", "Max realtime timeout"),
    ];
    let own = fs::read_to_string("/proc/self/limits").unwrap();
    let hard = |line: &str| {
        let line = own.lines().find(|known| known.starts_with(line)).unwrap();
        let value = line[26..].split_whitespace().nth(1).unwrap();
        value.parse::<u64>().unwrap_or(u64::MAX)
    };
    // Low enough to be allowed, high enough for the program to live.
    let value = |name: &str, line: &str| match name {
        "STACK" | "AS" | "DATA" | "FSIZE" | "RSS" => (1 << 30).min(hard(line)),
        "NPROC" => hard(line),
        _ => 60.min(hard(line)),
    };
    let limits: Vec<_> = names
        .iter()
        .map(|(name, line)| json!({"type": format!("RLIMIT_{name}"), "soft": value(name, line), "hard": value(name, line)}))
        .collect();
    sandbox.edit(|config| config["process"]["rlimits"] = json!(limits));
    let out = sandbox.output("cat /proc/self/limits");
    for (name, line) in names {
        let shown = out.lines().find(|known| known.starts_with(line)).unwrap();
        let expected = match value(name, line) {
            u64::MAX => "unlimited".to_owned(),
            value => value.to_string(),
        };
        let values: Vec<_> = shown[26..].split_whitespace().take(2).collect();
        assert_eq!(values, [&expected, &expected], "{name}");
    }
}

#[test]
fn memory_policies_are_set() {
    if !fs::exists("/proc/self/numa_maps").unwrap() {
        return skip("this kernel was built without NUMA");
    }
    let sandbox = Sandbox::ordinary();
    for (policy, shown) in [
        (json!({"mode": "MPOL_DEFAULT", "nodes": ""}), "default"),
        (json!({"mode": "MPOL_BIND", "nodes": "0"}), "bind:0"),
        (json!({"mode": "MPOL_PREFERRED", "nodes": "0"}), "prefer:0"),
        (json!({"mode": "MPOL_PREFERRED_MANY", "nodes": "0"}), "prefer (many):0"),
        (json!({"mode": "MPOL_INTERLEAVE", "nodes": "0", "flags": ["MPOL_F_STATIC_NODES"]}), "interleave=static:0"),
        (json!({"mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_RELATIVE_NODES"]}), "bind=relative:0"),
        (json!({"mode": "MPOL_LOCAL", "nodes": ""}), "local"),
    ] {
        sandbox.edit(|config| config["linux"]["memoryPolicy"] = policy.clone());
        let out = sandbox.output("cat /proc/self/numa_maps");
        assert!(out.lines().any(|line| line.contains(&format!(" {shown} "))), "{policy}: {out}");
    }
    sandbox.edit(|config| config["linux"]["memoryPolicy"] = json!({"mode": "MPOL_BIND", "nodes": "1000"}));
    sandbox.run().fails(&["linux.memoryPolicy", "set_mempolicy", "EINVAL", "a node is not there"]);
}

#[test]
fn scheduling_policies_are_set() {
    let sandbox = Sandbox::ordinary();
    // Fields 19 and 41 of stat(5): nice and policy.
    let script = "cut -d' ' -f19,41 /proc/self/stat";
    let own: i32 = fs::read_to_string("/proc/self/stat")
        .unwrap()
        .rsplit(") ")
        .next()
        .unwrap()
        .split(' ')
        .nth(16)
        .unwrap()
        .parse()
        .unwrap();
    let (nicer, nicest) = ((own + 3).min(19), (own + 7).min(19));
    for (scheduler, shown) in [
        (json!({"policy": "SCHED_OTHER", "nice": nicest}), format!("{nicest} 0")),
        (json!({"policy": "SCHED_BATCH", "nice": nicer}), format!("{nicer} 3")),
        (json!({"policy": "SCHED_IDLE"}), format!("{own} 5")),
    ] {
        sandbox.edit(|config| config["process"]["scheduler"] = scheduler.clone());
        assert_eq!(sandbox.output(script), format!("{shown}\n"), "{scheduler}");
    }
    sandbox.edit(|config| config["process"]["scheduler"] = json!({"policy": "SCHED_ISO"}));
    sandbox.run().fails(&["process.scheduler: sched_setattr: EINVAL", "the policy does not exist"]);

    let Some(sandbox) = Sandbox::root() else { return };
    for (scheduler, shown) in [
        (json!({"policy": "SCHED_FIFO", "priority": 3}), "1"),
        (json!({"policy": "SCHED_RR", "priority": 4, "flags": ["SCHED_FLAG_RESET_ON_FORK"]}), "2"),
        (
            json!({"policy": "SCHED_DEADLINE", "runtime": 1_000_000, "deadline": 10_000_000, "period": 20_000_000, "flags": ["SCHED_FLAG_RECLAIM", "SCHED_FLAG_DL_OVERRUN"]}),
            "6",
        ),
    ] {
        sandbox.edit(|config| {
            config["process"]["scheduler"] = scheduler.clone();
            config["process"]["args"] = json!(["cut", "-d", " ", "-f19,41", "/proc/self/stat"]);
        });
        let done = sandbox.run();
        if done.err.contains("EPERM") || done.err.contains("EBUSY") {
            skip(&format!(
                "realtime scheduling is not to be had here: {}",
                done.err.lines().next().unwrap_or_default()
            ));
            continue;
        }
        assert_eq!(done.ok().out, format!("{own} {shown}\n"), "{scheduler}");
    }
}

#[test]
fn labels_are_errors_where_the_security_module_is_off() {
    let sandbox = Sandbox::ordinary();
    sandbox.sh("echo ran");
    if fs::exists("/sys/module/apparmor/parameters/enabled").unwrap() || fs::exists("/sys/fs/selinux/enforce").unwrap()
    {
        return skip("a security module is on: its labels are tried in the virtual machine");
    }
    for (pointer, value, words) in [
        ("/process/apparmorProfile", "docker-default", ["process.apparmorProfile", "AppArmor is not on"]),
        ("/process/selinuxLabel", "system_u:system_r:container_t:s0", ["process.selinuxLabel", "SELinux is not on"]),
        ("/linux/mountLabel", "system_u:object_r:container_file_t:s0", ["linux.mountLabel", "SELinux is not on"]),
    ] {
        let before = sandbox.config();
        sandbox.edit(|config| {
            let (parent, key) = pointer.rsplit_once('/').unwrap();
            config.pointer_mut(parent).unwrap()[key] = json!(value);
        });
        sandbox.run().fails(&words);
        sandbox.write("bundle/config.json", &before.to_string());
    }
    sandbox.edit(|config| config["process"]["apparmorProfile"] = json!("unconfined"));
    assert_eq!(sandbox.run().ok().out, "ran\n", "without AppArmor, everybody is unconfined");
}

#[test]
fn intel_rdt_is_refused_with_its_reason() {
    let sandbox = Sandbox::ordinary();
    sandbox.edit(|config| config["linux"]["intelRdt"] = json!({"closID": "box", "l3CacheSchema": "L3:0=f"}));
    sandbox.run().fails(&["linux.intelRdt", "resctrl", "because:", "try: take it out"]);
}

/// A network namespace of the tests' own: veth pairs are made and lost in it.
fn in_own_network(script: &str, sandbox: &Sandbox) -> crate::sandbox::Done {
    let mut command = Command::new("unshare");
    command.args(["--net", "sh", "-c", script]);
    command.env("XDG_RUNTIME_DIR", sandbox.path().join("xdg")).current_dir(sandbox.bundle());
    finish(command)
}

#[test]
fn network_devices_move_into_the_container_with_their_addresses() {
    if !is_root() {
        return skip("needs root to make network devices");
    }
    if Command::new("ip").arg("-V").output().is_err() {
        return skip("iproute2 is not installed");
    }
    let sandbox = Sandbox::root().unwrap();
    let rootlet = crate::sandbox::binary().display();
    let make = "ip link add rl0 type veth peer name rl1 && ip address add 192.0.2.7/24 dev rl0 && \
                ip address add 2001:db8::7/64 dev rl0 nodad && ip link set rl0 mtu 1400 address 02:00:00:00:00:07 up";
    sandbox.edit(|config| config["linux"]["netDevices"] = json!({"rl0": {"name": "inner0"}, "rl1": {}}));
    sandbox.sh("ip -o link; ip -o address");
    let done = in_own_network(&format!("{make} && {rootlet} run box && ip -o link | wc -l"), &sandbox);
    if done.err.contains("Not supported") || done.err.contains("Unknown device type") {
        return skip("this kernel has no veth devices");
    }
    let out = done.ok().out;
    let line = |words: &[&str]| out.lines().any(|line| words.iter().all(|word| line.contains(word)));
    assert!(line(&["inner0", "mtu 1400", "UP", "02:00:00:00:00:07"]), "{out}");
    assert!(line(&["inner0", "192.0.2.7/24"]) && line(&["inner0", "2001:db8::7/64"]), "{out}");
    assert!(!out.contains("global rl0"), "the label of an address is the new name: {out}");
    assert!(line(&[" rl1", "UP"]), "{out}");
    // With the network namespace, a veth pair is gone; what was left is the loopback device.
    assert!(out.ends_with("\n1\n"), "{out}");

    let run = format!("{rootlet} run box");
    in_own_network(&run, &sandbox).fails(&["linux.netDevices (rl0)", "ENODEV", "no network device of that name"]);
    sandbox.edit(|config| config["linux"]["netDevices"] = json!({"lo": {"name": "lo2"}}));
    in_own_network(&run, &sandbox).fails(&["linux.netDevices (lo)", "cannot leave its network namespace"]);
    sandbox.edit(|config| config["linux"]["netDevices"] = json!({"rl0": {"name": "lo"}}));
    in_own_network(&format!("{make} && {run}"), &sandbox).fails(&[
        "linux.netDevices (rl0)",
        "EEXIST",
        "of that name already",
    ]);
    for name in ["a/b", "", "sixteen-letters-", "a b", ".."] {
        sandbox.edit(|config| config["linux"]["netDevices"] = json!({ name: {} }));
        sandbox.run().fails(&["linux.netDevices", "is not a name of a network device"]);
    }
    sandbox.assert_clean();
}

#[test]
fn an_ordinary_user_is_told_why_network_devices_stay() {
    let sandbox = Sandbox::ordinary();
    sandbox.edit(|config| {
        config["linux"]["namespaces"].as_array_mut().unwrap().push(json!({"type": "network"}));
        config["linux"]["netDevices"] = json!({"eth0": {}});
    });
    sandbox.run().fails(&["linux.netDevices", "an ordinary user cannot move network devices", "CAP_NET_ADMIN"]);
}

#[test]
fn signals_that_the_caller_ignores_reach_the_program() {
    // nohup(1) and a shell's `&` ignore signals; a program that inherits that cannot trap them any more.
    let sandbox = Sandbox::ordinary();
    sandbox.edit(|config| config["process"]["args"] = json!(["grep", "SigIgn", "/proc/self/status"]));
    let run = format!(
        "trap '' HUP INT QUIT TERM USR1; exec {} run -b {} box",
        crate::sandbox::binary().display(),
        sandbox.bundle().display()
    );
    let done = finish(sandbox.program("/bin/sh".as_ref(), &["-c", &run])).ok();
    assert_eq!(done.out, "SigIgn:\t0000000000000000\n");
}

#[test]
fn cpus_of_exec_are_for_exec() {
    let sandbox = Sandbox::ordinary();
    sandbox.edit(|config| config["process"]["execCPUAffinity"] = json!({"initial": "0", "final": "0-1"}));
    let out = sandbox.output("grep Cpus_allowed_list /proc/self/status");
    let own = fs::read_to_string("/proc/self/status").unwrap();
    let own = own.lines().find(|line| line.starts_with("Cpus_allowed_list")).unwrap();
    assert_eq!(out.trim(), own, "the container's own program keeps the caller's");
}

/// Values of every property that are wrong in their own way, and what the error says besides the property.
pub fn wrong_values() -> Vec<(&'static str, Value, Vec<&'static str>)> {
    let seccomp = |rule: Value| json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]});
    vec![
        ("/process/execCPUAffinity", json!({"initial": "0-"}), vec!["process.execCPUAffinity", "\"0-\"", "0-3,7"]),
        ("/process/execCPUAffinity", json!({"final": "9999"}), vec!["process.execCPUAffinity", "9999"]),
        ("/process/ioPriority", json!({"class": "IOPRIO_CLASS_NONE"}), vec!["process.ioPriority", "IOPRIO_CLASS_NONE"]),
        ("/process/scheduler", json!({"policy": "SCHED_OTHER", "flags": ["X"]}), vec!["process.scheduler", "\"X\""]),
        ("/process/scheduler", json!({"policy": "SCHED_FIFO", "priority": -1}), vec!["process.scheduler", "negative"]),
        ("/process/consoleSize", json!({"height": -1}), vec!["process.consoleSize.height", "-1"]),
        ("/process/rlimits", json!([{"type": "RLIMIT_CPU", "soft": -1}]), vec!["process.rlimits[0].soft", "-1"]),
        ("/process/env", json!(["=x"]), vec!["process.env", "=x"]),
        ("/process/noNewPrivileges", json!("yes"), vec!["process.noNewPrivileges", "true or false is needed"]),
        ("/process/terminal", json!(1), vec!["process.terminal", "true or false is needed"]),
        ("/process/user", json!([0, 0]), vec!["process.user", "a list, where an object is needed"]),
        ("/process/capabilities", json!(["CAP_KILL"]), vec!["process.capabilities", "where an object is needed"]),
        ("/process/user/umask", json!("0022"), vec!["process.user.umask", "octal 0022 is 18"]),
        ("/process/oomScoreAdj", json!(99_999_999_999_i64), vec!["process.oomScoreAdj", "in that range"]),
        ("/hooks", json!([[{"path": "/bin/true"}]]), vec!["hooks", "a list, where an object is needed"]),
        ("/hooks", json!({"prestart": [["/bin/true"]]}), vec!["hooks.prestart[0]", "where an object is needed"]),
        ("/hooks", json!({"poststop": [{"path": "/bin/true", "args": ["a\u{0}b"]}]}), vec!["hooks.poststop[0]", "NUL"]),
        ("/root", json!(["rootfs", true]), vec!["root", "a list, where an object is needed"]),
        ("/mounts", json!({"destination": "/x"}), vec!["mounts", "put it into brackets"]),
        (
            "/mounts",
            json!([{"destination": "/t", "type": "tmpfs", "source": "t", "options": ["noexce"]}]),
            vec!["mounts[0] (/t)", "tmpfs has no option \"noexce\""],
        ),
        ("/process/selinuxLabel", json!(1), vec!["process.selinuxLabel", "a text is needed"]),
        ("/linux/memoryPolicy", json!({"mode": "MPOL_X"}), vec!["linux.memoryPolicy", "MPOL_X", "MPOL_BIND"]),
        ("/linux/memoryPolicy", json!({"mode": "MPOL_BIND", "nodes": "a"}), vec!["linux.memoryPolicy", "\"a\""]),
        (
            "/linux/memoryPolicy",
            json!({"mode": "MPOL_BIND", "nodes": "0", "flags": ["Y"]}),
            vec!["linux.memoryPolicy", "\"Y\""],
        ),
        ("/linux/personality", json!({"domain": "LINUX", "flags": ["Z"]}), vec!["linux.personality", "\"Z\""]),
        ("/linux/sysctl", json!({"kernel.hostname": "x"}), vec!["linux.sysctl", "kernel.hostname", "hostname"]),
        ("/linux/sysctl", json!({"net.core.somaxconn": "1"}), vec!["linux.sysctl", "network namespace"]),
        ("/linux/readonlyPaths", json!(["a"]), vec!["linux.readonlyPaths[0]", "absolute"]),
        ("/linux/mountLabel", json!(["a"]), vec!["linux.mountLabel", "a text is needed"]),
        ("/linux/netDevices", json!({"eth0": {}}), vec!["linux.netDevices", "without a network namespace"]),
        ("/linux/timeOffsets", json!({"realtime": {"secs": 1}}), vec!["linux.timeOffsets", "time namespace"]),
        (
            "/linux/devices",
            json!([{"type": "c", "path": "dev/x", "major": 1, "minor": 1}]),
            vec!["linux.devices[0]", "absolute"],
        ),
        (
            "/linux/devices",
            json!([{"type": "c", "path": "/dev/x", "major": -1, "minor": 1}]),
            vec!["linux.devices[0]", "-1"],
        ),
        ("/linux/resources", json!({"devices": [{"type": "x"}]}), vec!["linux.resources.devices[0]", "\"x\""]),
        ("/linux/resources", json!({"devices": [{"access": "rx"}]}), vec!["linux.resources.devices[0]", "\"rx\""]),
        ("/linux/resources", json!({"blockIO": {"weight": 5}}), vec!["linux.resources", "weight 5", "10 to 1000"]),
        ("/linux/resources", json!({"hugepageLimits": [{"pageSize": "2 MB"}]}), vec!["linux.resources", "2 MB"]),
        ("/linux/resources", json!({"cpu": {"cpus": "3-1"}}), vec!["linux.resources", "3-1"]),
        ("/linux/resources", json!({"unified": {"../x": "1"}}), vec!["linux.resources", "../x"]),
        ("/linux/resources", json!({"memory": {"limit": "1G"}}), vec!["linux.resources.memory.limit", "\"1G\""]),
        ("/linux/resources", json!({"network": {"classID": 1}}), vec!["linux.resources", "network"]),
        ("/linux/resources", json!({"rdma": {"mlx": {"hcaHandles": 1}}}), vec!["linux.resources", "rdma"]),
        ("/linux/seccomp", json!({}), vec!["linux.seccomp", "defaultAction is missing"]),
        ("/linux/seccomp", json!({"defaultAction": "ALLOW"}), vec!["linux.seccomp", "\"ALLOW\"", "SCMP_ACT_ALLOW"]),
        ("/linux/seccomp", json!({"defaultAction": "SCMP_ACT_NOTIFY"}), vec!["linux.seccomp", "SCMP_ACT_NOTIFY"]),
        (
            "/linux/seccomp",
            json!({"defaultAction": "SCMP_ACT_ALLOW", "defaultErrnoRet": 1}),
            vec!["linux.seccomp", "errno"],
        ),
        (
            "/linux/seccomp",
            json!({"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 5000}),
            vec!["linux.seccomp", "5000"],
        ),
        (
            "/linux/seccomp",
            json!({"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["x86"]}),
            vec!["linux.seccomp", "\"x86\"", "SCMP_ARCH_X86"],
        ),
        (
            "/linux/seccomp",
            json!({"defaultAction": "SCMP_ACT_ALLOW", "flags": ["LOG"]}),
            vec!["linux.seccomp", "\"LOG\""],
        ),
        (
            "/linux/seccomp",
            json!({"defaultAction": "SCMP_ACT_ALLOW", "flags": ["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"]}),
            vec!["linux.seccomp", "without a rule with SCMP_ACT_NOTIFY"],
        ),
        (
            "/linux/seccomp",
            seccomp(json!({"names": [], "action": "SCMP_ACT_ERRNO"})),
            vec!["linux.seccomp.syscalls[0]", "names is missing"],
        ),
        (
            "/linux/seccomp",
            seccomp(json!({"names": ["read"], "action": "X"})),
            vec!["linux.seccomp.syscalls[0]", "\"X\""],
        ),
        (
            "/linux/seccomp",
            seccomp(json!({"names": ["write"], "action": "SCMP_ACT_NOTIFY"})),
            vec!["linux.seccomp.syscalls[0]", "write"],
        ),
        (
            "/linux/seccomp",
            seccomp(json!({"names": ["read"], "action": "SCMP_ACT_NOTIFY"})),
            vec!["linux.seccomp", "without listenerPath"],
        ),
        (
            "/linux/seccomp",
            seccomp(
                json!({"names": ["read"], "action": "SCMP_ACT_ERRNO", "args": [{"index": 6, "op": "SCMP_CMP_EQ"}]}),
            ),
            vec!["linux.seccomp.syscalls[0]", "argument 6"],
        ),
        (
            "/linux/seccomp",
            seccomp(json!({"names": ["read"], "action": "SCMP_ACT_ERRNO", "args": [{"index": 0, "op": "EQ"}]})),
            vec!["linux.seccomp.syscalls[0]", "\"EQ\""],
        ),
        (
            "/linux/seccomp",
            json!({"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "relative", "syscalls": [{"names": ["read"], "action": "SCMP_ACT_NOTIFY"}]}),
            vec!["linux.seccomp", "not absolute"],
        ),
        (
            "/linux/seccomp",
            json!({"defaultAction": "SCMP_ACT_ERRNO", "listenerPath": "/x", "syscalls": [{"names": ["execve"], "action": "SCMP_ACT_ALLOW"}, {"names": ["read"], "action": "SCMP_ACT_NOTIFY"}]}),
            vec!["linux.seccomp", "sendmsg is not allowed"],
        ),
        (
            "/linux/seccomp",
            json!({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [{"names": ["read"], "action": "SCMP_ACT_ALLOW"}]}),
            vec!["linux.seccomp", "execve is not allowed"],
        ),
        (
            "/linux/seccomp",
            json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["read"], "action": "SCMP_ACT_ERRNO", "args": [{"index": 0, "value": 1, "op": "SCMP_CMP_EQ"}]}, {"names": ["read"], "action": "SCMP_ACT_TRAP", "args": [{"index": 0, "value": 1, "op": "SCMP_CMP_EQ"}]}]}),
            vec!["linux.seccomp", "two rules for read"],
        ),
        ("/domainname", json!("d".repeat(65)), vec!["domainname", "65"]),
        ("/annotations", json!({"a": 1}), vec!["annotations.a", "a text is needed"]),
        ("/hooks", json!({"poststop": [{"path": "relative"}]}), vec!["hooks.poststop[0]", "not absolute"]),
        (
            "/hooks",
            json!({"createContainer": [{"path": "/x", "timeout": 0}]}),
            vec!["hooks.createContainer[0]", "timeout"],
        ),
        (
            "/mounts",
            json!([{"destination": "/d", "type": "none"}]),
            vec!["mounts[0]", "neither a file system type nor a bind"],
        ),
        (
            "/mounts",
            json!([{"destination": "/d", "type": "ext4", "options": ["tmpcopyup"]}]),
            vec!["mounts[0]", "tmpcopyup"],
        ),
        (
            "/mounts",
            json!([{"destination": "/d", "type": "bind", "source": "/nosuch", "options": ["idmap"]}]),
            vec!["mounts[0]", "an ordinary user cannot map"],
        ),
        (
            "/mounts",
            json!([{"destination": "/d", "type": "overlay", "options": ["lowerdir=/nosuch:/nosuch"]}]),
            vec!["mounts[0] (/d)", "lowerdir, upperdir or workdir"],
        ),
        ("/root/readonly", json!("no"), vec!["root.readonly", "true or false is needed"]),
    ]
}

#[test]
fn every_property_has_a_wrong_value_that_is_named() {
    let sandbox = Sandbox::ordinary();
    let config = sandbox.config();
    for (pointer, value, words) in wrong_values() {
        let mut broken = config.clone();
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        broken.pointer_mut(parent).unwrap()[key] = value;
        sandbox.write("bundle/config.json", &broken.to_string());
        let done = sandbox.run();
        for phrase in ["permission denied", "operation not permitted", "no such file or directory", "not found"] {
            assert!(
                !done.err.to_lowercase().contains(phrase),
                "an engine would take this for a missing program: {}",
                done.err
            );
        }
        let done = done.fails(&words);
        assert!(done.err.contains("config.json: "), "{}", done.err);
    }
    sandbox.assert_clean();
}

#[test]
fn every_resource_has_a_limit() {
    let limits = [
        ("CPU", "Max cpu time", 1000),
        ("FSIZE", "Max file size", 1 << 30),
        ("DATA", "Max data size", 1 << 30),
        ("STACK", "Max stack size", 4 << 20),
        ("CORE", "Max core file size", 7),
        ("RSS", "Max resident set", 1 << 29),
        ("NPROC", "Max processes", 500),
        ("NOFILE", "Max open files", 200),
        ("MEMLOCK", "Max locked memory", 32 << 10),
        ("AS", "Max address space", 1u64 << 31),
        ("LOCKS", "Max file locks", 99),
        ("SIGPENDING", "Max pending signals", 77),
        ("MSGQUEUE", "Max msgqueue size", 8192),
        ("NICE", "Max nice priority", 0),
        ("RTPRIO", "Max realtime priority", 0),
        ("RTTIME", "Max realtime timeout", 5000),
    ];
    let sandbox = Sandbox::ordinary();
    sandbox.edit(|config| {
        let all =
            limits.map(|(name, _, value)| json!({"type": format!("RLIMIT_{name}"), "soft": value, "hard": value}));
        config["process"]["rlimits"] = json!(all);
    });
    let out = sandbox.output("cat /proc/self/limits");
    for (name, title, value) in limits {
        let line = out.lines().find(|line| line.starts_with(title)).unwrap_or_else(|| panic!("{name}: {out}"));
        let columns: Vec<_> = line[title.len()..].split_whitespace().collect();
        assert_eq!(columns[..2], [value.to_string(), value.to_string()], "{name}");
    }
}

#[test]
fn the_last_line_of_passwd_may_lack_its_end() {
    let sandbox = Sandbox::ordinary();
    sandbox.write("bundle/rootfs/etc/passwd", "other:x:5:5::/elsewhere:/bin/sh\nroot:x:0:0:root:/the/home:/bin/sh");
    assert_eq!(sandbox.output("echo $HOME"), "/the/home\n");
}
