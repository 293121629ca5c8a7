//! Limits that the kernel enforces, and who makes the cgroup. Most need a host with cgroup v2 alone: the virtual machine
//! of `scripts/vm`, where root sets the stage.

use crate::sandbox::{Done, Sandbox, eventually, finish, is_root, skip};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

/// The root of the version 2 hierarchy.
pub fn root() -> &'static Path {
    let beside = Path::new("/sys/fs/cgroup/unified");
    if beside.exists() { beside } else { Path::new("/sys/fs/cgroup") }
}

/// True in the virtual machine; elsewhere the reason is noted.
pub fn in_guest() -> bool {
    let is_guest = std::env::var_os("ROOTLET_VM").is_some() && is_root();
    if !is_guest {
        skip("needs the virtual machine: scripts/vm");
    }
    is_guest
}

/// A cgroup that root has made and given away, with a shell in a leaf of it.
pub struct Delegated {
    pub sandbox: Sandbox,
    pub cgroup: PathBuf,
}

impl Delegated {
    /// With all controllers; the caller is in a child of it, or for `crowded` in itself.
    pub fn new(crowded: bool) -> Delegated {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let sandbox = Sandbox::ordinary();
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let cgroup = root().join(format!("test-{}-{number}", std::process::id()));
        let controllers = fs::read_to_string(root().join("cgroup.controllers")).unwrap();
        for controller in controllers.split_whitespace() {
            fs::write(root().join("cgroup.subtree_control"), format!("+{controller}")).unwrap();
        }
        let shell = if crowded { cgroup.clone() } else { cgroup.join("shell") };
        fs::create_dir_all(&shell).unwrap();
        let files = ["", "cgroup.procs", "cgroup.subtree_control", "cgroup.threads"];
        for place in [&cgroup, &shell] {
            for file in files {
                chown(place.join(file), Some(sandbox.uid()), Some(sandbox.uid())).unwrap();
            }
        }
        sandbox.edit(|config| config["root"]["readonly"] = json!(false));
        Delegated { sandbox, cgroup }
    }

    fn shell(&self) -> PathBuf {
        let leaf = self.cgroup.join("shell");
        if leaf.exists() { leaf } else { self.cgroup.clone() }
    }

    /// rootlet as the sandbox's user, from within the cgroup.
    fn command(&self, arguments: &[&str]) -> Command {
        let inner = self.sandbox.command(arguments);
        let uid = self.sandbox.uid().to_string();
        let mut command = Command::new("sh");
        command.args(["-c", "echo $$ >\"$0/cgroup.procs\" && exec \"$@\""]).arg(self.shell());
        command.args(["setpriv", "--reuid", &uid, "--regid", &uid, "--clear-groups"]).arg(inner.get_program());
        command.args(inner.get_args()).env_clear().current_dir(self.sandbox.path()).stdin(std::process::Stdio::null());
        for (name, value) in inner.get_envs() {
            command.env(name, value.unwrap());
        }
        command
    }

    pub fn rootlet(&self, arguments: &[&str]) -> Done {
        finish(self.command(arguments))
    }

    pub fn run(&self) -> Done {
        let bundle = self.sandbox.bundle();
        self.rootlet(&["run", "-b", bundle.to_str().unwrap(), "box"])
    }

    pub fn limit(&self, resources: Value) -> &Delegated {
        self.sandbox.edit(|config| config["linux"]["resources"] = resources);
        self
    }

    /// Starts a container that waits, and returns its cgroup.
    pub fn start(&self) -> PathBuf {
        self.sandbox.sh("trap 'exit 0' TERM; sleep 1000 & wait");
        let bundle = self.sandbox.bundle();
        self.rootlet(&["run", "-d", "-b", bundle.to_str().unwrap(), "box"]).ok();
        self.sandbox.cgroup()
    }
}

