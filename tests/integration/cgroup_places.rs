//! Where a container's cgroup is, whose it is, and what happens when it is not there any more.

use crate::cgroups::{Delegated, in_guest, read, root};
use crate::exec::compile;
use crate::sandbox::{Sandbox, eventually};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// A cgroup that root makes, and that is removed with the test.
struct Ready(PathBuf);

impl Ready {
    fn new(name: &str) -> Ready {
        let place = root().join(format!("test-{name}-{}", std::process::id()));
        fs::create_dir(&place).unwrap();
        Ready(place)
    }

    fn inode(&self) -> u64 {
        fs::metadata(&self.0).unwrap().ino()
    }

    /// As linux.cgroupsPath has it.
    fn name(&self) -> String {
        format!("/{}", self.0.file_name().unwrap().to_str().unwrap())
    }
}

impl Drop for Ready {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let _ = fs::write(self.0.join("cgroup.kill"), "1");
        }
        eventually("the test's cgroup is empty", || fs::remove_dir(&self.0).is_ok() || !self.0.exists());
    }
}

#[test]
fn a_cgroup_that_was_made_ready_is_used_as_it_is() {
    let Some(sandbox) = Sandbox::root() else { return };
    let ready = Ready::new("ready");
    fs::write(ready.0.join("cgroup.max.descendants"), "7").unwrap();
    let inode = ready.inode();
    sandbox.sh("sleep 1000");
    sandbox.edit(|config| config["linux"]["cgroupsPath"] = json!(ready.name()));
    sandbox.start();
    assert_eq!((sandbox.cgroup(), ready.inode()), (ready.0.clone(), inode));
    assert_eq!(read(&ready.0, "cgroup.max.descendants"), "7");
    // What a container has had is the next one's only without its limits, and the first one's end is not the second one's.
    sandbox.rootlet(&["kill", "box", "KILL"]).ok();
    eventually("it has stopped", || sandbox.status("box") == "stopped");
    sandbox.rootlet(&["run", "-d", "-b", sandbox.bundle().to_str().unwrap(), "other"]).ok();
    assert!(ready.inode() != inode && read(&ready.0, "cgroup.max.descendants") == "max");
    sandbox.rootlet(&["kill", "--all", "box", "KILL"]);
    sandbox.rootlet(&["delete", "box"]).ok();
    assert_eq!(sandbox.status("other"), "running");
    sandbox.rootlet(&["delete", "-f", "other"]).ok();
    assert!(!ready.0.exists());
    sandbox.assert_clean();
}

#[test]
fn a_container_whose_cgroup_is_gone_can_be_entered_and_listed() {
    let Some(sandbox) = Sandbox::root() else { return };
    sandbox.sh("sleep 1000 & sleep 1000");
    sandbox.start();
    let cgroup = sandbox.cgroup();
    let elsewhere = Ready::new("elsewhere");
    for pid in read(&cgroup, "cgroup.procs").lines() {
        fs::write(elsewhere.0.join("cgroup.procs"), pid).unwrap();
    }
    fs::remove_dir(&cgroup).unwrap();
    let pids: Vec<u32> = serde_json::from_str(&sandbox.rootlet(&["ps", "-f", "json", "box"]).ok().out).unwrap();
    let inside = read(&elsewhere.0, "cgroup.procs");
    assert_eq!(pids.iter().map(u32::to_string).collect::<Vec<_>>().join("\n"), inside);
    sandbox.rootlet(&["exec", "-d", "box", "sleep", "2000"]).ok();
    assert_eq!(read(&elsewhere.0, "cgroup.procs").lines().count(), pids.len() + 1);
    sandbox.rootlet(&["kill", "--all", "box", "KILL"]).ok();
    eventually("all have ended", || read(&elsewhere.0, "cgroup.procs").is_empty());
    sandbox.rootlet(&["delete", "-f", "box"]).ok();
    sandbox.assert_clean();
}

