//! Fake root: with one mapped id, what package managers do as root succeeds, and what they see fits.

use crate::real_roots::debian;
use crate::sandbox::{Sandbox, eventually, finish, is_root, skip};
use serde_json::json;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::Command;

/// Every applet of busybox that the tests use, by its name.
fn with_applets(sandbox: &Sandbox) {
    for applet in ["chown", "chmod", "su", "mknod", "setpriv", "tar", "ln", "mv", "cp", "find", "addgroup", "adduser"] {
        let _ = std::os::unix::fs::symlink("busybox", sandbox.rootfs().join("bin").join(applet));
    }
}

/// The processes that answer for containers of a sandbox: of its user's, those that are rootlet.
pub fn supervisors(sandbox: &Sandbox) -> Vec<u32> {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let is_one = |path: &Path| {
        let read = |name| fs::read_to_string(path.join(name)).unwrap_or_default();
        read("comm").trim() == "rootlet-ids" && read("status").contains(&format!("Uid:\t{}\t", sandbox.uid()))
    };
    let found = entries.filter(|entry| is_one(&entry.path()));
    found.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

fn fake(sandbox: &Sandbox, script: &str) -> String {
    let done = sandbox.on_bundle(&["run", "--fake-root", "--writable", "box", "--", "sh", "-c", script]);
    assert_eq!((done.code, done.err.as_str()), (0, ""), "{done:?}");
    done.out
}

#[test]
fn owners_are_kept_with_the_files() {
    let sandbox = Sandbox::ordinary();
    with_applets(&sandbox);
    let work = sandbox.mkdir("bundle/rootfs/place", 0o755);
    let script = r#"
        cd /place; touch f; ln -s f l; ln f hard; own() { stat -c %u:%g "$@"; }
        chown 33:44 f; own f l hard; chown :55 f; own f
        chown -h 5:6 l; own l; own -L l; own /place/../place/./f; (cd /tmp; own ../place/f)
        chown 0:0 f; own f; chown 70000:4000000000 f; own f; mv f g; own g; cp -p g copy; own copy
        chmod 4755 g; chown 7:7 g; stat -c %a g; chmod 0 g; chown 8:8 g; own g
        mkdir d; chown -R 9:9 d; own d; touch d/x; own d/x
        chown 1:1 /dev/null; own /dev/null; chown 1 nosuch 2>/dev/null || echo missing
    "#;
    let out = fake(&sandbox, script);
    let expected = "33:44\n0:0\n33:44\n33:55\n5:6\n33:55\n33:55\n33:55\n0:0\n70000:4000000000\n70000:4000000000\n\
        70000:4000000000\n755\n8:8\n9:9\n0:0\n1:1\nmissing\n";
    assert_eq!(out, expected);
    // On the host they are the user's own, and the next container knows them.
    assert_eq!(fs::metadata(work.join("g")).unwrap().uid(), sandbox.uid());
    assert_eq!(fake(&sandbox, "stat -c %u:%g /place/g /place/d"), "8:8\n9:9\n");
    assert_eq!(sandbox.output("stat -c %u:%g /place/g"), "0:0\n", "nothing is faked that was not asked for");
    // A process that is added sees them as well.
    let created = ["create", "--fake-root", "--writable", "box", "--", "sleep", "1000"];
    sandbox.on_bundle(&created).ok();
    sandbox.rootlet(&["start", "box"]).ok();
    let done =
        sandbox.rootlet(&["exec", "box", "sh", "-c", "stat -c %u /place/g; chown 11 /place/d; stat -c %u /place/d"]);
    assert_eq!(done.ok().out, "8\n11\n");
    assert!(!supervisors(&sandbox).is_empty(), "somebody answers");
    sandbox.rootlet(&["delete", "-f", "box"]).ok();
    eventually("nobody answers any more", || supervisors(&sandbox).is_empty());
    fs::set_permissions(work.join("g"), fs::Permissions::from_mode(0o600)).unwrap();
    sandbox.assert_clean();
}

#[test]
fn whoever_has_changed_his_ids_is_who_he_says_and_so_are_his_children() {
    let sandbox = Sandbox::ordinary();
    with_applets(&sandbox);
    sandbox.write("bundle/rootfs/etc/passwd", "root:x:0:0::/:/bin/sh\nx:x:42:43::/tmp:/bin/sh\n");
    sandbox.write("bundle/rootfs/etc/group", "root:x:0:\ng:x:43:\nextra:x:99:x\n");
    let script = r#"
        id -u; su x -c 'id; sh -c "id -u; (id -ru)"; touch /tmp/f; chown 1 /tmp/f 2>/dev/null || echo refused; su root -c true 2>/dev/null || echo no'
        id -u; (su x -c 'sleep 0.2; id -u >/tmp/orphan' &) ; sleep 0.6; cat /tmp/orphan
    "#;
    let out = fake(&sandbox, script);
    assert_eq!(out, "0\nuid=42(x) gid=43(g) groups=43(g),99(extra)\n42\n42\nrefused\nno\n0\n42\n");
    sandbox.assert_clean();
}

#[test]
fn device_nodes_and_the_kernels_attributes_are_there() {
    let sandbox = Sandbox::ordinary();
    with_applets(&sandbox);
    let script = r#"
        umask 022; cd /tmp; mknod c c 1 3; mknod b b 8 17; mknod p p; mkdir d; mknod d/c c 5 260 || echo failed
        stat -c '%F %t:%T %a' c b p d/c; test -c c && test -b b && echo devices; cat c; chown 0:6 b; stat -c '%F %g' b
        mknod c c 1 3 2>/dev/null || echo exists; mknod nosuch/c c 1 3 2>/dev/null || echo missing
    "#;
    let expected = "character special file 1:3 644\nblock special file 8:11 644\nfifo 0:0 644\n\
        character special file 5:104 644\ndevices\nblock special file 6\nexists\nmissing\n";
    assert_eq!(fake(&sandbox, script), expected);
    let file = sandbox.rootfs().join("tmp/c");
    assert!(fs::symlink_metadata(&file).unwrap().is_file(), "on the host it is a plain, empty file");
    sandbox.assert_clean();
}

#[test]
fn what_stands_in_the_way_of_fake_root_is_named() {
    let sandbox = Sandbox::ordinary();
    sandbox.sh("id -u");
    sandbox.edit(|config| config["annotations"] = json!({"org.rootlet.fake-root": "yes"}));
    sandbox.run().fails(&["org.rootlet.fake-root", "\"yes\"", "\"true\""]);
    sandbox.edit(|config| config["annotations"] = json!({"org.rootlet.fake-root": "true"}));
    let plan = sandbox.on_bundle(&["plan"]).ok().out;
    assert!(plan.contains("install a system call filter"), "{plan}");
    // Without no_new_privs, too.
    for value in [true, false] {
        sandbox.edit(|config| config["process"]["noNewPrivileges"] = json!(value));
        assert_eq!(sandbox.run().ok().out, "0\n");
    }
    let before = sandbox.config();
    sandbox.edit(|config| {
        config["linux"]["seccomp"] = json!({"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/x",
            "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_NOTIFY"}]});
    });
    sandbox.run().fails(&["org.rootlet.fake-root", "one process alone", "SCMP_ACT_NOTIFY"]);
    sandbox.edit(|config| {
        *config = before.clone();
        config["linux"]["namespaces"].as_array_mut().unwrap().retain(|namespace| namespace["type"] != "pid");
    });
    sandbox.run().fails(&["fake root", "pid namespace", "could trace"]);
    sandbox.edit(|config| {
        *config = before.clone();
        config["mounts"]
            .as_array_mut()
            .unwrap()
            .push(json!({"destination": "/host", "type": "bind", "source": "/proc", "options": ["rbind"]}));
    });
    sandbox.run().fails(&["fake root", "shows the host's /proc"]);
    if let Some(rootful) = Sandbox::root() {
        rootful.sh("true");
        rootful.on_bundle(&["run", "--fake-root", "box"]).fails(&["fake root", "user namespace"]);
    }
    // An image's label asks for nothing.
    sandbox.assert_clean();
}

