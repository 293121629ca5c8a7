//! Whatever is wrong, there is one error that names it, and nothing is left behind.

use crate::sandbox::{Sandbox, binary, finish, is_root, skip};
use serde_json::json;
use std::fs;
use std::os::unix::fs::PermissionsExt;

#[test]
fn a_config_that_is_not_json_is_named_by_line_and_column() {
    let sandbox = Sandbox::ordinary();
    for (text, words) in [
        ("{\n  \"ociVersion\": \"1.0.0\",\n  \"process\": {,}\n}", "line 3, column 15"),
        ("", "line 1, column 0"),
        ("{\"ociVersion\": \"1.0.0\"} trailing", "line 1, column 25"),
        ("[1, 2", "line 1"),
        ("nonsense", "line 1, column 2"),
    ] {
        sandbox.write("bundle/config.json", text);
        sandbox.run().fails(&["config.json", words]);
    }
    fs::write(sandbox.bundle().join("config.json"), b"{\"a\": \"\xff\"}").unwrap();
    sandbox.run().fails(&["not UTF-8"]);
    sandbox.assert_clean();
}

#[test]
fn a_wrong_type_is_named_by_its_path() {
    let sandbox = Sandbox::ordinary();
    let config = sandbox.config();
    for (pointer, value, words) in [
        (
            "/process/args",
            json!("sh"),
            vec!["config.json: process.args: string \"sh\", where a list is needed", "line 1"],
        ),
        ("/process/user/uid", json!(-1), vec!["process.user.uid", "-1"]),
        ("/mounts/2/options", json!({"a": 1}), vec!["mounts[2].options"]),
        ("/linux/namespaces/0", json!("pid"), vec!["linux.namespaces[0]"]),
        ("/root", json!(7), vec!["config.json: root: "]),
        ("/linux/uidMappings/0/size", json!("all"), vec!["linux.uidMappings[0].size"]),
    ] {
        let mut broken = config.clone();
        *broken.pointer_mut(pointer).unwrap() = value;
        sandbox.write("bundle/config.json", &broken.to_string());
        sandbox.run().fails(&words);
    }
    sandbox.assert_clean();
}

