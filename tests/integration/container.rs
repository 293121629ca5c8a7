//! What a container is made of: namespaces, mounts, devices, ids, limits, capabilities.

use crate::sandbox::{Sandbox, eventually, finish, is_root, skip};
use serde_json::{Value, json};
use std::fs;
use std::process::{Child, Command, Stdio};

#[test]
fn it_is_root_with_its_own_name_and_processes() {
    let sandbox = Sandbox::ordinary();
    let out = sandbox.output("id -u; id -g; hostname; echo $$; ps | wc -l; readlink /proc/self; ip -o link | wc -l");
    let lines: Vec<_> = out.lines().collect();
    assert_eq!(lines[..4], ["0", "0", "rootlet", "1"]);
    assert!(lines[4].parse::<u32>().unwrap() <= 4, "only its own processes: {out}");
    let maps = sandbox.output("cat /proc/self/uid_map /proc/self/gid_map /proc/self/setgroups | tr -s ' '");
    let own = format!(" 0 {0} 1\n 0 {0} 1\ndeny\n", sandbox.uid());
    assert_eq!(maps, own);
}

#[test]
fn nothing_setuid_is_involved() {
    let sandbox = Sandbox::ordinary();
    sandbox.sh("true");
    let bundle = sandbox.bundle();
    let mut command = sandbox.command_on_bundle(&["run", "box"]);
    // With an empty PATH no helper can be found, and with no_new_privs none would be of use.
    command.env("PATH", "");
    finish(command).ok();
    let set = format!("setpriv --no-new-privs {} run -b {} box", crate::sandbox::binary().display(), bundle.display());
    finish(sandbox.program("/bin/sh".as_ref(), &["-c", &set])).ok();
}

#[test]
fn namespaces_are_its_own() {
    let sandbox = Sandbox::ordinary();
    sandbox.edit(|config| {
        let namespaces = config["linux"]["namespaces"].as_array_mut().unwrap();
        namespaces.retain(|namespace| namespace["type"] != "cgroup");
        namespaces.extend([json!({"type": "network"}), json!({"type": "cgroup"}), json!({"type": "time"})]);
        config["linux"]["timeOffsets"] =
            json!({"boottime": {"secs": 1_000_000_000}, "monotonic": {"secs": 5, "nanosecs": 1}});
    });
    let out = sandbox.output("for n in user mnt pid ipc uts net cgroup time; do readlink /proc/self/ns/$n; done; cut -d. -f1 /proc/uptime; ip -o link; ip -o addr");
    let lines: Vec<_> = out.lines().collect();
    for (line, name) in lines.iter().zip(["user", "mnt", "pid", "ipc", "uts", "net", "cgroup", "time"]) {
        let host = fs::read_link(format!("/proc/self/ns/{name}")).unwrap();
        assert_ne!(*line, host.to_str().unwrap());
    }
    assert!(lines[8].parse::<u64>().unwrap() > 1_000_000_000, "the boot clock is moved: {out}");
    assert!(out.contains("lo: <LOOPBACK,UP,LOWER_UP>") && out.contains("127.0.0.1"), "loopback is up: {out}");
}

/// A process of the same user that holds namespaces for others to join.
struct Holder(Child);

impl Holder {
    fn new(sandbox: &Sandbox, unshare: &str) -> Holder {
        let script = format!("exec unshare {unshare} sleep 1000");
        let child = sandbox.program("/bin/sh".as_ref(), &["-c", &script]).spawn().unwrap();
        let holder = Holder(child);
        eventually("the holder sleeps", || {
            fs::read_to_string(format!("/proc/{}/comm", holder.0.id())).is_ok_and(|name| name == "sleep\n")
        });
        holder
    }

