//! What is going on: `explain`, `stats`, `--trace`, `--status-fd`, `--seccomp-audit`, and what completes a command line.

use crate::sandbox::{Done, Sandbox, eventually, finish};
use serde_json::Value;
use std::fs;
use std::path::Path;

fn json(done: &Done) -> Value {
    serde_json::from_str(&done.out).unwrap_or_else(|error| panic!("{error}: {done:?}"))
}

#[test]
fn what_is_not_written_down_is_said() {
    let sandbox = Sandbox::ordinary();
    sandbox.sh("true");
    let done = sandbox.on_bundle(&["run", "--seccomp-audit", "/dev/full", "box"]);
    assert!(done.code == 1 && done.err.contains("--seccomp-audit") && done.err.contains("ENOSPC"), "{done:?}");
    sandbox.assert_clean();
}

#[test]
fn whoever_is_being_made_hides_nothing_of_the_rest() {
    let sandbox = Sandbox::ordinary();
    sandbox.sh("true");
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        for name in ["one", "two"] {
            let (sandbox, done) = (&sandbox, &done);
            scope.spawn(move || {
                while !done.load(std::sync::atomic::Ordering::Relaxed) {
                    sandbox.on_bundle(&["run", name]);
                }
            });
        }
        let failed: Vec<_> =
            (0..60).map(|_| sandbox.rootlet(&["stats", "--no-stream"])).filter(|done| done.code != 0).collect();
        done.store(true, std::sync::atomic::Ordering::Relaxed);
        assert!(failed.is_empty(), "{failed:?}");
    });
    sandbox.assert_clean();
}

#[test]
fn explain_names_what_a_container_has() {
    let sandbox = Sandbox::ordinary();
    sandbox.sh("exec sleep 1000");
    sandbox.start();
    let about = json(&sandbox.rootlet(&["explain", "--format", "json", "box"]).ok());
    assert!(about["status"] == "running" && about["command"][2] == "exec sleep 1000", "{about}");
    assert_eq!(about["ids"]["uids"][0]["outside"], sandbox.uid());
    let namespaces = &about["namespaces"];
    assert!(
        namespaces["pid"]["shared-with-caller"] == false && namespaces["network"]["shared-with-caller"] == true,
        "{about}"
    );
    let effective = about["privileges"]["capabilities"]["effective"].to_string();
    assert!(effective.contains("CAP_KILL") && !effective.contains("CAP_SYS_ADMIN"), "{effective}");
    assert_eq!(about["privileges"]["no-new-privileges"], true);
    let property = |place: &str| {
        let mounts = about["mounts"].as_array().unwrap();
        mounts.iter().find(|mount| mount["destination"] == place).unwrap()["property"].as_str().unwrap().to_owned()
    };
    assert_eq!((property("/").as_str(), property("/proc").as_str()), ("root", "mounts[0]"));
    assert_eq!(
        (property("/dev/null").as_str(), property("/proc/sys").as_str()),
        ("linux.devices", "linux.readonlyPaths")
    );
    assert_eq!(about["open"][0]["descriptor"], 0);
    // Who shares a namespace is named.
    let pid = about["pid"].to_string();
    sandbox.edit(|config| {
        let spaces = config["linux"]["namespaces"].as_array_mut().unwrap();
        for (kind, file) in [("user", "user"), ("ipc", "ipc")] {
            let space = spaces.iter_mut().find(|space| space["type"] == kind).unwrap();
            space["path"] = format!("/proc/{pid}/ns/{file}").into();
        }
    });
    sandbox.on_bundle(&["run", "-d", "other"]).ok();
    let about = json(&sandbox.rootlet(&["explain", "--format", "json", "box"]).ok());
    assert_eq!(about["namespaces"]["ipc"]["shared-with"][0], "other");
    assert_eq!(about["namespaces"]["pid"]["shared-with"], serde_json::json!([]));
    let text = sandbox.rootlet(&["explain", "box"]).ok().out;
    assert!(
        text.contains("namespace      ipc ") && text.contains("shared with other") && text.contains("(mounts[0])"),
        "{text}"
    );
    sandbox.rootlet(&["delete", "-f", "other"]).ok();
    // One that has stopped, and one that waits, are told of as far as they are known.
    sandbox.rootlet(&["kill", "box", "KILL"]).ok();
    eventually("it has stopped", || sandbox.status("box") == "stopped");
    assert!(sandbox.rootlet(&["explain", "box"]).ok().out.contains("box, stopped"));
    sandbox.rootlet(&["delete", "box"]).ok();
    let waiting = Sandbox::ordinary();
    waiting.create();
    assert!(waiting.rootlet(&["explain", "box"]).ok().out.contains("box, created"));
    waiting.rootlet(&["explain", "nobody"]).fails(&["container does not exist"]);
}

