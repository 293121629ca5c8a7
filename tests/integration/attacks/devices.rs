//! Devices that an image or a volume brings, or that a config names: what the rules deny is denied.

use crate::sandbox::{Sandbox, finish, is_root, skip};
use serde_json::json;
use std::fs;
use std::path::Path;
use std::process::Command;

/// A device that anybody may open where its mode says so: /dev/fuse.
const FUSE: (&str, &str) = ("10", "229");

/// Puts a node with mode 666 somewhere; false (and a reason) where that cannot be done.
fn bring_node(place: &Path) -> bool {
    if !is_root() || fs::metadata("/dev/fuse").is_err() {
        skip("needs root to make a node, and /dev/fuse");
        return false;
    }
    let made = Command::new("mknod").args(["-m", "666"]).arg(place).args(["c", FUSE.0, FUSE.1]).status().unwrap();
    assert!(made.success());
    true
}

const OPEN: &str = "for node in /node /data/node /tmp/node; do [ -e $node ] && (exec 3<>$node) 2>/dev/null && echo opened $node; done; true";

#[test]
fn a_device_of_the_image_is_dead_for_an_ordinary_user() {
    let sandbox = Sandbox::ordinary();
    if !bring_node(&sandbox.rootfs().join("node")) {
        return;
    }
    assert_eq!(sandbox.output(OPEN), "");
    // A volume in the bundle is the image's; what else is bound, is dead where a rule denies it.
    sandbox.mkdir("bundle/volume", 0o755);
    sandbox.mkdir("elsewhere", 0o755);
    assert!(bring_node(&sandbox.bundle().join("volume/node")) && bring_node(&sandbox.path().join("elsewhere/node")));
    sandbox.add_mount(json!({"destination": "/data", "type": "bind", "source": "volume", "options": ["rbind"]}));
    assert_eq!(sandbox.output(OPEN), "");
    let elsewhere = sandbox.path().join("elsewhere");
    sandbox.add_mount(json!({"destination": "/tmp", "type": "bind", "source": elsewhere, "options": ["rbind"]}));
    sandbox.edit(|config| config["linux"]["resources"] = json!({"devices": [{"allow": false, "access": "rwm"}]}));
    assert_eq!(sandbox.output(OPEN), "");
}

#[test]
fn device_rules_hold_in_a_user_namespace() {
    // Kubernetes' hostUsers: false, Docker's userns-remap: a block device of mode 0666 in a volume was read and written.
    let Some(sandbox) = Sandbox::remapped() else { return };
    if !bring_node(&sandbox.rootfs().join("node")) {
        return;
    }
    let volume = sandbox.mkdir("volume", 0o755);
    assert!(bring_node(&volume.join("node")));
    sandbox.add_mount(json!({"destination": "/data", "type": "bind", "source": volume, "options": ["rbind"]}));
    let deny = json!([{"allow": false, "access": "rwm"}]);
    sandbox.edit(|config| config["linux"]["resources"] = json!({"devices": deny}));
    assert_eq!(sandbox.output(OPEN), "");
    // Without a cgroup, their nodes are dead.
    sandbox.sh(OPEN);
    assert_eq!(sandbox.run_with(&["--cgroup-manager", "disabled"]).ok().out, "");
    // What the rules allow can be had.
    let allow = json!({"allow": true, "type": "c", "major": 10, "minor": 229, "access": "rwm"});
    sandbox.edit(|config| config["linux"]["resources"]["devices"].as_array_mut().unwrap().push(allow));
    let other = Sandbox::root().unwrap();
    let bundle = other.bundle();
    let plan = other.rootlet(&["plan", "-b", bundle.to_str().unwrap()]).ok().out;
    // Where they hold without a user namespace.
    if plan.contains("linux.resources.devices      a program") {
        assert_eq!(sandbox.output(OPEN), "opened /node\nopened /data/node\n");
    } else {
        skip("no cgroup here holds a program for devices");
    }
}

#[test]
fn device_rules_that_nobody_enforces_are_an_error() {
    let Some(sandbox) = Sandbox::root() else { return };
    sandbox.sh("true");
    let deny = json!([{"allow": false, "access": "rwm"}]);
    let set = |rules: serde_json::Value, capability: Option<&str>| {
        sandbox.edit(|config| {
            config["linux"]["resources"] = json!({"devices": rules});
            let sets = config["process"]["capabilities"].as_object_mut().unwrap();
            for set in sets.values_mut() {
                *set = json!(capability.into_iter().collect::<Vec<_>>());
            }
            sets.remove("ambient");
            sets.remove("inheritable");
        });
    };
    let run = |flags: &[&str]| sandbox.run_with(&[&["--cgroup-manager", "disabled"], flags].concat());
    // Whoever may mount needs a program to keep him from using nodes.
    set(deny.clone(), Some("CAP_SYS_ADMIN"));
    run(&[]).fails(&["linux.resources: devices: cannot be enforced", "--limits try"]);
    run(&["--limits", "try"]).ok();
    // Also in a user namespace: what its own root has set there, it can lift.
    let remapped = Sandbox::remapped().unwrap();
    remapped.sh("true");
    remapped.edit(|config| {
        config["linux"]["resources"] = json!({"devices": deny.clone()});
        for set in config["process"]["capabilities"].as_object_mut().unwrap().values_mut() {
            *set = json!(["CAP_SYS_ADMIN"]);
        }
    });
    remapped.run_with(&["--cgroup-manager", "disabled"]).fails(&["linux.resources: devices: cannot be enforced"]);
    // Whoever may only make them makes them in vain.
    sandbox.sh("for place in /dev /dev/shm; do mknod -m 666 $place/node c 10 229 && (exec 3<>$place/node) 2>/dev/null && echo opened; done; \
         : </dev/zero && : >/dev/null && echo those that are there work");
    set(deny.clone(), Some("CAP_MKNOD"));
    assert_eq!(run(&[]).ok().out, "those that are there work\n");
    sandbox.sh("true");
    set(deny.clone(), None);
    run(&[]).ok();
    run(&["--strict"]).fails(&["linux.resources", "nodev"]);
    // A rule that denies something in particular says more than nodev can.
    set(json!([{"allow": true}, {"allow": false, "type": "c", "major": 1, "minor": 3, "access": "rwm"}]), None);
    run(&[]).fails(&["linux.resources: devices: cannot be enforced"]);
}