/// A package of Debian's, and its paragraph for a repository.
fn package(place: &Path, name: &str, version: &str, depends: &str, postinst: &str, fill: &dyn Fn(&Path)) -> String {
    let tree = place.join(name);
    fs::create_dir_all(tree.join("DEBIAN")).unwrap();
    let control = format!(
        "Package: {name}\nVersion: {version}\nArchitecture: all\nMaintainer: nobody <nobody@localhost>\nDepends: {depends}\nDescription: test\n"
    );
    fs::write(tree.join("DEBIAN/control"), &control).unwrap();
    fill(&tree);
    if tree.join("etc").exists() {
        fs::write(tree.join("DEBIAN/conffiles"), "/etc/tools/README\n").unwrap();
    }
    fs::write(tree.join("DEBIAN/postinst"), format!("#!/bin/sh\nset -e\n{postinst}\n")).unwrap();
    fs::set_permissions(tree.join("DEBIAN/postinst"), fs::Permissions::from_mode(0o755)).unwrap();
    let file = format!("{name}_{version}_all.deb");
    // Whatever the caller's umask is.
    for name in ["", "DEBIAN", "etc", "etc/tools", "usr", "usr/bin", "var", "var/mail-tools"] {
        if tree.join(name).is_dir() {
            fs::set_permissions(tree.join(name), fs::Permissions::from_mode(0o755)).unwrap();
        }
    }
    let built = Command::new("dpkg-deb").arg("--build").arg(&tree).arg(place.join(&file)).output().unwrap();
    assert!(built.status.success(), "{built:?}");
    fs::set_permissions(place.join(&file), fs::Permissions::from_mode(0o644)).unwrap();
    let sum = Command::new("sha256sum").arg(place.join(&file)).output().unwrap();
    let sum = String::from_utf8(sum.stdout).unwrap();
    let size = fs::metadata(place.join(&file)).unwrap().len();
    format!("{control}Filename: ./{file}\nSize: {size}\nSHA256: {}\n\n", sum.split_whitespace().next().unwrap())
}