#[test]
fn a_wrong_value_is_named_with_what_would_be_right() {
    let sandbox = Sandbox::ordinary();
    let config = sandbox.config();
    let uid = sandbox.uid();
    let apparmor = match fs::read_to_string("/sys/module/apparmor/parameters/enabled") {
        Ok(text) if text.starts_with('Y') => "the security module does not know it",
        _ => "AppArmor is not on",
    };
    for (pointer, value, words) in [
        ("/ociVersion", json!("2.0.0"), vec!["ociVersion", "2.0.0", "try:"]),
        ("/root/path", json!("nosuch"), vec!["root.path", "nosuch", "the root file system is missing", "try:"]),
        ("/root/path", json!("config.json"), vec!["root.path", "ENOTDIR"]),
        ("/root/path", json!("/"), vec!["root.path", "host's root"]),
        ("/root/path", json!("a\u{0}b"), vec!["root.path", "NUL"]),
        ("/process/args", json!([]), vec!["process.args: missing or empty", "try:"]),
        (
            "/process/args",
            json!(["/etc/passwd"]),
            vec!["process.args", "/etc/passwd", "permission denied", "chmod a+x"],
        ),
        ("/process/args", json!(["/bin"]), vec!["process.args", "is a directory"]),
        ("/process/args", json!(["/no/such"]), vec!["process.args", "no such file or directory"]),
        ("/process/args", json!(["a\u{0}b"]), vec!["process.args", "NUL"]),
        ("/process/cwd", json!("relative"), vec!["process.cwd", "not an absolute path"]),
        ("/process/cwd", json!("/etc/passwd"), vec!["process.cwd", "ENOTDIR"]),
        ("/process/cwd", json!("/proc/nosuch"), vec!["process.cwd", "it is missing and cannot be made"]),
        ("/process/env", json!(["NOVALUE"]), vec!["process.env", "NOVALUE"]),
        ("/process/user/uid", json!(77), vec!["process.user", "uid 77 is not mapped", "try:"]),
        ("/process/user/umask", json!(0o1000), vec!["process.user", "umask"]),
        (
            "/process/rlimits",
            json!([{"type": "RLIMIT_FOO", "soft": 1, "hard": 1}]),
            vec!["process.rlimits[0]", "RLIMIT_FOO", "try:"],
        ),
        (
            "/process/rlimits",
            json!([{"type": "RLIMIT_CORE", "soft": 2, "hard": 1}]),
            vec!["process.rlimits[0]", "above hard"],
        ),
        (
            "/process/capabilities",
            json!({"effective": ["CAP_KILL"]}),
            vec!["process.capabilities", "CAP_KILL", "permitted"],
        ),
        ("/process/oomScoreAdj", json!(1001), vec!["process.oomScoreAdj", "1001"]),
        ("/process/scheduler", json!({"policy": "SCHED_FOO"}), vec!["process.scheduler", "SCHED_FOO", "SCHED_OTHER"]),
        ("/process/ioPriority", json!({"class": "IOPRIO_CLASS_RT", "priority": 8}), vec!["process.ioPriority", "8"]),
        ("/process/apparmorProfile", json!("box"), vec!["process.apparmorProfile", apparmor]),
        ("/linux/namespaces", json!([{"type": "pid"}]), vec!["linux.namespaces", "mount namespace is missing"]),
        (
            "/linux/namespaces",
            json!([{"type": "mount"}, {"type": "pdi"}]),
            vec!["linux.namespaces[1]", "pdi", "network"],
        ),
        ("/linux/namespaces", json!([{"type": "mount"}, {"type": "mount"}]), vec!["linux.namespaces[1]", "twice"]),
        (
            "/linux/namespaces",
            json!([{"type": "mount"}, {"type": "ipc", "path": "ns"}]),
            vec!["linux.namespaces[1]", "not absolute"],
        ),
        (
            "/linux/uidMappings",
            json!([{"containerID": 0, "hostID": 0, "size": 1}]),
            vec!["linux.uidMappings", "you may map one id", "try: write"],
        ),
        (
            "/linux/uidMappings",
            json!([{"containerID": 0, "hostID": uid, "size": 2}]),
            vec!["linux.uidMappings", "you may map one id"],
        ),
        ("/linux/uidMappings", json!([{"containerID": 0, "hostID": uid}]), vec!["linux.uidMappings[0]", "size is 0"]),
        (
            "/linux/uidMappings",
            json!([{"containerID": 4294967295u32, "hostID": uid, "size": 1}]),
            vec!["linux.uidMappings[0]", "largest id"],
        ),
        (
            "/linux/uidMappings",
            json!(vec![json!({"containerID": 0, "hostID": uid, "size": 1}); 341]),
            vec!["linux.uidMappings", "341", "340"],
        ),
        ("/linux/timeOffsets", json!({"boottime": {"secs": 1}}), vec!["linux.timeOffsets", "time namespace"]),
        ("/linux/maskedPaths", json!(["relative"]), vec!["linux.maskedPaths[0]", "absolute"]),
        ("/linux/devices", json!([{"type": "x", "path": "/dev/x"}]), vec!["linux.devices[0]", "\"x\""]),
        ("/linux/devices", json!([{"type": "c", "path": "/dev/x"}]), vec!["linux.devices[0]", "major is missing"]),
        ("/linux/rootfsPropagation", json!("sideways"), vec!["linux.rootfsPropagation", "sideways"]),
        ("/linux/personality", json!({"domain": "BSD"}), vec!["linux.personality", "BSD"]),
        ("/mounts", json!([{"destination": "/"}]), vec!["mounts[0]", "root itself"]),
        ("/mounts", json!([{"type": "tmpfs"}]), vec!["mounts[0]", "destination is missing"]),
        ("/mounts", json!([{"destination": "/data", "type": "nosuchfs"}]), vec!["mounts[0] (/data)", "ENODEV"]),
        ("/mounts", json!([{"destination": "/data", "type": "bind"}]), vec!["mounts[0]", "without source"]),
        (
            "/mounts",
            json!([{"destination": "/data", "type": "bind", "source": "/nosuch-source"}]),
            vec!["mounts[0] (/data)", "source /nosuch-source is missing"],
        ),
        (
            "/mounts",
            json!([{"destination": "/data", "type": "bind", "source": "/usr/share", "options": ["size=1k"]}]),
            vec!["mounts[0]", "size=1k"],
        ),
        (
            "/mounts",
            json!([{"destination": "/data", "type": "tmpfs", "options": ["nosuchoption=1"]}]),
            vec!["mounts[0] (/data)", "EINVAL"],
        ),
        (
            "/mounts",
            json!([{"destination": "/etc/passwd", "type": "bind", "source": "/usr/share"}]),
            vec!["mounts[0] (/etc/passwd)", "ENOTDIR"],
        ),
        ("/mounts", json!([{"destination": "/data", "type": "bind", "source": "a\u{0}b"}]), vec!["mounts[0]", "NUL"]),
        ("/hostname", json!("h".repeat(65)), vec!["hostname", "65"]),
    ] {
        let mut broken = config.clone();
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        broken.pointer_mut(parent).unwrap()[key] = value;
        sandbox.write("bundle/config.json", &broken.to_string());
        let done = sandbox.run();
        let lower = done.err.to_lowercase();
        if pointer != "/process/args" {
            for phrase in [
                "permission denied",
                "operation not permitted",
                "no such file or directory",
                "executable file not found",
            ] {
                assert!(!lower.contains(phrase), "an engine would take this for a missing program: {}", done.err);
            }
        }
        done.fails(&words);
        sandbox.assert_clean();
    }
}