#[test]
fn what_is_left_of_a_container_is_ended_by_kill() {
    let Some(sandbox) = Sandbox::root() else { return };
    sandbox.edit(|config| {
        config["linux"]["namespaces"].as_array_mut().unwrap().retain(|namespace| namespace["type"] != "pid");
    });
    sandbox.sh("sleep 1000 & exit 0");
    sandbox.start();
    eventually("its first process has ended", || sandbox.status("box") == "stopped");
    let left = read(&sandbox.cgroup(), "cgroup.procs");
    assert!(!left.is_empty(), "sleep is left");
    sandbox.rootlet(&["kill", "box", "TERM"]).fails(&["container not running"]);
    sandbox.rootlet(&["kill", "box", "KILL"]).ok();
    eventually("it is gone", || !Path::new("/proc").join(&left).exists());
    sandbox.rootlet(&["kill", "box", "KILL"]).fails(&["container not running"]);
    sandbox.rootlet(&["delete", "box"]).ok();
    sandbox.assert_clean();
}

#[test]
fn limits_that_may_be_missing_are_tried_and_what_is_missing_is_said() {
    let Some(sandbox) = Sandbox::root() else { return };
    sandbox.edit(|config| config["linux"]["resources"]["unified"] = json!({"cgroup.max.depth": "no number"}));
    sandbox.sh("true");
    sandbox.run().fails(&["linux.resources.unified", "cgroup.max.depth", "the kernel refuses the value"]);
    let done = sandbox.run_with(&["--limits", "try"]).ok();
    assert!(
        done.err.starts_with("warning: linux.resources.unified: not enforced") && done.err.contains("EINVAL"),
        "{done:?}"
    );
    // What no hierarchy could have, is said, too.
    let ordinary = Sandbox::ordinary();
    ordinary.edit(|config| config["linux"]["resources"] = json!({"cpu": {"realtimeRuntime": 1000}}));
    ordinary.sh("true");
    let done = ordinary.run_with(&["--limits", "try"]).ok();
    assert!(done.err.starts_with("warning: ") && done.err.contains("realtimeRuntime: not enforced"), "{done:?}");
    sandbox.assert_clean();
}

#[test]
fn a_size_of_huge_pages_that_the_kernel_lacks_may_be_tried() {
    if !in_guest() {
        return;
    }
    let delegated = Delegated::new(false);
    delegated.limit(json!({"hugepageLimits": [{"pageSize": "3MB", "limit": 0}], "pids": {"limit": 20}}));
    let run = |flags: &[&str]| {
        delegated.sandbox.sh("cat /sys/fs/cgroup/pids.max");
        let bundle = delegated.sandbox.bundle();
        delegated.rootlet(&[flags, &["run", "-b", bundle.to_str().unwrap(), "box"]].concat())
    };
    run(&[]).fails(&["linux.resources.hugepageLimits", "hugetlb.3MB.max", "no such file"]);
    let done = run(&["--limits", "try"]).ok();
    assert!(done.out == "20\n" && done.err.contains("linux.resources.hugepageLimits: not enforced"), "{done:?}");
}

#[test]
fn who_may_write_to_its_cgroup_has_controllers_to_divide() {
    if !in_guest() {
        return;
    }
    let delegated = Delegated::new(false);
    let controllers = |option: &str| {
        delegated.sandbox.edit(|config| {
            for mount in config["mounts"].as_array_mut().unwrap() {
                if mount["destination"] == "/sys/fs/cgroup" {
                    mount["options"] = json!([option]);
                }
            }
        });
        delegated.sandbox.sh("cat /sys/fs/cgroup/cgroup.controllers");
        delegated.run().ok().out.trim().to_owned()
    };
    assert_eq!(controllers("ro"), "");
    let all = controllers("rw");
    assert!(all.contains("memory") && all.contains("pids") && all.contains("cpu"), "{all}");
}

