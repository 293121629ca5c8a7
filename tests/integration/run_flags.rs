//! `run`, `create`, `plan` and `check` with the flags of `spec`: nobody edits JSON.

use crate::sandbox::{Sandbox, eventually, finish};
use serde_json::{Value, json};
use std::fs;

#[test]
fn a_container_needs_no_bundle() {
    let sandbox = Sandbox::ordinary();
    let root = sandbox.rootfs();
    fs::remove_file(sandbox.bundle().join("config.json")).unwrap();
    let root = root.to_str().unwrap();
    let script = "id -u; hostname; pwd; echo $A; touch /new 2>/dev/null || echo read-only; exit 7";
    let flags = [
        "run",
        "--rootfs",
        root,
        "--hostname",
        "mine",
        "--cwd",
        "/tmp",
        "--env",
        "A=b",
        "box",
        "--",
        "sh",
        "-c",
        script,
    ];
    let done = sandbox.rootlet(&flags);
    assert_eq!((done.code, done.out.as_str()), (7, "0\nmine\n/tmp\nb\nread-only\n"), "{done:?}");
    // A relative directory is the caller's, and what is behind the program is its own.
    let done =
        sandbox.rootlet(&["run", "--rootfs", "bundle/rootfs", "--writable", "box", "--", "echo", "-d", "--", "--host"]);
    assert_eq!(done.ok().out, "-d -- --host\n");
    for _ in 0..2 {
        let script = "cat /proc/net/dev | wc -l; touch /usr/x || echo refused";
        let mut command = sandbox.command(&["run", "--host", "--net", "none", "box", "--", "sh", "-c", script]);
        command.env("HOME", sandbox.path());
        assert_eq!(finish(command).ok().out, "3\nrefused\n");
    }
    sandbox.assert_clean();
}

#[test]
fn a_bundle_is_changed_in_memory_alone() {
    let sandbox = Sandbox::ordinary();
    let before = fs::read_to_string(sandbox.bundle().join("config.json")).unwrap();
    let out = sandbox.on_bundle(&[
        "run",
        "--user",
        "33:34",
        "--env",
        "A=1",
        "--cap-drop",
        "ALL",
        "box",
        "--",
        "sh",
        "-c",
        "id -u; id -g; echo $A; cat /proc/self/status | grep CapBnd",
    ]);
    assert_eq!(out.ok().out, "33\n34\n1\nCapBnd:\t0000000000000000\n");
    assert_eq!(fs::read_to_string(sandbox.bundle().join("config.json")).unwrap(), before);
    // What was meant is in the state: a process that is added has it, too.
    sandbox.on_bundle(&["create", "--env", "A=kept", "--hostname", "other", "box", "--", "sleep", "1000"]).ok();
    let config = fs::read_to_string(sandbox.states().join("box/config.json")).unwrap();
    assert_eq!(serde_json::from_str::<Value>(&config).unwrap()["process"]["args"], json!(["sleep", "1000"]));
    sandbox.rootlet(&["start", "box"]).ok();
    eventually("it runs", || sandbox.status("box") == "running");
    assert_eq!(sandbox.rootlet(&["exec", "box", "sh", "-c", "echo $A; hostname"]).ok().out, "kept\nother\n");
    sandbox.rootlet(&["delete", "-f", "box"]).ok();
    sandbox.assert_clean();
}

#[test]
fn the_flags_mean_what_they_mean_to_spec() {
    let sandbox = Sandbox::ordinary();
    let root = sandbox.rootfs();
    let root = root.to_str().unwrap();
    for (number, flags) in [
        vec!["--no-tty"],
        vec!["--no-tty", "--mount", "type=tmpfs,dst=/data,size=1m", "--writable", "--seccomp", "default"],
        vec!["--no-tty", "--cap-add", "NET_RAW", "--cap-drop", "KILL", "--net", "none", "--user", "5", "--env", "X=y"],
        vec!["--no-tty", "--pids", "-1", "--cwd", "/tmp", "--hostname", "it"],
    ]
    .into_iter()
    .enumerate()
    {
        let name = format!("spec{number}");
        sandbox.mkdir(&name, 0o755);
        sandbox.rootlet(&[&["spec", "-b", &name, "--rootfs", root], &flags[..]].concat()).ok();
        let written = sandbox.rootlet(&["plan", "-b", &name]).ok().out;
        let meant = sandbox.rootlet(&[&["plan", "-b", &name, "--rootfs", root], &flags[..]].concat()).ok().out;
        assert_eq!(written, meant, "{flags:?}");
    }
}

#[test]
fn flags_that_cannot_be_are_one_error() {
    let sandbox = Sandbox::ordinary();
    let on = |flags: &[&str]| sandbox.on_bundle(&[&["run"], flags, &["box", "--", "true"]].concat());
    on(&["--rootfs", "nosuch"]).fails(&["root.path", "nosuch", "ENOENT"]);
    on(&["--env", "=x"]).fails(&["--env", "NAME=VALUE"]);
    on(&["--memory", "much"]).fails(&["--memory", "512M"]);
    on(&["--mount", "type=bind,src=/nosuch,dst=/x"]).fails(&["/nosuch"]);
    assert!(on(&["--host", "--rootfs", "x"]).err.contains("cannot be used with"));
    assert!(on(&["--net", "private"]).err.contains("private"));
    // A config whose types are wrong, or that lacks what a flag changes.
    sandbox.write("bundle/config.json", r#"{"ociVersion": "1.0.2", "linux": "x"}"#);
    on(&["--env", "A=b"]).fails(&["linux", "an object is needed"]);
    sandbox.write("bundle/config.json", r#"{"ociVersion": "1.0.2"}"#);
    assert_eq!(
        on(&[
            "--env",
            "A=b",
            "--mount",
            "type=tmpfs,dst=/x",
            "--net",
            "none",
            "--user",
            "1",
            "--cap-add",
            "KILL",
            "--memory",
            "1G",
            "--read-only"
        ])
        .code,
        1
    );
    let done = sandbox.rootlet(&["check", "bundle", "--env", "A=b"]);
    assert!(done.code == 1 && done.out.contains("with these flags"), "{done:?}");
    sandbox.assert_clean();
}