impl Drop for Delegated {
    fn drop(&mut self) {
        let _ = self.sandbox.command(&["delete", "--force", "box"]).output();
        let mut all = vec![self.cgroup.clone()];
        let mut next = 0;
        while let Some(place) = all.get(next).cloned() {
            let children = fs::read_dir(place).into_iter().flatten().flatten();
            all.extend(children.map(|entry| entry.path()).filter(|path| path.is_dir()));
            next += 1;
        }
        // The last process of the caller's may just be ending.
        eventually("the test's cgroups are empty", || {
            all.iter().rev().for_each(|place| drop(fs::remove_dir(place)));
            !self.cgroup.exists()
        });
    }
}

impl Sandbox {
    /// The cgroup of the container `box`.
    pub fn cgroup(&self) -> PathBuf {
        let state: Value =
            serde_json::from_str(&fs::read_to_string(self.states().join("box/state.json")).unwrap()).unwrap();
        PathBuf::from(state["cgroup"]["path"].as_str().expect("it has a cgroup"))
    }
}

pub fn read(cgroup: &Path, file: &str) -> String {
    fs::read_to_string(cgroup.join(file)).unwrap_or_else(|error| panic!("{file}: {error}")).trim().to_owned()
}

fn number(cgroup: &Path, file: &str, key: &str) -> u64 {
    let text = read(cgroup, file);
    let found = text.lines().find_map(|line| line.strip_prefix(key)?.trim().parse().ok());
    found.unwrap_or_else(|| panic!("{key} is not in {text}"))
}

/// The first disk of the guest.
fn disk() -> (u32, u32) {
    let text = fs::read_to_string("/sys/block/vda/dev").unwrap();
    let (major, minor) = text.trim().split_once(':').unwrap();
    (major.parse().unwrap(), minor.parse().unwrap())
}

#[test]
fn every_limit_is_written_and_read_back() {
    if !in_guest() {
        return;
    }
    let delegated = Delegated::new(false);
    let (major, minor) = disk();
    let device = |rate: u64| json!([{"major": major, "minor": minor, "rate": rate}]);
    delegated.limit(json!({
        "memory": {"limit": 64 << 20, "reservation": 16 << 20, "swap": 96 << 20},
        "cpu": {"shares": 512, "quota": 50000, "period": 200_000, "burst": 10000, "cpus": "0-1", "mems": "0"},
        "pids": {"limit": 77},
        "blockIO": {
            "weight": 500,
            "throttleReadBpsDevice": device(1 << 20), "throttleWriteBpsDevice": device(2 << 20),
            "throttleReadIOPSDevice": device(300), "throttleWriteIOPSDevice": device(400),
        },
        "hugepageLimits": [{"pageSize": "2MB", "limit": 4 << 20}],
        "unified": {"memory.high": "50331648", "cgroup.max.depth": "3"},
    }));
    let cgroup = delegated.start();
    for (file, value) in [
        ("memory.max", "67108864"),
        ("memory.low", "16777216"),
        ("memory.swap.max", "33554432"),
        ("memory.high", "50331648"),
        ("cpu.weight", "59"),
        ("cpu.max", "50000 200000"),
        ("cpu.max.burst", "10000"),
        ("cpuset.cpus", "0-1"),
        ("cpuset.mems", "0"),
        ("pids.max", "77"),
        ("hugetlb.2MB.max", "4194304"),
        ("hugetlb.2MB.rsvd.max", "4194304"),
        ("cgroup.max.depth", "3"),
    ] {
        assert_eq!(read(&cgroup, file), value, "{file}");
    }
    let io = read(&cgroup, "io.max");
    assert_eq!(io, format!("{major}:{minor} rbps=1048576 wbps=2097152 riops=300 wiops=400"));
    let weight = if cgroup.join("io.bfq.weight").exists() { ("io.bfq.weight", "500") } else { ("io.weight", "4950") };
    assert!(read(&cgroup, weight.0).contains(weight.1), "{}", read(&cgroup, weight.0));
    // The container sees its own cgroup as the root, and cannot write to it.
    let seen =
        delegated.rootlet(&["exec", "box", "sh", "-c", "cat /proc/self/cgroup; echo 1 >/sys/fs/cgroup/memory.max"]);
    assert!(seen.out == "0::/\n" && seen.code != 0, "{seen:?}");
    delegated.rootlet(&["delete", "--force", "box"]).ok();
    assert!(!cgroup.exists(), "delete removes it");
}

