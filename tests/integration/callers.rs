//! Odd callers and odd places: each command does what it should, or says why it does not; none hangs, and none leaves anything.

use crate::sandbox::{Done, Sandbox, binary, eventually, finish, is_root, skip};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;

/// Callers, each as a shell script that ends in `exec "$@"`.
const CALLERS: &[(&str, &str)] = &[
    ("who ignores the ends of children", "trap '' CHLD"),
    ("who ignores hangups and closed pipes", "trap '' HUP PIPE TERM INT"),
    (
        "who blocks all signals",
        "exec perl -MPOSIX -e 'POSIX::sigprocmask(SIG_SETMASK, POSIX::SigSet->new(1..31)); exec @ARGV' \"$@\"",
    ),
    ("without standard input", "exec <&-"),
    ("without standard streams", "exec <&- >&- 2>&-"),
    ("without descriptors: 3", "ulimit -n 3"),
    ("without descriptors: 4", "ulimit -n 4"),
    ("without descriptors: 5", "ulimit -n 5"),
    ("without descriptors: 6", "ulimit -n 6"),
    ("without descriptors: 7", "ulimit -n 7"),
    ("without descriptors: 8", "ulimit -n 8"),
    ("without descriptors: 9", "ulimit -n 9"),
    ("without descriptors: 10", "ulimit -n 10"),
    ("without descriptors: 11", "ulimit -n 11"),
    ("without descriptors: 12", "ulimit -n 12"),
    ("who may have no more processes", "exec prlimit --nproc=1 \"$@\""),
    ("whose files may not grow", "ulimit -f 0"),
    ("with little address space", "ulimit -v 16000"),
    ("with hardly any address space", "ulimit -v 6000"),
    ("with little memory", "ulimit -d 500"),
    ("who takes all permissions away", "umask 0777"),
    ("whose directory is gone", "mkdir gone && cd gone && rmdir ../gone"),
    ("without any variable", "exec env -i \"$@\""),
    (
        "with 2 MB of variables",
        "exec perl -e '$ENV{\"V$_\"} = \"x\" x 100000 for 1..20; exec @ARGV or die \"too much\\n\"' \"$@\"",
    ),
    ("who is pid 1", "exec unshare --user --map-current-user --pid --fork --mount --mount-proc --kill-child \"$@\""),
    (
        "whose child comes from elsewhere",
        "exec perl -e 'syscall(157, 36, 1); fork or exec @ARGV; wait; exit $? >> 8' \"$@\"",
    ),
];

/// Runs rootlet as such a caller.
fn called_by(sandbox: &Sandbox, caller: &str, arguments: &[&str]) -> Done {
    let script = format!("{caller}; exec \"$@\"");
    let root = sandbox.states();
    let begin = ["-c", &script, "sh", binary().to_str().unwrap(), "--root", root.to_str().unwrap()];
    finish(sandbox.program("/bin/sh".as_ref(), &[&begin, arguments].concat()))
}

/// Whether a command that failed has said so in one error, or could not.
fn is_explained(done: &Done, caller: &str) -> bool {
    // The C library, or the kernel before the program begins, has no room for it.
    let never_began = done.code > 128 || matches!(done.code, 126 | 127) || done.err.contains("allocation");
    let is_mute = is_mute(caller) && matches!(done.code, 1 | 255);
    let errors = done.err.lines().filter(|line| line.starts_with("error: ")).count();
    errors == 1 && !done.err.contains("panicked") || is_mute || never_began && caller.contains("ulimit")
}

/// Whether nobody hears it: standard error is a file that may not grow, or nothing.
fn is_mute(caller: &str) -> bool {
    caller.contains(">&-") || caller.contains("ulimit -f")
}

fn state_of(sandbox: &Sandbox) -> Option<Value> {
    let root = sandbox.states();
    let done = sandbox.rootlet(&["--root", root.to_str().unwrap(), "state", "box"]);
    (done.code == 0).then(|| serde_json::from_str(&done.out).unwrap())
}