#[test]
fn stats_are_of_all_that_run() {
    let sandbox = Sandbox::ordinary();
    assert_eq!(json(&sandbox.rootlet(&["stats", "--no-stream", "--format", "json"]).ok()), serde_json::json!([]));
    sandbox.sh("while :; do :; done");
    sandbox.start();
    let rows = json(&sandbox.rootlet(&["stats", "--no-stream", "-f", "json"]).ok());
    let row = &rows[0];
    assert!(row["id"] == "box" && row["pids"].as_u64() >= Some(1) && row["memory"].as_u64() > Some(0), "{rows}");
    eventually("it is seen to be busy", || {
        json(&sandbox.rootlet(&["stats", "--no-stream", "-f", "json", "box"]).ok())[0]["cpu_percent"].as_f64()
            > Some(1.0)
    });
    let text = sandbox.rootlet(&["stats", "--no-stream"]).ok().out;
    assert!(text.starts_with("ID ") && text.lines().count() == 2 && text.contains("box "), "{text}");
    sandbox.rootlet(&["stats", "--no-stream", "nobody"]).fails(&["container does not exist"]);
    // It lives until nobody listens.
    let line = format!("{} stats -f json | head -n 2 | wc -l", crate::sandbox::binary().display());
    let done = finish(sandbox.program(Path::new("/bin/sh"), &["-c", &line]));
    assert_eq!(done.ok().out.trim(), "2");
}

#[test]
fn a_trace_has_each_step_of_both_processes() {
    let sandbox = Sandbox::ordinary();
    sandbox.sh("true");
    let file = sandbox.path().join("trace.json");
    let file = file.to_str().unwrap();
    sandbox.on_bundle(&["run", "--trace", file, "box"]).ok();
    let document: Value = serde_json::from_str(&fs::read_to_string(file).unwrap()).unwrap();
    let events = document["traceEvents"].as_array().unwrap();
    let spans: Vec<_> = events.iter().filter(|event| event["ph"] == "X").collect();
    let named = |name: &str| {
        let found = spans.iter().find(|span| span["name"].as_str().unwrap().starts_with(name));
        *found.unwrap_or_else(|| panic!("{name} is not in {document}"))
    };
    let (clone, mount, execute) = (named("clone"), named("mount proc on /proc"), named("execute"));
    assert!(mount["pid"] == execute["pid"] && clone["pid"] != mount["pid"], "{document}");
    assert!(mount["ts"].as_f64() < execute["ts"].as_f64() && clone["ts"].as_f64() < mount["ts"].as_f64(), "{document}");
    assert_eq!(mount["args"]["property"], "mounts[0]");
    // Of a start that failed, up to where.
    sandbox.edit(|config| config["process"]["args"] = serde_json::json!(["/no/such"]));
    sandbox.on_bundle(&["run", "--trace", file, "box"]).fails(&["/no/such"]);
    let text = fs::read_to_string(file).unwrap();
    assert!(text.contains("find /no/such") && !text.contains("\"execute"), "{text}");
    sandbox.sh("true");
    sandbox.on_bundle(&["run", "--trace", "/no/such/file", "box"]).fails(&["--trace /no/such/file"]);
    sandbox.assert_clean();
}

#[test]
fn what_happens_to_a_run_is_told() {
    let sandbox = Sandbox::ordinary();
    let told = sandbox.path().join("told");
    let line = format!(
        "{} run --status-fd 3 -b {} box 3>{}",
        crate::sandbox::binary().display(),
        sandbox.bundle().display(),
        told.display()
    );
    let run = |script: &str| {
        sandbox.sh(script);
        finish(sandbox.program(Path::new("/bin/sh"), &["-c", &line]));
        let text = fs::read_to_string(&told).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect::<Vec<Value>>()
    };
    let events = run("exit 4");
    assert_eq!(events[2], serde_json::json!({ "event": "exited", "code": 4 }));
    assert!(
        events[0]["event"] == "created" && events[0]["id"] == "box" && events[1]["event"] == "started",
        "{events:?}"
    );
    // A first process is ended by SIGKILL alone, from outside.
    let script = "exec sleep 1000";
    sandbox.sh(script);
    let mut child = sandbox.program(Path::new("/bin/sh"), &["-c", &line]).spawn().unwrap();
    eventually("it runs", || sandbox.rootlet(&["state", "box"]).out.contains("running"));
    sandbox.rootlet(&["kill", "box", "KILL"]).ok();
    child.wait().unwrap();
    let last = fs::read_to_string(&told).unwrap().lines().last().unwrap().to_owned();
    assert_eq!(
        serde_json::from_str::<Value>(&last).unwrap(),
        serde_json::json!({ "event": "exited", "code": 137, "signal": 9 })
    );
}

