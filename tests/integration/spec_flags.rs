//! The flags of `rootlet spec`: what others write into JSON by hand.

use crate::sandbox::{Done, Sandbox};
use serde_json::{Value, json};

fn spec(flags: &[&str]) -> (Sandbox, Done) {
    let sandbox = Sandbox::ordinary();
    std::fs::remove_file(sandbox.bundle().join("config.json")).unwrap();
    let bundle = sandbox.bundle();
    let done = sandbox.rootlet(&[&["spec", "-b", bundle.to_str().unwrap()], flags].concat());
    (sandbox, done)
}

#[track_caller]
fn config(flags: &[&str]) -> Value {
    let (sandbox, done) = spec(flags);
    done.ok();
    sandbox.config()
}

#[test]
fn the_restrictions_that_people_want_are_one_line() {
    let sandbox = Sandbox::empty(Sandbox::ordinary().uid());
    let (bundle, home) = (sandbox.mkdir("bundle", 0o755), sandbox.mkdir("home", 0o755));
    sandbox.write("home/file", "mine");
    let mount = format!("type=bind,src={0},dst={0},ro", home.display());
    let script = format!(
        "cat {0}/file; touch {0}/new 2>/dev/null || echo read-only; grep -E 'CapBnd|CapEff|Seccomp:' /proc/self/status; unshare -U true 2>/dev/null || echo denied",
        home.display()
    );
    sandbox
        .rootlet(&[
            "spec",
            "--host",
            "-b",
            bundle.to_str().unwrap(),
            "--memory",
            "1G",
            "--pids",
            "100",
            "--cap-drop",
            "ALL",
            "--seccomp",
            "default",
            "--mount",
            &mount,
            "--no-tty",
            "--args",
            "bash",
            "-c",
            &script,
        ])
        .ok();
    let written = sandbox.config();
    assert_eq!(written["linux"]["resources"], json!({"memory": {"limit": 1u64 << 30}, "pids": {"limit": 100}}));
    // The limits need a cgroup; all else is in force.
    let done = sandbox.run_with(&["--limits", "try"]).ok();
    assert_eq!(done.out, "mineread-only\nCapEff:\t0000000000000000\nCapBnd:\t0000000000000000\nSeccomp:\t2\ndenied\n");
    sandbox.assert_clean();
}

#[test]
fn each_flag_changes_what_it_names() {
    let plain = config(&[]);
    for (flags, pointer, expected) in [
        (&["--rootfs", "/srv/root"][..], "/root/path", json!("/srv/root")),
        (&["--writable"], "/root/readonly", json!(false)),
        (&["--read-only"], "/root/readonly", json!(true)),
        (&["--read-only=false"], "/root/readonly", json!(false)),
        (&["--hostname", "other"], "/hostname", json!("other")),
        (&["--cwd", "/tmp"], "/process/cwd", json!("/tmp")),
        (&["--no-tty"], "/process/terminal", json!(false)),
        (&["--args", "ls", "-l", "--color", "/"], "/process/args", json!(["ls", "-l", "--color", "/"])),
        (&["--memory", "512M"], "/linux/resources/memory/limit", json!(512 << 20)),
        (&["--cpus", "1.5"], "/linux/resources/cpu", json!({"quota": 150_000, "period": 100_000})),
        (&["--pids", "7"], "/linux/resources/pids/limit", json!(7)),
        (&["--cap-drop", "ALL"], "/process/capabilities/bounding", json!([])),
        (
            &["--cap-drop", "ALL", "--cap-add", "CAP_CHOWN,kill"],
            "/process/capabilities/effective",
            json!(["CAP_CHOWN", "CAP_KILL"]),
        ),
        (
            &["--cap-drop", "KILL"],
            "/process/capabilities/permitted",
            json!(["CAP_AUDIT_WRITE", "CAP_NET_BIND_SERVICE"]),
        ),
        (&["--user", "1000:100"], "/process/user", json!({"uid": 1000, "gid": 100})),
        (&["--user", "1000:100"], "/linux/gidMappings/0/containerID", json!(100)),
        (&["--seccomp", "none"], "/linux/seccomp", Value::Null),
    ] {
        let written = config(flags);
        assert_eq!(written.pointer(pointer).unwrap_or(&Value::Null), &expected, "{flags:?}");
        let differences: Vec<_> = plain
            .as_object()
            .unwrap()
            .iter()
            .filter(|(key, value)| written[key.as_str()] != **value)
            .map(|(key, _)| key.clone())
            .collect();
        assert!(differences.len() <= 2, "{flags:?} changes no more than it names: {differences:?}");
    }
    let env = config(&["--env", "A=b=c", "-e", "TERM=dumb", "--env", "A=d"]);
    assert_eq!(env["process"]["env"].as_array().unwrap()[1..], [json!("TERM=dumb"), json!("A=d")]);
}

