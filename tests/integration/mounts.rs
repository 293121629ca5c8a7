//! Mounts beyond the usual: symlinks, overlays, mapped ids, fuse, joined mount namespaces, every option.

use crate::sandbox::{Sandbox, binary, eventually, finish, is_root, skip};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::process::Command;

/// The mountinfo flags and optional fields of a target in the container.
fn flags(out: &str, target: &str) -> String {
    let line = out.lines().find(|line| line.split(' ').nth(4) == Some(target));
    line.unwrap_or_else(|| panic!("{target}: {out}")).split(' ').skip(5).collect::<Vec<_>>().join(" ")
}

#[test]
fn every_option_is_understood() {
    // What runc and crun know, each on a bind or on a new file system; the last column is what mountinfo must show.
    let sandbox = Sandbox::ordinary();
    let source = sandbox.mkdir("source", 0o755);
    fs::create_dir(source.join("below")).unwrap();
    let options = [
        ("bind", "ro", "ro"),
        ("bind", "rw", "rw"),
        ("bind", "nosuid", "nosuid"),
        ("bind", "suid", "rw"),
        ("bind", "nodev", "nodev"),
        ("bind", "dev", "rw"),
        ("bind", "noexec", "noexec"),
        ("bind", "exec", "rw"),
        ("bind", "nosymfollow", "nosymfollow"),
        ("bind", "symfollow", "rw"),
        ("bind", "defaults", "rw"),
        ("bind", "rro", "ro"),
        ("bind", "rrw", "rw"),
        ("bind", "rnosuid", "nosuid"),
        ("bind", "rsuid", "rw"),
        ("bind", "rnodev", "nodev"),
        ("bind", "rdev", "rw"),
        ("bind", "rnoexec", "noexec"),
        ("bind", "rexec", "rw"),
        ("bind", "rnosymfollow", "nosymfollow"),
        ("bind", "rsymfollow", "rw"),
        ("bind", "private", "rw"),
        ("bind", "rprivate", "rw"),
        ("bind", "shared", "shared:"),
        ("bind", "rshared", "shared:"),
        ("bind", "slave", "rw"),
        ("bind", "rslave", "rw"),
        ("bind", "unbindable", "unbindable"),
        ("bind", "runbindable", "unbindable"),
        ("tmpfs", "noatime", "noatime"),
        ("tmpfs", "atime", "relatime"),
        ("tmpfs", "relatime", "relatime"),
        ("tmpfs", "norelatime", "rw"),
        ("tmpfs", "strictatime", "rw,"),
        ("tmpfs", "nostrictatime", "relatime"),
        ("tmpfs", "nodiratime", "nodiratime"),
        ("tmpfs", "diratime", "rw"),
        ("tmpfs", "rnoatime", "noatime"),
        ("tmpfs", "ratime", "rw"),
        ("tmpfs", "rrelatime", "relatime"),
        ("tmpfs", "rnorelatime", "rw"),
        ("tmpfs", "rstrictatime", "rw"),
        ("tmpfs", "rnostrictatime", "rw"),
        ("tmpfs", "rnodiratime", "nodiratime"),
        ("tmpfs", "rdiratime", "rw"),
        ("tmpfs", "sync", "sync"),
        ("tmpfs", "async", "rw"),
        ("tmpfs", "dirsync", "dirsync"),
        ("tmpfs", "lazytime", "lazytime"),
        ("tmpfs", "nolazytime", "rw"),
        ("tmpfs", "mand", "rw"),
        ("tmpfs", "nomand", "rw"),
        ("tmpfs", "iversion", "rw"),
        ("tmpfs", "noiversion", "rw"),
        ("tmpfs", "silent", "rw"),
        ("tmpfs", "loud", "rw"),
        ("tmpfs", "tmpcopyup", "rw"),
        ("tmpfs", "size=64k", "size=64k"),
        ("tmpfs", "mode=0700", "mode=700"),
    ];
    for (index, (kind, option, _)) in options.iter().enumerate() {
        let destination = format!("/data/{index}");
        sandbox.add_mount(match *kind {
            "bind" => {
                json!({"destination": destination, "type": "none", "source": source, "options": ["rbind", option]})
            }
            _ => json!({"destination": destination, "type": "tmpfs", "source": "tmpfs", "options": [option]}),
        });
    }
    let out = sandbox.output("cat /proc/self/mountinfo");
    for (index, (kind, option, expected)) in options.iter().enumerate() {
        let seen = flags(&out, &format!("/data/{index}"));
        let has = seen.split([',', ' ']).any(|word| word.starts_with(expected.trim_end_matches(',')));
        assert!(has, "{kind} {option}: {seen}");
    }
    // Every one of them is among the features, but what the file system itself takes.
    let features: Value = serde_json::from_str(&sandbox.rootlet(&["features"]).ok().out).unwrap();
    for (_, option, _) in options.iter().filter(|(_, option, _)| !option.contains('=')) {
        assert!(features["mountOptions"].as_array().unwrap().contains(&json!(option)), "{option}");
    }
}

