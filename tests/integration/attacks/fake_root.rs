//! What a container tries with the process that answers for its fake root, which has the host's files.

use crate::exec::compile;
use crate::fake_root::supervisors;
use crate::sandbox::Sandbox;
use serde_json::json;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::time::Duration;

fn run(sandbox: &Sandbox, arguments: &[&str]) -> crate::sandbox::Done {
    sandbox.on_bundle(&[&["run", "--fake-root", "--writable", "box", "--", "confuse"], arguments].concat())
}

#[test]
fn what_it_finds_is_never_the_hosts() {
    let sandbox = Sandbox::ordinary();
    if !compile(&sandbox, "confuse", include_str!("confuse.c")) {
        return;
    }
    let secret = sandbox.write("secret", "s");
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
    let attribute = || {
        let mut buffer = [0u8; 64];
        let length = kept_owner(&secret, &mut buffer);
        length.map(|length| buffer[..length].to_vec())
    };
    let done = run(&sandbox, &["escape", secret.to_str().unwrap()]);
    assert_eq!(done.code, 0, "{done:?}");
    assert_eq!(attribute(), None, "a file of the host's was changed");
    sandbox.assert_clean();
}

/// The attribute by which owners are kept, of a file of the host's.
fn kept_owner(path: &std::path::Path, buffer: &mut [u8]) -> Option<usize> {
    let path = std::ffi::CString::new(path.to_str().unwrap()).unwrap();
    rootlet::sys::attribute::get_by_path(&path, rootlet::owner::ATTRIBUTE, buffer).unwrap()
}

#[test]
fn what_it_remembers_is_bounded() {
    let sandbox = Sandbox::ordinary();
    if !compile(&sandbox, "confuse", include_str!("confuse.c")) {
        return;
    }
    sandbox.on_bundle(&["run", "-d", "--no-tty", "--fake-root", "--writable", "box", "--", "confuse", "fill"]).ok();
    let largest = || {
        let resident = |pid: &u32| {
            let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
            let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default().to_owned();
            line.split_whitespace().next().and_then(|number| number.parse::<u64>().ok()).unwrap_or(0)
        };
        supervisors(&sandbox).iter().map(resident).max().unwrap_or(0)
    };
    // 400 times 256 KiB, if all were kept.
    let mut most = 0;
    for _ in 0..30 {
        most = most.max(largest());
        std::thread::sleep(Duration::from_millis(100));
    }
    assert!(most > 0 && most < 50_000, "{most} KB");
    sandbox.rootlet(&["delete", "-f", "box"]).ok();
    sandbox.assert_clean();
}

#[test]
fn it_writes_where_the_caller_may_write() {
    let sandbox = Sandbox::ordinary();
    if !compile(&sandbox, "confuse", include_str!("confuse.c")) {
        return;
    }
    assert_eq!(run(&sandbox, &["overwrite"]).ok().out, "-1 Bad address 0\n");
    // Nor is what it keeps shown to who copies all attributes.
    assert_eq!(run(&sandbox, &["list"]).ok().out, "user.mine 10 -1\n");
    sandbox.assert_clean();
}

#[test]
fn the_hosts_processes_are_out_of_sight_by_whatever_name() {
    let sandbox = Sandbox::ordinary();
    symlink("/proc", sandbox.bundle().join("p")).unwrap();
    for source in ["p", "./p", "/proc", "/"] {
        sandbox.edit(|config| {
            config["annotations"] = json!({"org.rootlet.fake-root": "true"});
            let mounts = config["mounts"].as_array_mut().unwrap();
            mounts.retain(|mount| mount["destination"] != "/shown");
            mounts.push(json!({"destination": "/shown", "type": "none", "source": source, "options": ["rbind"]}));
        });
        sandbox.run().fails(&["fake root", "shows the host's /proc"]);
    }
    sandbox.on_bundle(&["run", "--no-pivot", "box"]).fails(&["fake root"]);
    sandbox.assert_clean();
}

#[test]
fn nothing_is_removed_that_was_there() {
    let sandbox = Sandbox::ordinary();
    if !compile(&sandbox, "confuse", include_str!("confuse.c")) {
        return;
    }
    let user = |id: &str| {
        sandbox.on_bundle(&[
            "run",
            "--fake-root",
            "--writable",
            "--user",
            id,
            "box",
            "--",
            "confuse",
            "delete",
            "/etc/passwd",
        ])
    };
    assert_eq!(user("0").ok().out, "1 0\n");
    fs::remove_file(sandbox.rootfs().join("tmp/new")).unwrap();
    assert_eq!(user("77").ok().out, "1 77\n");
    assert!(sandbox.rootfs().join("etc/passwd").exists());
    sandbox.assert_clean();
}
