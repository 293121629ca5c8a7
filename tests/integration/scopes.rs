//! Scopes of a user's systemd, and its units: who is logged in and has no cgroup of his own gets one by asking. They need the
//! virtual machine of `scripts/vm`.

use crate::cgroups::{in_guest, read};
use crate::sandbox::{Done, Sandbox, eventually, finish};
use serde_json::json;
use std::fs;
use std::process::Command;

/// The user who is logged in, and rootlet in a scope or service of his.
struct LoggedIn(Sandbox);

impl LoggedIn {
    fn new() -> LoggedIn {
        LoggedIn(Sandbox::of(1000))
    }

    fn systemctl(&self, arguments: &[&str]) -> Done {
        finish(self.with_bus(self.0.program("systemctl".as_ref(), &[&["--user"], arguments].concat())))
    }

    fn with_bus(&self, mut command: Command) -> Command {
        command.env("DBUS_SESSION_BUS_ADDRESS", "unix:path=/run/user/1000/bus");
        command
    }

    /// In no cgroup of his own, as in a login.
    fn rootlet(&self, arguments: &[&str]) -> Done {
        finish(self.with_bus(self.0.command(arguments)))
    }

    /// In a scope of his systemd, delegated or not.
    fn in_scope(&self, is_delegated: bool, arguments: &[&str]) -> Done {
        let inner = self.0.command(arguments);
        let delegate = format!("Delegate={is_delegated}");
        let mut words = vec!["--user", "--scope", "-q", "-p", &delegate, "--"];
        words.push(inner.get_program().to_str().unwrap());
        words.extend(arguments);
        finish(self.with_bus(self.0.program("systemd-run".as_ref(), &words)))
    }
}

#[test]
fn systemd_makes_a_scope_where_no_directory_is_the_users() {
    if !in_guest() {
        return;
    }
    let user = LoggedIn::new();
    let (sandbox, bundle) = (&user.0, user.0.bundle());
    let bundle = bundle.to_str().unwrap();
    sandbox.sh("sleep 1000");
    // Without a limit, nobody is asked.
    let plan = user.rootlet(&["plan", "-b", bundle]).ok().out;
    assert!(plan.starts_with("cgroup  none, because your cgroup"), "{plan}");
    sandbox.edit(|config| config["linux"]["resources"] = json!({"memory": {"limit": 32 << 20}, "pids": {"limit": 31}}));
    let plan = user.rootlet(&["plan", "-b", bundle]).ok().out;
    assert!(
        plan.contains("cgroup  rootlet-plan.scope/container in user.slice of the user's systemd, because"),
        "{plan}"
    );
    user.rootlet(&["run", "-d", "-b", bundle, "box"]).ok();
    let cgroup = sandbox.cgroup();
    // Another container's scope may have the name already.
    let scope = cgroup.parent().unwrap().file_name().unwrap().to_str().unwrap().to_owned();
    assert!(
        scope.starts_with("rootlet-box") && scope.ends_with(".scope") && cgroup.ends_with("container"),
        "{cgroup:?}"
    );
    assert_eq!((read(&cgroup, "memory.max"), read(&cgroup, "pids.max")), ("33554432".to_owned(), "31".to_owned()));
    assert_eq!(read(&cgroup, "cgroup.procs").lines().count(), 1);
    let shown = user.systemctl(&["show", "-P", "ActiveState,Delegate", &scope]).ok().out;
    assert!(shown.contains("active") && shown.contains("yes"), "{shown}");
    user.rootlet(&["pause", "box"]).ok();
    assert_eq!(sandbox.status("box"), "paused");
    user.rootlet(&["resume", "box"]).ok();
    user.rootlet(&["update", "--pids-limit", "40", "box"]).ok();
    assert_eq!(read(&cgroup, "pids.max"), "40");
    assert_eq!(user.rootlet(&["exec", "box", "sh", "-c", "exit 3"]).code, 3);
    user.rootlet(&["delete", "--force", "box"]).ok();
    eventually("the scope is gone", || !user.systemctl(&["is-active", &scope]).out.starts_with("active"));
    // cpuset is not delegated to users by default.
    sandbox.edit(|config| config["linux"]["resources"] = json!({"cpu": {"cpus": "0"}}));
    user.rootlet(&["run", "-b", bundle, "box"]).fails(&["cpu.cpus: cannot be enforced", "cpuset", "Delegate="]);
}

#[test]
fn a_scope_tells_of_every_end_for_want_of_memory() {
    if !in_guest() {
        return;
    }
    let user = LoggedIn::new();
    let (sandbox, bundle) = (&user.0, user.0.bundle());
    sandbox.edit(|config| {
        config["linux"]["resources"] = json!({"memory": {"limit": 16 << 20, "swap": 16 << 20}});
        config["process"]["args"] = json!(["dd", "if=/dev/zero", "of=/dev/null", "bs=64M", "count=1"]);
    });
    // systemd removes an empty scope at once, and with it what the kernel has counted.
    for _ in 0..15 {
        let done = user.rootlet(&["run", "-b", bundle.to_str().unwrap(), "box"]);
        assert!(done.code == 137 && done.err.contains("error: the container ran out of memory"), "{done:?}");
        sandbox.assert_clean();
    }
    eventually("the scope is gone", || !user.systemctl(&["is-active", "rootlet-box.scope"]).out.starts_with("active"));
}