#[test]
fn symlinks_are_copied_or_mounted_themselves_when_asked() {
    let sandbox = Sandbox::ordinary();
    sandbox.write("target", "the target");
    symlink("target", sandbox.path().join("link")).unwrap();
    symlink("/etc/real", sandbox.rootfs().join("etc/place")).unwrap();
    fs::write(sandbox.rootfs().join("etc/real"), "untouched").unwrap();
    sandbox.edit(|config| config["root"]["readonly"] = json!(false));
    let link = sandbox.path().join("link");
    for (destination, options) in [
        ("/data/followed", json!(["bind"])),
        ("/data/copied", json!(["bind", "ro", "copy-symlink"])),
        ("/data/itself", json!(["bind", "src-nofollow"])),
        ("/etc/place", json!(["bind", "dest-nofollow"])),
    ] {
        sandbox.add_mount(json!({"destination": destination, "type": "bind", "source": link, "options": options}));
    }
    let out = sandbox.output(
        "cat /data/followed; echo; readlink /data/copied; readlink /data/itself; cat /etc/place; echo; cat /etc/real",
    );
    assert_eq!(out, "the target\ntarget\ntarget\nthe target\nuntouched");
}

#[test]
fn attributes_of_a_bound_symlink_are_its_own() {
    let sandbox = Sandbox::ordinary();
    symlink("/", sandbox.path().join("link")).unwrap();
    sandbox.edit(|config| config["root"]["readonly"] = json!(false));
    let link = sandbox.path().join("link");
    sandbox.add_mount(json!({"destination": "/data/itself", "type": "bind", "source": link, "options": ["bind", "ro", "src-nofollow"]}));
    let out = sandbox.output("readlink /data/itself; cat /proc/self/mountinfo; touch /data/new && echo writable");
    assert!(out.starts_with("/\n") && out.ends_with("writable\n"), "the root is as it was: {out}");
    assert!(flags(&out, "/data/itself").starts_with("ro"), "{out}");
}

#[test]
fn a_symlink_is_not_copied_over_something_else() {
    let sandbox = Sandbox::ordinary();
    symlink("target", sandbox.path().join("link")).unwrap();
    let link = sandbox.path().join("link");
    sandbox.add_mount(
        json!({"destination": "/data/copied", "type": "bind", "source": link, "options": ["bind", "copy-symlink"]}),
    );
    assert_eq!(sandbox.output("readlink /data/copied"), "target\n");
    assert_eq!(sandbox.output("readlink /data/copied"), "target\n", "one that is there already is as good");
    fs::remove_file(sandbox.rootfs().join("data/copied")).unwrap();
    fs::write(sandbox.rootfs().join("data/copied"), "the image's").unwrap();
    sandbox.run().fails(&["(/data/copied)", "EEXIST", "the image has something else there"]);
}

#[test]
fn a_destination_that_only_begins_like_proc_is_no_way_into_it() {
    let sandbox = Sandbox::ordinary();
    symlink("/proc", sandbox.rootfs().join("procdata")).unwrap();
    let source = sandbox.mkdir("source", 0o755);
    sandbox.add_mount(json!({"destination": "/procdata", "type": "bind", "source": source, "options": ["bind"]}));
    sandbox.sh("true").run().fails(&["(/procdata)", "lies in procfs"]);
}

