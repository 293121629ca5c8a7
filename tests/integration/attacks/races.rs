//! Races for names: somebody who shares a directory puts something else in a place between two looks at it.

use super::{everybody, has_strace, secret, slowly};
use crate::sandbox::{Sandbox, eventually};
use serde_json::{Value, json};
use std::ffi::CString;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

/// Exchanges two names, again and again, while `work` is done.
fn while_exchanging<T>(one: &Path, other: &Path, work: impl FnOnce() -> T) -> T {
    let name = |path: &Path| CString::new(path.as_os_str().as_bytes()).unwrap();
    let (one, other) = (name(one), name(other));
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                let (here, both) = (libc::AT_FDCWD, libc::RENAME_EXCHANGE);
                // SAFETY: two paths that end with a NUL. (musl has no name for it before 1.2.6.)
                unsafe { libc::syscall(libc::SYS_renameat2, here, one.as_ptr(), here, other.as_ptr(), both) };
                std::thread::sleep(std::time::Duration::from_micros(700));
            }
        });
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
        is_over.store(true, Ordering::Relaxed);
        done.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

#[test]
fn attributes_belong_to_the_mount_whatever_its_place_is_called_by_then() {
    // CVE-2021-30465's family: 12 rounds in which each look-up takes 3 ms.
    for sandbox in everybody() {
        if !has_strace(&sandbox) {
            return;
        }
        let volume = sandbox.mkdir("volume", 0o777);
        let [kept, open] = ["kept", "open"].map(|name| sandbox.mkdir(name, 0o777));
        for name in ["volume/one", "volume/other"] {
            sandbox.mkdir(name, 0o777);
        }
        let bind = |destination: &str, source: &Path, options: &[&str]| {
            sandbox
                .add_mount(json!({"destination": destination, "type": "bind", "source": source, "options": options}));
        };
        bind("/data", &volume, &["rbind"]);
        // Two mounts that change their names: the attributes of one must not become the other's.
        bind("/data/other", &open, &["rbind"]);
        bind("/data/one", &kept, &["rbind", "ro"]);
        sandbox.add_mount(
            json!({"destination": "/data/one", "type": "tmpfs", "source": "fresh", "options": ["ro", "nosuid"]}),
        );
        sandbox.edit(|config| {
            config["linux"]["readonlyPaths"]
                .as_array_mut()
                .unwrap()
                .extend(["/data/one", "/data/other"].map(Value::from))
        });
        // Wherever they lie now; and what is writable has no second mount that is, such as a cover that is to be read-only.
        let count = |names: &str| format!("grep {names} /proc/self/mountinfo | cut -d' ' -f6 | grep -v -c ^ro");
        sandbox.sh(&format!(
            "{}; test $({}) -le 1 && echo ro || echo rw",
            count("-e '/kept /data' -e ' fresh '"),
            count("'/open /data'")
        ));
        let bundle = sandbox.bundle();
        let run = ["run", "-b", bundle.to_str().unwrap(), "box"];
        while_exchanging(&volume.join("one"), &volume.join("other"), || {
            for round in 0..12 {
                let done = slowly(&sandbox, "inject=openat2:delay_enter=3000", &run);
                // A mount may miss its place, but is never writable.
                assert!(done.code != 0 || done.out == "0\nro\n", "{round}: {done:?}");
            }
        });
        assert!(fs::read_dir(&kept).unwrap().next().is_none());
    }
}

#[test]
fn a_mount_never_lands_outside() {
    // CVE-2021-30465, CVE-2024-45310: a directory of a shared volume becomes a link to the host's, and back. 12 rounds.
    for sandbox in everybody() {
        if !has_strace(&sandbox) {
            return;
        }
        let (volume, outside) = (sandbox.mkdir("volume", 0o777), sandbox.mkdir("outside", 0o777));
        sandbox.mkdir("volume/one", 0o777);
        symlink(&outside, volume.join("other")).unwrap();
        sandbox.add_mount(json!({"destination": "/data", "type": "bind", "source": volume, "options": ["rbind"]}));
        for place in ["/data/one/a/b", "/data/one/c"] {
            sandbox
                .add_mount(json!({"destination": place, "type": "tmpfs", "source": "tmpfs", "options": ["tmpcopyup"]}));
        }
        sandbox.add_mount(json!({"destination": "/data/one/file", "type": "bind", "source": "/etc/hostname", "options": ["bind", "ro"]}));
        sandbox.sh("true");
        let bundle = sandbox.bundle();
        let run = ["run", "-b", bundle.to_str().unwrap(), "box"];
        while_exchanging(&volume.join("one"), &volume.join("other"), || {
            for _ in 0..12 {
                slowly(&sandbox, "inject=openat2,mkdirat,mknodat,openat:delay_enter=2000", &run);
            }
        });
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 0, "nothing is made outside");
    }
}

