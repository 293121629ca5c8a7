//! Attacks that have worked on container runtimes, tried on this one.

use crate::sandbox::{Sandbox, binary, finish, is_root, skip};
use serde_json::json;
use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};

#[test]
fn proc_and_sys_are_never_behind_a_symlink() {
    // CVE-2019-19921: the image chooses where procfs goes.
    for place in ["proc", "sys", "dev"] {
        let sandbox = Sandbox::ordinary();
        fs::remove_dir(sandbox.rootfs().join(place)).unwrap();
        symlink("tmp", sandbox.rootfs().join(place)).unwrap();
        if place == "sys" {
            sandbox.edit(|config| {
                config["mounts"].as_array_mut().unwrap().retain(|mount| mount["destination"] != "/sys");
                config["linux"]["namespaces"].as_array_mut().unwrap().push(json!({"type": "network"}));
                config["mounts"]
                    .as_array_mut()
                    .unwrap()
                    .push(json!({"destination": "/sys", "type": "sysfs", "source": "sysfs"}));
            });
        }
        sandbox.sh("true").run().fails(&[&format!("(/{place})"), "ELOOP", "symlink in the image"]);
    }
}

#[test]
fn nothing_is_mounted_over_parts_of_proc() {
    // CVE-2019-16884, CVE-2023-27561: a faked /proc/self/attr or /proc/sys.
    let sandbox = Sandbox::ordinary();
    sandbox.sh("true");
    symlink("/proc/sys", sandbox.rootfs().join("way-in")).unwrap();
    for destination in ["/proc/self/attr", "/proc/sys", "/proc/../proc/1", "/way-in/kernel", "/way-in"] {
        for mount in [json!({"type": "bind", "source": sandbox.path()}), json!({"type": "tmpfs"})] {
            sandbox.edit(|config| {
                config["mounts"].as_array_mut().unwrap().truncate(6);
                let mut mount = mount.clone();
                mount["destination"] = json!(destination);
                config["mounts"].as_array_mut().unwrap().push(mount);
            });
            sandbox.run().fails(&["mounts[6]"]);
        }
    }
    sandbox
        .edit(|config| config["mounts"][6] = json!({"destination": "/proc", "type": "bind", "source": sandbox.path()}));
    sandbox.run().fails(&["mounts[6]", "/proc"]);
    let uptime = sandbox.write("uptime", "42.00 42.00\n");
    sandbox
        .edit(|config| config["mounts"][6] = json!({"destination": "/proc/uptime", "type": "bind", "source": uptime}));
    assert_eq!(sandbox.output("cat /proc/uptime"), "42.00 42.00\n");
}

#[test]
fn mounts_stay_below_the_root() {
    // CVE-2021-30465 and older: destinations that lead out by symlinks or dots.
    let sandbox = Sandbox::ordinary();
    let outside = sandbox.mkdir("outside", 0o777);
    symlink(&outside, sandbox.rootfs().join("escape")).unwrap();
    symlink("../../../../../..", sandbox.rootfs().join("up")).unwrap();
    for destination in ["/escape/made", "/up/made", "/data/../../../made", "../../made"] {
        sandbox.add_mount(json!({"destination": destination, "type": "tmpfs"}));
    }
    sandbox.add_mount(json!({"destination": "/escape/file", "type": "bind", "source": "/etc/passwd"}));
    sandbox.output("true");
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 0, "nothing was made outside");
    assert!(sandbox.rootfs().join("made").is_dir());
}

#[test]
fn the_working_directory_is_never_outside() {
    // CVE-2024-21626: process.cwd = /proc/self/fd/N.
    let sandbox = Sandbox::ordinary();
    sandbox.sh("pwd -P; ls");
    for number in (0..32).chain([100, 255, 1023]) {
        sandbox.edit(|config| config["process"]["cwd"] = json!(format!("/proc/self/fd/{number}")));
        let done = sandbox.run();
        assert_eq!(done.code, 1, "{number}: {done:?}");
    }
    symlink("/proc/self/fd/7", sandbox.rootfs().join("workdir")).unwrap();
    sandbox.edit(|config| config["process"]["cwd"] = json!("/workdir"));
    sandbox.run().fails(&["process.cwd (/workdir)"]);
}