#[test]
fn a_signal_to_all_is_no_pause() {
    let Some(sandbox) = Sandbox::root() else { return };
    sandbox.sh("trap : USR1; while :; do sleep 0.1; done");
    sandbox.start();
    let is_over = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let signals = scope.spawn(|| {
            while !is_over.load(std::sync::atomic::Ordering::Relaxed) {
                sandbox.rootlet(&["kill", "--all", "box", "WINCH"]).ok();
            }
        });
        for _ in 0..25 {
            let (status, done) = (sandbox.status("box"), sandbox.rootlet(&["exec", "box", "true"]));
            if status != "running" || done.code != 0 {
                is_over.store(true, std::sync::atomic::Ordering::Relaxed);
                panic!("{status}: {done:?}");
            }
        }
        sandbox.rootlet(&["pause", "box"]).ok();
        std::thread::sleep(std::time::Duration::from_millis(100));
        is_over.store(true, std::sync::atomic::Ordering::Relaxed);
        signals.join().unwrap();
    });
    assert_eq!(sandbox.status("box"), "paused", "a signal does not end a pause");
    sandbox.rootlet(&["resume", "box"]).ok();
    sandbox.rootlet(&["delete", "-f", "box"]).ok();
    sandbox.assert_clean();
}

#[test]
fn nobody_waits_for_a_cgroup_that_is_frozen_by_others() {
    let Some(sandbox) = Sandbox::root() else { return };
    let above = Ready::new("frozen");
    sandbox.sh("trap 'exit 0' TERM; while :; do sleep 0.1; done");
    sandbox.edit(|config| config["linux"]["cgroupsPath"] = json!(format!("{}/box", above.name())));
    sandbox.start();
    fs::write(above.0.join("cgroup.freeze"), "1").unwrap();
    let name = above.name();
    eventually("it is frozen", || read(&sandbox.cgroup(), "cgroup.events").contains("frozen 1"));
    let done = sandbox.rootlet(&["exec", "box", "true"]);
    let words = [name.as_str(), "is frozen", "write 0 to cgroup.freeze there"];
    assert!(done.code == 255 && words.iter().all(|words| done.err.contains(words)), "{done:?}");
    assert_eq!(sandbox.status("box"), "running", "`pause` has not stopped it");
    // Nor is one made there, and who lets a container go on is told that it does not.
    sandbox.edit(|config| config["linux"]["cgroupsPath"] = json!(format!("{}/other", above.name())));
    sandbox.on_bundle(&["create", "other"]).fails(&[&name, "is frozen", "write 0 to cgroup.freeze there"]);
    sandbox.rootlet(&["pause", "box"]).ok();
    let done = sandbox.rootlet(&["resume", "box"]).ok();
    assert!(done.err.contains("does not go on") && done.err.contains(&name), "{done:?}");
    fs::write(above.0.join("cgroup.freeze"), "0").unwrap();
    sandbox.rootlet(&["exec", "box", "true"]).ok();
    // What the container has frozen itself is nothing to wait for, either.
    let own = sandbox.cgroup();
    fs::create_dir(own.join("below")).unwrap();
    fs::write(own.join("below/cgroup.freeze"), "1").unwrap();
    let done = sandbox.rootlet(&["exec", "--cgroup", "below", "box", "true"]);
    assert!(done.code == 255 && done.err.contains("below, in which the process would be, is frozen"), "{done:?}");
    fs::write(own.join("below/cgroup.freeze"), "0").unwrap();
    sandbox.rootlet(&["exec", "--cgroup", "below", "box", "true"]).ok();
    sandbox.rootlet(&["delete", "-f", "box"]).ok();
    sandbox.assert_clean();
}

