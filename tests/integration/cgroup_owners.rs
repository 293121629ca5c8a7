//! Whose a cgroup is: names, places, what is left there, and what others do in it.

use crate::cgroups::{Delegated, in_guest, read, root};
use crate::sandbox::{Sandbox, binary, eventually, finish, is_root, skip};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

#[test]
fn processes_in_the_way_are_moved_to_a_leaf() {
    if !in_guest() {
        return;
    }
    let delegated = Delegated::new(true);
    // As a unit's cgroup: nothing beside it is the unit's.
    let plan = delegated.rootlet(&["plan", "-b", delegated.sandbox.bundle().to_str().unwrap()]).ok().out;
    assert!(plan.contains("rootlet-plan, because it is a child of your own cgroup\n"), "{plan}");
    delegated.limit(json!({"pids": {"limit": 9}}));
    let cgroup = delegated.start();
    assert_eq!(cgroup, delegated.cgroup.join("rootlet-box"));
    assert_eq!((read(&cgroup, "pids.max"), read(&delegated.cgroup, "cgroup.procs")), ("9".to_owned(), String::new()));
    assert!(delegated.cgroup.join("rootlet.callers").is_dir());
}

#[test]
fn a_cgroups_path_never_leaves_what_is_the_users() {
    if !in_guest() {
        return;
    }
    let delegated = Delegated::new(false);
    for path in ["../../../outside", "/outside/box", "/../../outside", "a/../../outside"] {
        delegated.sandbox.edit(|config| config["linux"]["cgroupsPath"] = json!(path));
        let cgroup = delegated.start();
        assert!(
            cgroup.starts_with(&delegated.cgroup) && cgroup.ends_with(path.trim_start_matches(['.', '/', 'a'])),
            "{cgroup:?}"
        );
        delegated.rootlet(&["delete", "--force", "box"]).ok();
        assert!(!root().join("outside").exists());
    }
    delegated.sandbox.edit(|config| config["linux"]["cgroupsPath"] = json!("/shared"));
    delegated.start();
    let bundle = delegated.sandbox.bundle();
    delegated.rootlet(&["run", "-b", bundle.to_str().unwrap(), "other"]).fails(&[
        "shared is another's",
        "there are processes in it",
        "linux.cgroupsPath",
    ]);
    assert_eq!(delegated.sandbox.status("box"), "running");
}

#[test]
fn what_is_left_behind_ends_with_delete() {
    if !in_guest() {
        return;
    }
    // Without a pid namespace, the end of the first process ends nothing else.
    let delegated = Delegated::new(false);
    delegated.sandbox.edit(|config| {
        config["linux"]["namespaces"].as_array_mut().unwrap().retain(|namespace| namespace["type"] != "pid");
        config["mounts"].as_array_mut().unwrap().retain(|mount| mount["destination"] != "/proc");
        config["linux"]["maskedPaths"] = json!([]);
        config["linux"]["readonlyPaths"] = json!([]);
    });
    delegated.sandbox.sh("sleep 1234 & echo; exit 0");
    let bundle = delegated.sandbox.bundle();
    delegated.rootlet(&["run", "-d", "-b", bundle.to_str().unwrap(), "box"]).ok();
    let cgroup = delegated.sandbox.cgroup();
    eventually("its first process has ended", || delegated.sandbox.status("box") == "stopped");
    let left = read(&cgroup, "cgroup.procs");
    assert!(!left.is_empty(), "sleep is left");
    delegated.rootlet(&["delete", "box"]).ok();
    assert!(!cgroup.exists() && !Path::new("/proc").join(left).exists());
}

#[test]
fn a_cgroup_of_the_same_name_is_another_containers() {
    let Some(sandbox) = Sandbox::root() else { return };
    sandbox.sh("exit 0");
    let (bundle, one, two) = (sandbox.bundle(), sandbox.mkdir("one", 0o700), sandbox.mkdir("two", 0o700));
    let (bundle, one, two) = (bundle.to_str().unwrap(), one.to_str().unwrap(), two.to_str().unwrap());
    let run = |root: &str| sandbox.rootlet(&["--root", root, "run", "-d", "-b", bundle, "box"]).ok();
    let status = |root: &str| sandbox.rootlet(&["--root", root, "state", "box"]).ok().out;
    run(one);
    eventually("the first has stopped", || status(one).contains("stopped"));
    sandbox.sh("sleep 1000");
    run(two);
    sandbox.rootlet(&["--root", one, "kill", "--all", "box", "KILL"]).ok();
    sandbox.rootlet(&["--root", one, "delete", "box"]).ok();
    assert!(status(two).contains("running"), "the end of one is not the other's");
    sandbox.rootlet(&["--root", two, "delete", "--force", "box"]).ok();
}