#[test]
fn idle_and_unlimited_have_their_words() {
    if !in_guest() {
        return;
    }
    let delegated = Delegated::new(false);
    delegated.limit(json!({"cpu": {"idle": 1}, "pids": {"limit": -1}, "memory": {"limit": -1}}));
    let cgroup = delegated.start();
    for (file, value) in [("cpu.idle", "1"), ("pids.max", "max"), ("memory.max", "max"), ("memory.swap.max", "max")] {
        assert_eq!(read(&cgroup, file), value, "{file}");
    }
    delegated.rootlet(&["delete", "--force", "box"]).ok();
    delegated.limit(json!({"pids": {"limit": 0}}));
    delegated.sandbox.sh("cat /sys/fs/cgroup/pids.max");
    assert_eq!(delegated.run().ok().out, "max\n", "as version 1.2 of the specification has it");
    delegated.sandbox.edit(|config| config["ociVersion"] = json!("1.3.0"));
    delegated.sandbox.sh("read most </sys/fs/cgroup/pids.max; echo $most; (echo forked) 2>/dev/null; echo after");
    let done = delegated.run();
    assert_eq!(done.out, "0\n", "0 is a limit: {done:?}");
}

#[test]
fn a_container_out_of_memory_is_ended_and_the_error_says_so() {
    if !in_guest() {
        return;
    }
    let delegated = Delegated::new(false);
    delegated.limit(json!({"memory": {"limit": 16 << 20, "swap": 16 << 20}}));
    // dd holds its whole block in memory.
    delegated
        .sandbox
        .edit(|config| config["process"]["args"] = json!(["dd", "if=/dev/zero", "of=/dev/null", "bs=64M", "count=1"]));
    let done = delegated.run();
    assert_eq!(done.code, 137, "{done:?}");
    for words in ["error: the container ran out of memory", "because: ", "linux.resources.memory.limit"] {
        assert!(done.err.contains(words), "{done:?}");
    }
    assert!(fs::read_dir(&delegated.cgroup).unwrap().flatten().all(|entry| entry.file_name() != "rootlet-box"));

    // `events` tells it when it happens.
    delegated.start();
    let log = delegated.sandbox.path().join("xdg/events");
    let mut command = delegated.command(&["events", "--interval", "1m", "box"]);
    let mut events = command.stdout(fs::File::create(&log).unwrap()).spawn().unwrap();
    eventually("it watches", || fs::read_to_string(&log).unwrap().contains("stats"));
    let dd = ["exec", "box", "dd", "if=/dev/zero", "of=/dev/null", "bs=64M", "count=1"];
    assert_eq!(delegated.rootlet(&dd).code, 137);
    eventually("it tells", || fs::read_to_string(&log).unwrap().contains("{\"type\":\"oom\",\"id\":\"box\"}\n"));
    delegated.rootlet(&["kill", "box", "KILL"]).ok();
    assert_eq!(crate::sandbox::wait(&mut events), 0, "it ends with the container");
}

#[test]
fn a_fork_bomb_is_stopped() {
    if !in_guest() {
        return;
    }
    let delegated = Delegated::new(false);
    delegated.limit(json!({"pids": {"limit": 12}}));
    delegated
        .sandbox
        .sh("for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do sleep 100 & done; echo unreached");
    let done = delegated.run();
    assert!(done.code != 0 && done.err.contains("fork") && !done.out.contains("unreached"), "{done:?}");
}

#[test]
fn a_busy_container_is_throttled() {
    if !in_guest() {
        return;
    }
    let delegated = Delegated::new(false);
    delegated.limit(json!({"cpu": {"quota": 5000, "period": 50000}}));
    let cgroup = delegated.start();
    delegated.rootlet(&["exec", "-d", "box", "sh", "-c", "while :; do :; done"]).ok();
    eventually("it is throttled", || number(&cgroup, "cpu.stat", "nr_throttled ") > 3);
    let stats: Value = serde_json::from_str(&delegated.rootlet(&["events", "--stats", "box"]).ok().out).unwrap();
    assert!(stats["data"]["cpu"]["throttling"]["throttledPeriods"].as_u64().unwrap() > 3, "{stats}");
}