#[test]
fn a_first_process_that_was_moved_is_found_and_not_said_to_be_paused() {
    let Some(sandbox) = Sandbox::root() else { return };
    sandbox.sh("trap 'exit 0' TERM; while :; do sleep 0.1; done");
    // Of a name of its own: an empty one is the next container's that asks for it.
    let above = Ready::new("left");
    sandbox.edit(|config| config["linux"]["cgroupsPath"] = json!(format!("{}/box", above.name())));
    sandbox.start();
    let cgroup = sandbox.cgroup();
    let elsewhere = Ready::new("moved");
    for pid in read(&cgroup, "cgroup.procs").lines() {
        match fs::write(elsewhere.0.join("cgroup.procs"), pid) {
            // A sleep that has ended since.
            Err(error) if error.raw_os_error() == Some(3) => {}
            other => other.unwrap(),
        }
    }
    let pids: Vec<u32> = serde_json::from_str(&sandbox.rootlet(&["ps", "-f", "json", "box"]).ok().out).unwrap();
    assert!(!pids.is_empty());
    sandbox.rootlet(&["pause", "box"]).fails(&["first process is not in its cgroup"]);
    assert_eq!(sandbox.status("box"), "running");
    sandbox.rootlet(&["kill", "--all", "box", "TERM"]).ok();
    eventually("it has heard it", || sandbox.status("box") == "stopped");
    sandbox.rootlet(&["delete", "box"]).ok();
    eventually("all have ended", || read(&elsewhere.0, "cgroup.procs").is_empty());
    sandbox.assert_clean();
}

#[test]
fn who_may_only_read_a_cgroup_keeps_nobody_from_ending_it() {
    let Some(sandbox) = Sandbox::root() else { return };
    sandbox.sh("sleep 1000");
    sandbox.start();
    let cgroup = sandbox.cgroup();
    let stranger = Sandbox::stranger();
    let mut command = stranger
        .program("flock".as_ref(), &["--no-fork", cgroup.to_str().unwrap(), "sh", "-c", "echo; exec sleep 1000"]);
    let mut locker = command.stdout(std::process::Stdio::piped()).spawn().unwrap();
    std::io::Read::read_exact(locker.stdout.as_mut().unwrap(), &mut [0]).unwrap();
    let done = sandbox.rootlet(&["delete", "-f", "box"]);
    locker.kill().unwrap();
    locker.wait().unwrap();
    done.ok();
    assert!(!cgroup.exists());
    sandbox.assert_clean();
}

/// Makes the mount of cgroups writable, whose own namespace the container has.
fn divide(config: &mut Value) {
    let namespaces = config["linux"]["namespaces"].as_array_mut().unwrap();
    if namespaces.iter().all(|namespace| namespace["type"] != "cgroup") {
        namespaces.push(json!({"type": "cgroup"}));
    }
    for mount in config["mounts"].as_array_mut().unwrap() {
        if mount["destination"] == "/sys/fs/cgroup" {
            mount["options"] = json!(["rw"]);
        }
    }
}

#[test]
fn a_container_goes_on_in_a_cgroup_below_the_one_with_its_limits() {
    if !in_guest() {
        return;
    }
    let delegated = Delegated::new(false);
    delegated.limit(json!({"pids": {"limit": 33}}));
    delegated.sandbox.edit(|config| {
        divide(config);
        config["annotations"] = json!({"run.oci.delegate-cgroup": "inner"});
    });
    let divides = "echo +pids >cgroup.subtree_control; cat inner/pids.max; mkdir mine && echo made";
    delegated.sandbox.sh(&format!("cat /proc/self/cgroup; cd /sys/fs/cgroup; cat pids.max; {divides}"));
    assert_eq!(delegated.run().ok().out, "0::/inner\n33\nmax\nmade\n");
    delegated.start();
    assert_eq!(delegated.rootlet(&["exec", "box", "cat", "/proc/self/cgroup"]).ok().out, "0::/inner\n");
    let pids = delegated.rootlet(&["ps", "--format", "json", "box"]).ok().out;
    assert!(pids.contains(','), "the shell and its sleep: {pids}");
    delegated.rootlet(&["pause", "box"]).ok();
    delegated.rootlet(&["resume", "box"]).ok();
    delegated.rootlet(&["delete", "-f", "box"]).ok();
    for name in ["a/b", "..", "cgroup.procs"] {
        delegated.sandbox.edit(|config| config["annotations"] = json!({"run.oci.delegate-cgroup": name}));
        delegated.run().fails(&["annotations", "run.oci.delegate-cgroup", "because:", "try:"]);
    }
}

