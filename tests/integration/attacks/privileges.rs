//! Privileges that a config, an image or a neighbour would gain.

use super::{allow, everybody, program, secret};
use crate::sandbox::{Sandbox, finish, is_root, skip};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

#[test]
fn a_group_that_only_restricts_cannot_be_dropped() {
    // CVE-2014-8989: a file that one's group may not read becomes readable when the group is let go.
    let sandbox = Sandbox::ordinary();
    assert_eq!(sandbox.output("cat /proc/self/setgroups"), "deny\n");
}

#[test]
fn no_capability_is_inheritable_by_default() {
    // CVE-2022-29162, CVE-2022-24769, CVE-2022-27650.
    for sandbox in everybody() {
        assert!(sandbox.config()["process"]["capabilities"].get("inheritable").is_none_or(|set| set == &json!([])));
        sandbox.sh("sleep 1000");
        sandbox.start();
        for flags in [&["exec"][..], &["exec", "--cap", "CAP_NET_RAW"]] {
            let done = sandbox.rootlet(&[flags, &["box", "grep", "CapInh", "/proc/self/status"]].concat()).ok();
            assert_eq!(done.out, "CapInh:\t0000000000000000\n");
        }
    }
}

#[test]
fn id_minus_one_is_no_id() {
    // CVE-2024-40635's family: setresuid(-1) changes nothing, so the program stayed root.
    const NO_ID: u32 = u32::MAX;
    for sandbox in everybody() {
        let before = sandbox.sh("id -u").config();
        let fails = |pointer: &str, value: serde_json::Value, words: &[&str]| {
            let mut config = before.clone();
            let (parent, name) = pointer.rsplit_once('/').unwrap();
            config.pointer_mut(parent).unwrap()[name] = value;
            sandbox.write("bundle/config.json", &config.to_string());
            sandbox.run().fails(words);
        };
        fails("/process/user/uid", json!(NO_ID), &["process.user", "4294967295 is not an id"]);
        fails("/process/user/gid", json!(NO_ID), &["process.user", "4294967295 is not an id"]);
        fails("/process/user/additionalGids", json!([NO_ID]), &["process.user", "4294967295 is not an id"]);
        let map = |container: u32, host: u32| json!([{"containerID": container, "hostID": host, "size": 1}]);
        if before["linux"]["uidMappings"].is_array() {
            fails("/linux/uidMappings", map(0, NO_ID), &["linux.uidMappings[0]", "largest id"]);
            fails("/linux/gidMappings", map(NO_ID, 0), &["linux.gidMappings[0]", "largest id"]);
        }
        let device = json!([{"path": "/dev/zero", "type": "c", "major": 1, "minor": 5, "uid": NO_ID}]);
        fails("/linux/devices", device, &["linux.devices[0]", "4294967295 is not an id"]);
        let mount = json!([{"destination": "/data", "type": "tmpfs", "options": [format!("uid={NO_ID}")]}]);
        fails("/mounts", mount, &["mounts[0]", "4294967295 is not an id"]);
        sandbox.write("bundle/config.json", &before.to_string());
        sandbox.sh("sleep 1000");
        sandbox.start();
        for arguments in [
            &["-u", "4294967295"][..],
            &["-u", "0:4294967295"],
            &["-g", "4294967295"],
            &["-u", "-1"],
            &["-u", "1x"],
            &["-u", ":5"],
        ] {
            let done = sandbox.rootlet(&[&["exec"], arguments, &["box", "id", "-u"]].concat());
            assert!(done.code == 255 && done.out.is_empty(), "{arguments:?}: {done:?}");
        }
        let process = json!({"args": ["id", "-u"], "cwd": "/", "user": {"uid": NO_ID, "gid": 0}});
        let file = sandbox.write("process.json", &process.to_string());
        let done = sandbox.rootlet(&["exec", "-p", file.to_str().unwrap(), "box"]);
        assert!(done.code == 255 && done.err.contains("is not an id"), "{done:?}");
    }
}