    fn path(&self, name: &str) -> String {
        format!("/proc/{}/ns/{name}", self.0.id())
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn namespaces_are_joined_by_path() {
    let sandbox = Sandbox::ordinary();
    let holder = Holder::new(&sandbox, "--user --map-root-user --net --ipc --uts --cgroup");
    sandbox.edit(|config| {
        config["linux"]["namespaces"] = json!([
            {"type": "network", "path": holder.path("net")},
            {"type": "ipc", "path": holder.path("ipc")},
            {"type": "uts", "path": holder.path("uts")},
            {"type": "cgroup", "path": holder.path("cgroup")},
            {"type": "user", "path": holder.path("user")},
            {"type": "pid"}, {"type": "mount"},
        ]);
        for key in ["uidMappings", "gidMappings"] {
            config["linux"].as_object_mut().unwrap().remove(key);
        }
        config.as_object_mut().unwrap().remove("hostname");
    });
    let out = sandbox.output("for n in net ipc uts cgroup user; do readlink /proc/self/ns/$n; done; id -u");
    let theirs: Vec<_> = ["net", "ipc", "uts", "cgroup", "user"]
        .iter()
        .map(|name| fs::read_link(holder.path(name)).unwrap().display().to_string())
        .collect();
    assert_eq!(out.lines().collect::<Vec<_>>(), [theirs.iter().map(String::as_str).collect(), vec!["0"]].concat());

    sandbox.edit(|config| config["linux"]["namespaces"][0]["path"] = json!("/proc/self/ns/nosuch"));
    sandbox.run().fails(&["linux.namespaces[0] (/proc/self/ns/nosuch)", "ENOENT", "because:"]);
    sandbox.assert_clean();
}

#[test]
fn the_processes_and_clocks_of_another_are_joined() {
    let Some(sandbox) = Sandbox::root() else { return };
    let arguments = ["--time", "--boottime", "1000000000", "--pid", "--fork", "--kill-child", "sleep", "1000"];
    let holder = Holder(sandbox.program("unshare".as_ref(), &arguments).spawn().unwrap());
    let (pids, clocks) = (holder.path("pid_for_children"), holder.path("time_for_children"));
    eventually("both namespaces are there", || {
        fs::read_link(&pids).is_ok()
            && fs::read_link(&clocks).is_ok_and(|own| own != fs::read_link("/proc/self/ns/time").unwrap())
    });
    sandbox.edit(|config| {
        config["linux"]["namespaces"] = json!([{"type": "mount"}, {"type": "uts"}, {"type": "ipc"}, {"type": "pid", "path": pids}, {"type": "time", "path": clocks}]);
    });
    let out = sandbox.output("cut -d. -f1 /proc/uptime; cat /proc/1/comm; test $$ != 1 && echo second");
    let lines: Vec<_> = out.lines().collect();
    assert!(lines[0].parse::<u64>().unwrap() > 1_000_000_000, "{out}");
    assert_eq!(lines[1..], ["sleep", "second"]);
    sandbox.assert_clean();
}

#[test]
fn an_identity_map_keeps_the_callers_id() {
    let sandbox = Sandbox::ordinary();
    let uid = sandbox.uid();
    sandbox.edit(|config| {
        config["linux"]["uidMappings"] = json!([{"containerID": uid, "hostID": uid, "size": 1}]);
        config["linux"]["gidMappings"] = json!([{"containerID": uid, "hostID": uid, "size": 1}]);
        config["process"]["user"] = json!({"uid": uid, "gid": uid});
        config["root"]["readonly"] = json!(false);
    });
    let out = sandbox
        .output("id -u; id -g; touch /data/mine && stat -c %u /data/mine; grep CapEff /proc/self/status; hostname");
    assert_eq!(out, format!("{uid}\n{uid}\n{uid}\nCapEff:\t0000000000000000\nrootlet\n"));
}

/// Whether the tests have a capability, by its number.
fn has_capability(number: u32) -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let mask = status.lines().find_map(|line| line.strip_prefix("CapEff:")).unwrap().trim();
    u64::from_str_radix(mask, 16).unwrap() & 1 << number != 0
}

#[test]
fn a_privileged_caller_maps_ranges() {
    let Some(sandbox) = Sandbox::root() else { return };
    sandbox.edit(|config| {
        config["linux"]["namespaces"].as_array_mut().unwrap().push(json!({"type": "user"}));
        config["linux"]["uidMappings"] = json!([{"containerID": 0, "hostID": 200_000, "size": 1000}, {"containerID": 1000, "hostID": 300_000, "size": 10}]);
        config["linux"]["gidMappings"] = config["linux"]["uidMappings"].clone();
        config["process"]["user"] = json!({"uid": 1000, "gid": 1001, "additionalGids": [5, 1002], "umask": 0o027});
        config["process"]["oomScoreAdj"] = json!(-500);
        config["process"]["rlimits"] = json!([{"type": "RLIMIT_NOFILE", "soft": 30_000, "hard": 1_000_000}]);
    });
    let out = sandbox.output("id -u; id -g; id -G; umask; cat /proc/self/setgroups; echo $HOME; cat /proc/self/oom_score_adj; ulimit -Sn; ulimit -Hn");
    let out = out.strip_prefix("1000\n1001\n1001 5 1002\n0027\nallow\n/home/user\n").unwrap_or_else(|| panic!("{out}"));
    if has_capability(24) {
        assert_eq!(out, "-500\n30000\n1000000\n");
    } else {
        skip("raising limits and lowering oom_score_adj need CAP_SYS_RESOURCE, which this root has not");
    }
    sandbox.assert_clean();
}

#[test]
fn mounts_have_the_options_of_the_config() {
    let sandbox = Sandbox::ordinary();
    let (source, file) = (sandbox.mkdir("source", 0o755), sandbox.write("file", "from the host"));
    sandbox.mkdir("source/below", 0o755);
    sandbox.mkdir("bundle/relative", 0o755);
    for (destination, options) in [
        ("/plain", json!(["rbind"])),
        ("/ro", json!(["rbind", "ro", "nosuid", "nodev", "noexec", "noatime", "nosymfollow"])),
        ("/a/deep/place", json!(["bind", "rro", "rnosuid"])),
        ("/shared", json!(["rbind", "rshared"])),
    ] {
        sandbox.add_mount(json!({"destination": destination, "type": "none", "source": source, "options": options}));
    }
    sandbox.add_mount(json!({"destination": "/etc/file", "type": "bind", "source": file, "options": ["ro"]}));
    sandbox.add_mount(json!({"destination": "/relative", "type": "bind", "source": "relative", "options": ["bind"]}));
    sandbox.add_mount(json!({"destination": "/tmpfs", "type": "tmpfs", "source": "tmpfs", "options": ["ro", "size=64k", "mode=0700"]}));
    sandbox.add_mount(json!({"destination": "/tmpfs/inside", "type": "tmpfs"}));
    sandbox.edit(|config| config["root"]["readonly"] = json!(true));
    let out = sandbox.output("cat /proc/self/mountinfo; cat /etc/file; touch /plain/new /relative/new && echo written; touch /tmpfs/x /ro/x 2>&1 | wc -l");
    let line = |target: &str| {
        out.lines().find(|line| line.split(' ').nth(4) == Some(target)).unwrap_or_else(|| panic!("{target}: {out}"))
    };
    let flags = |target: &str| line(target).split(' ').nth(5).unwrap().to_owned();
    assert!(flags("/plain").starts_with("rw"));
    // Access times of the host's mounts are locked in a user namespace.
    for flag in ["ro", "nosuid", "nodev", "noexec", "relatime", "nosymfollow"] {
        assert!(flags("/ro").split(',').any(|word| word == flag), "{flag}: {}", flags("/ro"));
    }
    assert!(flags("/a/deep/place").starts_with("ro,nosuid"));
    assert!(line("/shared").contains(" shared:"));
    assert!(flags("/tmpfs").starts_with("ro") && flags("/tmpfs/inside").starts_with("rw"));
    assert!(
        line("/tmpfs").contains(&format!("size=64k,mode=700,uid={0},gid={0}", sandbox.uid())),
        "{}",
        line("/tmpfs")
    );
    assert!(flags("/").starts_with("ro"));
    assert!(out.contains("from the hostwritten\n2\n"), "{out}");
    assert!(source.join("new").exists() && sandbox.bundle().join("relative/new").exists());
}

#[test]
fn tmpcopyup_starts_with_what_it_covers() {
    let sandbox = Sandbox::ordinary();
    fs::create_dir_all(sandbox.rootfs().join("data/deep")).unwrap();
    fs::write(sandbox.rootfs().join("data/deep/file"), "kept").unwrap();
    sandbox.add_mount(json!({"destination": "/data", "type": "tmpfs", "options": ["tmpcopyup"]}));
    assert_eq!(
        sandbox.output("cat /data/deep/file; echo changed > /data/deep/file; stat -f -c %T /data"),
        "kepttmpfs\n"
    );
    assert_eq!(fs::read_to_string(sandbox.rootfs().join("data/deep/file")).unwrap(), "kept");
}

#[test]
fn devices_are_the_real_ones() {
    let sandbox = Sandbox::ordinary();
    let out = sandbox.output(
        "for d in null zero full random urandom tty; do stat -c '%n %t:%T' /dev/$d; done; for l in ptmx fd stdin stdout stderr; do readlink /dev/$l; done; \
         echo x > /dev/null && head -c 3 /dev/zero | wc -c; echo x > /dev/full || echo full",
    );
    let expected = "/dev/null 1:3\n/dev/zero 1:5\n/dev/full 1:7\n/dev/random 1:8\n/dev/urandom 1:9\n/dev/tty 5:0\n\
                    pts/ptmx\n/proc/self/fd\n/proc/self/fd/0\n/proc/self/fd/1\n/proc/self/fd/2\n3\nfull\n";
    assert_eq!(out, expected);
    sandbox.edit(|config| {
        config["linux"]["devices"] = json!([{"type": "c", "path": "/dev/nosuch", "major": 1, "minor": 99}])
    });
    sandbox.run().fails(&["linux.devices[0] (/dev/nosuch)", "the host has no such device"]);
    sandbox.edit(|config| config["linux"]["devices"] = json!([{"type": "p", "path": "/dev/fifo", "fileMode": 0o622}]));
    assert_eq!(sandbox.output("stat -c '%F %a' /dev/fifo"), "fifo 622\n");
}

#[test]
fn root_makes_device_nodes() {
    let Some(sandbox) = Sandbox::root() else { return };
    sandbox.edit(|config| {
        config["linux"]["devices"] = json!([
            {"type": "c", "path": "/dev/mine", "major": 10, "minor": 200, "fileMode": 0o640, "uid": 1, "gid": 2},
            {"type": "u", "path": "/dev/raw/mine", "major": 1, "minor": 5},
            {"type": "b", "path": "/dev/disk", "major": 7, "minor": 99, "fileMode": 0o600},
        ]);
    });
    assert_eq!(
        sandbox.output("stat -c '%F %t:%T %a %u:%g' /dev/mine /dev/raw/mine /dev/disk; stat -c '%t:%T %a' /dev/null"),
        "character special file a:c8 640 1:2\ncharacter special file 1:5 666 0:0\nblock special file 7:63 600 0:0\n1:3 666\n"
    );
}

#[test]
fn paths_are_masked_and_read_only() {
    let sandbox = Sandbox::ordinary();
    fs::write(sandbox.rootfs().join("data/secret"), "secret").unwrap();
    fs::create_dir(sandbox.rootfs().join("data/hidden")).unwrap();
    fs::write(sandbox.rootfs().join("data/hidden/file"), "secret").unwrap();
    fs::create_dir(sandbox.rootfs().join("data/kept")).unwrap();
    sandbox.edit(|config| {
        config["linux"]["maskedPaths"] = json!(["/data/secret", "/data/hidden", "/data/nosuch", "/proc/keys"]);
        config["linux"]["readonlyPaths"] = json!(["/data/kept", "/proc/sys", "/data/nosuch"]);
        config["root"]["readonly"] = json!(false);
    });
    let out = sandbox.output("cat /data/secret /proc/keys; ls -A /data/hidden; touch /data/kept/x /data/hidden/x 2>&1 | grep -c Read-only; touch /data/free && echo ok");
    assert_eq!(out, "2\nok\n");
}

#[test]
fn environment_directory_and_home_are_the_containers() {
    let sandbox = Sandbox::ordinary();
    sandbox.edit(|config| {
        config["process"]["env"] = json!(["PATH=/bin", "GREETING=two words", "EMPTY="]);
        config["process"]["cwd"] = json!("/data/made/here");
        config["root"]["readonly"] = json!(false);
    });
    let mut out: Vec<_> = sandbox.output("pwd; env").lines().map(str::to_owned).collect();
    assert_eq!(out.remove(0), "/data/made/here");
    out.retain(|line| !line.starts_with("SHLVL=") && !line.starts_with("PWD=") && !line.starts_with("OLDPWD="));
    out.sort();
    assert_eq!(out, ["EMPTY=", "GREETING=two words", "HOME=/root", "PATH=/bin"]);
}

#[test]
fn limits_and_privileges_are_as_asked() {
    let sandbox = Sandbox::ordinary();
    sandbox.edit(|config| {
        config["process"]["rlimits"] =
            json!([{"type": "RLIMIT_NOFILE", "soft": 100, "hard": 200}, {"type": "RLIMIT_CORE", "soft": 0, "hard": 0}]);
        config["process"]["user"]["umask"] = json!(0o077);
        config["process"]["oomScoreAdj"] = json!(500);
        config["process"]["scheduler"] = json!({"policy": "SCHED_BATCH", "nice": 5});
        config["process"]["ioPriority"] = json!({"class": "IOPRIO_CLASS_IDLE", "priority": 0});
        config["linux"]["personality"] = json!({"domain": "LINUX32"});
        config["domainname"] = json!("domain.test");
        for set in ["bounding", "permitted", "effective", "inheritable", "ambient"] {
            config["process"]["capabilities"][set] = json!(["CAP_KILL", "CAP_CHOWN"]);
        }
    });
    let out = sandbox.output(
        "ulimit -Sn; ulimit -Hn; ulimit -c; umask; cat /proc/self/oom_score_adj; cut -d' ' -f19 /proc/self/stat; uname -m; cat /proc/sys/kernel/domainname; \
         grep -E 'Cap|NoNewPrivs' /proc/self/status; cut -d' ' -f41 /proc/self/stat",
    );
    let expected = "100\n200\n0\n0077\n500\n5\ni686\ndomain.test\nCapInh:\t0000000000000021\nCapPrm:\t0000000000000021\nCapEff:\t0000000000000021\n\
                    CapBnd:\t0000000000000021\nCapAmb:\t0000000000000021\nNoNewPrivs:\t1\n3\n";
    if cfg!(target_arch = "x86_64") {
        assert_eq!(out, expected);
    }
}

#[test]
fn what_runc_cannot_grant_either_is_a_warning() {
    // runc 1.1 writes such a config: every set but the inheritable one.
    let sandbox = Sandbox::ordinary();
    sandbox.edit(|config| {
        config["process"]["capabilities"] = json!({});
        for set in ["bounding", "permitted", "effective", "ambient"] {
            config["process"]["capabilities"][set] = json!(["CAP_KILL"]);
        }
    });
    sandbox.sh("grep -E 'CapEff|CapAmb' /proc/self/status");
    let done = sandbox.run().ok();
    assert_eq!(done.out, "CapEff:\t0000000000000020\nCapAmb:\t0000000000000000\n");
    let bundle = sandbox.bundle();
    let plan = sandbox.rootlet(&["plan", "-b", bundle.to_str().unwrap()]).ok().out;
    assert!(plan.contains("decided process.capabilities: ambient capabilities are left out: CAP_KILL"), "{plan}");
    let strict = sandbox.on_bundle(&["--strict", "run", "box"]);
    strict.fails(&["process.capabilities", "ambient", "--strict", "inheritable"]);
}

#[test]
fn sysctl_is_written_in_the_containers_namespaces() {
    let sandbox = Sandbox::ordinary();
    sandbox.edit(|config| {
        config["linux"]["namespaces"].as_array_mut().unwrap().push(json!({"type": "network"}));
        config["linux"]["sysctl"] = json!({"net.ipv4.ip_forward": "1", "kernel.shmmni": "1234"});
    });
    assert_eq!(sandbox.output("cat /proc/sys/net/ipv4/ip_forward /proc/sys/kernel/shmmni"), "1\n1234\n");
    sandbox.edit(|config| config["linux"]["sysctl"] = json!({"kernel.core_pattern": "x"}));
    sandbox.run().fails(&["linux.sysctl", "kernel/core_pattern", "would change the host"]);
}

#[test]
fn without_pivot_root_it_is_the_same_container() {
    let sandbox = Sandbox::ordinary();
    sandbox.sh("ls /; cut -d' ' -f5 /proc/self/mountinfo | grep -c -E '^/(home|work|usr|boot)'");
    let done = sandbox.on_bundle(&["run", "--no-pivot", "box"]);
    assert!(done.out.starts_with("bin\n") && done.out.ends_with("\n0\n"), "{done:?}");
}

#[test]
fn the_hosts_files_and_mounts_are_out_of_sight() {
    let sandbox = Sandbox::ordinary();
    let out = sandbox.output("ls /; cut -d' ' -f4,5 /proc/self/mountinfo | grep -v -E '^/ |^/(null|zero|full|random|urandom|tty|bus|fs|irq|sys|keys|timer_list|kcore|sysrq-trigger|asound) '");
    let (names, mounts): (Vec<_>, Vec<_>) = out.lines().partition(|line| !line.contains('/'));
    assert_eq!(names, ["bin", "data", "dev", "etc", "proc", "root", "sys", "tmp"]);
    assert!(
        mounts.iter().all(|line| line.ends_with(" /") || line.contains("/sys") || line.contains("/dev")),
        "{mounts:?}"
    );
}

#[test]
fn a_mount_does_not_reach_the_host() {
    let sandbox = Sandbox::ordinary();
    let before = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let mine = |text: &str| text.lines().filter(|line| line.contains(sandbox.path().to_str().unwrap())).count();
    sandbox.output("true");
    assert_eq!((mine(&before), mine(&fs::read_to_string("/proc/self/mountinfo").unwrap())), (0, 0));
}

#[test]
fn standard_streams_are_the_callers() {
    let sandbox = Sandbox::ordinary();
    sandbox.sh("cat; echo to-err >&2");
    let mut command = sandbox.command_on_bundle(&["run", "box"]);
    command.stdin(Stdio::from(fs::File::open(sandbox.write("input", "typed")).unwrap()));
    let done = finish(command).ok();
    assert_eq!((done.out.as_str(), done.err.as_str()), ("typed", "to-err\n"));
}

#[test]
fn fifty_at_once_do_not_disturb_each_other() {
    let sandbox = Sandbox::ordinary();
    sandbox.sh("hostname");
    let start = |number: usize| {
        let mut command: Command = sandbox.command_on_bundle(&["run", &format!("box-{number}")]);
        command.stdout(Stdio::piped()).spawn().unwrap()
    };
    let children: Vec<_> = (0..50).map(start).collect();
    for child in children {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success());
        assert_eq!(output.stdout, b"rootlet\n");
    }
    sandbox.assert_clean();
}