#[test]
fn a_paused_container_is_frozen_until_it_is_resumed() {
    if !in_guest() {
        return;
    }
    let delegated = Delegated::new(false);
    let cgroup = delegated.start();
    let count = || fs::read_to_string(delegated.sandbox.rootfs().join("data/count")).map_or(0, |text| text.len());
    delegated.rootlet(&["exec", "-d", "box", "sh", "-c", "while :; do echo >>/data/count; sleep 0.05; done"]).ok();
    eventually("it counts", || count() > 0);
    delegated.rootlet(&["pause", "box"]).ok();
    assert_eq!(delegated.sandbox.status("box"), "paused");
    assert_eq!(number(&cgroup, "cgroup.events", "frozen "), 1);
    assert!(delegated.rootlet(&["list"]).ok().out.contains("paused"));
    let before = count();
    std::thread::sleep(std::time::Duration::from_millis(300));
    assert_eq!(count(), before, "nothing goes on");
    let refused = delegated.rootlet(&["exec", "box", "true"]);
    assert!(refused.code == 255 && refused.err.contains("cannot exec in a paused container"), "{refused:?}");
    delegated.rootlet(&["pause", "box"]).fails(&["paused already"]);
    delegated.rootlet(&["delete", "box"]).fails(&["that is not stopped: paused"]);
    let mut late = delegated.command(&["exec", "--ignore-paused", "box", "sh", "-c", "exit 6"]).spawn().unwrap();
    std::thread::sleep(std::time::Duration::from_millis(300));
    assert!(late.try_wait().unwrap().is_none(), "it waits for resume");
    delegated.rootlet(&["resume", "box"]).ok();
    assert_eq!(crate::sandbox::wait(&mut late), 6);
    eventually("it goes on", || count() > before);
    delegated.rootlet(&["resume", "box"]).fails(&["container not paused"]);
    delegated.rootlet(&["pause", "box"]).ok();
    delegated.rootlet(&["delete", "--force", "box"]).ok();
    assert!(!cgroup.exists());
}