#[test]
fn a_symlink_in_dev_does_not_send_devices_below_the_mount() {
    // The directory that held the link is covered by a tmpfs afterwards: nodes belong into that.
    let sandbox = Sandbox::ordinary();
    symlink("target", sandbox.path().join("link")).unwrap();
    let mount = json!({"destination": "/dev/link", "type": "bind", "source": sandbox.path().join("link"), "options": ["bind", "copy-symlink"]});
    sandbox.edit(|config| config["mounts"].as_array_mut().unwrap().insert(0, mount));
    assert_eq!(sandbox.output("stat -c %t:%T /dev/null; ls /dev/link 2>/dev/null | wc -l"), "1:3\n0\n");
    let below: Vec<_> =
        fs::read_dir(sandbox.rootfs().join("dev")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(below, ["link"], "nothing else was made in the image");
}

#[test]
fn an_overlay_has_a_writable_layer_for_an_ordinary_user() {
    let sandbox = Sandbox::ordinary();
    for name in ["bundle/lower", "bundle/with:colon", "bundle/work"] {
        sandbox.mkdir(name, 0o755);
    }
    sandbox.write("bundle/lower/kept", "kept");
    sandbox.write("bundle/lower/gone", "gone");
    let options = ["lowerdir=lower,upperdir=with:colon", "workdir=work"];
    sandbox.add_mount(json!({"destination": "/data", "type": "overlay", "source": "overlay", "options": options}));
    let done = sandbox.sh("cat /data/kept; echo new > /data/new; rm /data/gone; ls /data").run();
    if done.err.contains("EINVAL") || done.err.contains("ENODEV") {
        return skip("this kernel has no overlay for ordinary users (Linux 5.11)");
    }
    assert_eq!(done.ok().out, "keptkept\nnew\n");
    assert_eq!(fs::read_to_string(sandbox.bundle().join("with:colon/new")).unwrap(), "new\n");
    assert!(sandbox.bundle().join("lower/gone").exists());
    // The kernel's own directory in workdir has no permissions at all, and would stay behind.
    fs::set_permissions(sandbox.bundle().join("work/work"), fs::Permissions::from_mode(0o700)).unwrap();
}

#[test]
fn ids_of_a_mount_are_mapped_by_root() {
    let Some(sandbox) = Sandbox::root() else { return };
    let source = sandbox.mkdir("source", 0o777);
    for (name, uid) in [("mine", 0), ("theirs", 1000), ("others", 7)] {
        let file = sandbox.write(&format!("source/{name}"), "x");
        chown(file, Some(uid), Some(uid)).unwrap();
    }
    let map = json!([{"containerID": 0, "hostID": 1000, "size": 1}, {"containerID": 1000, "hostID": 0, "size": 1}]);
    let add = |sandbox: &Sandbox, options: Value, mappings: Value| {
        let mut mount = json!({"destination": "/data", "type": "bind", "source": source, "options": options});
        if !mappings.is_null() {
            mount["uidMappings"] = mappings.clone();
            mount["gidMappings"] = mappings;
        }
        sandbox.edit(|config| {
            config["mounts"].as_array_mut().unwrap().retain(|mount| mount["destination"] != "/data");
            config["mounts"].as_array_mut().unwrap().push(mount);
        });
    };
    let script = "stat -c '%n %u:%g' /data/mine /data/theirs /data/others; echo new > /data/new; stat -c %u /data/new";
    // The first number of a mapping is the one on disk, the second what the container sees.
    for options in [json!(["bind"]), json!(["rbind", "idmap"]), json!(["rbind", "ridmap", "nosuid"])] {
        add(&sandbox, options, map.clone());
        let done = sandbox.sh(script).run();
        if done.err.contains("has no idmapped mounts") {
            return skip("the file system of the temporary directory has no idmapped mounts");
        }
        assert_eq!(
            done.ok().out,
            "/data/mine 1000:1000\n/data/theirs 0:0\n/data/others 65534:65534\n0\n",
            "swapped, and what is not mapped is nobody's"
        );
        assert_eq!(fs::metadata(source.join("new")).unwrap().uid(), 1000);
        fs::remove_file(source.join("new")).unwrap();
    }
    // In a user namespace, without mappings of its own: those of the container.
    sandbox.edit(|config| {
        config["linux"]["namespaces"].as_array_mut().unwrap().push(json!({"type": "user"}));
        config["linux"]["uidMappings"] = json!([{"containerID": 0, "hostID": 300_000, "size": 5000}]);
        config["linux"]["gidMappings"] = config["linux"]["uidMappings"].clone();
    });
    chown(sandbox.rootfs(), Some(300_000), Some(300_000)).unwrap();
    add(&sandbox, json!(["bind", "idmap"]), json!(null));
    let out = sandbox.output("stat -c '%n %u' /data/mine /data/theirs");
    assert_eq!(out, "/data/mine 0\n/data/theirs 1000\n");

    // A mapped copy is no peer of its source: what the container mounts below it stays there.
    let script = format!(
        "mount -t tmpfs shared {0} && mount --make-shared {0} && exec {1} run -b {2} box",
        source.display(),
        binary().display(),
        sandbox.bundle().display()
    );
    sandbox.sh("grep ' /data ' /proc/self/mountinfo");
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "sh", "-c", &script]);
    command.env("XDG_RUNTIME_DIR", sandbox.path().join("xdg"));
    let done = finish(command);
    if done.err.contains("has no idmapped mounts") {
        skip("a peer of a mapped mount: a tmpfs has idmapped mounts since Linux 6.3");
    } else {
        let out = done.ok().out;
        assert!(out.contains(" master:") && !out.contains(" shared:"), "{out}");
    }

    for options in [json!(["bind", "idmap", "src-nofollow"]), json!(["bind", "idmap", "dest-nofollow"])] {
        add(&sandbox, options, json!(null));
        sandbox.run().fails(&["mounts[", "idmap goes neither with"]);
    }
    add(&sandbox, json!(["bind", "idmap"]), json!([{"containerID": 0, "hostID": 0, "size": 0}]));
    sandbox.run().fails(&["mounts[", "uidMappings[0]", "size is 0"]);
    sandbox.assert_clean();
}

