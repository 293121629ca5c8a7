//! `rootlet check` and `rootlet features`: what is wrong with a config, and what can be right.

use crate::process::wrong_values;
use crate::sandbox::{Sandbox, finish};
use serde_json::{Value, json};
use std::fs;

fn problems(sandbox: &Sandbox) -> Vec<Value> {
    let bundle = sandbox.bundle();
    let done = sandbox.rootlet(&["check", "--format", "json", bundle.to_str().unwrap()]);
    let report: Value = serde_json::from_str(&done.out).unwrap_or_else(|_| panic!("{done:?}"));
    let problems = report["problems"].as_array().unwrap().clone();
    let has_errors = problems.iter().any(|problem| problem["level"] == "error");
    assert_eq!((report["valid"] == json!(true), done.code), (!has_errors, i32::from(has_errors)), "{done:?}");
    problems
}

#[test]
fn a_good_config_has_no_problems() {
    let sandbox = Sandbox::ordinary();
    let bundle = sandbox.bundle();
    assert_eq!(sandbox.rootlet(&["check", bundle.to_str().unwrap()]).ok().out, "0 errors, 0 warnings, 0 notes\n");
    let file = bundle.join("config.json");
    sandbox.rootlet(&["check", file.to_str().unwrap()]).ok();
    let mut here = sandbox.command(&["check"]);
    here.current_dir(&bundle);
    finish(here).ok();
}

#[test]
fn all_problems_are_named_at_once_with_their_places() {
    let sandbox = Sandbox::ordinary();
    let text = r#"{
	"ociVersion": "1.0.2",
	"process": {
		"args": "sh",
		"arguments": [],
		"cwd": "relative",
		"user": {"uid": -1},
		"rlimits": [
			{"type": "RLIMIT_CORE", "soft": 0, "hard": 0},
			{"type": "RLIMIT_X", "soft": 0, "hard": 0},
			{"type": "RLIMIT_CPU", "soft": 9, "hard": 1}
		],
		"oomScoreAdj": 5000
	},
	"root": {"path": "rootfs", "readonly": "no"},
	"mounts": [
		{"destination": "/proc", "type": "proc"},
		{"destination": "/a", "type": "bind"},
		{"destination": "/b", "type": "none"}
	],
	"linux": {
		"namespaces": [{"type": "mount"}, {"type": "pdi"}],
		"seccomp": {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["read"], "action": "X"}]}
	}
}
"#;
    sandbox.write("bundle/config.json", text);
    let found: Vec<_> = problems(&sandbox)
        .iter()
        .filter(|problem| problem["level"] == "error")
        .map(|problem| format!("{}:{} {}", problem["line"], problem["column"], problem["pointer"].as_str().unwrap()))
        .collect();
    assert_eq!(
        found,
        [
            "4:11 /process/args",
            "6:10 /process/cwd",
            "7:19 /process/user/uid",
            "10:4 /process/rlimits/1",
            "11:4 /process/rlimits/2",
            "13:18 /process/oomScoreAdj",
            "15:41 /root/readonly",
            "18:3 /mounts/1",
            "19:3 /mounts/2",
            "22:37 /linux/namespaces/1",
            "23:63 /linux/seccomp/syscalls/0",
        ]
    );
    let warning = problems(&sandbox).into_iter().find(|problem| problem["level"] == "warning").unwrap();
    assert_eq!(
        (&warning["pointer"], &warning["try"]),
        (&json!("/process/arguments"), &json!("did you mean process.args?"))
    );

    let file = sandbox.bundle().join("config.json");
    let done = sandbox.rootlet(&["check", file.to_str().unwrap()]);
    let line =
        format!("{}:10:4: error: process.rlimits[1]: \"RLIMIT_X\" is not a resource limit\n  try: ", file.display());
    assert!(done.out.contains(&line), "{}", done.out);
    assert!(done.out.contains("11 errors, 1 warning"), "{}", done.out);
    // Nothing was made, and nothing is said that an engine would take for the error of a command.
    assert_eq!(done.err, "");
    sandbox.assert_clean();
}