/// A whole life of a container by such a caller. What was done right, by the names of the commands.
fn live(sandbox: &Sandbox, name: &str, caller: &str) -> Vec<String> {
    let mut done_right = Vec::new();
    let mut call = |arguments: &[&str], is_done: &dyn Fn(&Done) -> bool| {
        let done = called_by(sandbox, caller, arguments);
        let what = format!("{name}: {}: {done:?}", arguments.join(" "));
        match done.code {
            0 => {
                assert!(is_done(&done), "it says that it is done: {what}");
                done_right.push(arguments[0].to_owned());
            }
            _ => assert!(is_explained(&done, caller), "{what}"),
        }
    };
    let is_mute = is_mute(caller);
    let status = |wanted: &str| state_of(sandbox).is_some_and(|state| state["status"] == wanted);
    let bundle = sandbox.bundle();
    let bundle = bundle.to_str().unwrap();
    sandbox.sh("echo ran");
    call(&["run", "-b", bundle, "box"], &|done| (done.out == "ran\n") != is_mute);
    assert!(state_of(sandbox).is_none(), "{name}: run leaves a state");
    sandbox.edit(|config| config["process"]["args"] = json!(["sleep", "1000"]));
    call(&["create", "-b", bundle, "box"], &|_| status("created"));
    if state_of(sandbox).is_none() {
        let root = sandbox.states();
        sandbox.rootlet(&["--root", root.to_str().unwrap(), "create", "-b", "bundle", "box"]).ok();
    }
    call(&["state", "box"], &|done| is_mute || done.out.contains("\"created\""));
    call(&["list"], &|done| is_mute || done.out.contains("created"));
    call(&["start", "box"], &|_| status("running"));
    if !status("running") {
        let root = sandbox.states();
        sandbox.rootlet(&["--root", root.to_str().unwrap(), "start", "box"]);
    }
    if !status("running") {
        // It was created by who could hardly do that.
        let root = sandbox.states();
        sandbox.rootlet(&["--root", root.to_str().unwrap(), "delete", "-f", "box"]).ok();
        sandbox.rootlet(&["--root", root.to_str().unwrap(), "run", "-d", "-b", "bundle", "box"]).ok();
    }
    call(&["exec", "box", "echo", "inside"], &|done| (done.out == "inside\n") != is_mute);
    call(&["ps", "-f", "json", "box"], &|done| is_mute || done.out.starts_with('['));
    call(&["pause", "box"], &|_| status("paused"));
    if status("paused") {
        call(&["resume", "box"], &|_| status("running"));
    }
    if status("paused") {
        let root = sandbox.states();
        sandbox.rootlet(&["--root", root.to_str().unwrap(), "resume", "box"]).ok();
    }
    call(&["events", "--stats", "box"], &|done| is_mute || done.out.contains("\"current\":1"));
    call(&["kill", "box", "KILL"], &|_| {
        eventually("it ends", || status("stopped"));
        true
    });
    call(&["delete", "--force", "box"], &|_| state_of(sandbox).is_none());
    if state_of(sandbox).is_some() {
        let root = sandbox.states();
        sandbox.rootlet(&["--root", root.to_str().unwrap(), "delete", "--force", "box"]).ok();
    }
    done_right
}

#[test]
fn odd_callers_get_what_they_asked_for_or_its_cause() {
    for make in [Sandbox::ordinary as fn() -> Sandbox, || Sandbox::root().unwrap()] {
        if make().uid() == 0 && !is_root() {
            continue;
        }
        std::thread::scope(|scope| {
            for part in CALLERS.chunks(CALLERS.len().div_ceil(4)) {
                scope.spawn(move || {
                    for (name, caller) in part {
                        let sandbox = make();
                        if caller.contains("--pid") && sandbox.uid() != 0 {
                            // Whoever is a user namespace's root has another's view of the processes.
                            continue;
                        }
                        let done = live(&sandbox, name, caller);
                        println!("{name} ({}): {}", sandbox.uid(), done.join(" "));
                        sandbox.assert_clean();
                        let limits = ["ulimit", "nproc", "--pid"];
                        if !limits.iter().any(|limit| caller.contains(limit)) {
                            assert_eq!(done.len(), 12, "{name}: all of them can be had: {done:?}");
                        }
                    }
                });
            }
        });
        if !is_root() {
            return;
        }
    }
}

/// Mounts a small file system there, in a mount namespace of the command's own.
const DISKS: &[(&str, &str)] = &[
    ("full", "mount -t tmpfs -o size=4k,uid=$uid none \"$place\" && (yes >\"$place/filler\" 2>/dev/null; true)"),
    ("without inodes", "mount -t tmpfs -o nr_inodes=1,uid=$uid none \"$place\""),
    ("read-only", "mount -t tmpfs -o uid=$uid none \"$place\" && mount -o remount,ro \"$place\""),
];

