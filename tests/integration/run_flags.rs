//! `run`, `create`, `plan` and `check` with the flags of `spec`: nobody edits JSON.

use crate::sandbox::{Sandbox, eventually, finish, wait};
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
    assert!(on(&["--net", "bridge"]).err.contains("private"));
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

#[test]
fn an_image_is_unpacked_once_and_stays_as_it_is() {
    let sandbox = Sandbox::ordinary();
    let archive = sandbox.path().join("busybox.tar");
    let packed =
        std::process::Command::new("tar").arg("-C").arg(sandbox.rootfs()).arg("-cf").arg(&archive).arg(".").output();
    assert!(packed.unwrap().status.success());
    fs::set_permissions(&archive, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    let with_cache = |arguments: &[&str]| {
        let mut command = sandbox.command(arguments);
        command.env("XDG_CACHE_HOME", sandbox.path().join("cache")).env("TMPDIR", sandbox.path());
        finish(command)
    };
    let run = |script: &str| with_cache(&["run", "--image", "busybox.tar", "box", "--", "sh", "-c", script]);
    let images = || fs::read_dir(sandbox.path().join("cache/rootlet/images")).unwrap().count();
    assert_eq!(run("id -u; echo x >/new; ls /new").ok().out, "0\n/new\n");
    assert_eq!((run("ls /new 2>/dev/null; echo none").ok().out.as_str(), images()), ("none\n", 1));
    // Two at once, of an image that has changed.
    fs::write(&archive, [fs::read(&archive).unwrap(), vec![0; 10240]].concat()).unwrap();
    let mut both: Vec<_> = ["one", "two"]
        .map(|id| {
            let mut command = sandbox.command(&["run", "--image", "busybox.tar", id, "--", "true"]);
            command.env("XDG_CACHE_HOME", sandbox.path().join("cache")).env("TMPDIR", sandbox.path()).spawn().unwrap()
        })
        .into();
    assert!(both.iter_mut().all(|run| run.wait().unwrap().success()));
    assert_eq!(images(), 2);
    // A layer that is kept, and `plan`, which runs nothing.
    with_cache(&["run", "--image", "busybox.tar", "--layer", "kept", "box", "--", "touch", "/new"]).ok();
    assert!(sandbox.path().join("kept/upper/new").exists());
    let plan = with_cache(&["plan", "--image", "busybox.tar"]).ok().out;
    assert!(plan.contains("mount overlay on /"), "{plan}");
    with_cache(&["run", "--image", "-", "box"]).fails(&["standard input", "rootlet unpack - BUNDLE"]);
    with_cache(&["run", "--image", "nosuch", "box"]).fails(&[
        "--image",
        "nosuch",
        "ENOENT",
        "skopeo copy docker://nosuch",
    ]);
    with_cache(&["run", "--image", "docker://alpine", "box"]).fails(&["fetches nothing"]);
    // The kernel's own directory there has no permissions at all.
    fs::set_permissions(sandbox.path().join("kept/work/work"), std::os::unix::fs::PermissionsExt::from_mode(0o700))
        .unwrap();
    sandbox.assert_clean();
}

#[test]
fn a_home_can_be_kept_and_one_can_be_oneself() {
    let sandbox = Sandbox::ordinary();
    let home = sandbox.mkdir("kept-home", 0o755);
    let run = |flags: &[&str], script: &str| {
        let arguments = [&["run", "--host"], flags, &["box", "--", "sh", "-c", script]].concat();
        let mut command = sandbox.command(&arguments);
        command.env("HOME", sandbox.path());
        finish(command).ok().out
    };
    let own = sandbox.path().display().to_string();
    let uid = sandbox.uid();
    assert_eq!(run(&["--home", "kept-home"], "id -u; echo $HOME; echo x >~/file"), "0\n/root\n");
    assert_eq!(fs::read_to_string(home.join("file")).unwrap(), "x\n");
    assert_eq!(run(&["--as-me"], "id -u; echo $HOME; ls -A ~; echo x >~/y; ls ~"), format!("{uid}\n{own}\ny\n"));
    let both = ["--as-me", "--home", "kept-home"];
    assert_eq!(run(&both, "id -u; cat ~/file; stat -c %u ~/file"), format!("{uid}\nx\n{uid}\n"));
    sandbox.rootlet(&["run", "--host", "--as-me", "--user", "1", "box"]).fails(&["--as-me", "--user"]);
    sandbox.assert_clean();
}

#[test]
fn what_a_container_of_the_hosts_programs_changes_is_gone_with_it() {
    let sandbox = Sandbox::ordinary();
    let run = |flags: &[&str], script: &str| {
        let arguments = [&["run", "--host"], flags, &["box", "--", "/usr/bin/sh", "-c", script]].concat();
        finish(sandbox.command(&arguments)).ok().out
    };
    // Those that are links into /usr could be replaced by directories with programs of its own.
    run(&["--writable"], "rm /bin && mkdir /bin && echo planted >/bin/sh && touch /left");
    run(&["--mount", "type=bind,src=/etc,dst=/shown"], "test -e /shown/passwd");
    assert_eq!(run(&[], "readlink /bin; ls -d /left /shown 2>/dev/null; stat -c %a /"), "usr/bin\n755\n");
    let umask = "umask 077; $rootlet run --host --as-me box -- /usr/bin/id -u";
    assert_eq!(sandbox.caller(umask).ok().out, format!("{}\n", sandbox.uid()));
    sandbox.assert_clean();
}

#[test]
fn a_first_process_can_be_asked_for() {
    let sandbox = Sandbox::ordinary();
    let done = sandbox.on_bundle(&["run", "--init", "box", "--", "sh", "-c", "echo $$; cat /proc/1/comm"]).ok();
    assert_eq!(done.out, "2\nrootlet-init\n");
    // A program that handles no signal ends by it, as it does not as pid 1.
    let mut run = sandbox.command_on_bundle(&["run", "--init", "box", "--", "sleep", "1000"]).spawn().unwrap();
    eventually("it runs", || sandbox.rootlet(&["state", "box"]).out.contains("running"));
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(run.id() as i32), nix::sys::signal::SIGTERM).unwrap();
    assert_eq!(wait(&mut run), 143);
    sandbox.assert_clean();
}
