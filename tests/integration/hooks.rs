//! The six kinds of hooks: where, when, with what, and what a failure does.

use crate::sandbox::{Sandbox, eventually};
use serde_json::{Value, json};
use std::fs;
use std::path::PathBuf;

const KINDS: [&str; 6] = ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"];

/// Hooks of all kinds that write their name, their namespaces and their state into one file.
fn recording() -> (Sandbox, PathBuf) {
    let sandbox = Sandbox::ordinary();
    let record = sandbox.path().join("bundle/rootfs/data/record");
    let inside = "/data/record";
    sandbox.edit(|config| config["root"]["readonly"] = json!(false));
    let line = |kind: &str, file: &str| {
        format!(
            "state=$(cat); echo \"{kind} $0 $1 ${{MARK:-unset}} $(readlink /proc/self/ns/mnt) $(hostname) $state\" >> {file}"
        )
    };
    for kind in KINDS {
        let (path, file) = if kind == "startContainer" {
            ("/bin/sh".to_owned(), inside)
        } else {
            ("/bin/sh".to_owned(), record.to_str().unwrap())
        };
        let hook = json!([{"path": path, "args": ["sh", "-c", line(kind, file), "zero", "one"], "env": ["PATH=/bin:/usr/bin", format!("MARK={kind}")]}]);
        sandbox.edit(|config| config["hooks"][kind] = hook);
    }
    (sandbox, record)
}

/// The words before the state, and the state, of each line.
fn lines(record: &PathBuf) -> Vec<(Vec<String>, Value)> {
    let text = fs::read_to_string(record).unwrap();
    let split = |line: &str| {
        let (words, state) = line.split_once('{').unwrap();
        (words.split_whitespace().map(str::to_owned).collect(), serde_json::from_str(&format!("{{{state}")).unwrap())
    };
    text.lines().map(split).collect()
}

#[test]
fn each_runs_in_its_order_and_namespace_with_its_state() {
    let (sandbox, record) = recording();
    sandbox.sh("echo \"program - - - - -{}\" >> /data/record");
    sandbox.create();
    let names = |record: &PathBuf| lines(record).iter().map(|(words, _)| words[0].clone()).collect::<Vec<_>>();
    assert_eq!(names(&record), ["prestart", "createRuntime", "createContainer"]);
    sandbox.rootlet(&["start", "box"]).ok();
    eventually("it has stopped", || sandbox.status("box") == "stopped");
    eventually("poststart has run", || names(&record).contains(&"poststart".to_owned()));
    sandbox.rootlet(&["delete", "box"]).ok();

    let all = lines(&record);
    let mut order = names(&record);
    // The program and poststart run at the same time.
    order.retain(|name| name != "program");
    assert_eq!(order, KINDS);
    let host_namespace = fs::read_link("/proc/self/ns/mnt").unwrap().display().to_string();
    let statuses = ["creating", "creating", "creating", "created", "running", "stopped"];
    for ((words, state), status) in all.iter().filter(|(words, _)| words[0] != "program").zip(statuses) {
        let kind = words[0].as_str();
        assert_eq!(words[1..4], ["zero", "one", kind], "arguments and environment");
        let is_inside = matches!(kind, "createContainer" | "startContainer");
        assert_eq!(words[4] != host_namespace, is_inside, "{kind}: namespace");
        if kind == "startContainer" {
            assert_eq!(words[5], "rootlet", "in the container's root");
        }
        assert_eq!(state["status"], status, "{kind}");
        assert_eq!(state["id"], "box");
        assert_eq!(state["bundle"], sandbox.bundle().canonicalize().unwrap().to_str().unwrap());
        assert_eq!(state["pid"] == 1, is_inside, "{kind}: {state}");
    }
    sandbox.assert_clean();
}

#[test]
fn a_foreground_run_runs_them_all() {
    let (sandbox, record) = recording();
    sandbox.output("true");
    assert_eq!(lines(&record).iter().map(|(words, _)| words[0].as_str()).collect::<Vec<_>>().len(), 6);
    sandbox.assert_clean();
}