#[test]
fn an_ordinary_user_is_told_why_ids_of_a_mount_cannot_be_mapped() {
    let sandbox = Sandbox::ordinary();
    sandbox.sh("true");
    let source = sandbox.mkdir("source", 0o755);
    sandbox.add_mount(json!({"destination": "/data", "type": "bind", "source": source, "options": ["bind", "idmap"]}));
    sandbox.run().fails(&["mounts[", "an ordinary user cannot map", "because:", "try:"]);
    sandbox.edit(|config| {
        let last = config["mounts"].as_array_mut().unwrap().last_mut().unwrap();
        *last = json!({"destination": "/data", "type": "tmpfs", "options": ["idmap"]});
    });
    sandbox.run().fails(&["mounts[", "not a bind"]);
}

#[test]
fn a_mount_namespace_is_joined_by_path() {
    let Some(sandbox) = Sandbox::root() else { return };
    // Whoever holds it has mounted something that the host does not have.
    let marker = sandbox.mkdir("marker", 0o755);
    let script = format!("mount -t tmpfs marker {} && touch {0}/seen && exec sleep 1000", marker.display());
    let mut holder = Command::new("unshare").args(["--mount", "sh", "-c", &script]).spawn().unwrap();
    eventually("the holder has mounted", || {
        fs::read_to_string(format!("/proc/{}/mountinfo", holder.id())).is_ok_and(|text| text.contains("/marker"))
            && fs::read_to_string(format!("/proc/{}/comm", holder.id())).is_ok_and(|name| name == "sleep\n")
    });
    sandbox.edit(|config| {
        let path = format!("/proc/{}/ns/mnt", holder.id());
        config["linux"]["namespaces"] = json!([{"type": "pid"}, {"type": "mount", "path": path}]);
        config.as_object_mut().unwrap().remove("hostname");
    });
    sandbox.add_mount(json!({"destination": "/data", "type": "bind", "source": marker, "options": ["bind"]}));
    let done = sandbox.sh("ls /data").run();
    holder.kill().unwrap();
    holder.wait().unwrap();
    assert_eq!(done.ok().out, "seen\n");
}

/// What the tests let serve file systems.
const SERVERS: &str = "--fuse squashfuse --fuse fuse-overlayfs --fuse silent --fuse true";

/// Runs a script with rootlet as the sandbox's user, where everybody may open /dev/fuse.
pub fn with_fuse(sandbox: &Sandbox, script: &str) -> crate::sandbox::Done {
    let place = sandbox.path().join("fuse-node");
    fs::create_dir(&place).unwrap();
    let text = format!(
        "mount -t tmpfs -o mode=755 fuse-node {place} && mknod -m 666 {place}/fuse c 10 229 && mount --bind {place}/fuse /dev/fuse && \
         as_user='setpriv --reuid {uid} --regid {uid} --clear-groups' && \
         rootlet() {{ $as_user {rootlet} {SERVERS} \"$@\"; }} && \
         {script}",
        place = place.display(),
        uid = sandbox.uid(),
        rootlet = binary().display(),
    );
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", &text]);
    command.env("XDG_RUNTIME_DIR", sandbox.path().join("xdg")).current_dir(sandbox.bundle());
    let done = finish(command);
    fs::remove_dir(place).unwrap();
    done
}

