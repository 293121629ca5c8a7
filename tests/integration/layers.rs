//! Writable layers over a root that stays as it is.

use crate::mounts::{has_programs, servers, with_fuse};
use crate::sandbox::{Sandbox, eventually, finish};
use std::fs;
use std::os::unix::fs::PermissionsExt;

/// With TMPDIR in the sandbox.
fn run_with_temporary(sandbox: &Sandbox, arguments: &[&str]) -> crate::sandbox::Done {
    let mut command = sandbox.command_on_bundle(arguments);
    command.env("TMPDIR", sandbox.path().join("temporary"));
    finish(command)
}

#[test]
fn a_temporary_layer_is_gone_with_its_container() {
    let sandbox = Sandbox::ordinary();
    let temporary = sandbox.mkdir("temporary", 0o755);
    let names = || fs::read_dir(&temporary).unwrap().count();
    fs::set_permissions(sandbox.rootfs(), fs::Permissions::from_mode(0o751)).unwrap();
    let script = "echo x >/new; rm /etc/passwd; mkdir /closed; touch /closed/x; chmod 0 /closed; stat -c %a /; ls /etc";
    for _ in 0..2 {
        let done = run_with_temporary(&sandbox, &["run", "--layer", "tmp", "box", "--", "sh", "-c", script]);
        assert_eq!((done.ok().out.as_str(), names()), ("751\n", 0));
    }
    assert!(sandbox.rootfs().join("etc/passwd").exists() && !sandbox.rootfs().join("new").exists());
    // In the background it is there as long as the container is, also when that has stopped.
    run_with_temporary(&sandbox, &["run", "-d", "--layer", "tmp", "box", "--", "touch", "/new"]).ok();
    eventually("it has stopped", || sandbox.status("box") == "stopped");
    assert_eq!(names(), 1);
    sandbox.rootlet(&["delete", "box"]).ok();
    assert_eq!(names(), 0);
    run_with_temporary(&sandbox, &["create", "--layer", "tmp", "box", "--", "sleep", "1000"]).ok();
    assert_eq!(names(), 1);
    sandbox.rootlet(&["delete", "-f", "box"]).ok();
    assert_eq!(names(), 0);
    // Nor does what was not created leave one.
    run_with_temporary(&sandbox, &["create", "--layer", "tmp", "box", "--", "nosuch"]).fails(&["nosuch"]);
    assert_eq!(names(), 0);
    // A run that is killed leaves a state, and whoever comes next takes both away.
    let mut command = sandbox.command_on_bundle(&["run", "--layer", "tmp", "box", "--", "sleep", "1000"]);
    let mut run = command.env("TMPDIR", &temporary).spawn().unwrap();
    eventually("it runs", || sandbox.rootlet(&["state", "box"]).out.contains("running"));
    run.kill().unwrap();
    run.wait().unwrap();
    assert_eq!(names(), 1);
    eventually("its container has ended, too", || !sandbox.rootlet(&["state", "box"]).out.contains("running"));
    let done = run_with_temporary(&sandbox, &["run", "--layer", "tmp", "box", "--", "true"]);
    assert_eq!((done.code, names()), (0, 0), "{done:?}");
    // A place that is not there is an error; and `plan` makes nothing.
    let plan = run_with_temporary(&sandbox, &["plan", "--layer", "tmp"]).ok().out;
    assert!(plan.contains("mount overlay on /") && names() == 0, "{plan}");
    fs::remove_dir(&temporary).unwrap();
    run_with_temporary(&sandbox, &["run", "--layer", "tmp", "box"]).fails(&["temporary", "TMPDIR"]);
    sandbox.assert_clean();
}