#[test]
fn odd_disks_are_named() {
    if !is_root() {
        return skip("needs root, to mount full disks");
    }
    let commands: &[(&str, &[&str], &[&str])] = &[
        ("states", &["--root", "odd"], &["run", "-b", "bundle", "box"]),
        ("states", &["--root", "odd"], &["create", "-b", "bundle", "box"]),
        ("logs", &["--log", "odd/log", "--debug"], &["run", "-b", "bundle", "box"]),
        ("pid files", &[], &["create", "-b", "bundle", "--pid-file", "odd/pid", "box"]),
        ("pid files", &[], &["run", "-d", "-b", "bundle", "--pid-file", "odd/pid", "box"]),
        ("bundles", &[], &["spec", "-b", "odd"]),
    ];
    for uid in [crate::sandbox::ORDINARY, 0] {
        for (disk, mount) in DISKS {
            for (what, before, arguments) in commands {
                let sandbox = if uid == 0 { Sandbox::root().unwrap() } else { Sandbox::ordinary() };
                sandbox.sh("echo ran");
                let place = sandbox.mkdir("odd", 0o777);
                let user = format!("setpriv --reuid={uid} --regid={uid} --clear-groups");
                let script = format!(
                    "uid={uid}; place={}; {mount} && cd {} && {user} \"$@\"; code=$?; ls -A odd | grep -v filler >&2; exit $code",
                    place.display(),
                    sandbox.path().display()
                );
                let mut command = std::process::Command::new("unshare");
                command
                    .args(["--mount", "sh", "-c", &script, "sh", binary().to_str().unwrap()])
                    .args(*before)
                    .args(*arguments);
                command.env("XDG_RUNTIME_DIR", sandbox.path().join("xdg"));
                let done = finish(command);
                let what = format!("{what} on a disk that is {disk}, as {uid}: {done:?}");
                match done.code {
                    0 => assert!(*before == ["--log", "odd/log", "--debug"] && done.out == "ran\n", "{what}"),
                    _ => {
                        let errors = done.err.lines().filter(|line| line.starts_with("error: ")).count();
                        assert!(
                            errors == 1 && ["ENOSPC", "EROFS"].iter().any(|errno| done.err.contains(errno)),
                            "{what}"
                        );
                        // What it has begun is taken back.
                        let left: Vec<_> =
                            done.err.lines().filter(|line| ["box", "config.json", "pid"].contains(line)).collect();
                        assert!(left.is_empty(), "{left:?} is left: {what}");
                    }
                }
                assert!(fs::read_dir(&place).unwrap().next().is_none(), "the disk was elsewhere");
                sandbox.assert_clean();
            }
        }
    }
}

#[test]
fn where_room_is_short_a_program_runs_and_is_heard_or_does_not_run() {
    if !is_root() {
        return skip("needs root, to mount full disks");
    }
    let mut ran = 0;
    for free in (0..=5).map(|pages| pages * 4096) {
        let sandbox = Sandbox::ordinary();
        sandbox.sh("echo ran; exit 7");
        let place = sandbox.mkdir("odd", 0o700);
        let script = format!(
            "uid={uid}; place={}; mount -t tmpfs -o size=64k,mode=700,uid=$uid none $place && \
             head -c $((65536 - {free})) /dev/zero >$place/filler && cd {} && \
             setpriv --reuid=$uid --regid=$uid --clear-groups \"$@\"",
            place.display(),
            sandbox.path().display(),
            uid = sandbox.uid()
        );
        let mut command = std::process::Command::new("unshare");
        command.args(["--mount", "sh", "-c", &script, "sh", binary().to_str().unwrap()]);
        command
            .args(["--root", "odd", "run", "-b", "bundle", "box"])
            .env("XDG_RUNTIME_DIR", sandbox.path().join("xdg"));
        let done = finish(command);
        match done.code {
            7 => ran += 1,
            _ => assert!(done.err.contains("ENOSPC"), "{free}: {done:?}"),
        }
        assert_eq!(done.out == "ran\n", done.code == 7, "{free}: {done:?}");
    }
    // Two files need a page each, and the state is written again when the program runs.
    assert_eq!(ran, 4, "of 6 have room");
}

#[test]
fn a_root_file_system_that_is_full_or_read_only_is_named_or_serves() {
    if !is_root() {
        return skip("needs root, to mount full disks");
    }
    for (disk, options) in [("full", "size=4m"), ("read-only", "ro")] {
        let sandbox = Sandbox::ordinary();
        sandbox.sh("echo ran");
        sandbox.edit(|config| {
            config["mounts"]
                .as_array_mut()
                .unwrap()
                .push(json!({"destination": "/made/for/it", "type": "tmpfs", "source": "tmpfs"}));
        });
        let script = format!(
            "cp -a {0} {0}.copy && mount -t tmpfs -o size=4m none {0} && cp -a {0}.copy/. {0} && chown {2}:{2} {0} && \
             (yes >{0}/filler 2>/dev/null; true) && mount -o remount,{1} {0} && cd {3} && \
             setpriv --reuid={2} --regid={2} --clear-groups \"$@\"",
            sandbox.rootfs().display(),
            options,
            sandbox.uid(),
            sandbox.path().display()
        );
        let mut command = std::process::Command::new("unshare");
        command.args(["--mount", "sh", "-c", &script, "sh", binary().to_str().unwrap(), "run", "-b", "bundle", "box"]);
        command.env("XDG_RUNTIME_DIR", sandbox.path().join("xdg"));
        let done = finish(command);
        assert!(done.code != 0 || done.out == "ran\n", "{disk}: {done:?}");
        if done.code != 0 {
            assert!(["ENOSPC", "EROFS"].iter().any(|errno| done.err.contains(errno)), "{disk}: {done:?}");
            assert!(done.err.contains("mounts["), "{disk}: {done:?}");
        }
        assert!(Path::new(&sandbox.rootfs()).exists());
        sandbox.assert_clean();
    }
}