#[test]
fn an_audited_profile_is_enough_for_the_same_and_for_nothing_else() {
    let sandbox = Sandbox::ordinary();
    let script = "ls / >/dev/null; echo $((6 * 7)); (sleep 0.01); exit 3";
    sandbox.sh(script);
    let file = sandbox.path().join("profile.json");
    let file = file.to_str().unwrap();
    let done = sandbox.on_bundle(&["run", "--seccomp-audit", file, "box"]);
    assert_eq!((done.code, done.out.as_str(), done.err.as_str()), (3, "42\n", ""));
    let profile: Value = serde_json::from_str(&fs::read_to_string(file).unwrap()).unwrap();
    let names = profile["syscalls"][0]["names"].to_string();
    for name in ["\"execve\"", "\"exit_group\"", "\"write\""] {
        assert!(names.contains(name), "{names}");
    }
    for name in ["\"mount\"", "\"seccomp\"", "\"setresuid\"", "\"mkdir"] {
        assert!(!names.contains(name), "{names}");
    }
    let done = sandbox.on_bundle(&["run", "--seccomp", file, "box"]);
    assert_eq!((done.code, done.out.as_str(), done.err.as_str()), (3, "42\n", ""));
    let done = sandbox.on_bundle(&["run", "--seccomp", file, "box", "--", "mkdir", "/tmp/x"]);
    assert!(done.code != 0 && done.err.contains("not permitted"), "{done:?}");
    // Who is ended leaves a profile, too; and what cannot be is an error.
    sandbox.on_bundle(&["run", "--seccomp-audit", "/no/such/file", "box"]).fails(&["--seccomp-audit /no/such/file"]);
    sandbox
        .on_bundle(&["run", "--seccomp-audit", file, "--fake-root", "box"])
        .fails(&["--seccomp-audit", "--fake-root"]);
    sandbox.edit(|config| config["process"]["noNewPrivileges"] = false.into());
    sandbox.on_bundle(&["run", "--seccomp-audit", file, "box"]).fails(&["noNewPrivileges"]);
    sandbox.assert_clean();
}

#[test]
fn a_program_that_is_no_first_process_is_reaped_after() {
    let sandbox = Sandbox::ordinary();
    sandbox.edit(|config| config["annotations"]["org.rootlet.init"] = "true".into());
    assert_eq!(sandbox.output("echo $$"), "2\n");
    sandbox.sh("kill -TERM $$");
    assert_eq!(sandbox.run().code, 143);
    // By `create` and `start`, too, and `kill` reaches the program.
    sandbox.sh("exec sleep 1000");
    sandbox.create();
    sandbox.rootlet(&["start", "box"]).ok();
    assert_eq!(sandbox.rootlet(&["exec", "box", "cat", "/proc/1/comm"]).ok().out, "rootlet-init\n");
    assert_eq!(
        json(&sandbox.rootlet(&["explain", "-f", "json", "box"]).ok())["processes"].as_array().unwrap().len(),
        2
    );
    sandbox.rootlet(&["kill", "box", "TERM"]).ok();
    eventually("it has stopped", || sandbox.status("box") == "stopped");
    sandbox.rootlet(&["delete", "box"]).ok();
    sandbox.edit(|config| config["process"]["args"] = serde_json::json!(["/no/such"]));
    sandbox.run().fails(&["/no/such"]);
    sandbox.sh("true");
    sandbox.edit(|config| {
        config["linux"]["namespaces"].as_array_mut().unwrap().retain(|space| space["type"] != "pid");
    });
    sandbox.run().fails(&["org.rootlet.init", "pid namespace"]);
    sandbox.assert_clean();
}

#[test]
fn the_command_line_completes_itself_and_knows_what_was_meant() {
    let sandbox = Sandbox::ordinary();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        assert!(sandbox.rootlet(&["completions", shell]).ok().out.contains("sandbox"), "{shell}");
    }
    sandbox.rootlet(&["completions", "csh"]).fails(&["bash"]);
    for (words, meant) in [
        (&["sandbx"][..], "did you mean `rootlet sandbox`?"),
        (&["doctr"], "did you mean `rootlet doctor`?"),
        (&["list", "--format", "jsn"], "did you mean json?"),
        (&["run", "--memroy", "1G", "box"], "--memory"),
        (&["run", "--mount", "type=tmpfs,dst=/x,noexce", "-b", "bundle", "box"], "did you mean \"noexec\"?"),
        (&["run", "--mount", "type=bind,src=/usr,dst=/x,noexce", "-b", "bundle", "box"], "did you mean \"noexec\"?"),
    ] {
        let done = sandbox.rootlet(words);
        assert!(done.code != 0 && done.err.contains(meant), "{words:?}: {done:?}");
    }
    // Nobody is spoken to in colours who is no terminal.
    assert!(!sandbox.rootlet(&["doctor"]).out.contains('\x1b'));
}