pub fn has_programs(programs: &[&str]) -> bool {
    if !is_root() {
        skip("needs root to make a /dev/fuse that everybody may open");
        return false;
    }
    for program in programs {
        if Command::new(program).arg("--help").output().is_err() {
            skip(&format!("{program} is not installed"));
            return false;
        }
    }
    fs::metadata("/dev/fuse").is_ok() || {
        skip("this host has no /dev/fuse");
        false
    }
}

/// Processes of a server that are more than zombies.
pub fn servers(name: &str, of: &Sandbox) -> usize {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let lines = entries.map(|entry| fs::read_to_string(entry.path().join("cmdline")).unwrap_or_default());
    lines.filter(|line| line.starts_with(name) && line.contains(of.path().to_str().unwrap())).count()
}

#[test]
fn a_fuse_file_system_lives_and_ends_with_the_container() {
    if !has_programs(&["squashfuse", "mksquashfs"]) {
        return;
    }
    let sandbox = Sandbox::ordinary();
    let tree = sandbox.mkdir("tree", 0o755);
    sandbox.write("tree/file", "from the image");
    let image = sandbox.path().join("image.squashfs");
    let made =
        Command::new("mksquashfs").args([&tree, &image]).args(["-quiet", "-noappend", "-all-root"]).output().unwrap();
    assert!(made.status.success());
    sandbox.add_mount(json!({"destination": "/data", "type": "fuse.squashfuse", "source": image, "options": ["ro"]}));
    sandbox.sh("cat /data/file; echo; stat -c %u /data/file; grep -c 'fuse.squashfuse' /proc/self/mountinfo; cat /proc/[0-9]*/comm");
    let done = with_fuse(&sandbox, "rootlet run box").ok();
    // The container sees neither the server nor a second process that is not its own.
    assert_eq!(done.out, "from the image\n0\n1\ncat\n");
    eventually("the server has ended", || servers("squashfuse", &sandbox) == 0);

    // Killed, it takes its server along; a created one that is deleted, too.
    sandbox.sh("sleep 1000");
    for script in [
        "rootlet run -d box && rootlet kill box KILL && rootlet delete box",
        "rootlet create box && rootlet delete box",
        "rootlet create box && rootlet start box && rootlet delete --force box",
    ] {
        with_fuse(&sandbox, script).ok();
        eventually("the server has ended", || servers("squashfuse", &sandbox) == 0);
        sandbox.assert_clean();
    }

    // An error elsewhere keeps its own cause.
    sandbox.sh("true");
    sandbox.edit(|config| config["process"]["args"] = json!(["nosuch-program"]));
    with_fuse(&sandbox, "rootlet run box").fails(&[
        "nosuch-program",
        "executable file not found",
        "because: none of the directories",
    ]);
    // A server that answers nothing holds nobody: killed, rootlet takes the container's process along.
    fs::create_dir(sandbox.path().join("programs")).unwrap();
    let silent = sandbox.script("programs/silent", "sleep 3");
    sandbox.edit(|config| config["mounts"].as_array_mut().unwrap().last_mut().unwrap()["type"] = json!("fuse.silent"));
    let path =
        format!("{}:{}", std::path::Path::new(&silent).parent().unwrap().display(), std::env::var("PATH").unwrap());
    let rootlet = binary().display().to_string();
    with_fuse(
        &sandbox,
        &format!("export PATH={path}; $as_user {rootlet} {SERVERS} run box & sleep 0.5; kill -9 $!; wait; true"),
    );
    eventually("the server has ended by itself", || servers("/bin/sh", &sandbox) == 0);
    sandbox.rootlet(&["delete", "--force", "box"]).ok();
    eventually("the container's process has ended", || sandbox.rootlet(&["list", "-q"]).ok().out.is_empty());
    sandbox
        .edit(|config| config["mounts"].as_array_mut().unwrap().last_mut().unwrap()["type"] = json!("fuse.squashfuse"));

    // With the host's procfs in sight the container could reach the server, and with it the host's files.
    let before = sandbox.config();
    for source in ["/proc", "/", "/proc/self"] {
        sandbox.add_mount(json!({"destination": "/hostproc", "type": "bind", "source": source, "options": ["rbind"]}));
        with_fuse(&sandbox, "rootlet run box").fails(&["mounts[6]", "mounts[7] shows the host's /proc", "could trace"]);
        sandbox.write("bundle/config.json", &before.to_string());
    }
    // Without a pid namespace the container could reach the server, and with it the host's files.
    sandbox.edit(|config| {
        config["linux"]["namespaces"].as_array_mut().unwrap().retain(|namespace| namespace["type"] != "pid");
    });
    with_fuse(&sandbox, "rootlet run box").fails(&["mounts[", "pid namespace", "could trace"]);
}