#[test]
fn a_device_is_what_the_config_says_or_is_refused() {
    // linux.devices of an ordinary user binds what the host has at that path: it must be that device, and no file.
    let sandbox = Sandbox::ordinary();
    let secret = super::secret(&sandbox);
    sandbox.sh("true");
    let set = |path: &str, kind: &str, major: u32, minor: u32| {
        sandbox.edit(|config| {
            config["linux"]["devices"] = json!([{"path": path, "type": kind, "major": major, "minor": minor}]);
        });
    };
    set(secret.to_str().unwrap(), "c", 1, 3);
    sandbox.run().fails(&["linux.devices[0]", "another device, or none"]);
    set("/dev/zero", "c", 1, 3);
    sandbox.run().fails(&["linux.devices[0]", "(/dev/zero)", "another device, or none"]);
    set("/dev/zero", "b", 1, 5);
    sandbox.run().fails(&["linux.devices[0]", "another device, or none"]);
    for path in ["/dev/../etc/passwd", "/dev/./zero", "/../dev/zero"] {
        set(path, "c", 1, 5);
        sandbox.run().fails(&["linux.devices[0]", ". or .."]);
    }
    set("/dev/zero", "c", 1, 5);
    sandbox.run().ok();
}

#[test]
fn a_node_that_the_image_has_in_place_of_a_device_is_refused() {
    let Some(sandbox) = Sandbox::root() else { return };
    sandbox.sh("true");
    sandbox.edit(|config| {
        let mounts = config["mounts"].as_array_mut().unwrap();
        mounts.retain(|mount| !mount["destination"].as_str().unwrap().starts_with("/dev"));
    });
    let null = sandbox.rootfs().join("dev/null");
    assert!(Command::new("mknod").arg(&null).args(["c", "1", "5"]).status().unwrap().success());
    sandbox.run().fails(&["linux.devices", "(/dev/null)", "something else is there already"]);
    fs::remove_file(&null).unwrap();
    assert!(Command::new("mknod").arg(&null).args(["c", "1", "3"]).status().unwrap().success());
    sandbox.run().ok();
}

#[test]
fn the_console_is_not_made_through_a_link_of_the_images() {
    // CVE-2025-52565, crun's CVE-2026-88264: /dev/console of an image whose /dev is no mount.
    for sandbox in super::everybody() {
        let victim = sandbox.write("bundle/rootfs/victim", "x");
        std::os::unix::fs::symlink("/victim", sandbox.rootfs().join("dev/console")).unwrap();
        fs::create_dir(sandbox.rootfs().join("dev/pts")).unwrap();
        sandbox.sh("true");
        sandbox.edit(|config| {
            config["process"]["terminal"] = json!(true);
            let mounts = config["mounts"].as_array_mut().unwrap();
            mounts
                .retain(|mount| !["/dev", "/dev/shm", "/dev/mqueue"].contains(&mount["destination"].as_str().unwrap()));
        });
        let bundle = sandbox.bundle();
        let run = format!("{} run -b {} box", crate::sandbox::binary().display(), bundle.display());
        let done = finish(sandbox.program("script".as_ref(), &["-qec", &run, "/dev/null"]));
        assert!(done.code != 0 && done.out.contains("ELOOP"), "{done:?}");
        assert_eq!(fs::read_to_string(victim).unwrap(), "x");
    }
}

#[test]
fn a_terminal_comes_from_a_devpts_alone() {
    // A directory of the image's, or a tmpfs, with a ptmx of its own choice.
    let sandbox = Sandbox::ordinary();
    sandbox.sh("true");
    sandbox.edit(|config| {
        config["process"]["terminal"] = json!(true);
        for mount in config["mounts"].as_array_mut().unwrap() {
            if mount["destination"] == "/dev/pts" {
                *mount = json!({"destination": "/dev/pts", "type": "bind", "source": "pts", "options": ["bind"]});
            }
        }
    });
    sandbox.mkdir("bundle/pts", 0o755);
    std::os::unix::fs::symlink("/dev/null", sandbox.bundle().join("pts/ptmx")).unwrap();
    let bundle = sandbox.bundle();
    let run = format!("{} run -b {} box", crate::sandbox::binary().display(), bundle.display());
    let done = finish(sandbox.program("script".as_ref(), &["-qec", &run, "/dev/null"]));
    assert!(done.code != 0 && done.out.contains("own devpts"), "{done:?}");
}

#[test]
fn the_mode_of_a_host_s_device_is_not_the_containers_to_change() {
    // Where no program decides about devices, the nodes are the host's own.
    let Some(sandbox) = Sandbox::root() else { return };
    sandbox.edit(|config| {
        let node = json!({"path": "/dev/null", "type": "c", "major": 1, "minor": 3});
        config["linux"]["devices"] = json!([node]);
    });
    // As it is: nothing is lost where this is allowed.
    sandbox.sh("for name in null zero tty; do chmod 666 /dev/$name 2>/dev/null && echo changed $name; done; echo >/dev/null && echo written");
    let done = sandbox.run_with(&["--cgroup-manager", "disabled"]).ok();
    assert_eq!(done.out, "written\n");
}
