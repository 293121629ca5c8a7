//! `checkpoint` and `restore`. They need CRIU and a kernel that it knows, as the engines' guest of `scripts/vm` has.

use crate::cgroups::read;
use crate::engines::have_engines;
use crate::sandbox::{Done, Sandbox, eventually, finish};
use crate::terminal::receive_master;
use serde_json::json;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::process::Stdio;

/// A container that counts in a file, as root.
struct Counter(Sandbox);

impl Counter {
    fn new() -> Option<Counter> {
        if !have_engines() {
            return None;
        }
        let counter = Counter::that(
            "i=0; while :; do i=$((i+1)); echo $i >/data/new; mv /data/new /data/count; sleep 0.05; done",
        );
        Some(counter)
    }

    fn that(script: &str) -> Counter {
        let sandbox = Sandbox::root().unwrap();
        sandbox.edit(|config| config["root"]["readonly"] = json!(false));
        sandbox.sh(script);
        Counter(sandbox)
    }

    fn start(&self) -> &Counter {
        let mut command = self.0.command_on_bundle(&["run", "-d", "box"]);
        assert!(command.stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap().success());
        self.goes_on();
        self
    }

    fn count(&self) -> u64 {
        fs::read_to_string(self.0.rootfs().join("data/count")).unwrap_or_default().trim().parse().unwrap_or(0)
    }

    /// It counts, and does not begin again.
    #[track_caller]
    fn goes_on(&self) {
        let before = self.count();
        eventually("it counts", || self.count() > before + 1);
    }

    #[track_caller]
    fn stands_still(&self) {
        let before = self.count();
        std::thread::sleep(std::time::Duration::from_millis(300));
        assert_eq!(self.count(), before);
    }

    fn images(&self) -> PathBuf {
        self.0.path().join("images")
    }

    fn checkpoint(&self, flags: &[&str]) -> Done {
        let images = self.images();
        self.0.rootlet(&[&["checkpoint", "--image-path", images.to_str().unwrap()], flags, &["box"]].concat())
    }

    fn restore(&self, flags: &[&str]) -> Done {
        let (images, bundle) = (self.images(), self.0.bundle());
        let common = ["restore", "-d", "-b", bundle.to_str().unwrap(), "--image-path", images.to_str().unwrap()];
        self.0.rootlet(&[&common, flags, &["box"]].concat())
    }
}

#[test]
fn a_container_goes_on_from_files_that_were_moved() {
    let Some(counter) = Counter::new() else { return };
    let sandbox = &counter.0;
    counter.start().checkpoint(&[]).ok();
    sandbox.assert_clean();
    counter.stands_still();
    let reached = counter.count();
    let moved = sandbox.path().join("moved");
    fs::rename(counter.images(), &moved).unwrap();
    let (bundle, pid_file) = (sandbox.bundle(), sandbox.path().join("pid"));
    let flags = ["-d", "-b", bundle.to_str().unwrap(), "--pid-file", pid_file.to_str().unwrap()];
    sandbox.rootlet(&[&["restore", "--image-path", moved.to_str().unwrap()], &flags[..], &["other"]].concat()).ok();
    counter.goes_on();
    assert!(counter.count() > reached);
    // It is a container as any other.
    assert_eq!(sandbox.status("other"), "running");
    let state: serde_json::Value = serde_json::from_str(&sandbox.rootlet(&["state", "other"]).ok().out).unwrap();
    assert_eq!(state["pid"].to_string(), fs::read_to_string(&pid_file).unwrap());
    assert_eq!(sandbox.rootlet(&["exec", "other", "hostname"]).ok().out, "rootlet\n");
    sandbox.rootlet(&["pause", "other"]).ok();
    counter.stands_still();
    sandbox.rootlet(&["resume", "other"]).ok();
    sandbox.rootlet(&["kill", "other", "KILL"]).ok();
    eventually("it has stopped", || sandbox.status("other") == "stopped");
    sandbox.rootlet(&["delete", "other"]).ok();
    sandbox.assert_clean();
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains(sandbox.path().to_str().unwrap()), "{mounts}");
}