#[test]
fn a_missing_part_is_named() {
    let sandbox = Sandbox::ordinary();
    let config = sandbox.config();
    for (parent, key, words) in [
        ("", "ociVersion", "ociVersion: missing"),
        ("", "root", "root.path: missing"),
        ("", "process", "process: missing"),
        ("/process", "args", "process.args: missing"),
        ("/process", "cwd", "process.cwd: missing"),
    ] {
        let mut broken = config.clone();
        broken.pointer_mut(parent).unwrap().as_object_mut().unwrap().remove(key);
        sandbox.write("bundle/config.json", &broken.to_string());
        sandbox.run().fails(&[words, "try:"]);
    }
}

#[test]
fn an_unknown_key_is_warned_about_and_ignored() {
    let sandbox = Sandbox::ordinary();
    sandbox.sh("echo ran");
    sandbox.edit(|config| {
        config["process"]["arguments"] = json!(["x"]);
        config["process"]["capabilities"]["bounding"] = json!(["CAP_FUTURE", "NET_RAW"]);
    });
    let done = sandbox.run().ok();
    assert_eq!(done.out, "ran\n");
    for words in ["warning: config.json: process.arguments: unknown property", "\"CAP_FUTURE\"", "\"NET_RAW\""] {
        assert!(done.err.contains(words), "{words}: {}", done.err);
    }
}