#[test]
fn a_layer_can_be_kept_and_used_again_by_one_at_a_time() {
    let sandbox = Sandbox::ordinary();
    let with = |arguments: &[&str]| sandbox.on_bundle(arguments);
    with(&["run", "--layer", "kept", "box", "--", "sh", "-c", "echo one >/file"]).ok();
    let again = with(&["run", "--layer", "kept", "box", "--", "sh", "-c", "cat /file; echo two >/file"]).ok();
    assert_eq!(again.out, "one\n");
    assert_eq!(fs::read_to_string(sandbox.path().join("kept/upper/file")).unwrap(), "two\n");
    assert!(!sandbox.rootfs().join("file").exists());
    let done = with(&["run", "--layer", "kept", "--read-only", "box", "--", "sh", "-c", "cat /file; echo >/file"]);
    assert!(done.code != 0 && done.out == "two\n" && done.err.contains("Read-only"), "{done:?}");
    with(&["create", "--layer", "kept", "box", "--", "sleep", "1000"]).ok();
    with(&["create", "--layer", "./kept/../kept", "other"]).fails(&[
        "kept",
        "container \"box\"'s",
        "delete --force box",
    ]);
    with(&["create", "--layer", "another", "other", "--", "sleep", "1000"]).ok();
    sandbox.rootlet(&["kill", "box", "KILL"]).ok();
    eventually("it has stopped", || sandbox.status("box") == "stopped");
    with(&["run", "--layer", "kept", "third", "--", "true"]).ok();
    sandbox.rootlet(&["delete", "box"]).ok();
    sandbox.rootlet(&["delete", "-f", "other"]).ok();
    assert!(sandbox.path().join("kept/upper/file").exists());
    // With paths that overlayfs reads in its own way.
    with(&["run", "--layer", "a:b\\d", "box", "--", "touch", "/file"]).ok();
    assert!(sandbox.path().join("a:b\\d/upper/file").exists());
    let comma = with(&["run", "--layer", "a,b", "box", "--", "touch", "/file"]);
    match sandbox.path().join("a,b/upper/file").exists() {
        true => assert_eq!(comma.code, 0, "{comma:?}"),
        false => drop(comma.fails(&["a,b", "has a comma", "Linux 6.5"])),
    }
    with(&["run", "--layer", "nosuch/deep", "box"]).fails(&["nosuch/deep", "ENOENT"]);
    with(&["run", "--layer", "bundle/config.json", "box"]).fails(&["config.json", "no directory"]);
    // What others may write to is theirs.
    let shared = sandbox.mkdir("shared", 0o777);
    with(&["run", "--layer", "shared", "box"]).fails(&["shared", "written to by others"]);
    fs::set_permissions(&shared, fs::Permissions::from_mode(0o755)).unwrap();
    std::os::unix::fs::symlink(sandbox.path(), shared.join("upper")).unwrap();
    with(&["run", "--layer", "shared", "box"]).fails(&["shared/upper", "no directory"]);
    // Neither the image nor another layer is written to, whoever asks.
    with(&["run", "--layer", "bundle/rootfs", "box"]).fails(&["bundle/rootfs", "root file system"]);
    with(&["run", "--layer", "bundle/rootfs/etc", "box"]).fails(&["root file system"]);
    with(&["run", "--layer", "kept/upper/x", "box"]).fails(&["another layer"]);
    with(&["run", "-d", "--layer", "kept", "box", "--", "sleep", "1000"]).ok();
    let other = sandbox.path().join("other-root");
    let elsewhere = sandbox.command_on_bundle(&["--root", other.to_str().unwrap(), "run", "--layer", "kept", "box"]);
    finish(elsewhere).fails(&["kept", "container \"box\"'s", "--root"]);
    sandbox.rootlet(&["delete", "-f", "box"]).ok();
    with(&["run", "--host", "--layer", "tmp", "box"]).fails(&["--host", "--layer"]);
    for layer in ["kept", "another", "a:b\\d", "a,b"] {
        let work = sandbox.path().join(layer).join("work/work");
        // Where there is one.
        let _ = fs::set_permissions(work, fs::Permissions::from_mode(0o700));
    }
    sandbox.assert_clean();
}

#[test]
fn what_the_kernel_cannot_layer_is_served_or_named() {
    if !has_programs(&["fuse-overlayfs"]) {
        return;
    }
    let sandbox = Sandbox::ordinary();
    for name in ["lower", "upper", "work", "on-overlay"] {
        sandbox.mkdir(name, 0o777);
    }
    sandbox.write("bundle/rootfs/gone", "");
    let place = sandbox.path().display();
    let overlay = format!(
        "mount -t overlay -o lowerdir={place}/lower,upperdir={place}/upper,workdir={place}/work overlay {place}/on-overlay && "
    );
    let layer = format!("--layer {place}/on-overlay/layer");
    let script = format!(
        "{overlay} rootlet run {layer} box -- sh -c 'echo one >/new; rm /gone; ls /gone 2>/dev/null; true' && \
        rootlet run {layer} box -- sh -c 'cat /new; ls /gone 2>/dev/null; ls /proc/self/fd >/dev/null && test -c /dev/null && echo mounted'"
    );
    assert_eq!(with_fuse(&sandbox, &script).ok().out, "one\nmounted\n");
    assert!(sandbox.path().join("upper/layer/upper/new").exists(), "it was written where it was to be");
    eventually("the server has ended", || servers("fuse-overlayfs", &sandbox) == 0);
    let without = format!("{overlay} as_user=\"$as_user env PATH=/nosuch\" && rootlet run {layer} box");
    with_fuse(&sandbox, &without).fails(&["--layer", "an overlay itself", "install fuse-overlayfs"]);
    sandbox.assert_clean();
}