#[test]
fn without_clone3_a_process_is_moved_before_it_begins() {
    let Some(sandbox) = Sandbox::root() else { return };
    if Command::new("strace").arg("-V").output().is_err() {
        return skip("strace is not installed");
    }
    // As under Docker's seccomp profile.
    sandbox.sh("cat /proc/self/cgroup");
    let strace = ["-f", "-qq", "-o", "/dev/null", "-e", "inject=clone3:error=ENOSYS"];
    let (bundle, rootlet) = (sandbox.bundle(), crate::sandbox::binary().to_str().unwrap());
    let run = ["run", "-b", bundle.to_str().unwrap(), "moved"];
    let done = finish(sandbox.program("strace".as_ref(), &[&strace[..], &[rootlet], &run].concat())).ok();
    // In a cgroup namespace of its own, its cgroup is the root.
    let has_own = sandbox.config()["linux"]["namespaces"].as_array().unwrap().iter().any(|one| one["type"] == "cgroup");
    let expected = if has_own { "0::/\n" } else { "rootlet-moved\n" };
    assert!(done.out.ends_with(expected) || done.out.contains(&format!("0::/{expected}")), "{done:?}");
    sandbox.sh("sleep 1000");
    sandbox.rootlet(&["run", "-d", "-b", bundle.to_str().unwrap(), "moved"]).ok();
    let exec = ["exec", "moved", "cat", "/proc/self/cgroup"];
    let done = finish(sandbox.program("strace".as_ref(), &[&strace[..], &[rootlet], &exec].concat())).ok();
    assert!(done.out.ends_with(expected) || done.out.contains(&format!("0::/{expected}")), "{done:?}");
    sandbox.rootlet(&["delete", "--force", "moved"]).ok();
    sandbox.assert_clean();
}

#[test]
fn a_frozen_cgroup_above_is_not_a_pause() {
    let Some(sandbox) = Sandbox::root() else { return };
    let Some(root) = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"]
        .map(Path::new)
        .into_iter()
        .find(|path| path.join("cgroup.procs").exists())
    else {
        return skip("needs a cgroup v2 hierarchy");
    };
    let above = root.join(format!("test-{}-above", std::process::id()));
    let path = format!("/{}/box", above.file_name().unwrap().to_str().unwrap());
    sandbox.edit(|config| config["linux"]["cgroupsPath"] = json!(path));
    sandbox.sh("sleep 1000");
    sandbox.start();
    sandbox.rootlet(&["pause", "box"]).ok();
    fs::write(above.join("cgroup.freeze"), "1").unwrap();
    sandbox.rootlet(&["resume", "box"]).ok();
    assert_eq!(sandbox.status("box"), "running");
    fs::write(above.join("cgroup.freeze"), "0").unwrap();
    sandbox.rootlet(&["delete", "--force", "box"]).ok();
    fs::remove_dir(above).unwrap();
}

#[test]
fn two_makers_at_one_moment_get_two_cgroups() {
    let Some(sandbox) = Sandbox::root() else { return };
    if Command::new("strace").arg("-V").output().is_err() {
        return skip("strace is not installed");
    }
    sandbox.sh("sleep 1000");
    let (bundle, one, two) = (sandbox.bundle(), sandbox.mkdir("one", 0o700), sandbox.mkdir("two", 0o700));
    let (bundle, rootlet) = (bundle.to_str().unwrap(), crate::sandbox::binary().to_str().unwrap());
    let run = |root: &Path, slow: &str| {
        let inject = format!("inject={slow}");
        // Not its children: strace(1) would wait for them.
        let strace = ["-qq", "-o", "/dev/null", "-e", &inject, rootlet, "--root", root.to_str().unwrap()];
        let run = ["run", "-d", "-b", bundle, "box"];
        sandbox.program("strace".as_ref(), &[&strace[..], &run].concat()).spawn().unwrap()
    };
    // Each in turn looks at what the other has made and not filled yet.
    for (first, second) in
        [("clone3:delay_enter=400000", "mkdir:delay_exit=1"), ("mkdir:delay_exit=200000", "clone3:delay_enter=300000")]
    {
        let mut makers = [run(&one, first), run(&two, second)];
        let codes = makers.each_mut().map(crate::sandbox::wait);
        assert_eq!(codes, [0, 0]);
        let cgroup = |root: &Path| {
            let state: Value = serde_json::from_str(&fs::read_to_string(root.join("box/state.json")).unwrap()).unwrap();
            state["cgroup"]["path"].as_str().map(str::to_owned)
        };
        let cgroups = [cgroup(&one), cgroup(&two)];
        for root in [&one, &two] {
            sandbox.rootlet(&["--root", root.to_str().unwrap(), "delete", "--force", "box"]).ok();
        }
        if cgroups == [None, None] {
            return skip("needs a cgroup v2 hierarchy");
        }
        assert_ne!(cgroups[0], cgroups[1]);
    }
}