#[test]
fn it_may_run_on_and_be_written_in_parts() {
    let Some(counter) = Counter::new() else { return };
    let sandbox = &counter.0;
    counter.start();
    let first = sandbox.path().join("first");
    sandbox.rootlet(&["checkpoint", "--pre-dump", "--image-path", first.to_str().unwrap(), "box"]).ok();
    counter.goes_on();
    // podman writes the flag twice.
    counter.checkpoint(&["--parent-path", "../first", "--leave-running", "--leave-running"]).ok();
    counter.goes_on();
    assert_eq!(sandbox.status("box"), "running");
    let parent = fs::read_link(counter.images().join("parent")).unwrap();
    assert_eq!(parent, PathBuf::from("../first"));
    counter.checkpoint(&["--parent-path", first.to_str().unwrap()]).fails(&["--parent-path", "relative"]);
    counter.checkpoint(&["--parent-path", "../nosuch"]).fails(&["--parent-path", "no directory"]);
    sandbox.rootlet(&["delete", "-f", "box"]).ok();
    let reached = counter.count();
    counter.restore(&[]).ok();
    counter.goes_on();
    assert!(counter.count() < reached + 1000 && sandbox.status("box") == "running");
}

#[test]
fn limits_mounts_and_users_are_as_before() {
    let Some(counter) = Counter::new() else { return };
    let sandbox = &counter.0;
    let volume = sandbox.mkdir("volume", 0o755);
    sandbox.write("volume/file", "from the host");
    sandbox.add_mount(json!({"destination": "/volume", "type": "bind", "source": volume, "options": ["rbind", "ro"]}));
    sandbox.add_mount(json!({"destination": "/memory", "type": "tmpfs", "source": "tmpfs"}));
    sandbox.edit(|config| {
        config["linux"]["resources"]["memory"] = json!({"limit": 64 << 20});
        config["linux"]["resources"]["pids"] = json!({"limit": 20});
    });
    let show = "cat /volume/file /memory/kept; touch /volume/new 2>/dev/null || echo read-only; id -u";
    counter.start();
    sandbox.rootlet(&["exec", "box", "sh", "-c", "echo kept >/memory/kept"]).ok();
    for mode in ["soft", "full", "strict", "ignore"] {
        let cgroup = sandbox.cgroup();
        counter.checkpoint(&["--manage-cgroups-mode", mode]).ok();
        assert!(!cgroup.exists(), "the cgroup is removed");
        // The cgroup is made by rootlet, so it exists where CRIU looks, and `strict` means that it must not.
        let restored = counter.restore(&["--manage-cgroups-mode", if mode == "strict" { "soft" } else { mode }]);
        restored.ok();
        counter.goes_on();
        let cgroup = sandbox.cgroup();
        assert_eq!((read(&cgroup, "memory.max"), read(&cgroup, "pids.max")), ("67108864".into(), "20".into()));
        let pids: Vec<i32> = serde_json::from_str(&sandbox.rootlet(&["ps", "-f", "json", "box"]).ok().out).unwrap();
        assert!(!pids.is_empty());
        let shown = sandbox.rootlet(&["exec", "box", "sh", "-c", show]).ok().out;
        assert_eq!(shown, "from the hostkept\nread-only\n0\n", "{mode}");
    }
}

#[test]
fn a_user_namespace_is_made_again() {
    let Some(counter) = Counter::new() else { return };
    let sandbox = &counter.0;
    sandbox.edit(|config| {
        config["linux"]["namespaces"].as_array_mut().unwrap().push(json!({"type": "user"}));
        config["linux"]["uidMappings"] = json!([{"containerID": 0, "hostID": 200_000, "size": 1000}]);
        config["linux"]["gidMappings"] = config["linux"]["uidMappings"].clone();
    });
    for path in ["data", ""] {
        std::os::unix::fs::chown(sandbox.rootfs().join(path), Some(200_000), Some(200_000)).unwrap();
    }
    counter.start().checkpoint(&[]).ok();
    counter.restore(&[]).ok();
    counter.goes_on();
    let map = sandbox.rootlet(&["exec", "box", "cat", "/proc/self/uid_map"]).ok().out;
    assert_eq!(map.split_whitespace().collect::<Vec<_>>(), ["0", "200000", "1000"]);
}