#[test]
fn limits_change_while_it_runs_and_a_wrong_one_changes_nothing() {
    if !in_guest() {
        return;
    }
    let delegated = Delegated::new(false);
    delegated.limit(json!({"memory": {"limit": 64 << 20}}));
    let cgroup = delegated.start();
    let update = |arguments: &[&str]| delegated.rootlet(&[&["update"], arguments, &["box"]].concat());
    update(&["--memory", "128M", "--memory-swap", "256M", "--memory-reservation", "32m"]).ok();
    assert_eq!(read(&cgroup, "memory.max"), "134217728");
    assert_eq!(read(&cgroup, "memory.swap.max"), "134217728");
    assert_eq!(read(&cgroup, "memory.low"), "33554432");
    update(&["--memory", "512M"]).ok();
    assert_eq!(read(&cgroup, "memory.max"), "536870912");
    assert_eq!(read(&cgroup, "memory.swap.max"), "134217728", "what is not given stays");
    update(&["--memory-swap", "768M"]).ok();
    assert_eq!(read(&cgroup, "memory.swap.max"), "268435456");
    update(&["--memory", "-1"]).ok();
    assert_eq!((read(&cgroup, "memory.max"), read(&cgroup, "memory.swap.max")), ("max".to_owned(), "max".to_owned()));
    update(&["--memory", "64M", "--memory-swap", "32M"]).fails(&["memory.swap"]);
    // Controllers that no limit has asked for before are enabled now.
    update(&[
        "--pids-limit",
        "55",
        "--cpu-quota",
        "30000",
        "--cpu-period",
        "60000",
        "--cpu-share",
        "2048",
        "--cpuset-cpus",
        "0",
    ])
    .ok();
    assert_eq!(read(&cgroup, "pids.max"), "55");
    assert_eq!(read(&cgroup, "cpu.max"), "30000 60000");
    assert_eq!(read(&cgroup, "cpu.weight"), "174");
    assert_eq!(read(&cgroup, "cpuset.cpus"), "0");
    update(&["--cpu-quota", "40000"]).ok();
    assert_eq!(read(&cgroup, "cpu.max"), "40000 60000", "what is not given stays");
    update(&["--cpu-period", "50000"]).ok();
    assert_eq!(read(&cgroup, "cpu.max"), "40000 50000", "what is not given stays");
    update(&["--cpu-period", "60000"]).ok();
    update(&["--blkio-weight", "100", "--cpu-burst", "1000", "--cpu-idle", "0"]).ok();
    update(&["--memory", "-1", "--memory-swap", "-1", "--pids-limit", "-1"]).ok();
    assert_eq!((read(&cgroup, "memory.max"), read(&cgroup, "pids.max")), ("max".to_owned(), "max".to_owned()));
    update(&["--cpu-share", "1024", "--cpu-idle", "1"]).ok();
    update(&["--cpu-idle", "0"]).ok();
    assert_eq!((read(&cgroup, "cpu.idle"), read(&cgroup, "cpu.weight")), ("0".to_owned(), "100".to_owned()));
    update(&["--cpuset-cpus", "0-1", "--cpuset-mems", "7"]).fails(&["cpuset.mems"]);
    assert_eq!(read(&cgroup, "cpuset.cpus"), "0", "all or nothing");
    for from in ["-", "file"] {
        let text = json!({"pids": {"limit": 66}, "cpu": null}).to_string();
        let file = delegated.sandbox.write("resources.json", &text);
        let name = if from == "-" { "-" } else { file.to_str().unwrap() };
        let mut command = delegated.command(&["update", "-r", name, "box"]);
        command.stdin(fs::File::open(&file).unwrap());
        finish(command).ok();
        assert_eq!(read(&cgroup, "pids.max"), "66");
    }
    update(&["--memory", "64M", "--memory-swap", "64M"]).ok();
    for (arguments, words) in [
        (&["--memory", "4096", "--memory-swap", "-1"][..], "unable to set memory limit"),
        (&["--memory", "12x"], "--memory \"12x\" is not a size"),
        (&["--cpuset-cpus", "77"], "cpuset.cpus"),
        (&["--cpuset-cpus", "x"], "not a list"),
        (&["--cpu-quota", "1"], "cpu.max"),
        (&["--blkio-weight", "5"], "not from 10 to 1000"),
        (&["--pids-limit", "1", "--cpu-quota", "1"], "cpu.max"),
        (&["--cpu-rt-runtime", "5"], "cgroup v1"),
    ] {
        eprintln!("update {arguments:?}");
        update(arguments).fails(&[words]);
        assert_eq!((read(&cgroup, "memory.max"), read(&cgroup, "pids.max")), ("67108864".to_owned(), "66".to_owned()));
        assert_eq!(read(&cgroup, "cpu.max"), "40000 60000");
    }
    let unknown = delegated.sandbox.write("resources.json", &json!({"memroy": {"limit": 1}}).to_string());
    update(&["-r", unknown.to_str().unwrap()]).fails(&["unknown property", "linux.resources.memory"]);
    let devices = delegated.sandbox.write("resources.json", &json!({"devices": [{"allow": true}]}).to_string());
    update(&["-r", devices.to_str().unwrap()]).fails(&["device rules of a container cannot be changed"]);
    assert!(update(&[]).ok().err.contains("nothing is updated"));
    let rules = delegated.sandbox.config()["linux"]["resources"]["devices"].clone();
    let same = delegated.sandbox.write("resources.json", &json!({"devices": rules}).to_string());
    for _ in 0..2 {
        update(&["-r", same.to_str().unwrap()]).ok();
    }
    let nothing = delegated.sandbox.write("resources.json", "{}");
    update(&["-r", nothing.to_str().unwrap()]).ok();
    let unified = delegated.sandbox.write("resources.json", &json!({"unified": {"nosuch.max": "1"}}).to_string());
    update(&["-r", unified.to_str().unwrap()]).fails(&["nosuch"]);
    delegated.rootlet(&["kill", "box", "KILL"]).ok();
    eventually("it has stopped", || delegated.sandbox.status("box") == "stopped");
    update(&["--pids-limit", "5"]).fails(&["container not running"]);
}