#[test]
fn a_late_delete_does_not_reach_who_has_the_place_now() {
    let Some(sandbox) = Sandbox::root() else { return };
    if Command::new("strace").arg("-V").output().is_err() {
        return skip("strace is not installed");
    }
    let (bundle, one, two) = (sandbox.bundle(), sandbox.mkdir("one", 0o700), sandbox.mkdir("two", 0o700));
    let (one, two) = (one.to_str().unwrap(), two.to_str().unwrap());
    let run =
        |root: &str| sandbox.rootlet(&["--root", root, "run", "-d", "-b", bundle.to_str().unwrap(), "place"]).ok();
    let status = |root: &str| sandbox.rootlet(&["--root", root, "state", "place"]).out;
    sandbox.sh("true");
    run(one);
    eventually("the first has stopped", || status(one).contains("stopped"));
    if !fs::read_to_string(format!("{one}/place/state.json")).unwrap().contains("rootlet-place") {
        return skip("needs a cgroup v2 hierarchy");
    }
    // It has seen that the cgroup is its own, and takes its time.
    let strace = ["-qq", "-o", "/dev/null", "-e", "inject=rmdir:delay_enter=500000"];
    let delete = [crate::sandbox::binary().to_str().unwrap(), "--root", one, "delete", "place"];
    let mut slow = sandbox.program("strace".as_ref(), &[&strace[..], &delete].concat()).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(250));
    sandbox.sh("sleep 1000");
    run(two);
    assert_eq!(crate::sandbox::wait(&mut slow), 0);
    assert!(status(two).contains("running"), "{}", status(two));
    sandbox.rootlet(&["--root", two, "delete", "--force", "place"]).ok();
    assert!(!status(one).contains("place"));
}

#[test]
fn what_a_killed_maker_leaves_is_removed_with_its_name() {
    let Some(sandbox) = Sandbox::root() else { return };
    if Command::new("strace").arg("-V").output().is_err() {
        return skip("strace is not installed");
    }
    sandbox.sh("sleep 1000");
    let name = format!("made-{}", std::process::id());
    // Killed before there is a state.
    let strace = ["-qq", "-o", "/dev/null", "-e", "inject=clone3:signal=KILL:when=1", binary().to_str().unwrap()];
    let create = ["create", "-b", sandbox.bundle().to_str().unwrap(), &name].map(str::to_owned);
    let arguments = strace.iter().copied().chain(create.iter().map(String::as_str)).collect::<Vec<_>>();
    assert_ne!(finish(sandbox.program("strace".as_ref(), &arguments)).code, 0);
    let find = || {
        let mut command = Command::new("find");
        command.arg(root()).args(["-name", &format!("rootlet-{name}")]);
        finish(command).out
    };
    let is_there = find().contains(&name);
    sandbox.rootlet(&["delete", "-f", &name]).ok();
    if !is_there {
        return skip("needs a cgroup v2 hierarchy");
    }
    assert_eq!(find(), "");
    sandbox.assert_clean();
}

#[test]
fn a_signal_reaches_all_processes_although_they_fork() {
    for sandbox in [Some(Sandbox::ordinary()), Sandbox::root()].into_iter().flatten() {
        sandbox.edit(|config| config["root"]["readonly"] = json!(false));
        let program = sandbox.write("bundle/rootfs/chain", "#!/bin/sh\necho >>/data/beat\nsh /chain &\nexit\n");
        fs::set_permissions(program, fs::Permissions::from_mode(0o755)).unwrap();
        // Its first process takes care of those who have ended.
        sandbox.sh("for i in 1 2; do sh /chain & done; while :; do sleep 1; done");
        let beats = || fs::metadata(sandbox.rootfs().join("data/beat")).map_or(0, |beat| beat.len());
        sandbox.start();
        eventually("they fork", || beats() > 100);
        // Its first process does not heed it, and so the others do not end with that.
        sandbox.rootlet(&["kill", "--all", "box", "TERM"]).ok();
        eventually("the last has ended", || {
            let before = beats();
            std::thread::sleep(Duration::from_millis(200));
            beats() == before
        });
        sandbox.rootlet(&["delete", "-f", "box"]).ok();
        fs::remove_file(sandbox.rootfs().join("data/beat")).unwrap();
        sandbox.assert_clean();
    }
}