#[test]
fn a_keyring_that_somebody_else_has_made_is_not_joined() {
    let Some(sandbox) = Sandbox::root() else { return };
    // The name that runc gives a container's keyring is there already, with rights for everybody.
    let probe = sandbox.path().join("keys");
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/integration/attacks/keys.c");
    match Command::new("cc").args(["-static", "-O1", "-o"]).arg(&probe).arg(source).status() {
        Err(_) => return skip("cc is not installed"),
        Ok(status) => assert!(status.success()),
    }
    fs::copy(&probe, sandbox.rootfs().join("bin/keys")).unwrap();
    sandbox.edit(|config| config["process"]["args"] = json!(["/bin/keys"]));
    let mut command = sandbox.command_on_bundle(&["run", "box"]);
    // SAFETY: keyctl and add_key with strings that end with a NUL.
    unsafe {
        command.pre_exec(|| {
            let ring = libc::syscall(libc::SYS_keyctl, 1, c"_ses.box".as_ptr());
            let added = libc::syscall(libc::SYS_add_key, c"user".as_ptr(), c"planted".as_ptr(), c"x".as_ptr(), 1, ring);
            libc::syscall(libc::SYS_keyctl, 5, ring, 0x3f3f_3f3fu32);
            if ring < 0 || added < 0 { Err(std::io::Error::last_os_error()) } else { Ok(()) }
        })
    };
    match command.output() {
        Ok(output) => assert_eq!(String::from_utf8_lossy(&output.stdout), "not there\n", "{output:?}"),
        Err(error) => skip(&format!("this host has no keyrings: {error}")),
    }
}

#[test]
fn a_bind_with_mapped_ids_stays_as_read_only_as_the_host_has_it() {
    let Some(sandbox) = Sandbox::remapped() else { return };
    let source = sandbox.mkdir("source", 0o777);
    sandbox.edit(|config| allow(config, "CAP_SYS_ADMIN"));
    // Its root is root on it, too.
    sandbox.add_mount(json!({"destination": "/data", "type": "bind", "source": source, "options": ["bind", "idmap"]}));
    let done = sandbox.sh("touch /data/made && rm /data/made && echo written").run();
    if done.err.contains("has no idmapped mounts") {
        return skip("the file system here has no idmapped mounts");
    }
    assert_eq!(done.ok().out, "written\n", "it may write where the host has not mounted it read-only");
    sandbox.sh("mount -o remount,bind,rw /data && touch /data/made && echo written");
    let script = format!(
        "mount --bind {0} {0} && mount -o remount,bind,ro {0} && exec {1} run -b {2} box",
        source.display(),
        crate::sandbox::binary().display(),
        sandbox.bundle().display()
    );
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", &script]).env("XDG_RUNTIME_DIR", sandbox.path().join("xdg"));
    let done = finish(command);
    assert!(done.code == 1 && !done.out.contains("written") && !done.err.contains("error:"), "{done:?}");
    assert_eq!(fs::read_dir(&source).unwrap().count(), 0);
}

#[test]
fn without_pivot_root_the_host_is_not_below_the_root() {
    for sandbox in everybody() {
        let secret = secret(&sandbox);
        // With CAP_SYS_ADMIN, the root would be unmounted, and the host's tree be there.
        sandbox.sh("true");
        // Whoever is to be root in a user namespace needs it to map uid 0.
        sandbox.edit(|config| allow(config, "CAP_SETFCAP"));
        let before = sandbox.config();
        sandbox.edit(|config| allow(config, "CAP_SYS_ADMIN"));
        let bundle = sandbox.bundle();
        let run = ["run", "--no-pivot", "-b", bundle.to_str().unwrap(), "box"];
        sandbox.rootlet(&run).fails(&["process.capabilities", "CAP_SYS_ADMIN", "--no-pivot"]);
        sandbox.write("bundle/config.json", &before.to_string());
        // In a user namespace of its own, the container gets no fresh /proc, where the host's lies nowhere below.
        sandbox.sh(&format!(
            "umount -l / 2>/dev/null; cat {0} 2>/dev/null; \
             unshare -Umrpf sh -c 'echo root; mount -t proc proc /tmp && echo fresh; umount -l /; cat {0}' 2>/dev/null; true",
            secret.display()
        ));
        let done = sandbox.rootlet(&run).ok();
        assert_eq!(done.out, "root\n", "it is root in another user namespace, and sees nothing more: {done:?}");
        assert!(done.err.contains("warning") && done.err.contains("--no-pivot"), "{done:?}");
        // Nor by exec.
        sandbox.sh("sleep 1000");
        sandbox.on_bundle(&["run", "-d", "--no-pivot", "box"]).ok();
        let done = sandbox.rootlet(&["exec", "--cap", "CAP_SYS_ADMIN", "box", "true"]);
        assert!(done.code == 255 && done.err.contains("--no-pivot"), "{done:?}");
    }
}