#[test]
fn what_is_wrong_at_a_key_with_dots_hides_nothing_else() {
    let sandbox = Sandbox::ordinary();
    sandbox.edit(|config| {
        config["annotations"] = json!({"org.example.is-true": true});
        config["linux"]["sysctl"] = json!({"kernel.shmmax": 1});
        config["hostnam"] = json!("box");
    });
    let found: Vec<_> = problems(&sandbox)
        .iter()
        .filter(|problem| problem["level"] != "note")
        .map(|problem| problem["pointer"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(found, ["/linux/sysctl/kernel.shmmax", "/annotations/org.example.is-true", "/hostnam"]);
}

#[test]
fn it_says_of_each_config_what_run_says() {
    let sandbox = Sandbox::ordinary();
    let config = sandbox.config();
    for (pointer, value, words) in wrong_values() {
        let mut broken = config.clone();
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        broken.pointer_mut(parent).unwrap()[key] = value.clone();
        sandbox.write("bundle/config.json", &broken.to_string());
        let errors: Vec<_> = problems(&sandbox).into_iter().filter(|problem| problem["level"] == "error").collect();
        let is_kernels = ["lowerdir", "noexce"].iter().any(|word| value.to_string().contains(word));
        assert_eq!(
            errors.is_empty(),
            is_kernels,
            "{pointer} {value}: only the kernel knows that a directory is missing"
        );
        let text =
            errors.iter().map(|error| format!("{}: {error}", error["property"].as_str().unwrap())).collect::<String>();
        for word in words.iter().filter(|_| !is_kernels) {
            assert!(text.replace('\\', "").contains(word), "{pointer}: {word:?} is not in {text}");
        }
    }
}

#[test]
fn what_the_host_has_not_is_an_error_as_in_run() {
    let sandbox = Sandbox::ordinary();
    let config = sandbox.config();
    let file = sandbox.write("file", "");
    for (pointer, value, words) in [
        ("/root/path", json!("nosuch-root"), vec!["root.path", "the root file system is missing"]),
        ("/root/path", json!(file), vec!["root.path", "not a directory"]),
        (
            "/mounts",
            json!([{"destination": "/data", "type": "bind", "source": "/nosuch-source", "options": ["bind"]}]),
            vec!["mounts[0] (/data)", "/nosuch-source is missing on the host"],
        ),
        (
            "/hooks",
            json!({"createRuntime": [{"path": "/nosuch-hook"}]}),
            vec!["hooks.createRuntime[0]", "/nosuch-hook"],
        ),
        (
            "/linux/namespaces",
            json!([{"type": "mount"}, {"type": "uts"}, {"type": "ipc", "path": "/nosuch-namespace"}]),
            vec!["linux.namespaces[2]", "/nosuch-namespace"],
        ),
    ] {
        let mut broken = config.clone();
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        broken.pointer_mut(parent).unwrap()[key] = value;
        sandbox.write("bundle/config.json", &broken.to_string());
        let found = problems(&sandbox).into_iter().filter(|problem| problem["level"] == "error").collect::<Vec<_>>();
        let text = Value::from(found.clone()).to_string();
        assert!(found.len() == 1 && words.iter().all(|word| text.contains(word)), "{words:?} {text}");
        sandbox.run().fails(&words);
    }
}

#[test]
fn what_is_no_json_is_named_by_line_and_column() {
    let sandbox = Sandbox::ordinary();
    sandbox.write("bundle/config.json", "{\n\t\"ociVersion\": \"1.0.0\",,\n}");
    let problem = &problems(&sandbox)[0];
    assert_eq!((&problem["line"], &problem["column"]), (&json!(2), &json!(24)));
    for text in ["", "[]", "7", "null", "\"x\"", "{}", "{\"ociVersion\": 7}", "{\"linux\": {\"namespaces\": {}}}"] {
        sandbox.write("bundle/config.json", text);
        assert!(problems(&sandbox).iter().any(|problem| problem["level"] == "error"), "{text}");
    }
    sandbox.rootlet(&["check", "/nosuch-config"]).fails(&["/nosuch-config"]);
}

#[test]
fn what_is_done_otherwise_is_noted() {
    let sandbox = Sandbox::ordinary();
    sandbox.edit(|config| config["process"]["oomScoreAdj"] = json!(-999));
    let note = problems(&sandbox).pop().unwrap();
    assert_eq!((&note["level"], &note["pointer"]), (&json!("note"), &json!("/process/oomScoreAdj")));
    let bundle = sandbox.bundle();
    assert_eq!(sandbox.rootlet(&["--strict", "check", bundle.to_str().unwrap()]).code, 1);
    // So is a property that nobody knows: a slip of the pen in a limit is no limit.
    sandbox.edit(|config| {
        config["process"].as_object_mut().unwrap().remove("oomScoreAdj");
        config["linux"]["resource"] = json!({"pids": {"limit": 7}});
    });
    sandbox.rootlet(&["check", bundle.to_str().unwrap()]).ok();
    assert_eq!(sandbox.rootlet(&["--strict", "check", bundle.to_str().unwrap()]).code, 1);
    let strict = sandbox.on_bundle(&["--strict", "run", "box"]);
    strict.fails(&["linux.resource: unknown property", "--strict", "did you mean linux.resources?"]);
}

#[test]
fn damaged_configs_change_nothing() {
    // Bytes are cut out, doubled and replaced: no panic, no hang, nothing made. (Values are in property/tests.rs.)
    let sandbox = Sandbox::ordinary();
    let text = sandbox.config().to_string().into_bytes();
    let mut random = fastrand::Rng::with_seed(7);
    let before = listing(&sandbox);
    for round in 0..150 {
        let mut damaged = text.clone();
        for _ in 0..random.usize(1..4) {
            let (at, length) = (random.usize(0..damaged.len()), random.usize(1..20));
            let end = (at + length).min(damaged.len());
            match random.u8(0..3) {
                0 => drop(damaged.drain(at..end)),
                1 => damaged.extend_from_within(at..end),
                _ => damaged[at..end].iter_mut().for_each(|byte| *byte = random.u8(..)),
            }
        }
        fs::write(sandbox.bundle().join("config.json"), &damaged).unwrap();
        let bundle = sandbox.bundle();
        let done = sandbox.rootlet(&["check", bundle.to_str().unwrap()]);
        assert!([0, 1].contains(&done.code) && !done.err.contains("panicked"), "round {round}: {done:?}");
        assert_eq!(listing(&sandbox), before, "round {round}");
    }
    sandbox.assert_clean();
}

fn listing(sandbox: &Sandbox) -> Vec<String> {
    let list =
        |path: std::path::PathBuf| fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path().display().to_string());
    let mut names: Vec<_> = list(sandbox.rootfs()).chain(list(sandbox.path().join("xdg"))).collect();
    names.sort();
    names
}

#[test]
fn features_are_printed_as_runc_prints_them() {
    let sandbox = Sandbox::ordinary();
    let out = sandbox.rootlet(&["features"]).ok().out;
    assert!(out.starts_with("{\n    \"ociVersionMin\": \"1.0.0\",\n"), "four spaces, and runc's order: {out}");
    let features: Value = serde_json::from_str(&out).unwrap();
    for pointer in [
        "/ociVersionMax",
        "/hooks/5",
        "/linux/namespaces/7",
        "/linux/capabilities/40",
        "/linux/cgroup/v2",
        "/linux/seccomp/actions/8",
        "/linux/seccomp/operators/6",
        "/linux/seccomp/archs/0",
        "/linux/seccomp/knownFlags/3",
        "/linux/apparmor/enabled",
        "/linux/selinux/enabled",
        "/linux/intelRdt/enabled",
        "/linux/memoryPolicy/modes/6",
        "/linux/mountExtensions/idmap/enabled",
        "/linux/netDevices/enabled",
    ] {
        assert!(features.pointer(pointer).is_some_and(|value| !value.is_null()), "{pointer}");
    }
    // What runc says of itself, but for what depends on its version, rootlet says too.
    if let Ok(runc) = std::process::Command::new("runc").arg("features").output() {
        let Ok(theirs) = serde_json::from_slice::<Value>(&runc.stdout) else { return };
        for pointer in ["/hooks", "/linux/namespaces", "/linux/seccomp/operators", "/linux/seccomp/actions"] {
            for value in theirs.pointer(pointer).and_then(Value::as_array).into_iter().flatten() {
                let ours = features.pointer(pointer).unwrap().as_array().unwrap();
                assert!(ours.contains(value), "{pointer}: {value}");
            }
        }
        let ours = features["mountOptions"].as_array().unwrap();
        let theirs = theirs["mountOptions"].as_array().unwrap();
        let missing: Vec<_> = theirs.iter().filter(|option| !ours.contains(option)).collect();
        assert!(missing.is_empty(), "{missing:?}");
    }
}

#[test]
fn what_is_written_twice_and_what_is_no_object_is_said_by_both() {
    let sandbox = Sandbox::ordinary();
    let text = std::fs::read_to_string(sandbox.bundle().join("config.json")).unwrap();
    let doubled = [
        (text.replacen('{', "{\"hostname\": \"a\",", 1), "hostname: written twice"),
        (text.replacen("\"process\":{", "\"process\":{\"cwd\": \"/\",", 1), "process.cwd: written twice"),
        ("[]".to_owned(), "not an object"),
    ];
    for (text, words) in doubled {
        sandbox.write("bundle/config.json", &text);
        sandbox.run().fails(&[words, "try:"]);
        let file = sandbox.bundle().join("config.json");
        let done = sandbox.rootlet(&["check", file.to_str().unwrap()]);
        assert!(done.code == 1 && done.out.contains(words), "{done:?}");
    }
}