#[test]
fn who_is_below_a_containers_cgroup_does_not_end_with_it() {
    let Some(sandbox) = Sandbox::root() else { return };
    let place = format!("/rootlet-outer-{}", std::process::id());
    sandbox.sh("sleep 1000");
    sandbox.edit(|config| config["linux"]["cgroupsPath"] = json!(place));
    sandbox.start();
    let cgroup = sandbox.cgroup();
    // While it runs, nobody is made there.
    sandbox.edit(|config| config["linux"]["cgroupsPath"] = json!(format!("{place}/inner")));
    let run = ["run", "-d", "-b", sandbox.bundle().to_str().unwrap(), "inner"].map(str::to_owned);
    sandbox.rootlet(&run.each_ref().map(String::as_str)).fails(&["is another's", "try: name a place beside it"]);
    // When it has ended, who is there is not ended with what is left of it.
    sandbox.rootlet(&["kill", "box", "KILL"]).ok();
    eventually("it has stopped", || sandbox.status("box") == "stopped");
    sandbox.rootlet(&run.each_ref().map(String::as_str)).ok();
    sandbox.rootlet(&["kill", "--all", "box", "KILL"]).ok();
    sandbox.rootlet(&["delete", "box"]).fails(&["cannot be removed", "are not the container's"]);
    assert_eq!(sandbox.status("inner"), "running");
    sandbox.rootlet(&["delete", "-f", "inner"]).ok();
    sandbox.rootlet(&["delete", "box"]).ok();
    assert!(!cgroup.exists());
    sandbox.assert_clean();
}

#[test]
fn a_deeper_tree_than_any_path_is_listed_and_removed() {
    let Some(sandbox) = Sandbox::root() else { return };
    sandbox.add_mount(json!({"destination": "/cg", "type": "cgroup", "source": "cgroup", "options": ["rw"]}));
    sandbox.sh(&format!(
        "cd /cg && for i in $(seq 20); do mkdir {0} && cd {0}; done; sleep 1001 & echo $! >cgroup.procs; touch /tmp/deep; wait",
        "d".repeat(250)
    ));
    sandbox.edit(|config| {
        config["root"]["readonly"] = json!(false);
        let namespaces = config["linux"]["namespaces"].as_array_mut().unwrap();
        namespaces.retain(|namespace| namespace["type"] != "cgroup");
        namespaces.push(json!({"type": "cgroup"}));
    });
    sandbox.start();
    eventually("it is deep", || sandbox.rootfs().join("tmp/deep").exists());
    let pids = sandbox.rootlet(&["ps", "-f", "json", "box"]).ok().out;
    assert_eq!(serde_json::from_str::<Vec<i32>>(&pids).unwrap().len(), 2, "{pids}");
    let cgroup = sandbox.cgroup();
    sandbox.rootlet(&["delete", "-f", "box"]).ok();
    assert!(!cgroup.exists());
    sandbox.assert_clean();
}

#[test]
fn a_container_cannot_lock_its_owner_out_of_its_cgroup() {
    if !is_root() {
        return skip("needs root, to delegate a cgroup");
    }
    let delegated = Delegated::new(false);
    delegated.sandbox.edit(|config| {
        let namespaces = config["linux"]["namespaces"].as_array_mut().unwrap();
        namespaces.retain(|namespace| namespace["type"] != "cgroup");
        namespaces.push(json!({"type": "cgroup"}));
    });
    delegated.sandbox.add_mount(json!({"destination": "/cg", "type": "cgroup", "source": "cgroup", "options": ["rw"]}));
    let lock = "cd /cg && mkdir below && chmod 000 cgroup.* below && chmod 000 .";
    for command in [
        &["kill", "box", "KILL"][..],
        &["kill", "--all", "box", "KILL"],
        &["delete", "--force", "box"],
        &["pause", "box"],
        &["ps", "box"],
    ] {
        let cgroup = delegated.start();
        delegated.rootlet(&["exec", "box", "sh", "-c", lock]).ok();
        assert_eq!(fs::metadata(&cgroup).unwrap().permissions().mode() & 0o777, 0);
        let done = delegated.rootlet(command).ok();
        assert!(command[0] != "ps" || done.out.contains("sleep"), "{done:?}");
        delegated.rootlet(&["delete", "--force", "box"]).ok();
        assert!(!cgroup.exists(), "{command:?}");
    }
}