#[test]
fn a_fuse_server_needs_the_callers_own_word() {
    // A config alone would run any program of PATH on the host, with arguments of its own.
    let sandbox = Sandbox::ordinary();
    let marker = sandbox.path().join("xdg/ran");
    sandbox.write("bundle/evil.sh", &format!("touch {}", marker.display()));
    sandbox.sh("true");
    let set = |kind: &str, source: &str, options: serde_json::Value| {
        sandbox.edit(|config| {
            let mounts = config["mounts"].as_array_mut().unwrap();
            mounts.retain(|mount| mount["destination"] != "/data");
            mounts.push(json!({"destination": "/data", "type": kind, "source": source, "options": options}));
        });
    };
    set("fuse.sh", "evil.sh", json!([]));
    sandbox.run().fails(&["mounts[", "\"sh\" is not a program that you let serve one", "--fuse sh"]);
    sandbox.run_with(&["--fuse", "squashfuse"]).fails(&["is not a program that you let serve one"]);
    set("fuse.sh", "-c", json!([]));
    sandbox.run_with(&["--fuse", "sh"]).fails(&["\"-c\" begins with -"]);
    set("fuse.sh", "x", json!(["-c"]));
    sandbox.run_with(&["--fuse", "sh"]).fails(&["\"-c\" begins with -"]);
    assert!(!marker.exists());
}

#[test]
fn options_for_criu_need_the_callers_own_word() {
    let Some(sandbox) = Sandbox::root() else { return };
    if Command::new("criu").arg("--version").output().is_err() {
        return skip("needs engines: criu is not installed");
    }
    sandbox.sh("sleep 1000");
    sandbox.edit(|config| config["annotations"] = json!({"org.criu.config": "/tmp/criu.conf"}));
    sandbox.start();
    let images = sandbox.path().join("images");
    sandbox
        .rootlet(&["checkpoint", "--image-path", images.to_str().unwrap(), "box"])
        .fails(&["org.criu.config", "--criu-config"]);
}