#[test]
fn a_failing_hook_fails_the_start_and_leaves_nothing() {
    let sandbox = Sandbox::ordinary();
    for kind in &KINDS[..5] {
        sandbox.sh("sleep 1000");
        sandbox.edit(|config| {
            config["hooks"] = json!({*kind: [{"path": "/bin/sh", "args": ["sh", "-c", "echo the reason >&2; exit 3"]}]})
        });
        let done = sandbox.run();
        done.fails(&[&format!("hooks.{kind}[0]"), "/bin/sh", "the reason"]);
        sandbox.assert_clean();
        sandbox.on_bundle(&["run", "-d", "box"]).fails(&[&format!("hooks.{kind}[0]")]);
        sandbox.assert_clean();
    }
}

#[test]
fn a_failing_poststop_is_only_warned_about() {
    let sandbox = Sandbox::ordinary();
    sandbox.sh("true");
    sandbox.edit(|config| {
        config["hooks"] =
            json!({"poststop": [{"path": "/bin/false"}, {"path": "/bin/sh", "args": ["sh", "-c", "exit 0"]}]})
    });
    sandbox.start();
    eventually("it has stopped", || sandbox.status("box") == "stopped");
    let done = sandbox.rootlet(&["delete", "box"]).ok();
    assert!(done.err.contains("hooks.poststop[0]"), "{done:?}");
    let done = sandbox.run().ok();
    assert!(done.err.contains("hooks.poststop[0]"), "{done:?}");
    sandbox.assert_clean();
}

#[test]
fn a_hook_that_takes_too_long_is_ended() {
    let sandbox = Sandbox::ordinary();
    sandbox.sh("true");
    for kind in ["createRuntime", "createContainer", "startContainer"] {
        sandbox.edit(|config| {
            config["hooks"] =
                json!({kind: [{"path": "/bin/sh", "args": ["sh", "-c", "sleep 1000 & sleep 1000"], "timeout": 1}]})
        });
        sandbox.run().fails(&[&format!("hooks.{kind}[0]"), "longer than 1 s"]);
        sandbox.assert_clean();
    }
}

#[test]
fn a_hook_has_no_descriptors_of_rootlets() {
    let sandbox = Sandbox::ordinary();
    sandbox.sh("true");
    for kind in ["createRuntime", "createContainer"] {
        let record = sandbox.path().join("xdg").join(kind);
        let list = format!("exec ls /proc/self/fd > {}", record.display());
        sandbox.edit(|config| config["hooks"] = json!({kind: [{"path": "/bin/sh", "args": ["sh", "-c", list]}]}));
        sandbox.run().ok();
        assert_eq!(fs::read_to_string(record).unwrap(), "0\n1\n2\n3\n", "{kind}: 3 is the directory that ls reads");
    }
}

#[test]
fn a_bad_hook_is_refused_before_anything_is_made() {
    let sandbox = Sandbox::ordinary();
    sandbox.edit(|config| config["hooks"] = json!({"poststop": [{"path": "true"}]}));
    sandbox.run().fails(&["hooks.poststop[0]", "not absolute"]);
    sandbox.edit(|config| config["hooks"] = json!({"prestart": [{"path": "/bin/true", "timeout": 0}]}));
    sandbox.run().fails(&["hooks.prestart[0]", "timeout"]);
    sandbox.assert_clean();
}

#[test]
fn a_hook_may_say_much() {
    let sandbox = Sandbox::ordinary();
    let hook = sandbox.script("hook", "head -c 200000 /dev/zero >&2; head -c 200000 /dev/zero");
    sandbox.sh("echo ran");
    sandbox.edit(|config| {
        config["hooks"] = json!({"createRuntime": [{"path": hook, "env": ["PATH=/bin:/usr/bin"]}], "poststop": [{"path": hook, "env": ["PATH=/bin:/usr/bin"]}]});
    });
    assert_eq!(sandbox.run().ok().out, "ran\n");
}