#[test]
fn a_rootless_config_is_restored_by_root() {
    let Some(counter) = Counter::new() else { return };
    let sandbox = &counter.0;
    fs::remove_file(sandbox.bundle().join("config.json")).unwrap();
    let args = "i=0; while :; do i=$((i+1)); echo $i >/data/new; mv /data/new /data/count; sleep 0.05; done";
    sandbox.on_bundle(&["spec", "--rootless", "--no-tty", "--args", "sh", "-c", args]).ok();
    sandbox.edit(|config| config["root"]["readonly"] = json!(false));
    counter.start().checkpoint(&[]).ok();
    counter.restore(&[]).ok();
    counter.goes_on();
}

#[test]
fn a_foreground_restore_stays_to_the_end() {
    if !have_engines() {
        return;
    }
    let counter =
        Counter::that("echo > /data/count; until test -e /data/end; do sleep 0.05; done; echo the end; exit 7");
    let sandbox = &counter.0;
    let bundle = sandbox.bundle();
    let run = format!("{} run -d -b {} box | cat", crate::sandbox::binary().display(), bundle.display());
    let mut run = sandbox.program("/bin/sh".as_ref(), &["-c", &run]).stderr(Stdio::null()).spawn().unwrap();
    eventually("it runs", || sandbox.rootfs().join("data/count").exists());
    counter.checkpoint(&[]).ok();
    crate::sandbox::wait(&mut run);
    let images = counter.images();
    let mut command = sandbox.command_on_bundle(&["restore", "--image-path", images.to_str().unwrap(), "box"]);
    let restore = command.stdout(Stdio::piped()).spawn().unwrap();
    eventually("it runs again", || sandbox.rootlet(&["state", "box"]).out.contains("running"));
    fs::write(sandbox.rootfs().join("data/end"), "").unwrap();
    let output = restore.wait_with_output().unwrap();
    // Its standard output was another pipe.
    assert_eq!((output.status.code(), String::from_utf8_lossy(&output.stdout).as_ref()), (Some(7), "the end\n"));
    sandbox.assert_clean();
}

#[test]
fn connections_and_locks_are_kept_if_that_is_asked_for() {
    if !have_engines() {
        return;
    }
    let counter = Counter::that("exec /usr/bin/flock /data/lock nc -l -p 7123 -e cat");
    let sandbox = &counter.0;
    sandbox.edit(|config| {
        let namespaces = config["linux"]["namespaces"].as_array_mut().unwrap();
        namespaces.retain(|namespace| namespace["type"] != "network");
    });
    // flock(1) is the host's: busybox has none.
    let link = |to: &str, name: &str| std::os::unix::fs::symlink(to, sandbox.rootfs().join(name)).unwrap();
    link("busybox", "bin/nc");
    link("usr/lib", "lib");
    link("usr/lib64", "lib64");
    sandbox.add_mount(json!({"destination": "/usr", "type": "bind", "source": "/usr", "options": ["rbind", "ro"]}));
    sandbox.start();
    let mut connection = None;
    eventually("it listens", || {
        connection = TcpStream::connect("127.0.0.1:7123").ok();
        connection.is_some()
    });
    let mut connection = connection.unwrap();
    let mut echo = |text: &str| {
        connection.write_all(text.as_bytes()).unwrap();
        let mut buffer = vec![0; text.len()];
        connection.read_exact(&mut buffer).unwrap();
        assert_eq!(buffer, text.as_bytes());
    };
    echo("before\n");
    counter.checkpoint(&[]).fails(&["criu failed", "dump.log"]);
    echo("still there\n");
    counter.checkpoint(&["--tcp-established"]).fails(&["criu failed", "lock"]);
    counter.checkpoint(&["--tcp-established", "--file-locks", "--ext-unix-sk", "--link-remap"]).ok();
    counter.restore(&["--tcp-established", "--file-locks", "--ext-unix-sk"]).ok();
    echo("after\n");
    let locked = sandbox.rootlet(&["exec", "box", "/usr/bin/flock", "-n", "/data/lock", "true"]);
    assert_eq!(locked.code, 1, "{locked:?}");
}