#[test]
fn annotations_that_change_something_are_in_features() {
    let features: serde_json::Value =
        serde_json::from_str(&Sandbox::ordinary().rootlet(&["features"]).ok().out).unwrap();
    assert_eq!(
        features["potentiallyUnsafeConfigAnnotations"],
        json!([
            "org.criu.config",
            "org.rootlet.argument-0",
            "org.rootlet.default-devices",
            "org.rootlet.fake-root",
            "org.rootlet.init",
            "org.rootlet.landlock",
            "org.rootlet.lock-files",
            "org.rootlet.network",
            "org.rootlet.publish",
            "org.systemd.property.",
            "run.oci.delegate-cgroup",
            "run.oci.hooks.stderr",
            "run.oci.hooks.stdout",
            "run.oci.keep_original_groups",
            "run.oci.mount_context_type",
            "run.oci.pidfd_receiver",
            "run.oci.seccomp.receiver",
            "run.oci.seccomp_bpf_data",
            "run.oci.systemd.subgroup",
        ])
    );
    // They are all that the sources know of.
    let mut known: Vec<String> = Vec::new();
    let mut places = vec![PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/src"))];
    while let Some(place) = places.pop() {
        if place.is_dir() {
            places.extend(fs::read_dir(place).unwrap().map(|entry| entry.unwrap().path()));
            continue;
        }
        let text = fs::read_to_string(place).unwrap();
        let words = text.split('"').skip(1).step_by(2);
        let is_annotation = |word: &&str| word.starts_with("org.") || word.starts_with("run.oci.");
        known.extend(
            words
                .filter(is_annotation)
                .filter(|word| word.split('.').count() > 2 && !word.contains(' '))
                .map(str::to_owned),
        );
    }
    known.sort();
    known.dedup();
    // Names on D-Bus are no annotations, and those of images tell nobody to do anything.
    known.retain(|name| !name.starts_with("org.freedesktop.") && !name.starts_with("org.opencontainers.image."));
    assert_eq!(json!(known), features["potentiallyUnsafeConfigAnnotations"]);
}

#[test]
fn a_hook_of_the_images_is_under_the_filter() {
    // With noNewPrivileges, it ran without.
    for sandbox in everybody() {
        program(
            &sandbox,
            "hook",
            "#!/bin/sh\ngrep Seccomp: /proc/self/status >/data/found; mkdir /data/made 2>>/data/found; true\n",
        );
        sandbox.sh("cat /data/found; ls -d /data/made 2>/dev/null; true");
        sandbox.edit(|config| {
            config["root"]["readonly"] = json!(false);
            config["hooks"] = json!({"startContainer": [{"path": "/hook", "env": ["PATH=/bin"]}]});
            config["process"]["noNewPrivileges"] = json!(true);
            config["linux"]["seccomp"] = json!({"defaultAction": "SCMP_ACT_ALLOW",
                "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1}]});
        });
        let out = sandbox.run().ok().out;
        assert!(out.starts_with("Seccomp:\t2\n") && out.contains("mkdir") && !out.ends_with("/data/made\n"), "{out}");
    }
}

#[test]
fn user_namespaces_are_denied_inside_when_asked() {
    // The kernel's own attack surface for who is root in a user namespace (bwrap --disable-userns).
    let sandbox = Sandbox::ordinary();
    sandbox.edit(|config| config["linux"]["seccomp"] = json!({"defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["unshare", "clone3", "setns"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1},
            {"names": ["clone"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1, "args": [{"index": 0, "value": 0x1000_0000, "valueTwo": 0x1000_0000, "op": "SCMP_CMP_MASKED_EQ"}]}]}));
    assert_eq!(sandbox.output("unshare -U true 2>/dev/null || echo refused"), "refused\n");
    // And by the default filter of spec.
    let spec = Sandbox::empty(if is_root() { crate::sandbox::ORDINARY } else { nix::unistd::geteuid().as_raw() });
    spec.rootlet(&[
        "spec",
        "--host",
        "--no-tty",
        "--seccomp",
        "default",
        "--args",
        "sh",
        "-c",
        "unshare -U true || echo refused",
    ])
    .ok();
    assert_eq!(spec.rootlet(&["run", "box"]).ok().out, "refused\n");
}

#[test]
fn everything_below_a_bound_sys_is_read_only() {
    // runc's `ro` leaves what is mounted below writable.
    let sandbox = Sandbox::ordinary();
    // A cgroup of its own is mounted over what came with it.
    let out = sandbox
        .output("grep ' /sys' /proc/self/mountinfo | grep -v ' - cgroup2 ' | grep -v '^[^/]*/[^ ]* [^ ]* ro'; true");
    assert_eq!(out, "");
}

#[test]
fn an_agents_socket_is_not_looked_for_in_the_root() {
    // The listener of a filter goes to the agent that the host has at that path, not to one of the image's.
    let sandbox = Sandbox::ordinary();
    let inside = std::os::unix::net::UnixListener::bind(sandbox.rootfs().join("agent.sock")).unwrap();
    inside.set_nonblocking(true).unwrap();
    sandbox.sh("true");
    sandbox.edit(|config| {
        config["linux"]["seccomp"] = json!({"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/agent.sock",
        "syscalls": [{"names": ["uname"], "action": "SCMP_ACT_NOTIFY"}]})
    });
    sandbox.run().fails(&["linux.seccomp", "/agent.sock"]);
    assert!(inside.accept().is_err(), "nobody came");
}

#[test]
fn exec_runs_from_a_copy_where_the_container_owns_the_binary() {
    // CVE-2019-5736, by exec: the container's root is the binary's owner.
    use std::os::unix::fs::MetadataExt;
    let sandbox = Sandbox::ordinary();
    let own = sandbox.path().join("own-rootlet");
    fs::copy(crate::sandbox::binary(), &own).unwrap();
    if is_root() {
        std::os::unix::fs::chown(&own, Some(sandbox.uid()), Some(sandbox.uid())).unwrap();
    }
    sandbox.sh("sleep 1000");
    sandbox.start();
    let mut exec = sandbox.program(&own, &["exec", "box", "sleep", "1000"]).spawn().unwrap();
    let exe = format!("/proc/{}/exe", exec.id());
    let ps = || sandbox.rootlet(&["ps", "--format", "json", "box"]).ok().out;
    crate::sandbox::eventually("it runs", || ps().matches(',').count() == 1);
    // Nobody may look into it before its process is at the program.
    crate::sandbox::eventually("it may be looked at", || fs::metadata(&exe).is_ok());
    let is_copy = fs::metadata(exe).unwrap().ino() != fs::metadata(&own).unwrap().ino();
    exec.kill().unwrap();
    exec.wait().unwrap();
    assert!(is_copy, "it runs from the file that the container's root may write to");
}

#[test]
fn no_limit_takes_a_process_of_the_hosts_in() {
    // linux.resources.unified with cgroup.procs: a process of the host's was in the container's cgroup, and ended with it.
    for sandbox in everybody() {
        let mut victim = sandbox.program("sleep".as_ref(), &["1000"]).stdout(Stdio::null()).spawn().unwrap();
        let limit = json!({"cgroup.procs": victim.id().to_string()});
        sandbox.sh("sleep 1000");
        sandbox.start();
        let file = sandbox.write("resources.json", &json!({"unified": limit}).to_string());
        let update = sandbox.rootlet(&["update", "-r", file.to_str().unwrap(), "box"]);
        sandbox.rootlet(&["delete", "--force", "box"]).ok();
        assert!(update.code == 1 && update.err.contains("cgroup.procs"), "{update:?}");
        for name in ["cgroup.procs", "cgroup.freeze", "cgroup.kill", "cgroup.subtree_control", "cgroup.threads"] {
            sandbox.edit(|config| config["linux"]["resources"] = json!({"unified": {name: victim.id().to_string()}}));
            sandbox.run().fails(&["unified", name, "is no limit"]);
        }
        assert!(victim.try_wait().unwrap().is_none(), "it lives");
        victim.kill().unwrap();
        victim.wait().unwrap();
    }
}

#[test]
fn the_root_can_be_read_only_by_its_path_and_cannot_be_masked() {
    for sandbox in everybody() {
        for path in ["/", "//", "/etc/.."] {
            sandbox.edit(|config| {
                config["root"]["readonly"] = json!(false);
                config["linux"]["readonlyPaths"] = json!([path]);
                config["linux"]["maskedPaths"] = json!([]);
            });
            assert_eq!(sandbox.output("touch /made /data/made 2>/dev/null || echo refused"), "refused\n", "{path}");
            sandbox.edit(|config| config["linux"]["maskedPaths"] = json!([path]));
            sandbox.run().fails(&["linux.maskedPaths[0]", "cannot be masked"]);
        }
    }
}

#[test]
fn what_the_host_mounts_later_below_a_read_only_bind_is_not_there() {
    if !is_root() {
        return skip("needs root to mount something on the host's side");
    }
    for sandbox in everybody() {
        let shared = sandbox.mkdir("shared", 0o777);
        sandbox.mkdir("shared/below", 0o777);
        sandbox
            .add_mount(json!({"destination": "/data", "type": "bind", "source": shared, "options": ["rbind", "rro"]}));
        sandbox.sh("echo ready; while ! [ -e /tmp/go ]; do sleep 0.05; done; touch /data/below/made 2>/dev/null && echo written; true");
        sandbox.add_mount(
            json!({"destination": "/tmp", "type": "bind", "source": sandbox.mkdir("go", 0o777), "options": ["bind"]}),
        );
        let script = format!(
            "mount --make-rshared / && cd {0} && {{ setpriv --reuid {1} --regid {1} --clear-groups {2} run -b bundle box & }} && sleep 1 && \
             mount -t tmpfs -o mode=777 tmpfs shared/below && touch go/go && wait",
            sandbox.path().display(),
            sandbox.uid(),
            crate::sandbox::binary().display()
        );
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", &script]).env("XDG_RUNTIME_DIR", sandbox.path().join("xdg"));
        let done = finish(command);
        assert!(done.out.contains("ready") && !done.out.contains("written"), "{done:?}");
    }
}

#[test]
fn a_writable_tree_of_all_cgroups_is_warned_about() {
    // Its root can move itself to where nothing is limited, and no program decides about devices.
    let Some(sandbox) = Sandbox::root() else { return };
    let plan = || sandbox.on_bundle(&["plan"]).ok();
    let others = |namespace: &Value| namespace["type"] != "cgroup";
    sandbox.edit(|config| config["linux"]["namespaces"].as_array_mut().unwrap().retain(others));
    sandbox
        .add_mount(json!({"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": ["rw"]}));
    let said = plan().out;
    if said.contains("cgroup  none") {
        return crate::sandbox::skip("no cgroup can be made here");
    }
    assert!(said.contains("can leave its cgroup"), "{said}");
    sandbox.edit(|config| config["linux"]["namespaces"].as_array_mut().unwrap().push(json!({"type": "cgroup"})));
    assert!(!plan().out.contains("can leave its cgroup"));
}