#[test]
fn descriptors_and_environment_do_not_leak() {
    let sandbox = Sandbox::ordinary();
    sandbox.sh("ls /proc/$$/fd; env");
    let bundle = sandbox.bundle();
    let run = format!("exec {} run -b {} box 7</etc/passwd 9</", binary().display(), bundle.display());
    let mut command = sandbox.program("/bin/sh".as_ref(), &["-c", &run]);
    command.env("SECRET", "leaked");
    let done = finish(command).ok();
    assert!(
        done.out.starts_with("0\n1\n2\n") && !done.out.contains("\n7\n") && !done.out.contains("leaked"),
        "{done:?}"
    );
}

#[test]
fn masks_use_the_real_null_device() {
    // CVE-2025-31133: /dev/null of the image is something else.
    let sandbox = Sandbox::ordinary();
    sandbox.sh("true");
    sandbox.edit(|config| {
        config["mounts"]
            .as_array_mut()
            .unwrap()
            .retain(|mount| !mount["destination"].as_str().unwrap().starts_with("/dev"));
        config["mounts"]
            .as_array_mut()
            .unwrap()
            .push(json!({"destination": "/dev", "type": "bind", "source": "dev", "options": ["bind"]}));
    });
    sandbox.mkdir("bundle/dev", 0o755);
    sandbox.write("bundle/dev/null", "not a device");
    sandbox.run().fails(&["linux.maskedPaths", "not the null device"]);
    fs::remove_file(sandbox.bundle().join("dev/null")).unwrap();
    symlink("/proc/sys/kernel/core_pattern", sandbox.bundle().join("dev/null")).unwrap();
    sandbox.run().fails(&["linux.maskedPaths", "not the null device"]);
}

#[test]
fn device_nodes_are_not_bound_through_symlinks() {
    // CVE-2026-41579 and its like: links in an image's /dev.
    let sandbox = Sandbox::ordinary();
    sandbox.sh("true");
    sandbox.edit(|config| {
        config["mounts"]
            .as_array_mut()
            .unwrap()
            .retain(|mount| !mount["destination"].as_str().unwrap().starts_with("/dev"))
    });
    let victim = sandbox.write("bundle/rootfs/victim", "x");
    symlink("/victim", sandbox.rootfs().join("dev/null")).unwrap();
    sandbox.run().fails(&["linux.devices", "(/dev/null)", "ELOOP"]);
    assert_eq!(fs::read_to_string(victim).unwrap(), "x");
}

/// The hash that an attack on the binary would change.
fn contents(path: &std::path::Path) -> Vec<u8> {
    fs::read(path).unwrap()
}