#[test]
fn a_terminal_is_handed_over_again() {
    if !have_engines() {
        return;
    }
    let counter = Counter::that("while read line; do echo got $line; done");
    let sandbox = &counter.0;
    sandbox.edit(|config| config["process"]["terminal"] = json!(true));
    let path = sandbox.path().join("console.sock");
    let socket = path.to_str().unwrap();
    let listener = UnixListener::bind(&path).unwrap();
    sandbox.on_bundle(&["run", "-d", "--console-socket", socket, "box"]).ok();
    let ask = |master: &mut fs::File, word: &str| {
        master.write_all(format!("{word}\n").as_bytes()).unwrap();
        let (mut shown, mut buffer) = (String::new(), [0; 256]);
        while !shown.contains(&format!("got {word}")) {
            let length = master.read(&mut buffer).unwrap();
            shown.push_str(&String::from_utf8_lossy(&buffer[..length]));
        }
    };
    let mut master = receive_master(&listener);
    ask(&mut master, "one");
    counter.checkpoint(&[]).ok();
    drop(master);
    counter.restore(&[]).fails(&["process.terminal", "console socket"]);
    counter.restore(&["--console-socket", socket]).ok();
    let mut master = receive_master(&listener);
    ask(&mut master, "two");
}

#[test]
fn the_callers_terminal_and_files_are_replaced() {
    let Some(counter) = Counter::new() else { return };
    let sandbox = &counter.0;
    let (binary, bundle, images) = (crate::sandbox::binary().display(), sandbox.bundle(), counter.images());
    let under_script = |command: String| {
        let mut script = sandbox.program("/usr/bin/script".as_ref(), &["-q", "-e", "-c", &command, "/dev/null"]);
        script.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap()
    };
    sandbox.sh("while read line; do echo got $line; echo $line >>/data/lines; done");
    let lines = || fs::read_to_string(sandbox.rootfs().join("data/lines")).unwrap_or_default();
    let mut script = under_script(format!("{binary} run -b {} box", bundle.display()));
    script.stdin.as_mut().unwrap().write_all(b"one\n").unwrap();
    eventually("it reads", || lines() == "one\n");
    counter.checkpoint(&[]).fails(&["descriptor 0", "--shell-job"]);
    counter.checkpoint(&["--shell-job"]).ok();
    crate::sandbox::wait(&mut script);
    counter.restore(&["--shell-job"]).fails(&["in the foreground", "--detach"]);
    let restore = format!("{binary} restore --shell-job -b {} --image-path {} box", bundle.display(), images.display());
    let mut script = under_script(restore);
    script.stdin.as_mut().unwrap().write_all(b"two\n").unwrap();
    eventually("it reads again", || lines() == "one\ntwo\n");
    sandbox.rootlet(&["kill", "box", "KILL"]).ok();
    assert_eq!(crate::sandbox::wait(&mut script), 137);
    let mut shown = String::new();
    script.stdout.take().unwrap().read_to_string(&mut shown).unwrap();
    assert!(shown.contains("got two"), "{shown}");

    // A log of the host's goes on in another one.
    sandbox.sh("while :; do echo line; sleep 0.05; done");
    let started = |log: &str, what: &str| {
        let command = format!("{binary} {what} -d -b {} box >>{log} 2>/dev/null </dev/null", bundle.display());
        finish(sandbox.program("/bin/sh".as_ref(), &["-c", &command]))
    };
    let log = sandbox.write("log", "");
    let path = log.to_str().unwrap();
    started(path, "run").ok();
    eventually("it writes", || fs::read_to_string(&log).unwrap().lines().count() > 2);
    counter.checkpoint(&[]).ok();
    let length = fs::metadata(&log).unwrap().len();
    let restore = format!("restore --image-path {}", images.display());
    sandbox.rootlet(&["list"]).ok();
    started("/dev/null", &restore);
    assert!(!sandbox.states().join("box").exists(), "the null device is no file");
    started(path, &restore).ok();
    eventually("it writes again", || fs::metadata(&log).unwrap().len() > length + 10);
}