#[test]
fn mounts_are_written_as_docker_writes_them() {
    let (sandbox, done) = spec(&[
        "--mount",
        "type=bind,src=rel,dst=/a,ro,bind-propagation=rslave",
        "--mount",
        "source=/b,target=/b",
        "--mount",
        "type=tmpfs,destination=/c,tmpfs-size=64k,tmpfs-mode=0700",
        "--mount",
        "type=overlay,dst=/d,lowerdir=/l,upperdir=/u,workdir=/w",
    ]);
    done.ok();
    let config = sandbox.config();
    let mounts = config["mounts"].as_array().unwrap();
    let last = &mounts[mounts.len() - 4..];
    let here = sandbox.path().join("rel");
    assert_eq!(
        last[0],
        json!({"destination": "/a", "type": "none", "source": here, "options": ["rbind", "nosuid", "nodev", "rro", "rslave"]})
    );
    assert_eq!(last[1]["options"], json!(["rbind", "nosuid", "nodev"]));
    assert_eq!(
        last[2],
        json!({"destination": "/c", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "nodev", "size=64k", "mode=0700"]})
    );
    assert_eq!(last[3]["options"], json!(["nosuid", "nodev", "lowerdir=/l", "upperdir=/u", "workdir=/w"]));
}

#[test]
fn what_is_written_runs() {
    let (sandbox, done) = spec(&[
        "--no-tty",
        "--user",
        "1000",
        "--net",
        "none",
        "--writable",
        "--args",
        "sh",
        "-c",
        "id -u; ls /sys/class/net; touch /data/x; stat -c %u /data/x",
    ]);
    done.ok();
    assert_eq!(sandbox.run().ok().out, "1000\nlo\n1000\n");
    let (sandbox, done) =
        spec(&["--no-tty", "--net", "host", "--seccomp", "default", "--args", "sh", "-c", "ls /sys/class/net | wc -l"]);
    done.ok();
    let own = std::fs::read_dir("/sys/class/net").unwrap().count();
    assert_eq!(sandbox.run().ok().out, format!("{own}\n"));
}

#[test]
fn wrong_values_are_named_and_nothing_is_written() {
    for (flags, words) in [
        (&["--memory", "1X"][..], &["--memory \"1X\"", "1G"][..]),
        (&["--memory", "-1"], &["--memory"]),
        (&["--cpus", "lots"], &["--cpus \"lots\"", "1.5"]),
        (&["--cpus", "0"], &["--cpus \"0\""]),
        (&["--pids", "many"], &["--pids"]),
        (&["--env", "NOVALUE"], &["--env \"NOVALUE\"", "NAME=VALUE"]),
        (&["--user", "nobody"], &["--user \"nobody\"", "numbers"]),
        (&["--user", "4294967295"], &["--user"]),
        (&["--user", "+1"], &["--user"]),
        (&["--user", ":5"], &["--user"]),
        (&["--cap-add", "FLY"], &["--cap-add \"FLY\"", "NET_RAW"]),
        (&["--mount", "type=bind,dst=/a"], &["--mount", "src="]),
        (&["--mount", "type=tmpfs"], &["--mount", "dst="]),
        (&["--mount", "type=tmpfs,dst=a"], &["--mount", "dst="]),
        (&["--mount", "type=volume,src=data,dst=/a"], &["--mount", "volumes", "type=bind"]),
        (&["--mount", "type=bind,src=/a,dst=/a,foo"], &["mounts[", "\"foo\""]),
        (&["--hostname", "a-name-of-more-than-64-characters-which-is-what-the-kernel-takes-now"], &["hostname"]),
        (&["--net", "bridge"], &["--net", "host, none"]),
        (&["--seccomp", "/nosuch-profile"], &["/nosuch-profile", "--seccomp"]),
        (&["--seccomp", "/etc/passwd"], &["/etc/passwd", "not a profile"]),
        (&["--read-only", "--writable"], &["--read-only", "--writable"]),
        (&["--host", "--rootfs", "x"], &["--host", "--rootfs"]),
    ] {
        let (sandbox, done) = spec(flags);
        done.fails(words);
        assert!(!sandbox.bundle().join("config.json").exists(), "{flags:?}");
    }
}

#[test]
fn a_profile_may_name_its_errnos_and_may_have_no_rules() {
    let (sandbox, done) = spec(&[]);
    done.ok();
    let bundle = sandbox.bundle();
    let write = |profile: Value| {
        let file = sandbox.write("profile.json", &profile.to_string());
        let _ = std::fs::remove_file(bundle.join("config.json"));
        sandbox.on_bundle(&["spec", "--seccomp", file.to_str().unwrap()])
    };
    // As podman keeps them.
    let rule = |errno: &str| json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_ERRNO", "errno": errno}]});
    write(rule("EACCES")).ok();
    assert_eq!(sandbox.config().pointer("/linux/seccomp/syscalls/0/errnoRet"), Some(&json!(13)));
    write(rule("EFOO")).fails(&["profile.json", "errno \"EFOO\""]);
    write(json!({"defaultAction": "SCMP_ACT_ALLOW"})).ok();
    write(json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": {}})).fails(&["\"syscalls\" is not a list"]);
    write(json!({"defaultAction": "SCMP_ACT_LOG", "listenerPath": null, "syscalls": null})).ok();
    assert_eq!(sandbox.config()["linux"]["seccomp"], json!({"defaultAction": "SCMP_ACT_LOG"}));
    write(json!({"defaultAction": "SCMP_ACT_ALOW"})).fails(&["linux.seccomp", "SCMP_ACT_ALOW", "SCMP_ACT_ALLOW"]);
    assert!(!bundle.join("config.json").exists());
}