#[test]
fn the_container_cannot_write_to_the_runtimes_binary() {
    // CVE-2019-5736: /proc/self/exe as the program, and as an interpreter, of a container whose root owns the binary.
    let sandbox = Sandbox::ordinary();
    let own = sandbox.path().join("own-rootlet");
    fs::copy(binary(), &own).unwrap();
    if is_root() {
        std::os::unix::fs::chown(&own, Some(sandbox.uid()), Some(sandbox.uid())).unwrap();
    }
    let before = contents(&own);
    // The program holds pid 1's executable open while it is still rootlet, or sees what it is afterwards.
    let script = "for pid in self 1; do readlink /proc/$pid/exe; (exec 3>>/proc/$pid/exe) 2>/dev/null && echo opened; done; exit 0";
    let bundle = sandbox.bundle();
    sandbox.sh(script);
    finish(sandbox.program(&own, &["run", "-b", bundle.to_str().unwrap(), "box"])).ok();
    for program in ["/proc/self/exe", "/interpreted"] {
        sandbox.edit(|config| config["process"]["args"] = json!([program, "--version"]));
        let text = sandbox.write("bundle/rootfs/interpreted", "#!/proc/self/exe\n");
        fs::set_permissions(text, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        finish(sandbox.program(&own, &["run", "-b", bundle.to_str().unwrap(), "box"]));
    }
    // What a created container's process runs can be looked at from outside.
    sandbox.sh("sleep 1000");
    finish(sandbox.program(&own, &["create", "-b", bundle.to_str().unwrap(), "box"])).ok();
    let state: serde_json::Value = serde_json::from_str(&sandbox.rootlet(&["state", "box"]).out).unwrap();
    // Nobody but root looks into it.
    if is_root() {
        let exe = fs::metadata(format!("/proc/{}/exe", state["pid"])).unwrap();
        assert_ne!(exe.ino(), fs::metadata(&own).unwrap().ino(), "it runs from a copy");
        let write = fs::OpenOptions::new().append(true).open(format!("/proc/{}/exe", state["pid"]));
        assert!(write.is_err(), "the copy is sealed");
    }
    assert!(contents(&own) == before, "the binary has changed");

    // Where the container does not own the binary, no copy is made.
    if is_root() {
        sandbox.on_bundle(&["create", "other"]).ok();
        let state: serde_json::Value = serde_json::from_str(&sandbox.rootlet(&["state", "other"]).out).unwrap();
        assert_eq!(
            fs::metadata(format!("/proc/{}/exe", state["pid"])).unwrap().ino(),
            fs::metadata(binary()).unwrap().ino()
        );
    }
}

#[test]
fn the_hosts_cgroups_are_not_writable() {
    // CVE-2023-25809: rootless, without a cgroup namespace.
    let sandbox = Sandbox::ordinary();
    sandbox.edit(|config| {
        config["linux"]["namespaces"].as_array_mut().unwrap().retain(|namespace| namespace["type"] != "cgroup");
        config["mounts"].as_array_mut().unwrap().retain(|mount| mount["destination"] != "/sys/fs/cgroup");
        config["mounts"]
            .as_array_mut()
            .unwrap()
            .push(json!({"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": ["rw"]}));
    });
    assert_eq!(sandbox.output("grep ' /sys' /proc/self/mountinfo | cut -d' ' -f6 | grep -v -c '^ro'; true"), "0\n");
}

#[test]
fn a_new_session_keeps_the_callers_terminal_out_of_reach() {
    // CVE-2017-5226: TIOCSTI on an inherited terminal.
    let sandbox = Sandbox::ordinary();
    let out = sandbox.output("cut -d' ' -f5,6,7 /proc/1/stat");
    assert_eq!(out, "1 1 0\n", "leader of a session of its own, without a terminal");
}

#[test]
fn ids_that_are_reused_are_not_hit() {
    let sandbox = Sandbox::ordinary();
    sandbox.sh("sleep 1000");
    sandbox.start();
    let place = sandbox.states().join("box/state.json");
    let mut state: serde_json::Value = serde_json::from_str(&fs::read_to_string(&place).unwrap()).unwrap();
    let pid = state["pid"].as_i64().unwrap() as i32;
    // Start times are counted in hundredths of a second.
    std::thread::sleep(std::time::Duration::from_millis(50));
    let mut victim = sandbox.program("/bin/sleep".as_ref(), &["1000"]).spawn().unwrap();
    // As if the container's pid had been given to another process of the same user.
    state["pid"] = json!(victim.id());
    fs::write(&place, state.to_string()).unwrap();
    assert_eq!(sandbox.status("box"), "stopped");
    sandbox.rootlet(&["kill", "box", "KILL"]).fails(&["container not running"]);
    sandbox.rootlet(&["delete", "--force", "box"]).ok();
    assert!(victim.try_wait().unwrap().is_none(), "the victim lives");
    victim.kill().unwrap();
    victim.wait().unwrap();
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::SIGKILL).unwrap();
}