#[test]
fn a_node_is_not_exchanged_for_a_link_before_its_mode_is_set() {
    // CVE-2025-31133's family: a shared /dev, a link in place of the node, and a file of the host's had mode 0666. 10 rounds.
    let Some(sandbox) = Sandbox::root() else { return };
    if !has_strace(&sandbox) {
        return;
    }
    let (dev, victim) = (sandbox.mkdir("dev", 0o777), secret(&sandbox));
    fs::set_permissions(&victim, fs::Permissions::from_mode(0o600)).unwrap();
    sandbox.add_mount(json!({"destination": "/dev", "type": "bind", "source": dev, "options": ["rbind"]}));
    sandbox.edit(|config| {
        let mounts = config["mounts"].as_array_mut().unwrap();
        mounts.retain(|mount| {
            mount["destination"] == "/proc" || mount["destination"] == "/dev" && mount["type"] == "bind"
        });
        config["linux"]["devices"] =
            json!([{"path": "/dev/node", "type": "c", "major": 1, "minor": 3, "fileMode": 0o666}]);
        config["linux"].as_object_mut().unwrap().remove("maskedPaths");
    });
    sandbox.sh("true");
    let bundle = sandbox.bundle();
    // The mode has to be set, as the umask takes it away.
    let rootlet = crate::sandbox::binary().display();
    let calls = "inject=fchmodat,chmod,?fchmodat2,fchmod:delay_enter=20000";
    let run =
        format!("umask 077; exec strace -f -qq -o /dev/null -e {calls} {rootlet} run -b {} box", bundle.display());
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                if fs::symlink_metadata(dev.join("node")).is_ok_and(|metadata| !metadata.is_symlink()) {
                    // When it has been looked at, and before its mode is set.
                    std::thread::sleep(std::time::Duration::from_millis(5));
                    let _ = fs::remove_file(dev.join("node"));
                    let _ = symlink(&victim, dev.join("node"));
                }
            }
        });
        for _ in 0..10 {
            let _ = fs::remove_file(dev.join("node"));
            crate::sandbox::finish(sandbox.program("/bin/sh".as_ref(), &["-c", &run]));
        }
        is_over.store(true, Ordering::Relaxed);
    });
    assert_eq!(fs::metadata(&victim).unwrap().mode() & 0o777, 0o600);
}

#[test]
fn a_mask_is_the_real_null_device_whatever_races_for_it() {
    // CVE-2025-31133: /dev/null of a shared /dev becomes a link to a file of the host's kernel, and back. 12 rounds.
    for sandbox in everybody() {
        if !has_strace(&sandbox) {
            return;
        }
        let dev = sandbox.mkdir("dev", 0o777);
        symlink("/proc/sys/kernel/core_pattern", dev.join("other")).unwrap();
        sandbox.write("dev/null", "");
        sandbox.write("bundle/rootfs/masked", "to be hidden");
        sandbox.edit(|config| {
            let mounts = config["mounts"].as_array_mut().unwrap();
            mounts.retain(|mount| mount["destination"] == "/proc");
            mounts.push(json!({"destination": "/dev", "type": "bind", "source": dev, "options": ["rbind"]}));
            config["linux"]["maskedPaths"] = json!(["/masked"]);
        });
        sandbox.sh("cat /masked");
        let bundle = sandbox.bundle();
        let run = ["run", "-b", bundle.to_str().unwrap(), "box"];
        while_exchanging(&dev.join("null"), &dev.join("other"), || {
            for round in 0..12 {
                let done = slowly(&sandbox, "inject=openat2:delay_enter=2000", &run);
                // Refused, as what is there is never the device.
                assert!(done.code != 0 && done.out.is_empty(), "{round}: {done:?}");
            }
        });
    }
}

