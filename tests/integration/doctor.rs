//! `rootlet doctor`: what it finds is what is so, and what it says to do mends it; and errors name the same causes.

use crate::sandbox::{self, Done, Sandbox, binary, eventually, is_root, skip};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

/// A user with a bundle of the host's programs.
fn user() -> Sandbox {
    let sandbox = Sandbox::empty(Sandbox::ordinary().uid());
    sandbox.mkdir("host", 0o755);
    let mut command = sandbox.command(&["spec", "--host", "--no-tty", "--args", "true"]);
    assert!(command.current_dir(sandbox.path().join("host")).status().unwrap().success());
    sandbox
}

/// A line of shell as the sandbox's user; `rootlet` and `bundle` are variables of it.
fn shell(sandbox: &Sandbox, line: &str) -> Done {
    let mut command = sandbox.program(Path::new("/bin/sh"), &["-c", line]);
    command.env("rootlet", binary()).env("bundle", sandbox.path().join("host"));
    sandbox::finish(command)
}

/// A line of shell as root in a mount namespace of its own, with `$as_user` in front of what the user does; for root alone.
fn prepared(sandbox: &Sandbox, line: &str) -> Done {
    let uid = sandbox.uid().to_string();
    let as_user = format!("setpriv --reuid {uid} --regid {uid} --clear-groups");
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", line]).env("as_user", as_user).env("rootlet", binary());
    command.env("bundle", sandbox.path().join("host")).env("XDG_RUNTIME_DIR", sandbox.path().join("xdg"));
    command.env("place", sandbox.path()).env("HOME", sandbox.path());
    sandbox::finish(command)
}

/// The findings of `doctor --format json`.
fn findings(done: &Done) -> Vec<Value> {
    let document: Value = serde_json::from_str(&done.out).unwrap_or_else(|error| panic!("{error}: {done:?}"));
    document["findings"].as_array().unwrap().clone()
}

/// The finding about something: its verdict and all that is said.
#[track_caller]
fn about(done: &Done, subject: &str) -> (String, String) {
    let findings = findings(done);
    let finding = findings.iter().find(|finding| finding["subject"] == subject);
    let finding = finding.unwrap_or_else(|| panic!("nothing about {subject}: {done:?}"));
    (finding["verdict"].as_str().unwrap().to_owned(), finding.to_string())
}

#[test]
fn a_host_that_runs_containers_is_found_to() {
    let user = user();
    let done = user.rootlet(&["doctor", "--format", "json"]).ok();
    assert!(done.out.contains("\"works\": true"), "{done:?}");
    for subject in ["user namespace", "id map", "mount namespace", "pid namespace", "fresh /proc", "tmpfs", "devpts"] {
        assert_eq!(about(&done, subject).0, "ok", "{subject}");
    }
    for finding in findings(&done) {
        // Whatever is not well has a meaning.
        assert!(finding["verdict"] == "ok" || finding["means"].is_string(), "{finding}");
    }
    let text = user.rootlet(&["doctor"]).ok().out;
    assert!(text.ends_with("what `rootlet spec` writes can run here\n") && !text.contains('\x1b'), "{text}");
    assert!(fs::read_dir(user.path().join("xdg")).unwrap().next().is_none(), "nothing is left");
}