#[test]
fn a_container_runs_inside_a_container() {
    let sandbox = Sandbox::ordinary();
    if !is_root() && fs::metadata("/proc/sys/kernel/unprivileged_userns_clone").is_ok() {
        return skip("nested user namespaces may be restricted here");
    }
    // The inner one has the binary and the bundle, in a container without masks over its /proc.
    let inner = sandbox.mkdir("inner", 0o755);
    let config = sandbox.sh("id -u; hostname").config();
    fs::copy(crate::sandbox::binary(), sandbox.path().join("rootlet")).unwrap();
    let mut innermost: Value = config.clone();
    innermost["linux"]["uidMappings"] = json!([{"containerID": 0, "hostID": 0, "size": 1}]);
    innermost["linux"]["gidMappings"] = innermost["linux"]["uidMappings"].clone();
    innermost["hostname"] = json!("innermost");
    innermost["root"]["path"] = json!("/rootfs");
    fs::write(inner.join("config.json"), innermost.to_string()).unwrap();
    sandbox.edit(|config| {
        config["linux"]["maskedPaths"] = json!([]);
        config["linux"]["readonlyPaths"] = json!([]);
        config["process"]["capabilities"] = json!({});
        config["process"]["args"] = json!(["/rootlet", "--root", "/tmp/state", "run", "-b", "/inner", "box"]);
    });
    for (destination, source) in [
        ("/inner", inner),
        ("/rootfs", sandbox.rootfs()),
        ("/rootlet", sandbox.path().join("rootlet")),
        ("/lib", "/lib".into()),
        ("/lib64", "/lib64".into()),
    ] {
        // Not every architecture has that one.
        if destination == "/lib64" && !fs::exists(destination).unwrap() {
            continue;
        }
        sandbox.add_mount(json!({"destination": destination, "type": "bind", "source": source, "options": ["rbind"]}));
    }
    sandbox.add_mount(json!({"destination": "/tmp", "type": "tmpfs"}));
    // user_namespaces(7): since Linux 5.12, whoever maps uid 0 needs CAP_SETFCAP.
    sandbox.run().fails(&["linux.uidMappings", "CAP_SETFCAP"]);
    for set in ["bounding", "permitted", "effective"] {
        sandbox.edit(|config| config["process"]["capabilities"][set] = json!(["CAP_SETFCAP"]));
    }
    assert_eq!(sandbox.run().ok().out, "0\ninnermost\n");
}