#[test]
fn added_processes_are_in_the_cgroup_or_one_below_it() {
    if !in_guest() {
        return;
    }
    let delegated = Delegated::new(false);
    delegated.limit(json!({"pids": {"limit": 50}}));
    let cgroup = delegated.start();
    delegated.rootlet(&["exec", "-d", "box", "sleep", "1000"]).ok();
    assert_eq!(read(&cgroup, "cgroup.procs").lines().count(), 3);
    let exec = |below: &str| delegated.rootlet(&["exec", "--cgroup", below, "box", "cat", "/proc/self/cgroup"]);
    for below in ["nosuch", "..", "/../..", "a/../.."] {
        let done = exec(below);
        assert!(done.code == 255 && done.err.contains("--cgroup"), "{below}: {done:?}");
    }
    let below = cgroup.join("below");
    fs::create_dir(&below).unwrap();
    chown(below.join("cgroup.procs"), Some(delegated.sandbox.uid()), None).unwrap();
    for name in ["below", "/below", "pids:below"] {
        assert_eq!(exec(name).ok().out, "0::/below\n");
    }
    let pids: Vec<u32> = serde_json::from_str(&delegated.rootlet(&["ps", "-f", "json", "box"]).ok().out).unwrap();
    assert_eq!(pids.len(), 3);
    delegated.rootlet(&["kill", "--all", "box", "KILL"]).ok();
    eventually("all have ended", || delegated.sandbox.status("box") == "stopped");
}

#[test]
fn a_container_may_divide_its_cgroup() {
    if !in_guest() {
        return;
    }
    // As systemd and Docker do in a container.
    let delegated = Delegated::new(false);
    delegated.limit(json!({"pids": {"limit": 50}}));
    delegated.sandbox.edit(|config| {
        for mount in config["mounts"].as_array_mut().unwrap() {
            if mount["destination"] == "/sys/fs/cgroup" {
                mount["options"] = json!(["rw"]);
            }
        }
        config["linux"]["readonlyPaths"] = json!([]);
    });
    delegated.sandbox.sh("cd /sys/fs/cgroup && mkdir inner && echo 1 >inner/cgroup.procs && echo +pids >cgroup.subtree_control && touch /data/divided; sleep 1000");
    let bundle = delegated.sandbox.bundle();
    delegated.rootlet(&["run", "-d", "-b", bundle.to_str().unwrap(), "box"]).ok();
    eventually("it is divided", || delegated.sandbox.rootfs().join("data/divided").exists());
    assert_eq!(delegated.rootlet(&["exec", "box", "cat", "/proc/self/cgroup"]).ok().out, "0::/inner\n");
    let cgroup = delegated.sandbox.cgroup();
    delegated.rootlet(&["delete", "--force", "box"]).ok();
    assert!(!cgroup.exists());
}