#[test]
fn a_pre_draft_bundle_is_recognised() {
    let sandbox = Sandbox::ordinary();
    sandbox.write(
        "bundle/config.json",
        r#"{"version": "pre-draft", "process": {"args": ["sh"]}, "mounts": [{"name": "proc", "path": "/proc"}]}"#,
    );
    sandbox.write("bundle/runtime.json", r#"{"mounts": {"proc": {"type": "proc"}}}"#);
    sandbox.run().fails(&["pre-draft format of 2015", "runtime.json", "try:", "ociVersion"]);
}

#[test]
fn a_missing_bundle_is_named() {
    let sandbox = Sandbox::ordinary();
    sandbox.rootlet(&["run", "-b", "/nosuch-bundle", "box"]).fails(&["/nosuch-bundle", "--bundle"]);
    let empty = sandbox.mkdir("empty", 0o755);
    sandbox.rootlet(&["run", "-b", empty.to_str().unwrap(), "box"]).fails(&["config.json", "rootlet spec"]);
    let mut huge = fs::File::create(empty.join("config.json")).unwrap();
    std::io::Write::write_all(&mut huge, &vec![b' '; 17 << 20]).unwrap();
    sandbox.rootlet(&["run", "-b", empty.to_str().unwrap(), "box"]).fails(&["too large"]);
}

#[test]
fn ids_are_names_and_nothing_else() {
    let sandbox = Sandbox::ordinary();
    sandbox.sh("true");
    let long = "x".repeat(1025);
    for id in ["", ".", "..", "../x", "a/b", "a b", "a\nb", "é", &long] {
        sandbox.on_bundle(&["run", "--", id]).fails(&["invalid container ID format"]);
    }
    sandbox.on_bundle(&["run", "--", "-a_1+b.c"]).ok();
    sandbox.assert_clean();
}

#[test]
fn a_place_that_cannot_be_written_is_named() {
    let sandbox = Sandbox::ordinary();
    sandbox.sh("sleep 1000");
    sandbox.on_bundle(&["create", "--pid-file", "/nosuch/pid", "box"]).fails(&["/nosuch/pid", "--pid-file"]);
    // As long as a name can be.
    let long = format!("bundle/{}", "x".repeat(255));
    sandbox.on_bundle(&["create", "--pid-file", &long, "box"]).ok();
    sandbox.rootlet(&["delete", "-f", "box"]).ok();
    sandbox.assert_clean();
    sandbox.on_bundle(&["--log", "/nosuch/log", "run", "box"]).fails(&["/nosuch/log", "--log"]);
    sandbox.on_bundle(&["--root", "/proc/nosuch", "run", "box"]).fails(&["/proc/nosuch", "--root"]);
    sandbox.on_bundle(&["create", "--pidfd-socket", "/nosuch.sock", "box"]).fails(&["/nosuch.sock"]);
    sandbox.assert_clean();
}

#[test]
fn signals_and_commands_that_do_not_exist_are_named() {
    let sandbox = Sandbox::ordinary();
    sandbox.rootlet(&["kill", "nosuch", "FOO"]).fails(&["container does not exist"]);
    sandbox.sh("sleep 1000");
    sandbox.start();
    for signal in ["FOO", "65", "-1"] {
        sandbox.rootlet(&["kill", "box", signal]).fails(&["unknown signal", signal]);
    }
    let state = sandbox.states().join("box/state.json");
    let whole = fs::read(&state).unwrap();
    fs::write(&state, "{").unwrap();
    sandbox.rootlet(&["state", "box"]).fails(&["state.json is damaged"]);
    let done = sandbox.rootlet(&["list"]).fails(&["is damaged"]);
    assert!(done.out.contains("box") && done.out.contains("unknown"), "{done:?}");
    assert_eq!(sandbox.rootlet(&["list", "-q"]).ok().out, "box\n", "whoever deletes all wants its name");
    fs::write(&state, whole).unwrap();
    sandbox.rootlet(&["delete", "--force", "box"]).ok();
}

#[test]
fn a_damaged_state_can_be_deleted() {
    let sandbox = Sandbox::ordinary();
    let directory = sandbox.mkdir("xdg/rootlet", 0o700).join("box");
    fs::create_dir(&directory).unwrap();
    fs::set_permissions(&directory, fs::Permissions::from_mode(0o1700)).unwrap();
    std::os::unix::fs::chown(&directory, Some(sandbox.uid()), Some(sandbox.uid())).unwrap();
    let list = sandbox.rootlet(&["list"]).ok().out;
    assert!(list.contains("stopped") && list.contains(&sandbox.owner()), "one without a state is listed: {list}");
    sandbox.write("xdg/rootlet/box/state.json", "{");
    sandbox.rootlet(&["delete", "box"]).fails(&["state.json is damaged", "delete --force box"]);
    sandbox.rootlet(&["delete", "--force", "box"]).ok();
    sandbox.assert_clean();
}

#[test]
fn a_directory_that_holds_anything_else_is_no_container() {
    let sandbox = Sandbox::ordinary();
    let root = sandbox.mkdir("things", 0o700);
    for (directory, mode, files) in [
        ("photos", 0o700, &["state.json", "cat.jpg"][..]),
        ("notes", 0o700, &["todo"]),
        ("empty", 0o755, &[]),
        ("shut", 0o700, &[]),
    ] {
        sandbox.mkdir(&format!("things/{directory}"), mode);
        files.iter().for_each(|file| drop(sandbox.write(&format!("things/{directory}/{file}"), "{}")));
    }
    let rootlet = |arguments: &[&str]| sandbox.rootlet(&[&["--root", root.to_str().unwrap()], arguments].concat());
    assert_eq!(rootlet(&["list", "-q"]).ok().out, "");
    for name in ["photos", "notes", "empty", "shut"] {
        rootlet(&["state", name]).fails(&["container does not exist"]);
        rootlet(&["delete", name]).fails(&["container does not exist"]);
        rootlet(&["delete", "--force", name]).ok();
    }
    let bundle = sandbox.bundle();
    rootlet(&["run", "-b", bundle.to_str().unwrap(), "photos"]).fails(&["photos is in the way", "another --root"]);
    assert_eq!(rootlet(&["--", "list", "-q"]).ok().out, "");
    for path in ["photos/state.json", "photos/cat.jpg", "notes/todo", "empty"] {
        assert!(root.join(path).exists(), "{path} is not rootlet's to remove");
    }
}

#[test]
fn a_state_that_cannot_be_read_is_not_said_to_have_stopped() {
    let sandbox = Sandbox::ordinary();
    sandbox.sh("sleep 1000");
    sandbox.start();
    let directory = sandbox.states().join("box");
    let state = directory.join("state.json");
    let (bundle, aside) = (sandbox.bundle(), sandbox.states().join("aside~"));
    let all_fail = |words: &[&str]| {
        for command in [
            &["state", "box"][..],
            &["delete", "box"],
            &["kill", "box"],
            &["list"],
            &["create", "-b", bundle.to_str().unwrap(), "box"],
        ] {
            let done = sandbox.rootlet(command);
            assert_eq!(done.code, 1, "{command:?}: {done:?}");
            assert!(!done.out.contains("stopped"), "{done:?}");
            assert!(words.iter().any(|word| done.err.contains(word)), "{command:?}: {done:?}");
        }
    };
    if sandbox.uid() != 0 {
        for (path, mode) in [(&state, 0o600), (&directory, 0o700)] {
            fs::set_permissions(path, fs::Permissions::from_mode(0o0)).unwrap();
            all_fail(&["cannot be read", "already exists", "EACCES"]);
            sandbox.rootlet(&["delete", "--force", "box"]).fails(&["cannot be read", "chmod"]);
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        }
    }
    fs::rename(&state, &aside).unwrap();
    all_fail(&["state.json is missing", "already exists"]);
    fs::rename(&aside, &state).unwrap();
    assert_eq!(sandbox.status("box"), "running");
    sandbox.rootlet(&["delete", "--force", "box"]).ok();
    sandbox.assert_clean();
}

#[test]
fn a_config_of_another_name_is_called_by_that() {
    let sandbox = Sandbox::ordinary();
    let bundle = sandbox.bundle();
    let run = |name: &str| sandbox.on_bundle(&["run", "-f", name, "box"]);
    fs::write(bundle.join("other.json"), "{").unwrap();
    run("other.json").fails(&["other.json: line 1"]);
    sandbox.edit(|config| config["process"]["args"] = json!(["missing-program"]));
    fs::rename(bundle.join("config.json"), bundle.join("other.json")).unwrap();
    let done = run("other.json").fails(&["other.json: process.args: "]);
    assert!(!done.err.contains("config.json"), "{done:?}");
}

#[test]
fn a_destination_below_what_is_read_only_is_told_from_one_in_the_root() {
    let sandbox = Sandbox::ordinary();
    let shown = sandbox.mkdir("shown", 0o755);
    sandbox.add_mount(json!({"destination": "/shown", "type": "bind", "source": shown, "options": ["rbind", "ro"]}));
    for kind in [
        json!({"destination": "/shown/below", "type": "tmpfs"}),
        json!({"destination": "/shown/below", "type": "bind", "source": "/", "options": ["rbind"]}),
    ] {
        let before = sandbox.config();
        sandbox.add_mount(kind);
        sandbox.run().fails(&["(/shown/below)", "EROFS", "an earlier mount", "not below a read-only mount"]);
        sandbox.edit(|config| *config = before);
    }
}

#[test]
fn a_filter_that_cannot_be_is_refused_before_it_is_made() {
    let sandbox = Sandbox::ordinary();
    let rule = |value: u32| json!({"names": ["personality"], "action": "SCMP_ACT_ERRNO", "args": [{"index": 0, "value": value, "op": "SCMP_CMP_EQ"}]});
    let rules: Vec<_> = (0..5000).map(rule).collect();
    sandbox.edit(|config| config["linux"]["seccomp"] = json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": rules}));
    sandbox.on_bundle(&["run", "box"]).fails(&["more than 5000 instructions", "at most 4096"]);
}

#[test]
fn a_binary_that_may_only_be_executed_is_named() {
    if !is_root() {
        return skip("needs root, whose binary a user may not read");
    }
    let sandbox = Sandbox::ordinary();
    sandbox.sh("echo ran");
    let own = sandbox.mkdir("bin", 0o755).join("rootlet");
    fs::copy(binary(), &own).unwrap();
    fs::set_permissions(&own, fs::Permissions::from_mode(0o711)).unwrap();
    let bundle = sandbox.bundle();
    finish(sandbox.program(&own, &["run", "-b", bundle.to_str().unwrap(), "box"])).fails(&["EACCES", "chmod a+r"]);
}

#[test]
fn a_config_that_may_not_be_read_is_told_whose_it_is() {
    let sandbox = Sandbox::ordinary();
    let config = sandbox.bundle().join("config.json");
    fs::set_permissions(&config, fs::Permissions::from_mode(0o0)).unwrap();
    sandbox.run().fails(&["EACCES", &format!("it belongs to uid {}, with mode 0", sandbox.uid()), "chown"]);
    fs::set_permissions(sandbox.bundle(), fs::Permissions::from_mode(0o0)).unwrap();
    sandbox.run().fails(&["EACCES", "may not search", "namei -l"]);
    fs::set_permissions(sandbox.bundle(), fs::Permissions::from_mode(0o755)).unwrap();
}