#[test]
fn a_umask_is_the_containers_own() {
    let sandbox = Sandbox::ordinary();
    sandbox.edit(|config| config["root"]["readonly"] = json!(false));
    sandbox.sh("umask; echo made > /data/file; stat -c %a /data/file");
    for umask in ["0077", "0777", "0000"] {
        let done = called_by(&sandbox, &format!("umask {umask}"), &["run", "-b", "bundle", "box"]).ok();
        assert_eq!(done.out, "0022\n644\n", "under umask {umask}");
        fs::remove_file(sandbox.rootfs().join("data/file")).unwrap();
    }
    sandbox.assert_clean();
}

/// The pids of a container mean something only where it was created.
#[test]
fn what_another_pid_namespace_has_is_not_said_to_have_stopped() {
    let sandbox = Sandbox::ordinary();
    sandbox.edit(|config| config["process"]["args"] = json!(["sleep", "1000"]));
    sandbox.start();
    let elsewhere = "exec unshare --user --map-current-user --pid --fork --mount --mount-proc \"$@\"";
    let cannot = ["cannot be seen from here", "another pid namespace"];
    let (bundle, root) = (sandbox.bundle(), sandbox.states());
    called_by(&sandbox, elsewhere, &["state", "box"]).fails(&cannot);
    let listed = called_by(&sandbox, elsewhere, &["list", "-f", "json"]).fails(&cannot);
    assert!(listed.out.contains("\"status\":\"unknown\""), "{listed:?}");
    called_by(&sandbox, elsewhere, &["delete", "box"]).fails(&cannot);
    called_by(&sandbox, elsewhere, &["kill", "box"]).fails(&cannot);
    called_by(&sandbox, elsewhere, &["create", "-b", bundle.to_str().unwrap(), "box"]).fails(&["already exists"]);
    assert_eq!(state_of(&sandbox).unwrap()["status"], "running");
    sandbox.rootlet(&["--root", root.to_str().unwrap(), "delete", "--force", "box"]).ok();
    sandbox.assert_clean();
}

#[test]
fn nobody_is_waited_for_without_end() {
    let sandbox = Sandbox::ordinary();
    sandbox.sh("sleep 1000");
    let bundle = sandbox.bundle();
    let fifo = sandbox.path().join("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::from_bits_truncate(0o666)).unwrap();
    std::fs::set_permissions(&fifo, std::os::unix::fs::PermissionsExt::from_mode(0o666)).unwrap();
    sandbox.rootlet(&["--log", fifo.to_str().unwrap(), "list"]).fails(&["cannot open the log", "ENXIO"]);
    sandbox.edit(|config| {
        for namespace in config["linux"]["namespaces"].as_array_mut().unwrap() {
            if namespace["type"] == "ipc" {
                namespace["path"] = json!(fifo);
            }
        }
    });
    sandbox.run().fails(&["linux.namespaces", "fifo"]);
    sandbox.edit(|config| {
        for namespace in config["linux"]["namespaces"].as_array_mut().unwrap() {
            namespace.as_object_mut().unwrap().remove("path");
        }
    });
    // A container that is stopped while many look at it.
    sandbox.create();
    sandbox.rootlet(&["kill", "box", "STOP"]).ok();
    for _ in 0..25 {
        assert_eq!(sandbox.status("box"), "created");
    }
    sandbox.rootlet(&["start", "box"]).fails(&["does not answer", "rootlet kill box CONT"]);
    sandbox.rootlet(&["kill", "box", "CONT"]).ok();
    sandbox.rootlet(&["start", "box"]).ok();
    sandbox.rootlet(&["delete", "-f", "box"]).ok();
    // Sockets at which nobody accepts.
    let path = sandbox.path().join("full.sock");
    let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
    nix::sys::socket::listen(&listener, nix::sys::socket::Backlog::new(0).unwrap()).unwrap();
    let _waiting = std::os::unix::net::UnixStream::connect(&path).unwrap();
    let arguments = ["run", "-d", "-b", bundle.to_str().unwrap(), "--pidfd-socket", path.to_str().unwrap(), "box"];
    sandbox.rootlet(&arguments).fails(&["full.sock", "EAGAIN", "does not accept"]);
    sandbox.assert_clean();
}