#[test]
fn whoever_is_killed_leaves_nothing_that_the_next_does_not_sweep() {
    let user = user();
    for delay in 0..30 {
        let mut child = user.command(&["doctor"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(std::time::Duration::from_micros(delay * 400));
        let _ = child.kill();
        child.wait().unwrap();
    }
    user.rootlet(&["doctor"]);
    let left: Vec<_> = fs::read_dir(user.states())
        .map(|entries| entries.map(|entry| entry.unwrap().file_name()).collect())
        .unwrap_or_default();
    assert!(left.is_empty(), "{left:?}");
    eventually("none of its processes lives", || {
        let own = |entry: &fs::DirEntry| {
            let environment = fs::read(entry.path().join("environ")).unwrap_or_default();
            String::from_utf8_lossy(&environment).contains(user.path().to_str().unwrap())
        };
        !fs::read_dir("/proc").unwrap().flatten().any(|entry| own(&entry))
    });
}

#[test]
fn a_bundle_is_judged_by_what_it_needs() {
    let user = user();
    let bundle = user.path().join("host");
    let bundle = bundle.to_str().unwrap();
    let done = user.rootlet(&["doctor", bundle]).ok();
    assert!(done.out.contains("can run here"), "{done:?}");
    fs::write(user.path().join("host/config.json"), r#"{"ociVersion": "1.0.2", "root": {"path": "nowhere"}}"#).unwrap();
    let done = user.rootlet(&["doctor", bundle]);
    assert!(done.code == 1 && done.out.contains("cannot run here"), "{done:?}");
    user.rootlet(&["doctor", "/no/such"]).fails(&["/no/such"]);
}

#[test]
fn each_limit_of_namespaces_is_named_and_its_mend_mends() {
    let user = user();
    for (kind, subject) in [
        ("pid", "pid namespace"),
        ("ipc", "ipc namespace"),
        ("uts", "uts namespace"),
        ("net", "network namespace"),
        ("mnt", "mount namespace"),
        ("cgroup", "cgroup namespace"),
        ("time", "time namespace"),
    ] {
        let line =
            format!("unshare -r sh -c 'echo 0 > /proc/sys/user/max_{kind}_namespaces; $rootlet doctor --format json'");
        let done = shell(&user, &line);
        let (verdict, said) = about(&done, subject);
        let name = format!("user.max_{kind}_namespaces");
        assert!(verdict == "missing" && said.contains(&format!("{name} is 0")), "{said}");
        let mend = format!("sysctl {name}=15000");
        assert!(said.contains(&mend), "{said}");
        let line = format!(
            "unshare -r sh -c 'echo 0 > /proc/sys/user/max_{kind}_namespaces; echo 15000 > /proc/sys/user/max_{kind}_namespaces; $rootlet doctor --format json'"
        );
        assert_eq!(about(&shell(&user, &line), subject).0, "ok");
    }
    let line = "unshare -r sh -c 'echo 0 > /proc/sys/user/max_pid_namespaces; $rootlet run -b $bundle box'";
    shell(&user, line).fails(&["user.max_pid_namespaces is 0"]);
    let line =
        "unshare -r sh -c 'echo 0 > /proc/sys/user/max_user_namespaces; $rootlet run -b $bundle box; $rootlet doctor'";
    let done = shell(&user, line);
    assert!(
        done.err.contains("user.max_user_namespaces is 0") && done.out.contains("user.max_user_namespaces is 0"),
        "{done:?}"
    );
    // The limit of a namespace around is not that of this one.
    let line = "unshare -r sh -c 'echo 1 > /proc/sys/user/max_pid_namespaces; unshare -rpf --mount-proc $rootlet run -b $bundle box'";
    let done = shell(&user, line).fails(&["around this one", "user.max_pid_namespaces"]);
    assert!(!done.err.contains("is 2147483647;"), "{done:?}");
}

#[test]
fn a_proc_that_is_wrong_is_named() {
    let user = user();
    let line = "unshare -rpf sh -c '$rootlet run -b $bundle box; $rootlet doctor --format json'";
    let done = shell(&user, line);
    assert!(done.err.contains("another pid namespace") && done.err.contains("mount -t proc"), "{done:?}");
    assert_eq!(about(&done, "/proc").0, "limited");
    shell(&user, "HOME=$bundle unshare -rpf $rootlet run --host box -- true").ok();
    // A process has another number there than its maker knows, and that is nobody's.
    shell(&user, "HOME=$bundle unshare -rpf --mount-proc unshare -pf $rootlet run --host box -- true").ok();
    if let Some(remapped) = Sandbox::remapped() {
        remapped.sh("cat /proc/self/uid_map");
        let bundle = remapped.bundle();
        let run = ["--pid", "--fork", binary().to_str().unwrap(), "run", "-b", bundle.to_str().unwrap(), "box"];
        let done = sandbox::finish(remapped.program(Path::new("/usr/bin/unshare"), &run)).ok();
        assert!(done.out.split_whitespace().eq(["0", "100000", "65536"]), "{done:?}");
    }
    // As unshare(1) alone leaves it.
    let done = shell(&user, "unshare -U $rootlet sandbox -- true");
    assert!(done.err.contains("no id is mapped") && done.err.contains("-r"), "{done:?}");
    shell(&user, "HOME=$bundle unshare -rpf --mount-proc $rootlet run --host box -- true").ok();
    if !is_root() {
        return skip("the rest needs root, to change /proc");
    }
    let line = "mount --bind /proc /proc && mount -o remount,bind,ro /proc; $as_user $rootlet run -b $bundle box; $as_user $rootlet doctor --format json";
    let done = prepared(&user, line);
    assert!(done.err.contains("/proc is read-only"), "{done:?}");
    assert_eq!(about(&done, "/proc").0, "missing");
    let line = "cp $rootlet $place/rootlet; umount -l /proc; $as_user $rootlet run -b $bundle box; $as_user $rootlet doctor --format json; \
                mount -t proc proc /proc; $as_user $rootlet run -b $bundle box >&2 && echo mended >&2";
    let done = prepared(&user, line);
    assert!(done.err.contains("there is no /proc") && done.err.ends_with("mended\n"), "{done:?}");
    let change = |key: &str, name: &str, value: Value| {
        let path = user.path().join("host/config.json");
        let mut config: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        config[key][name] = value;
        fs::write(path, config.to_string()).unwrap();
    };
    // By its pidfd, as its number there is another's.
    let line = "unshare -pf sh -c '$as_user $rootlet create -b $bundle box </dev/null; $as_user $rootlet start box && $as_user $rootlet delete -f box'";
    change("process", "args", json!(["sleep", "100"]));
    assert_eq!(prepared(&user, line).ok().err, "");
    // Nobody knows who is not named.
    let line = "mount -t proc -o hidepid=2 proc /proc; $as_user $rootlet run -d -b $bundle box >&2 </dev/null && $as_user $rootlet ps box; \
                $as_user $rootlet pause box; $as_user $rootlet kill -a box TERM; $as_user $rootlet delete -f box; $as_user $rootlet doctor --format json";
    let done = prepared(&user, line);
    // Before Linux 6.9, none of them can be made.
    let is_unmade = done.err.contains("is not in /proc") && done.err.contains("hides it");
    let unknown = [done.err.matches("is not known").count(), done.err.matches("hidepid=0").count()];
    assert!(is_unmade || unknown == [3, 3], "{done:?}");
    assert_eq!(about(&done, "/proc").0, if is_unmade { "missing" } else { "limited" });
    // Without what the kernel says of itself, containers run, and can be found again.
    let line = "umount -l /proc; mount -t proc -o subset=pid proc /proc; $as_user $rootlet run -d -b $bundle box >&2 </dev/null && \
                $as_user $rootlet exec box echo in >&2 && $as_user $rootlet delete -f box >&2; $as_user $rootlet doctor --format json";
    change("process", "args", json!(["sleep", "100"]));
    let done = prepared(&user, line);
    let (verdict, found) = about(&done, "/proc");
    assert!(done.err == "in\n" && verdict == "limited" && found.contains("subset=pid"), "{done:?}");
    change("process", "args", json!(["true"]));
    change("linux", "sysctl", json!({ "kernel.msgmax": "9000" }));
    let line = "umount -l /proc; mount -t proc -o subset=pid proc /proc; $as_user $rootlet run -b $bundle box";
    prepared(&user, line).fails(&["linux.sysctl (kernel.msgmax)", "subset=pid", "mount -t proc"]);
    change("linux", "sysctl", json!({}));
    let line =
        "mount -t tmpfs tmpfs /dev; $as_user $rootlet run -b $bundle box; $as_user $rootlet doctor --format json";
    assert_eq!(about(&prepared(&user, line), "devices").0, "missing");
    // As Docker covers it.
    let line = "mount --bind /dev/null /proc/timer_list; $as_user $rootlet run -b $bundle box; $as_user $rootlet doctor --format json; \
                umount /proc/timer_list; $as_user $rootlet run -b $bundle box && echo mended >&2";
    let done = prepared(&user, line);
    assert!(done.err.contains("masked at /proc/timer_list") && done.err.ends_with("mended\n"), "{done:?}");
    let (verdict, said) = about(&done, "fresh /proc");
    assert!(
        verdict == "missing" && said.contains("/proc/timer_list") && said.contains("systempaths=unconfined"),
        "{said}"
    );
}

#[test]
fn limits_of_the_caller_are_named() {
    let user = user();
    if is_root() {
        // The limit counts all processes of the user's: this is nobody else's.
        let stranger = Sandbox::empty(sandbox::ORDINARY + 7);
        let done = shell(&stranger, "prlimit --nproc=1 $rootlet sandbox -- true");
        assert!(done.code == 125 && done.err.contains("RLIMIT_NPROC is 1"), "{done:?}");
    }
    let done = shell(&user, "ulimit -n 8; exec $rootlet run -b $bundle box");
    done.fails(&["RLIMIT_NOFILE", "is 8", "ulimit -n"]);
    let done = shell(&user, "ulimit -n 20; exec $rootlet doctor --format json");
    assert_eq!(about(&done, "open files").0, "limited");
}

#[test]
fn a_chroot_is_no_filter() {
    let user = user();
    if !is_root() {
        return skip("needs root");
    }
    let line = "mkdir $place/root && cd $place/root && for name in $(ls /); do if test -d /$name && ! test -L /$name; then mkdir $name; \
                mount --rbind /$name $name; elif test -L /$name; then cp -P /$name $name; fi; done; \
                chroot . $as_user $rootlet run -b $bundle box; chroot . $as_user $rootlet doctor --format json";
    let done = prepared(&user, line);
    assert!(done.err.contains("you are in a chroot") && !done.err.contains("filter of"), "{done:?}");
    let (verdict, said) = about(&done, "surroundings");
    assert!(verdict == "missing" && said.contains("chroot"), "{said}");
    assert!(done.code == 1 && done.out.contains("\"works\": false"), "{done:?}");
}

#[test]
fn a_filter_around_is_named_and_so_is_what_opens_it() {
    let user = user();
    let line = "cd $bundle; HOME=$bundle $rootlet sandbox --rw $(dirname $rootlet) -- $rootlet doctor --format json";
    let done = shell(&user, line);
    let (verdict, said) = about(&done, "user namespace");
    assert!(verdict == "missing" && said.contains("system call filter"), "{said}");
    assert!(about(&done, "surroundings").1.contains("a system call filter"), "{done:?}");
    let line = "cd $bundle; HOME=$bundle $rootlet sandbox --rw $(dirname $rootlet) --seccomp none -- $rootlet doctor --format json";
    assert_eq!(about(&shell(&user, line), "user namespace").0, "ok");
}

#[test]
fn places_that_cannot_hold_anything_are_named() {
    let user = user();
    let done = shell(&user, "XDG_RUNTIME_DIR= $rootlet doctor --format json").ok();
    let (verdict, said) = about(&done, "XDG_RUNTIME_DIR");
    assert!(verdict == "limited" && said.contains("install -d -m 700") && said.contains("/run/user/UID"), "{said}");
    let done = shell(&user, "$rootlet doctor --format json").ok();
    assert_eq!((about(&done, "XDG_RUNTIME_DIR").0, about(&done, "states").0), ("ok".to_owned(), "ok".to_owned()));
    // What stands in the way of a state stands in the way of a container.
    for wrong in [
        "touch $XDG_RUNTIME_DIR/rootlet",
        "mkdir -m 0500 $XDG_RUNTIME_DIR/rootlet",
        "mkdir -m 0777 $XDG_RUNTIME_DIR/rootlet",
    ] {
        let line = format!(
            "rm -rf $XDG_RUNTIME_DIR/rootlet; {wrong}; chmod 0777 $XDG_RUNTIME_DIR/rootlet 2>/dev/null; $rootlet run -b $bundle box; $rootlet doctor --format json"
        );
        let done = shell(
            &user,
            &line.replace(
                " chmod 0777 $XDG_RUNTIME_DIR/rootlet 2>/dev/null;",
                if wrong.contains("0777") { " chmod 0777 $XDG_RUNTIME_DIR/rootlet;" } else { "" },
            ),
        );
        assert!(done.err.contains("error: "), "{wrong}: {done:?}");
        assert_eq!((done.code, about(&done, "states").0.as_str()), (1, "missing"), "{wrong}: {done:?}");
    }
    shell(&user, "rm -rf $XDG_RUNTIME_DIR/rootlet").ok();
    let done =
        shell(&user, "export XDG_RUNTIME_DIR=/no/such; $rootlet run -b $bundle box && $rootlet doctor --format json")
            .ok();
    assert!(about(&done, "XDG_RUNTIME_DIR").0 == "limited", "{done:?}");
    if !is_root() {
        return skip("the rest needs root, for mounts");
    }
    let line = "mount --bind $XDG_RUNTIME_DIR $XDG_RUNTIME_DIR && mount -o remount,bind,ro $XDG_RUNTIME_DIR; $as_user $rootlet doctor --format json";
    let done = prepared(&user, line);
    let (verdict, said) = about(&done, "states");
    assert!(done.code == 1 && verdict == "missing" && said.contains("--root DIR"), "{said}");
    let line = "mkdir $place/home; mount -t tmpfs -o noexec,mode=777 tmpfs $place/home; export HOME=$place/home; $as_user $rootlet doctor --format json; \
                mount -o remount,exec $place/home; $as_user $rootlet doctor --format json >&2";
    let done = prepared(&user, line);
    let (verdict, said) = about(&done, "home");
    assert!(verdict == "limited" && said.contains("noexec") && said.contains("remount,exec"), "{said}");
    assert!(!about(&Done { out: done.err.clone(), ..done }, "home").1.contains("noexec"));
}

#[test]
fn apparmors_restriction_is_named() {
    let user = user();
    if !is_root() {
        return skip("needs root, for a setting that this kernel has not");
    }
    // The setting, as Ubuntu's kernel shows it; this one makes no difference to what is tried.
    let line = "mkdir $place/sys; for name in $(ls /proc/sys/kernel); do test -f /proc/sys/kernel/$name && cat /proc/sys/kernel/$name > $place/sys/$name 2>/dev/null; done; \
                echo 1 > $place/sys/apparmor_restrict_unprivileged_userns; mount --bind $place/sys /proc/sys/kernel; $as_user $rootlet doctor --format json";
    let done = prepared(&user, line);
    let document: Value = serde_json::from_str(&done.out).unwrap();
    let finding =
        document["findings"].as_array().unwrap().iter().find(|finding| finding["subject"] == "AppArmor").unwrap();
    let said = finding.to_string();
    assert!(finding["verdict"] == "limited" && said.contains("/etc/apparmor.d/rootlet"), "{said}");
}