#[test]
fn each_begins_where_runc_lets_it_begin() {
    let sandbox = Sandbox::ordinary();
    sandbox.sh("true");
    let record = sandbox.path().join("bundle/rootfs/data/record");
    sandbox.edit(|config| {
        config["root"]["readonly"] = json!(false);
        config["process"]["cwd"] = json!("/tmp");
        config["process"]["env"] = json!(["PATH=/bin"]);
        config["process"]["user"] = json!({"uid": 0, "gid": 0});
        for kind in KINDS {
            let inside = kind == "startContainer";
            let file = if inside { "/data/record".into() } else { record.display().to_string() };
            let line = format!("echo {kind} $(/bin/pwd) >>{file}");
            let line = if inside {
                line + "; echo $HOME >>/data/record; grep Seccomp: /proc/self/status >>/data/record"
            } else {
                line
            };
            config["hooks"][kind] = json!([{"path": "/bin/sh", "args": ["sh", "-c", line]}]);
        }
        config["linux"]["seccomp"] =
            json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["acct"], "action": "SCMP_ACT_ERRNO"}]});
    });
    std::os::unix::fs::symlink("busybox", sandbox.rootfs().join("bin/pwd")).unwrap();
    sandbox.run().ok();
    let bundle = sandbox.bundle().canonicalize().unwrap().display().to_string();
    let expected = format!(
        "prestart {bundle}\ncreateRuntime {bundle}\ncreateContainer {bundle}/rootfs\nstartContainer /tmp\n/root\nSeccomp:\t2\npoststart {bundle}\npoststop {bundle}\n"
    );
    assert_eq!(fs::read_to_string(&record).unwrap(), expected);
    // A bundle that is gone is no reason to leave out the last ones.
    let elsewhere = sandbox.path().join("xdg/elsewhere");
    sandbox.sh("sleep 1000");
    sandbox.edit(|config| {
        config["hooks"] = json!({"poststop": [{"path": "/bin/sh", "args": ["sh", "-c", format!("echo last >{}", elsewhere.display())]}]})
    });
    sandbox.start();
    fs::rename(sandbox.bundle(), sandbox.path().join("moved")).unwrap();
    sandbox.rootlet(&["delete", "-f", "box"]).ok();
    assert_eq!(fs::read_to_string(elsewhere).unwrap(), "last\n");
    fs::rename(sandbox.path().join("moved"), sandbox.bundle()).unwrap();
    sandbox.assert_clean();
}

#[test]
fn a_failing_hook_is_named_by_its_number_and_its_exit_status() {
    let sandbox = Sandbox::ordinary();
    sandbox.sh("true");
    for kind in &KINDS[..5] {
        for (script, how) in [("exit 3", "exit status"), ("kill -9 $$", "signal")] {
            let hook = |script: &str| json!({"path": "/bin/sh", "args": ["sh", "-c", script]});
            sandbox.edit(|config| config["hooks"] = json!({*kind: [hook("exit 0"), hook(script)]}));
            let number = if script == "exit 3" { "3" } else { "9" };
            let done = sandbox.run();
            assert!(
                done.err.contains(&format!("{how}: {number}")) || done.err.contains(&format!("{how} {number}")),
                "{done:?}"
            );
            done.fails(&[&format!("hooks.{kind}[1]")]);
        }
    }
    sandbox.assert_clean();
}

#[test]
fn who_holds_a_failed_hooks_output_keeps_nobody_waiting() {
    let sandbox = Sandbox::ordinary();
    sandbox.sh("true");
    let pid = sandbox.path().join("xdg/pid");
    for kind in ["createRuntime", "createContainer"] {
        let script = format!("sleep 1000 & echo $! >{}; echo why; exit 1", pid.display());
        sandbox.edit(|config| {
            config["hooks"] = json!({kind: [{"path": "/bin/sh", "args": ["sh", "-c", script], "timeout": 100}]})
        });
        let start = std::time::Instant::now();
        sandbox.run().fails(&[&format!("hooks.{kind}[0]"), "it said: why"]);
        let took = start.elapsed();
        let left: i32 = fs::read_to_string(&pid).unwrap().trim().parse().unwrap();
        let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(left), nix::sys::signal::SIGKILL);
        assert!(took.as_secs() < 60, "{kind}: it waits for the grandchild");
    }
}

#[test]
fn a_failing_poststart_ends_the_container_and_its_state() {
    let sandbox = Sandbox::ordinary();
    sandbox.sh("sleep 1000");
    let poststop = sandbox.path().join("xdg/poststop");
    let note = json!({"path": "/bin/sh", "args": ["sh", "-c", format!("echo once >>{}", poststop.display())]});
    sandbox.edit(|config| config["hooks"] = json!({"poststart": [{"path": "/bin/false"}], "poststop": [note]}));
    let bundle = sandbox.bundle();
    for arguments in [&["run", "-d"][..], &["create"]] {
        let done = sandbox.rootlet(&[arguments, &["-b", bundle.to_str().unwrap(), "box"]].concat());
        let done = if arguments == ["create"] { sandbox.rootlet(&["start", "box"]) } else { done };
        done.fails(&["hooks.poststart[0]", "exit status"]);
        sandbox.assert_clean();
    }
    assert_eq!(fs::read_to_string(poststop).unwrap(), "once\nonce\n");
}