#[test]
fn root_has_all_controllers_and_device_rules() {
    if !in_guest() {
        return;
    }
    let sandbox = Sandbox::root().unwrap();
    let (major, minor) = disk();
    sandbox.edit(|config| {
        let all = ["CAP_MKNOD", "CAP_DAC_OVERRIDE"];
        config["process"]["capabilities"] = json!({"bounding": all, "effective": all, "permitted": all});
        config["root"]["readonly"] = json!(false);
        config["linux"]["cgroupsPath"] = json!("/rootlet-test/deep/box");
        config["linux"]["resources"] = json!({
            "memory": {"limit": 99 << 20}, "cpu": {"cpus": "1"},
            "devices": [{"allow": false, "access": "rwm"}, {"allow": true, "type": "b", "major": major, "minor": minor, "access": "r"}]
        });
    });
    sandbox.sh(&format!(
        "mknod /tmp/disk b {major} {minor} && mknod /tmp/mem c 1 1 && echo made; \
         dd if=/tmp/disk of=/dev/null bs=512 count=1 2>/dev/null && echo disk read; \
         dd if=/dev/zero of=/tmp/disk bs=512 count=0 conv=notrunc 2>/dev/null && echo disk written; \
         (: </tmp/mem) 2>/dev/null && echo memory opened; echo x >/dev/null && echo null; \
         cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/cpuset.cpus"
    ));
    assert_eq!(sandbox.run().ok().out, "made\ndisk read\nnull\n103809024\n1\n");
    assert!(!root().join("rootlet-test/deep/box").exists());
    // Whoever names a cgroup gets its statistics.
    sandbox.sh("sleep 1000");
    sandbox.start();
    let stats: Value = serde_json::from_str(&sandbox.rootlet(&["events", "--stats", "box"]).ok().out).unwrap();
    assert!(
        stats["data"]["memory"]["usage"]["usage"].as_u64().unwrap() > 0 && stats["data"]["pids"]["current"] == 1,
        "{stats}"
    );
    assert_eq!(stats["data"]["cpuset"]["cpus"], json!([1]));
    sandbox.rootlet(&["delete", "--force", "box"]).ok();
    for place in ["rootlet-test/deep", "rootlet-test"] {
        fs::remove_dir(root().join(place)).unwrap();
    }
}

#[test]
fn without_a_cgroup_processes_are_stopped_one_by_one() {
    let sandbox = Sandbox::ordinary();
    sandbox.edit(|config| config["root"]["readonly"] = json!(false));
    sandbox.sh("while :; do echo >>/data/count; sleep 0.02; done & while :; do (:); done & wait");
    sandbox.start();
    let state = || {
        serde_json::from_str::<Value>(&fs::read_to_string(sandbox.states().join("box/state.json")).unwrap()).unwrap()
    };
    if state()["cgroup"].is_object() {
        return skip("this host gives an ordinary user a cgroup");
    }
    let count = || fs::read_to_string(sandbox.rootfs().join("data/count")).map_or(0, |text| text.len());
    eventually("it counts", || count() > 0);
    sandbox.rootlet(&["pause", "box"]).ok();
    assert_eq!(sandbox.status("box"), "paused");
    assert_eq!(state()["isSuspended"], true, "the state says how");
    let before = count();
    std::thread::sleep(std::time::Duration::from_millis(200));
    assert_eq!(count(), before);
    let done = sandbox.rootlet(&["exec", "box", "true"]);
    assert!(done.code == 255 && done.err.contains("paused"), "{done:?}");
    let stats: Value = serde_json::from_str(&sandbox.rootlet(&["events", "--stats", "box"]).ok().out).unwrap();
    assert!(stats["data"]["pids"]["current"].as_u64().unwrap() >= 3, "{stats}");
    assert!(stats["data"]["memory"]["usage"]["usage"].as_u64().unwrap() > 0, "{stats}");
    sandbox.rootlet(&["resume", "box"]).ok();
    assert_eq!(sandbox.status("box"), "running");
    eventually("it goes on", || count() > before);
    sandbox.rootlet(&["resume", "box"]).fails(&["container not paused"]);
    sandbox.rootlet(&["update", "--memory", "100M", "box"]).fails(&["the container has no cgroup"]);
    sandbox.rootlet(&["pause", "box"]).ok();
    sandbox.rootlet(&["kill", "box", "KILL"]).ok();
    eventually("it has stopped", || sandbox.status("box") == "stopped");
    for command in
        [&["pause", "box"][..], &["resume", "box"], &["update", "--memory", "1G", "box"], &["events", "--stats", "box"]]
    {
        sandbox.rootlet(command).fails(&["container not running"]);
    }
    sandbox.rootlet(&["delete", "box"]).ok();
    sandbox.assert_clean();
}