#[test]
fn a_socket_for_notifications_has_its_mode_from_its_making_on() {
    // A link in its place, before its mode was set by name, made a file of the host's 0777. 5 rounds.
    for sandbox in [Some(Sandbox::ordinary()), Sandbox::root()].into_iter().flatten() {
        if !has_strace(&sandbox) {
            return;
        }
        let victim = secret(&sandbox);
        fs::set_permissions(&victim, fs::Permissions::from_mode(0o600)).unwrap();
        let manager = std::os::unix::net::UnixDatagram::bind(sandbox.path().join("xdg/manager")).unwrap();
        fs::set_permissions(sandbox.path().join("xdg/manager"), fs::Permissions::from_mode(0o777)).unwrap();
        let place = sandbox.states().join("box/notify/notify.sock");
        sandbox.sh("stat -c %a /run/notify/notify.sock");
        fs::create_dir_all(sandbox.rootfs().join("run/notify")).unwrap();
        let bundle = sandbox.bundle();
        let delays = "inject=chmod,fchmodat,?fchmodat2,fchmod:delay_enter=20000";
        let run =
            ["-f", "-qq", "-o", "/dev/null", "-e", delays, crate::sandbox::binary().to_str().unwrap(), "run", "-b"];
        let is_over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    if fs::symlink_metadata(&place).is_ok_and(|metadata| !metadata.is_symlink()) {
                        let _ = fs::rename(&place, place.with_extension("moved"));
                        let _ = symlink(&victim, &place);
                        break;
                    }
                }
            });
            let run = [&run[..], &[bundle.to_str().unwrap(), "box"]].concat();
            let mut command = sandbox.program("strace".as_ref(), &run);
            command.env("NOTIFY_SOCKET", sandbox.path().join("xdg/manager"));
            crate::sandbox::finish(command);
            is_over.store(true, Ordering::Relaxed);
        });
        assert_eq!(fs::metadata(&victim).unwrap().mode() & 0o777, 0o600);
        // Without a race, everybody inside may speak there, also under a narrow umask.
        let rootlet = crate::sandbox::binary().display();
        let run = format!("umask 077; exec {rootlet} run -b {} box", bundle.display());
        let mut command = sandbox.program("/bin/sh".as_ref(), &["-c", &run]);
        command.env("NOTIFY_SOCKET", sandbox.path().join("xdg/manager"));
        assert_eq!(crate::sandbox::finish(command).ok().out, "777\n");
        drop(manager);
    }
}

#[test]
fn what_is_copied_up_follows_no_link() {
    // tmpcopyup of a directory that has links to the host's files and directories, absolute and relative.
    for sandbox in everybody() {
        let secret = secret(&sandbox);
        symlink(&secret, sandbox.rootfs().join("data/file")).unwrap();
        symlink(sandbox.path(), sandbox.rootfs().join("data/directory")).unwrap();
        symlink("../../../secret", sandbox.rootfs().join("data/relative")).unwrap();
        sandbox
            .add_mount(json!({"destination": "/data", "type": "tmpfs", "source": "tmpfs", "options": ["tmpcopyup"]}));
        let out = sandbox.output("cat /data/* 2>/dev/null; ls /data/directory/ 2>/dev/null; ls /data");
        assert_eq!(out, "directory\nfile\nrelative\n");
    }
}

#[test]
fn what_is_mounted_in_the_container_is_not_on_the_host_and_binds_do_not_bring_it_back() {
    for sandbox in everybody() {
        let shared = sandbox.mkdir("shared", 0o777);
        sandbox.mkdir("shared/below", 0o777);
        for options in [&["rbind"][..], &["rbind", "rshared"], &["rbind", "rslave"]] {
            sandbox.edit(|config| {
                super::allow(config, "CAP_SYS_ADMIN");
                config["linux"]["rootfsPropagation"] = json!("rshared");
                let mounts = config["mounts"].as_array_mut().unwrap();
                mounts.retain(|mount| mount["destination"] != "/data");
                mounts.push(json!({"destination": "/data", "type": "bind", "source": shared, "options": options}));
            });
            let out = sandbox.output("mount -t tmpfs tmpfs /data/below && touch /data/below/made && ls /data/below");
            assert_eq!(out, "made\n");
        }
        eventually("nothing is mounted on the host", || {
            !fs::read_to_string("/proc/self/mountinfo").unwrap().contains(shared.to_str().unwrap())
        });
        assert_eq!(fs::read_dir(shared.join("below")).unwrap().count(), 0);
    }
}