#[test]
fn a_hook_need_not_read_its_state_and_may_say_more_than_fits_anywhere() {
    let sandbox = Sandbox::ordinary();
    sandbox.sh("sleep 1000");
    // More than a pipe has room for.
    let annotations: serde_json::Map<_, _> = (0..300).map(|n| (format!("note{n}"), json!("x".repeat(1000)))).collect();
    let hook = |script: &str| json!([{"path": "/bin/sh", "args": ["sh", "-c", script], "timeout": 2}]);
    sandbox.edit(|config| {
        config["annotations"] = annotations.into();
        config["hooks"] = json!({"createRuntime": hook("cat"), "poststop": hook("sleep 1000")});
    });
    sandbox.start();
    let done = sandbox.rootlet(&["delete", "-f", "box"]).ok();
    assert!(done.err.contains("hooks.poststop[0]") && done.err.contains("longer than 2 s"), "{done:?}");
    sandbox.edit(|config| config["hooks"] = json!({"createRuntime": hook("exec sleep 1000")}));
    sandbox.run().fails(&["hooks.createRuntime[0]", "longer than 2 s"]);
    sandbox.edit(|config| config["hooks"] = json!({"createRuntime": hook("yes; echo never"), "poststop": []}));
    sandbox.run().fails(&["hooks.createRuntime[0]", "longer than 2 s"]);
    sandbox.assert_clean();
}

#[test]
fn a_hook_hears_signals_whatever_rootlet_has_blocked() {
    let sandbox = Sandbox::ordinary();
    sandbox.sh("true");
    let record = sandbox.path().join("xdg/masks");
    sandbox.edit(|config| {
        for kind in KINDS.iter().filter(|kind| **kind != "startContainer") {
            let hook = json!({"path": "/bin/busybox", "args": ["dd", "if=/proc/self/status", format!("of={}.{kind}", record.display())]});
            config["hooks"][*kind] = json!([hook]);
        }
    });
    sandbox.run().ok();
    for kind in KINDS.iter().filter(|kind| **kind != "startContainer") {
        let status = fs::read_to_string(record.with_extension(kind)).unwrap();
        for name in ["SigBlk", "SigIgn"] {
            let line = status.lines().find(|line| line.starts_with(name)).unwrap();
            assert!(line.ends_with("\t0000000000000000"), "{kind}: {line}");
        }
    }
}

#[test]
fn a_hook_ends_with_who_has_started_it() {
    let sandbox = Sandbox::ordinary();
    sandbox.sh("true");
    let pid = sandbox.path().join("xdg/pid");
    let script = format!("echo $$ >{}; exec sleep 1000", pid.display());
    sandbox
        .edit(|config| config["hooks"] = json!({"createRuntime": [{"path": "/bin/sh", "args": ["sh", "-c", script]}]}));
    for signal in [nix::sys::signal::SIGKILL, nix::sys::signal::SIGHUP, nix::sys::signal::SIGQUIT] {
        let mut create = sandbox.command_on_bundle(&["create", "box"]);
        create.stderr(std::process::Stdio::null());
        // What a shell's & has ignored stays ignored.
        // SAFETY: signal(2) of a signal that exists.
        unsafe {
            std::os::unix::process::CommandExt::pre_exec(&mut create, move || {
                nix::sys::signal::signal(signal, nix::sys::signal::SigHandler::SigDfl).map(drop).or(Ok(()))
            })
        };
        let mut create = create.spawn().unwrap();
        eventually("the hook runs", || fs::read_to_string(&pid).is_ok_and(|text| text.ends_with('\n')));
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(create.id() as i32), signal).unwrap();
        create.wait().unwrap();
        let hook = format!("/proc/{}/cmdline", fs::read_to_string(&pid).unwrap().trim());
        eventually("the hook has ended", || fs::read(&hook).unwrap_or_default().is_empty());
        fs::remove_file(&pid).unwrap();
        sandbox.rootlet(&["delete", "-f", "box"]).ok();
        sandbox.assert_clean();
    }
}