#[test]
fn fuse_overlayfs_gives_a_writable_layer() {
    if !has_programs(&["fuse-overlayfs"]) {
        return;
    }
    let sandbox = Sandbox::ordinary();
    for name in ["bundle/lower", "bundle/upper", "bundle/work"] {
        sandbox.mkdir(name, 0o755);
    }
    sandbox.write("bundle/lower/kept", "kept");
    let at = |name: &str| sandbox.bundle().join(name).display().to_string();
    let options = [format!("lowerdir={},upperdir={},workdir={}", at("lower"), at("upper"), at("work"))];
    sandbox.add_mount(
        json!({"destination": "/data", "type": "fuse.fuse-overlayfs", "source": "none", "options": options}),
    );
    sandbox.sh("cat /data/kept; echo new > /data/new; stat -c ' %u' /data/new");
    assert_eq!(with_fuse(&sandbox, "rootlet run box").ok().out, "kept 0\n");
    assert_eq!(fs::read_to_string(sandbox.bundle().join("upper/new")).unwrap(), "new\n");
    assert_eq!(fs::metadata(sandbox.bundle().join("upper/new")).unwrap().uid(), sandbox.uid());
    eventually("the server has ended", || servers("fuse-overlayfs", &sandbox) == 0);
}

#[test]
fn what_is_wrong_with_a_fuse_mount_is_named() {
    let sandbox = Sandbox::ordinary();
    sandbox.sh("true");
    let set = |kind: &str, source: &str| {
        sandbox.edit(|config| {
            config["mounts"].as_array_mut().unwrap().retain(|mount| mount["destination"] != "/data");
            config["mounts"]
                .as_array_mut()
                .unwrap()
                .push(json!({"destination": "/data", "type": kind, "source": source}));
        });
    };
    set("fuse.nosuch-program", "x");
    let run = |named: &str| sandbox.run_with(&["--fuse", named]);
    run("nosuch-program").fails(&[
        "mounts[",
        "\"nosuch-program\" is missing on this host",
        "apt install nosuch-program",
    ]);
    set("fuse.true", "x");
    let is_closed = fs::metadata("/dev/fuse").is_ok_and(|metadata| metadata.permissions().mode() & 0o006 == 0);
    if is_closed && sandbox.uid() != 0 {
        run("true").fails(&["mounts[", "(/data)", "you may not open /dev/fuse", "chmod 666 /dev/fuse"]);
    } else {
        skip("everybody may open /dev/fuse here, or there is none");
    }
    if has_programs(&["squashfuse"]) {
        set("fuse.squashfuse", "/nosuch-image");
        let done = with_fuse(&sandbox, "rootlet run box");
        assert!(
            !done.err.to_lowercase().contains("no such file"),
            "an engine would take that for the program: {}",
            done.err
        );
        done.fails(&["mounts[", "(/data)", "ENOTCONN", "squashfuse ended with status", "squashfs image: ENOENT"]);
        set("fuse.true", "x");
        with_fuse(&sandbox, "rootlet run box").fails(&["mounts[", "(/data)", "true ended with status 0"]);
    }
    sandbox.assert_clean();
}

#[test]
fn a_shared_root_is_nobodys_slave() {
    let Some(sandbox) = Sandbox::root() else { return };
    sandbox.sh("while read -r line; do set -- $line; [ $5 = / ] && echo $line; done </proc/self/mountinfo | head -1");
    for (propagation, expected) in [("shared", "shared"), ("rshared", "shared"), ("slave", "master"), ("private", "")] {
        sandbox.edit(|config| config["linux"]["rootfsPropagation"] = json!(propagation));
        // On a host whose mounts are shared, as systemd makes them.
        let script =
            format!("mount --make-rshared / && exec {} run -b {} box", binary().display(), sandbox.bundle().display());
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation", "private", "sh", "-c", &script]);
        command.env("XDG_RUNTIME_DIR", sandbox.path().join("xdg"));
        let out = finish(command).ok().out;
        let words: Vec<_> = out.split(' ').skip(6).take_while(|word| *word != "-").collect();
        let kinds: Vec<_> = words.iter().map(|word| word.split(':').next().unwrap()).collect();
        assert_eq!(kinds.join(" "), expected, "{propagation}: {out}");
    }
    sandbox.assert_clean();
}