#[test]
fn a_network_namespace_may_be_anothers_or_empty() {
    let Some(counter) = Counter::new() else { return };
    let sandbox = &counter.0;
    counter.start().checkpoint(&["--empty-ns", "network"]).ok();
    counter.restore(&["--empty-ns", "network"]).ok();
    counter.goes_on();
    sandbox.rootlet(&["delete", "-f", "box"]).ok();
    finish(sandbox.program("ip".as_ref(), &["netns", "add", "rootlet-test"])).ok();
    sandbox.edit(|config| {
        for namespace in config["linux"]["namespaces"].as_array_mut().unwrap() {
            if namespace["type"] == "network" {
                namespace["path"] = json!("/run/netns/rootlet-test");
            }
        }
    });
    counter.start().checkpoint(&[]).ok();
    let restored = counter.restore(&[]);
    let inside = sandbox.rootlet(&["exec", "box", "readlink", "/proc/self/ns/net"]);
    let outside =
        finish(sandbox.program("ip".as_ref(), &["netns", "exec", "rootlet-test", "readlink", "/proc/self/ns/net"]));
    sandbox.rootlet(&["delete", "-f", "box"]).ok();
    finish(sandbox.program("ip".as_ref(), &["netns", "delete", "rootlet-test"])).ok();
    restored.ok();
    assert_eq!(inside.ok().out, outside.ok().out);
}

#[test]
fn what_cannot_be_is_said() {
    let Some(counter) = Counter::new() else { return };
    let sandbox = &counter.0;
    counter.checkpoint(&[]).fails(&["container does not exist"]);
    counter.restore(&[]).fails(&["images", "ENOENT", "--image-path"]);
    sandbox.create();
    counter.checkpoint(&[]).fails(&["created state"]);
    sandbox.rootlet(&["delete", "-f", "box"]).ok();
    counter.start();
    counter.checkpoint(&["--empty-ns", "pid"]).fails(&["--empty-ns", "network"]);
    counter.checkpoint(&["--page-server", "nowhere"]).fails(&["--page-server", "ADDRESS:PORT"]);
    sandbox.rootlet(&["restore", "--lsm-mount-context"]).fails(&["flag needs an argument: --lsm-mount-context"]);
    counter.checkpoint(&[]).ok();
    fs::remove_file(counter.images().join("inventory.img")).unwrap();
    counter.restore(&[]).fails(&["criu failed", "restore.log"]);
    sandbox.assert_clean();

    // CRIU 3.17 works for root alone.
    let user = Sandbox::ordinary();
    user.sh("sleep 1000");
    let bundle = user.bundle();
    user.rootlet(&["run", "-d", "-b", bundle.to_str().unwrap(), "box"]).ok();
    user.rootlet(&["checkpoint", "box"]).fails(&["CRIU 3.17", "CAP_CHECKPOINT_RESTORE", "CRIU 3.18"]);
    assert_eq!(user.status("box"), "running");
}

#[test]
fn what_came_later_and_what_rootlet_added_are_told_apart() {
    let Some(counter) = Counter::new() else { return };
    let sandbox = &counter.0;
    let volume = sandbox.mkdir("volume", 0o755);
    sandbox.mkdir("volume/below", 0o755);
    sandbox.add_mount(json!({"destination": "/volume", "type": "bind", "source": volume, "options": ["rbind"]}));
    sandbox.edit(|config| {
        for set in ["bounding", "permitted", "effective"] {
            config["process"]["capabilities"][set] = json!(["CAP_SYS_ADMIN", "CAP_KILL"]);
        }
    });
    let manager = sandbox.path().join("manager");
    let socket = std::os::unix::net::UnixDatagram::bind(&manager).unwrap();
    let bundle = sandbox.bundle();
    let mut command = sandbox.command_on_bundle(&["create", "box"]);
    command.env("NOTIFY_SOCKET", &manager).stdout(Stdio::null()).stderr(Stdio::null());
    assert!(command.status().unwrap().success());
    sandbox.rootlet(&["start", "box"]).ok();
    counter.goes_on();
    let mounted = "mount -t tmpfs own /volume/below && echo kept >/volume/below/file";
    sandbox.rootlet(&["exec", "box", "sh", "-c", mounted]).ok();
    counter.checkpoint(&[]).ok();
    let (images, flags) = (counter.images(), ["-d", "-b", bundle.to_str().unwrap(), "--image-path"]);
    let mut command = sandbox.command(&[&["restore"], &flags[..], &[images.to_str().unwrap(), "box"]].concat());
    command.env("NOTIFY_SOCKET", &manager);
    finish(command).ok();
    counter.goes_on();
    let kept = sandbox.rootlet(&["exec", "box", "sh", "-c", "cat /volume/below/file; ls -d /run/notify"]).ok().out;
    assert_eq!(kept, "kept\n/run/notify\n");
    drop(socket);
}