#[test]
fn root_tracks_and_freezes_by_the_version_2_hierarchy_beside_version_1() {
    let Some(sandbox) = Sandbox::root() else { return };
    if !Path::new("/sys/fs/cgroup/unified/cgroup.procs").exists() {
        return skip("needs a host with both versions");
    }
    sandbox.edit(|config| {
        config["linux"]["namespaces"].as_array_mut().unwrap().retain(|namespace| namespace["type"] != "pid");
    });
    sandbox.sh("sleep 1000 & sleep 1000");
    sandbox.start();
    let cgroup = sandbox.cgroup();
    assert!(cgroup.starts_with("/sys/fs/cgroup/unified"), "{cgroup:?}");
    eventually("both sleep", || {
        serde_json::from_str::<Vec<i32>>(&sandbox.rootlet(&["ps", "-f", "json", "box"]).ok().out).unwrap().len() == 2
    });
    sandbox.rootlet(&["pause", "box"]).ok();
    assert_eq!((sandbox.status("box").as_str(), number(&cgroup, "cgroup.events", "frozen ")), ("paused", 1));
    sandbox.rootlet(&["resume", "box"]).ok();
    sandbox.rootlet(&["delete", "--force", "box"]).ok();
    assert!(!cgroup.exists());
    sandbox.edit(|config| config["linux"]["resources"]["memory"] = json!({"limit": 1 << 30}));
    sandbox.run().fails(&["memory.limit: cannot be enforced", "cgroup v1"]);
}

#[test]
fn what_a_host_with_both_versions_cannot_limit_is_said() {
    let Some(sandbox) = Sandbox::root() else { return };
    if !Path::new("/sys/fs/cgroup/unified/cgroup.procs").exists() {
        return skip("needs a host with both versions");
    }
    sandbox.sh("sleep 1000");
    sandbox.start();
    let before = fs::read_to_string("/sys/fs/cgroup/unified/cgroup.subtree_control").unwrap();
    for flag in ["--memory=100M", "--pids-limit=9", "--cpu-quota=50000"] {
        let done = sandbox.rootlet(&["update", flag, "box"]).fails(&["cannot be enforced", "in cgroup v1"]);
        assert!(done.err.contains("cgroup_no_v1=all"), "{done:?}");
    }
    sandbox.rootlet(&["update", "--memory=-1", "--pids-limit=-1", "--cpu-quota=-1", "box"]).ok();
    assert_eq!(fs::read_to_string("/sys/fs/cgroup/unified/cgroup.subtree_control").unwrap(), before);
    let stats: Value = serde_json::from_str(&sandbox.rootlet(&["events", "--stats", "box"]).ok().out).unwrap();
    assert!(stats["data"]["memory"]["usage"]["usage"].as_u64().unwrap() > 0, "by its processes: {stats}");
    sandbox.rootlet(&["delete", "--force", "box"]).ok();
}

#[test]
fn what_lifts_a_limit_needs_no_controller() {
    let sandbox = Sandbox::ordinary();
    sandbox.edit(|config| {
        config["linux"]["resources"] = json!({
            "cpu": {"quota": -1, "period": 100_000, "burst": 0, "idle": 0},
            "memory": {"limit": -1, "reservation": -1, "swap": -1},
            "pids": {"limit": -1},
        });
    });
    assert_eq!(sandbox.output("echo fine"), "fine\n");
}

#[test]
fn a_pause_that_cannot_be_changes_nothing() {
    let sandbox = Sandbox::ordinary();
    sandbox.edit(|config| {
        config["linux"]["namespaces"].as_array_mut().unwrap().retain(|namespace| namespace["type"] != "pid");
        config["mounts"].as_array_mut().unwrap().retain(|mount| mount["type"] != "proc");
        config["linux"]["maskedPaths"] = json!([]);
        config["linux"]["readonlyPaths"] = json!([]);
    });
    sandbox.sh("sleep 1000");
    sandbox.start();
    let file = sandbox.states().join("box/state.json");
    let before = fs::read_to_string(&file).unwrap();
    if serde_json::from_str::<Value>(&before).unwrap()["cgroup"].is_object() {
        sandbox.rootlet(&["delete", "--force", "box"]).ok();
        return skip("needs a host without a cgroup of one's own");
    }
    sandbox.rootlet(&["pause", "box"]).fails(&["neither a cgroup nor a pid namespace"]);
    assert_eq!(fs::read_to_string(&file).unwrap(), before);
    sandbox.rootlet(&["delete", "--force", "box"]).ok();
}