#[test]
fn a_tmpfs_has_the_mode_of_what_it_covers() {
    let sandbox = Sandbox::ordinary();
    let data = sandbox.rootfs().join("data");
    fs::set_permissions(&data, fs::Permissions::from_mode(0o2751)).unwrap();
    fs::write(data.join("file"), "").unwrap();
    for (destination, options) in [
        ("/data", json!([])),
        ("/data", json!(["mode=0700"])),
        ("/data", json!(["tmpcopyup"])),
        ("/data", json!(["ro", "size=1m"])),
        ("/made/for/it", json!([])),
    ] {
        sandbox.edit(|config| {
            let mounts = config["mounts"].as_array_mut().unwrap();
            mounts.retain(|mount| mount["source"] != "a test's");
            mounts.push(json!({"destination": destination, "type": "tmpfs", "source": "a test's", "options": options}));
        });
        let mode = match (destination, options[0].as_str()) {
            ("/data", Some("mode=0700")) => "700",
            ("/data", _) => "2751",
            _ => "1777",
        };
        let out = sandbox.output(&format!("stat -c %a {destination}; grep -c ' {destination} ' /proc/self/mountinfo"));
        assert_eq!(out, format!("{mode}\n1\n"), "{options}");
    }
}

#[test]
fn the_first_mount_may_be_a_layer_over_the_root() {
    let sandbox = Sandbox::ordinary();
    for place in ["bundle/upper", "bundle/work", "other", "other/proc", "other/dev", "other/sys"] {
        sandbox.mkdir(place, 0o755);
    }
    let insert = |mount: serde_json::Value| {
        sandbox.edit(|config| {
            let mounts = config["mounts"].as_array_mut().unwrap();
            mounts.retain(|mount| mount["destination"] != "/");
            mounts.insert(0, mount);
        });
    };
    let options = json!(["lowerdir=rootfs", "upperdir=upper", "workdir=work"]);
    let overlay = json!({"destination": "/", "type": "overlay", "source": "overlay", "options": options});
    insert(overlay.clone());
    sandbox.edit(|config| config["root"]["readonly"] = json!(false));
    let script = "echo new >/etc/new; rm /etc/passwd; cat /proc/self/mountinfo | grep -c ' / / '; ls /etc; test -c /dev/null && ls /proc/self/fd >/dev/null";
    assert_eq!(sandbox.output(script), "1\nnew\n");
    assert!(sandbox.rootfs().join("etc/passwd").exists() && !sandbox.rootfs().join("etc/new").exists());
    assert!(sandbox.bundle().join("upper/etc/new").exists());
    // And one that may not be written to.
    sandbox.edit(|config| config["root"]["readonly"] = json!(true));
    assert_eq!(sandbox.output("(echo >/etc/other) 2>/dev/null || echo read-only; cat /etc/new"), "read-only\nnew\n");

    // A directory in its place.
    fs::rename(sandbox.rootfs().join("bin"), sandbox.path().join("other/bin")).unwrap();
    insert(json!({"destination": "/", "type": "bind", "source": sandbox.path().join("other"), "options": ["bind"]}));
    assert_eq!(sandbox.output("ls -d /etc /bin 2>/dev/null; true"), "/bin\n");
    // Where it is not the first, it would cover the others.
    sandbox.edit(|config| {
        let mounts = config["mounts"].as_array_mut().unwrap();
        let first = mounts.remove(0);
        mounts.push(first);
    });
    sandbox.run().fails(&["the root itself", "only the first mount"]);
    insert(json!({"destination": "/", "type": "proc"}));
    sandbox.run().fails(&["mounts[0]", "the root itself", "a bind, a tmpfs"]);
    sandbox.assert_clean();
}

#[test]
fn options_of_engines_and_of_fstab_are_ignored_and_said() {
    let sandbox = Sandbox::ordinary();
    let options = json!(["rbind", "nocopy", "ro", "x-systemd.automount"]);
    sandbox.add_mount(json!({"destination": "/data", "type": "bind", "source": "rootfs/etc", "options": options}));
    assert_eq!(sandbox.output("ls /data"), "passwd\n");
    let bundle = sandbox.bundle();
    let plan = sandbox.rootlet(&["plan", "-b", bundle.to_str().unwrap()]).ok().out;
    assert!(plan.contains("nocopy, x-systemd.automount: ignored"), "{plan}");
    sandbox.run_with(&["--strict"]).fails(&["nocopy", "--strict"]);
}