#[test]
fn a_scope_can_be_asked_for_by_its_name() {
    if !in_guest() {
        return;
    }
    let user = LoggedIn::new();
    let (sandbox, bundle) = (&user.0, user.0.bundle());
    let bundle = bundle.to_str().unwrap();
    sandbox.sh("cat /proc/self/cgroup");
    user.rootlet(&["--systemd-cgroup", "run", "-b", bundle, "box"]).ok();
    sandbox.edit(|config| config["linux"]["cgroupsPath"] = json!("test-deep.slice:prefix:name"));
    sandbox.sh("sleep 1000");
    for flags in [&[][..], &["--systemd-cgroup"]] {
        user.rootlet(&[flags, &["run", "-d", "-b", bundle, "box"]].concat()).ok();
        let cgroup = sandbox.cgroup();
        assert!(cgroup.ends_with("test.slice/test-deep.slice/prefix-name.scope/container"), "{cgroup:?}");
        user.rootlet(&["--systemd-cgroup", "run", "-b", bundle, "other"])
            .fails(&["systemd makes no scope prefix-name.scope"]);
        user.rootlet(&["delete", "--force", "box"]).ok();
        eventually("the scope is gone", || {
            !user.systemctl(&["is-active", "prefix-name.scope"]).out.starts_with("active")
        });
    }
    for path in ["/not/systemd", "a:b", "noslice:x:y", "user.slice:x:"] {
        sandbox.edit(|config| config["linux"]["cgroupsPath"] = json!(path));
        user.rootlet(&["--systemd-cgroup", "run", "-b", bundle, "box"])
            .fails(&["linux.cgroupsPath", "slice:prefix:name"]);
    }
}

#[test]
fn a_delegated_scope_is_divided_without_asking_systemd() {
    if !in_guest() {
        return;
    }
    let user = LoggedIn::new();
    let (sandbox, bundle) = (&user.0, user.0.bundle());
    let bundle = bundle.to_str().unwrap();
    sandbox.sh("cat /sys/fs/cgroup/pids.max");
    sandbox.edit(|config| config["linux"]["resources"] = json!({"pids": {"limit": 23}}));
    for is_delegated in [true, false] {
        assert_eq!(user.in_scope(is_delegated, &["run", "-b", bundle, "box"]).ok().out, "23\n");
    }
    let plan = user.in_scope(true, &["plan", "-b", bundle]).ok().out;
    assert!(plan.contains("child of your own cgroup, whose processes are moved to a leaf"), "{plan}");
}

#[test]
fn a_container_in_a_units_cgroup_belongs_to_the_unit_and_can_be_entered_from_a_login() {
    if !in_guest() {
        return;
    }
    let user = LoggedIn::new();
    let sandbox = &user.0;
    sandbox.sh("sleep 1000");
    sandbox.edit(|config| config["linux"]["resources"] = json!({"pids": {"limit": 44}}));
    let (rootlet, place) = (crate::sandbox::binary().display().to_string(), sandbox.path().display().to_string());
    let unit = format!(
        "[Service]\nType=forking\nDelegate=yes\nPIDFile={place}/xdg/pid\nEnvironment=XDG_RUNTIME_DIR={place}/xdg\n\
         ExecStart={rootlet} run -d -b {place}/bundle --pid-file {place}/xdg/pid box\n\
         ExecStop={rootlet} kill box KILL\nExecStopPost={rootlet} delete --force box\nSuccessExitStatus=SIGKILL\n"
    );
    fs::create_dir_all("/run/user/1000/systemd/user").unwrap();
    fs::write("/run/user/1000/systemd/user/rootlet-test.service", unit).unwrap();
    user.systemctl(&["daemon-reload"]).ok();
    user.systemctl(&["start", "rootlet-test"]).ok();
    let cgroup = sandbox.cgroup();
    assert!(cgroup.ends_with("rootlet-test.service/rootlet-box"), "{cgroup:?}");
    let main = user.systemctl(&["show", "-P", "MainPID", "rootlet-test"]).ok().out;
    assert_eq!(main.trim(), read(&cgroup, "cgroup.procs"), "systemd believes the PID file");
    assert_eq!(user.rootlet(&["exec", "box", "cat", "/sys/fs/cgroup/pids.max"]).ok().out, "44\n");
    user.systemctl(&["stop", "rootlet-test"]).ok();
    assert_eq!(user.systemctl(&["show", "-P", "Result", "rootlet-test"]).ok().out, "success\n");
    assert!(!cgroup.exists());
    sandbox.assert_clean();
}

#[test]
fn annotations_are_properties_of_the_scope() {
    if !in_guest() {
        return;
    }
    let user = LoggedIn::new();
    user.0.sh("sleep 1000");
    let annotate = |name: &str, value: &str| {
        user.0.edit(|config| {
            config["annotations"] = json!({
                "org.systemd.property.TimeoutStopSec": "uint64 123",
                "org.systemd.property.Description": "'of the config'",
                "run.oci.systemd.subgroup": "mine",
                name: value,
            });
        });
    };
    let bundle = user.0.bundle();
    let run = || user.rootlet(&["--systemd-cgroup", "run", "-d", "-b", bundle.to_str().unwrap(), "box"]);
    annotate("org.systemd.property.Documentation", "['https://example.org']");
    run().ok();
    let cgroup = user.0.cgroup();
    assert!(cgroup.ends_with("mine"), "{cgroup:?}");
    let scope = cgroup.parent().unwrap().file_name().unwrap().to_str().unwrap().to_owned();
    let shown = user.systemctl(&["show", "-P", "TimeoutStopUSec,Documentation,Description", &scope]).ok().out;
    assert_eq!(
        shown.lines().filter(|line| !line.is_empty()).collect::<Vec<_>>(),
        ["2min 3s", "https://example.org", "of the config"]
    );
    user.rootlet(&["delete", "-f", "box"]).ok();
    annotate("org.systemd.property.NoSuchThing", "true");
    run().fails(&["systemd makes no scope", "NoSuchThing"]);
    annotate("org.systemd.property.Slice", "word");
    run().fails(&["annotations", "org.systemd.property.Slice", "'text'"]);
    user.0.assert_clean();
}