#[test]
fn who_divides_its_cgroup_owns_what_it_is_divided_by() {
    let Some(sandbox) = Sandbox::remapped() else { return };
    if !in_guest() {
        return;
    }
    sandbox.edit(|config| {
        divide(config);
        config["linux"]["resources"] = json!({"pids": {"limit": 33}});
        config["process"]["user"] = json!({"uid": 1000, "gid": 1000});
    });
    let script = "stat -c '%u %n' . cgroup.procs cgroup.subtree_control pids.max; mkdir mine && echo made; echo 5 >pids.max || echo limited";
    sandbox.sh(&format!("cd /sys/fs/cgroup && {script}"));
    let done = sandbox.run().ok();
    assert_eq!(done.out, "1000 .\n1000 cgroup.procs\n1000 cgroup.subtree_control\n65534 pids.max\nmade\nlimited\n");
    sandbox.sh("sleep 1000");
    sandbox.start();
    assert_eq!(sandbox.rootlet(&["exec", "box", "sh", "-c", "cat /proc/self/cgroup"]).ok().out, "0::/\n");
    sandbox.rootlet(&["delete", "-f", "box"]).ok();
    // Only what may be written to is given away.
    sandbox.edit(|config| {
        for mount in config["mounts"].as_array_mut().unwrap() {
            if mount["destination"] == "/sys/fs/cgroup" {
                mount["options"] = json!(["ro"]);
            }
        }
    });
    assert_eq!(sandbox.output("stat -c %u /sys/fs/cgroup"), "65534\n");
    sandbox.assert_clean();
}

#[test]
fn a_process_that_is_left_keeps_no_cgroup_by_a_lock() {
    let Some(sandbox) = Sandbox::root() else { return };
    sandbox.edit(|config| {
        divide(config);
        let namespaces = config["linux"]["namespaces"].as_array_mut().unwrap();
        namespaces.retain(|namespace| namespace["type"] != "pid");
    });
    let lock = "#include <fcntl.h>\n#include <unistd.h>\n#include <sys/file.h>\n\
        int main(void) { if (flock(open(\"/sys/fs/cgroup/cgroup.kill\", O_WRONLY), LOCK_EX)) return 1;\n\
        open(\"/tmp/locked\", O_CREAT, 0600); for (;;) pause(); }\n";
    if !compile(&sandbox, "lock", lock) {
        return;
    }
    sandbox.sh("lock & while [ ! -e /tmp/locked ]; do sleep 0.1; done");
    sandbox.edit(|config| config["root"]["readonly"] = json!(false));
    sandbox.start();
    eventually("the first process has ended", || sandbox.status("box") == "stopped");
    sandbox.rootlet(&["delete", "--force", "box"]).ok();
    assert_eq!(sandbox.processes(), Vec::<String>::new());
    sandbox.assert_clean();
}

#[test]
fn cgroups_are_mounted_twice_and_the_hosts_options_stay() {
    let Some(sandbox) = Sandbox::root() else { return };
    let options = || {
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
        let line = mounts.lines().find(|line| line.contains(" cgroup2 ")).map(str::to_owned);
        line.unwrap_or_default()
    };
    let before = options();
    sandbox.edit(|config| {
        let namespaces = config["linux"]["namespaces"].as_array_mut().unwrap();
        namespaces.retain(|namespace| namespace["type"] != "cgroup");
        let mounts = config["mounts"].as_array_mut().unwrap();
        let second = mounts.iter().find(|mount| mount["type"] == "cgroup").cloned().unwrap();
        mounts.push(second);
    });
    assert_eq!(sandbox.output("grep -c ' /sys/fs/cgroup cgroup2 ' /proc/mounts"), "2\n");
    assert_eq!(options(), before);
}