#[test]
fn an_unknown_option_of_a_cgroup_mount_is_an_error() {
    let sandbox = Sandbox::ordinary();
    sandbox.edit(|config| {
        config["linux"]["namespaces"].as_array_mut().unwrap().retain(|namespace| namespace["type"] != "cgroup");
        config["linux"]["namespaces"].as_array_mut().unwrap().push(json!({"type": "cgroup"}));
    });
    let mount = |option: &str| {
        sandbox.edit(|config| {
            let mounts = config["mounts"].as_array_mut().unwrap();
            mounts.retain(|mount| mount["type"] != "cgroup");
            mounts.push(json!({"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": ["ro", option]}));
        });
    };
    mount("nsdelegate");
    sandbox.sh("true");
    sandbox.run().ok();
    mount("nosuchoption=1");
    sandbox.run().fails(&["\"nosuchoption=1\" is not an option of cgroup v2"]);
}

#[test]
fn our_own_links_stand_and_a_devices_path_may_end_with_a_slash() {
    let Some(sandbox) = Sandbox::remapped() else { return };
    sandbox.edit(|config| {
        config["linux"]["devices"] = json!([
            {"path": "/dev/ptmx", "type": "c", "major": 5, "minor": 2},
            {"path": "/dev/fd", "type": "c", "major": 5, "minor": 2},
            {"path": "/dev/stdin/", "type": "c", "major": 5, "minor": 2},
            {"path": "/dev/full//", "type": "c", "major": 1, "minor": 7},
        ])
    });
    let out = sandbox.output("for link in ptmx fd stdin; do readlink /dev/$link; done; stat -c %t:%T /dev/full");
    assert_eq!(out, "pts/ptmx\n/proc/self/fd\n/proc/self/fd/0\n1:7\n");
}

#[test]
fn a_parameter_may_have_a_dot_in_a_name_and_errors_name_it() {
    let sandbox = Sandbox::ordinary();
    let set = |key: &str, value: &str| {
        sandbox.edit(|config| {
            config["linux"]["namespaces"].as_array_mut().unwrap().retain(|namespace| namespace["type"] != "network");
            config["linux"]["namespaces"].as_array_mut().unwrap().push(json!({"type": "network"}));
            config["linux"]["sysctl"] = json!({key: value});
        });
        sandbox.sh("cat /proc/sys/net/ipv4/conf/lo/forwarding");
        sandbox.run()
    };
    assert_eq!(set("net.ipv4.conf.lo.forwarding", "1").ok().out, "1\n");
    assert_eq!(set("net/ipv4/conf/lo/forwarding", "1").ok().out, "1\n");
    set("net.ipv4.conf.eth0/1.rp_filter", "1")
        .fails(&["linux.sysctl (net.ipv4.conf.eth0/1.rp_filter)", "no such parameter"]);
    set("net.ipv4.conf.lo.forwarding", "x").fails(&["linux.sysctl (net.ipv4.conf.lo.forwarding)", "EINVAL"]);
    set("kernel.hostname", "box").fails(&["kernel.hostname is what \"hostname\" is for"]);
    set("kernel.panic", "1").fails(&["kernel/panic is not a parameter of a namespace"]);
}

#[test]
fn ids_of_a_mount_may_be_given_as_crun_takes_them() {
    let Some(sandbox) = Sandbox::remapped() else { return };
    sandbox.mkdir("shared", 0o755);
    let owner = |options: &str| {
        sandbox.edit(|config| {
            let mounts = config["mounts"].as_array_mut().unwrap();
            mounts.retain(|mount| mount["destination"] != "/data");
            mounts.push(json!({"destination": "/data", "type": "bind", "source": sandbox.path().join("shared"), "options": ["bind", options]}));
        });
        sandbox.sh("stat -c %u:%g /data");
        sandbox.run()
    };
    assert_eq!(owner("idmap").ok().out, "0:0\n");
    assert_eq!(owner("idmap=uids=0-100007-1#1-100010-10;gids=0-100008-10").ok().out, "7:8\n");
    assert_eq!(owner("idmap=uids=@0-7-1;gids=@0-8-10").ok().out, "7:8\n");
    assert_eq!(owner("ridmap=gids=0-100008-10").ok().out, "0:8\n");
    owner("idmap=uids=0-1").fails(&["mounts[", "\"0-1\" is no list of ranges", "uids=FILE-HOST-SIZE"]);
    owner("idmap=uids=@0-99999999-1").fails(&["99999999 is none"]);
    owner("idmap=what").fails(&["\"what\" is no list of ranges"]);
    sandbox.assert_clean();
}