#[test]
fn a_state_that_somebody_else_has_written_is_not_believed() {
    if !is_root() {
        return skip("needs root to be two users");
    }
    // A shared --root, as /tmp is: another user's state would have us kill a process of ours, and run a hook.
    let (sandbox, attacker) = (Sandbox::ordinary(), Sandbox::stranger());
    let shared = sandbox.mkdir("shared", 0o1777);
    let trap = shared.join("box");
    fs::create_dir(&trap).unwrap();
    let state = json!({"ociVersion": "1.0.0", "id": "box", "pid": std::process::id(), "identity": {"startTime": 0}, "bundle": "/", "rootfs": "/", "created": "",
        "owner": 0, "hasOwnPids": true, "isAttached": false, "hooks": {"poststop": [{"path": "/bin/touch", "args": ["touch", sandbox.path().join("xdg/hooked")]}]}});
    fs::write(trap.join("state.json"), state.to_string()).unwrap();
    std::os::unix::fs::chown(&trap, Some(attacker.uid()), None).unwrap();
    let root = shared.to_str().unwrap();
    for command in [&["state", "box"][..], &["kill", "box"], &["delete", "--force", "box"], &["start", "box"]] {
        sandbox.rootlet(&[&["--root", root], command].concat()).fails(&["is not yours"]);
    }
    sandbox.on_bundle(&["--root", root, "create", "box"]).fails(&["is not yours"]);
    // Nor is one's own container reached by a link, or by another name of its state.
    sandbox.sh("sleep 1000");
    sandbox.on_bundle(&["run", "-d", "own"]).ok();
    let own = sandbox.states().join("own");
    std::os::unix::fs::symlink(&own, shared.join("link")).unwrap();
    sandbox.rootlet(&["--root", root, "kill", "link", "KILL"]).fails(&["does not exist"]);
    fs::remove_file(trap.join("state.json")).unwrap();
    if fs::hard_link(own.join("state.json"), trap.join("state.json")).is_ok() {
        sandbox.rootlet(&["--root", root, "kill", "box", "KILL"]).fails(&["is not yours", "hard link"]);
        fs::remove_file(trap.join("state.json")).unwrap();
    }
    assert_eq!(sandbox.status("own"), "running");
    assert_eq!(sandbox.rootlet(&["--root", root, "list", "-q"]).ok().out, "");
    assert!(!sandbox.path().join("xdg/hooked").exists());
}

#[test]
fn a_setuid_rootlet_refuses_to_work() {
    if !is_root() {
        return skip("needs root to make a setuid binary");
    }
    let sandbox = Sandbox::ordinary();
    let setuid = sandbox.path().join("setuid-rootlet");
    fs::copy(binary(), &setuid).unwrap();
    fs::set_permissions(&setuid, std::os::unix::fs::PermissionsExt::from_mode(0o4755)).unwrap();
    finish(sandbox.program(&setuid, &["list"])).fails(&["setuid"]);
}

#[test]
fn whatever_leads_to_the_hosts_root_is_no_containers_root() {
    let sandbox = Sandbox::ordinary();
    sandbox.sh("cat /etc/hostname");
    let link = sandbox.bundle().join("link");
    std::os::unix::fs::symlink("/", &link).unwrap();
    for path in [link.to_str().unwrap(), "link", "/tmp/..", "/../", "/proc/self/root", "/proc/1/root/../"] {
        sandbox.edit(|config| config["root"]["path"] = json!(path));
        let done = sandbox.run();
        assert!(done.code == 1 && done.out.is_empty() && done.err.contains("root.path"), "{path}: {done:?}");
    }
}

#[test]
fn a_filter_that_pretends_leaves_no_privileges() {
    let sandbox = Sandbox::ordinary();
    sandbox.sh("grep Cap /proc/self/status");
    for name in ["prctl", "capset", "setresuid", "rt_sigprocmask", "rt_sigaction"] {
        sandbox.edit(|config| {
            config["process"]["noNewPrivileges"] = json!(false);
            let rule = json!({"names": [name], "action": "SCMP_ACT_ERRNO", "errnoRet": 0});
            config["linux"]["seccomp"] = json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]});
        });
        sandbox.run().fails(&["linux.seccomp", name, "as if it had been done"]);
    }
    // It has no error that could be seen.
    for errno in [0, 1] {
        sandbox.edit(|config| {
            config["process"]["user"]["umask"] = json!(0o077);
            let rule = json!({"names": ["umask"], "action": "SCMP_ACT_ERRNO", "errnoRet": errno});
            config["linux"]["seccomp"] = json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]});
        });
        sandbox.run().fails(&["linux.seccomp", "umask is not allowed", "noNewPrivileges"]);
    }
    // Where it comes last, it is the program's alone.
    sandbox.edit(|config| config["process"]["noNewPrivileges"] = json!(true));
    assert!(sandbox.run().ok().out.contains("CapEff:"));
}