#[test]
fn apt_installs_packages_with_users_groups_and_setuid_files() {
    if !is_root() || Command::new("dpkg-deb").arg("--version").output().is_err() {
        return skip("needs root and dpkg-deb, to make packages with files of others");
    }
    let Some(root) = debian() else { return };
    let sandbox = Sandbox::ordinary();
    let repository = sandbox.mkdir("repository", 0o755);
    let chown = |path: &Path, uid, gid| std::os::unix::fs::chown(path, Some(uid), Some(gid)).unwrap();
    let mut packages = package(
        &repository,
        "daemon",
        "1.0",
        "adduser, tools (>= 1)",
        "adduser --quiet --system --group --home /var/lib/daemon daemond\n\
         install -d -o daemond -g daemond -m 2750 /var/lib/daemon\n\
         dpkg-statoverride --update --add daemond shadow 4750 /usr/bin/daemon\n\
         [ \"$(stat -c %U:%G /var/lib/daemon)\" = daemond:daemond ]\n\
         su -s /bin/sh daemond -c 'id -un >/var/lib/daemon/me; test $(id -u) != 0'",
        &|tree| {
            fs::create_dir_all(tree.join("usr/bin")).unwrap();
            fs::write(tree.join("usr/bin/daemon"), "#!/bin/sh\n").unwrap();
            fs::set_permissions(tree.join("usr/bin/daemon"), fs::Permissions::from_mode(0o755)).unwrap();
        },
    );
    packages += &package(&repository, "tools", "1.2", "base-files", "mknod /dev/toolbox c 10 200 || exit 1", &|tree| {
        fs::create_dir_all(tree.join("var/mail-tools")).unwrap();
        // dpkg writes to it although nobody may, as to those of sudo.
        fs::create_dir_all(tree.join("etc/tools")).unwrap();
        fs::write(tree.join("etc/tools/README"), "x".repeat(100_000)).unwrap();
        fs::set_permissions(tree.join("etc/tools/README"), fs::Permissions::from_mode(0o440)).unwrap();
        chown(&tree.join("var/mail-tools"), 8, 8);
        for (name, mode, gid) in [("setuid", 0o4755, 0), ("setgid", 0o2755, 42)] {
            let path = tree.join("var/mail-tools").join(name);
            fs::write(&path, "x").unwrap();
            chown(&path, 0, gid);
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        }
    });
    fs::write(repository.join("Packages"), packages).unwrap();
    fs::set_permissions(repository.join("Packages"), fs::Permissions::from_mode(0o644)).unwrap();
    // As an image, which is made the user's own; and a root that is used twice.
    let archive = sandbox.path().join("debian.tar");
    let packed = Command::new("tar")
        .arg("-C")
        .arg(&root)
        .arg("-cf")
        .arg(&archive)
        .args(["--exclude=./dev/*", "."])
        .output()
        .unwrap();
    assert!(packed.status.success(), "{packed:?}");
    fs::set_permissions(&archive, fs::Permissions::from_mode(0o644)).unwrap();
    let box_ = sandbox.path().join("debian");
    sandbox.rootlet(&["unpack", archive.to_str().unwrap(), box_.to_str().unwrap()]).ok();
    let script = "echo 'deb [trusted=yes] file:/repository ./' >/etc/apt/sources.list; rm -f /etc/apt/sources.list.d/*
        apt-get update -qq && apt-get install -y -qq daemon >/tmp/log 2>&1 || { cat /tmp/log; exit 1; }
        dpkg --audit; stat -c '%U:%G %a' /usr/bin/daemon /var/lib/daemon /var/mail-tools /var/mail-tools/*
        cat /var/lib/daemon/me; setpriv --reuid 33 --regid 33 --clear-groups id -un; chroot / id -u; stat -c %F /dev/toolbox; stat -c %U:%G /etc/shadow
        tar -cf - -C /var mail-tools | tar -tvf - | cut -d' ' -f1,2; apt-get purge -y -qq daemon >/tmp/log 2>&1 || cat /tmp/log";
    let mount = format!("type=bind,src={},dst=/repository,ro", repository.display());
    let arguments = [
        "run",
        "-b",
        box_.to_str().unwrap(),
        "--no-tty",
        "--fake-root",
        "--layer",
        "tmp",
        "--mount",
        &mount,
        "box",
        "--",
        "sh",
        "-c",
        script,
    ];
    for _ in 0..2 {
        let done = finish({
            let mut command = sandbox.command(&arguments);
            command.env("TMPDIR", sandbox.path());
            command
        });
        let expected = "daemond:shadow 4750\ndaemond:daemond 2750\nmail:mail 755\nroot:shadow 2755\nroot:root 4755\n\
            daemond\nwww-data\n0\ncharacter special file\nroot:shadow\n\
            drwxr-xr-x mail/mail\n-rwxr-sr-x root/shadow\n-rwsr-xr-x root/root\n";
        let mut lines: Vec<_> = done.out.lines().collect();
        if lines.len() == 13 && lines[11] > lines[12] {
            lines.swap(11, 12);
        }
        let mut wanted: Vec<_> = expected.lines().collect();
        if wanted[11] > wanted[12] {
            wanted.swap(11, 12);
        }
        assert_eq!(lines, wanted, "{done:?}");
        assert_eq!(done.code, 0, "{done:?}");
    }
    eventually("nobody answers any more", || supervisors(&sandbox).is_empty());
    let _ = Command::new("chmod").arg("-R").arg("u+rwX").arg(&box_).output();
    sandbox.assert_clean();
}

#[test]
fn a_container_ends_with_who_answers_for_it() {
    // Else each call that is asked about fails as if the kernel had none of them, and a program takes -38 for an id.
    let sandbox = Sandbox::ordinary();
    sandbox.sh("while :; do id -u >/dev/null; sleep 0.05; done");
    let end_supervisor = || {
        let found = supervisors(&sandbox);
        assert_eq!(found.len(), 1);
        assert!(Command::new("kill").args(["-9", &found[0].to_string()]).status().unwrap().success());
    };
    sandbox.on_bundle(&["create", "--fake-root", "box"]).ok();
    end_supervisor();
    eventually("it has stopped", || sandbox.status("box") == "stopped");
    sandbox.rootlet(&["start", "box"]).fails(&["stopped"]);
    sandbox.rootlet(&["delete", "box"]).ok();
    let mut run = sandbox.command_on_bundle(&["run", "--fake-root", "box"]).spawn().unwrap();
    eventually("it runs", || {
        sandbox.rootlet(&["state", "box"]).out.contains("running") && !supervisors(&sandbox).is_empty()
    });
    end_supervisor();
    assert_eq!(crate::sandbox::wait(&mut run), 137);
    sandbox.assert_clean();
}

#[test]
fn where_more_ids_are_mapped_nothing_is_faked() {
    let Some(sandbox) = Sandbox::remapped() else { return };
    sandbox.on_bundle(&["run", "--fake-root", "box"]).fails(&[
        "fake-root",
        "more than one id",
        "leave --fake-root out",
    ]);
    sandbox.assert_clean();
}

#[test]
fn the_callers_timer_slack_makes_nobody_somebody() {
    let sandbox = Sandbox::ordinary();
    with_applets(&sandbox);
    sandbox.write("bundle/rootfs/etc/passwd", "root:x:0:0::/:/bin/sh\nx:x:42:43::/tmp:/bin/sh\n");
    // It is handed on to all that comes from whoever has it.
    let text = "echo 50001 >/proc/$$/timerslack_ns; exec \"$0\" run --fake-root --writable box -- sh -c \"su x -c 'id -u'; id -u\"";
    let mut command = sandbox.program("sh".as_ref(), &["-c", text, crate::sandbox::binary().to_str().unwrap()]);
    command.current_dir(sandbox.bundle());
    assert_eq!(finish(command).ok().out, "42\n0\n");
    sandbox.assert_clean();
}

#[test]
fn who_is_somebody_else_makes_files_of_his_own() {
    let sandbox = Sandbox::ordinary();
    with_applets(&sandbox);
    sandbox.write("bundle/rootfs/etc/passwd", "root:x:0:0::/:/bin/sh\nx:x:42:43::/tmp:/bin/sh\n");
    sandbox.write("bundle/rootfs/etc/group", "root:x:0:\ng:x:43:\nextra:x:99:x\n");
    let script = r#"
        cd /tmp; mkdir home; chown x:g home
        su x -c 'umask 027; cd /tmp/home; echo text >f; mkdir d; ln -s f l; echo more >>f; cat f; stat -c "%n %u:%g %a" f d; stat -c "%n %u:%g" l; test -O f && echo own
            chown x:extra f; stat -c %g f; chown root f 2>/dev/null || echo refused; chgrp root f 2>/dev/null || echo refused
            (set -C; echo again >f) 2>/dev/null || echo exists; cp f copy; stat -c %u copy; echo x >nosuch/f; mkdir e/ ; stat -c %u e'
        chmod 2770 home; su x -c 'touch /tmp/home/shared; stat -c %g /tmp/home/shared'; touch home/roots; stat -c %u home/roots; rm -r home; ls -A /tmp
    "#;
    let done = sandbox.on_bundle(&["run", "--fake-root", "--writable", "box", "--", "sh", "-c", script]);
    let expected = "text\nmore\nf 42:43 640\nd 42:43 750\nl 42:43\nown\n99\nrefused\nrefused\nexists\n42\n42\n43\n0\n";
    assert_eq!(done.out, expected, "{done:?}");
    sandbox.assert_clean();
}

#[test]
fn a_program_can_begin_as_who_is_not_mapped() {
    let sandbox = Sandbox::ordinary();
    with_applets(&sandbox);
    let run = [
        "run",
        "--fake-root",
        "--writable",
        "--user",
        "33:34",
        "box",
        "--",
        "sh",
        "-c",
        "id -u; id -g; touch /tmp/f; stat -c %u:%g /tmp/f /etc",
    ];
    assert_eq!(sandbox.on_bundle(&run).ok().out, "33\n34\n33:34\n0:0\n");
    sandbox.on_bundle(&["create", "--fake-root", "--writable", "box", "--", "sleep", "1000"]).ok();
    sandbox.rootlet(&["start", "box"]).ok();
    let exec = ["exec", "-u", "55:56", "-g", "57", "box", "sh", "-c", "id -u; id -g; id -G; sh -c 'id -u'"];
    assert_eq!(sandbox.rootlet(&exec).ok().out, "55\n56\n56 57\n55\n");
    assert_eq!(sandbox.rootlet(&["exec", "box", "id", "-u"]).ok().out, "0\n");
    sandbox.rootlet(&["delete", "-f", "box"]).ok();
    // What setpriv(1) does: the user first, and the group by what is kept.
    sandbox.sh("true");
    sandbox.assert_clean();
}

#[test]
fn few_descriptors_make_no_wrong_answers() {
    let sandbox = Sandbox::ordinary();
    with_applets(&sandbox);
    let script = "cd /tmp; touch f; chown 9:9 f; for i in 1 2 3 4 5 6 7 8; do (for j in 1 2 3 4 5 6 7 8 9 10; do stat -c %u f; done) & done; wait";
    for limit in [24, 64, 1024] {
        let text = format!("ulimit -n {limit}; exec \"$0\" run --fake-root --writable box -- sh -c '{script}'");
        let mut command = sandbox.program("sh".as_ref(), &["-c", &text, crate::sandbox::binary().to_str().unwrap()]);
        command.current_dir(sandbox.bundle());
        let done = finish(command);
        assert_eq!((done.code, done.out.as_str()), (0, "9\n".repeat(80).as_str()), "{limit}: {done:?}");
    }
    sandbox.assert_clean();
}
