//! What an ordinary user cannot have is decided, shown by `plan`, kept in the state, and refused under --strict.

use crate::sandbox::{Sandbox, finish, is_root, skip};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::process::CommandExt;

/// The decisions of `plan`.
fn decisions(sandbox: &Sandbox) -> Vec<String> {
    let bundle = sandbox.bundle();
    let plan: Value =
        serde_json::from_str(&sandbox.rootlet(&["plan", "--format", "json", "-b", bundle.to_str().unwrap()]).ok().out)
            .unwrap();
    plan["decisions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|decision| format!("{}: {}", decision["property"].as_str().unwrap(), decision["done"].as_str().unwrap()))
        .collect()
}

/// Asserts that one decision is shown, and that --strict refuses the config for it.
#[track_caller]
fn decides(sandbox: &Sandbox, property: &str, done: &str) {
    let decisions = decisions(sandbox);
    assert!(
        decisions.iter().any(|decision| decision.starts_with(&format!("{property}: ")) && decision.contains(done)),
        "{decisions:?}"
    );
    sandbox.run_with(&["--strict"]).fails(&[
        &format!("config.json: {property}: cannot be done as asked"),
        done,
        "without --strict",
    ]);
}

#[test]
fn the_default_config_needs_no_decision() {
    let sandbox = Sandbox::ordinary();
    assert_eq!(decisions(&sandbox), Vec::<String>::new());
    sandbox.sh("true");
    sandbox.run_with(&["--strict"]).ok();
}

#[test]
fn a_fresh_sysfs_without_a_network_namespace_is_bound_read_only() {
    let sandbox = Sandbox::ordinary();
    sandbox.edit(|config| {
        let mounts = config["mounts"].as_array_mut().unwrap();
        mounts.retain(|mount| mount["destination"] != "/sys" && mount["destination"] != "/sys/fs/cgroup");
        mounts.push(json!({"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["nosuid"]}));
    });
    let out = sandbox.output("ls -d /sys/class; grep ' /sys' /proc/self/mountinfo | grep -v -c ' ro,'; true");
    assert!(out.starts_with("/sys/class\n") && out.trim_end().ends_with('0'), "no part of /sys is writable: {out}");
    decides(&sandbox, "mounts[5]", "the host's /sys is bound");
}

#[test]
fn proc_is_bound_where_processes_are_shared() {
    let sandbox = Sandbox::ordinary();
    sandbox.edit(|config| {
        config["linux"]["namespaces"].as_array_mut().unwrap().retain(|namespace| namespace["type"] != "pid")
    });
    assert_eq!(sandbox.output("test -d /proc/1 && cat /proc/1/comm"), fs::read_to_string("/proc/1/comm").unwrap());
    decides(&sandbox, "mounts[0]", "the caller's /proc is bound");
}

#[test]
fn a_masked_proc_is_named_with_the_flag_that_mends_it() {
    if !is_root() {
        return skip("needs root to mask /proc as an outer container does");
    }
    let sandbox = Sandbox::ordinary();
    sandbox.sh("true");
    let run = format!(
        "mount --bind /dev/null /proc/timer_list && exec setpriv --reuid {0} --regid {0} --clear-groups {1} run -b {2} box",
        sandbox.uid(),
        crate::sandbox::binary().display(),
        sandbox.bundle().display()
    );
    let mut command = std::process::Command::new("unshare");
    command.args(["--mount", "sh", "-c", &run]).env("XDG_RUNTIME_DIR", sandbox.path().join("xdg"));
    finish(command).fails(&[
        "mounts[0] (/proc)",
        "mount: EPERM",
        "/proc/timer_list",
        "systempaths=unconfined",
        "unmask=/proc/*",
        "procMount",
    ]);
    sandbox.assert_clean();
}

#[test]
fn ids_of_mounts_that_are_not_mapped_are_left_out() {
    let sandbox = Sandbox::ordinary();
    sandbox.edit(|config| {
        config["mounts"][2]["options"] = json!(["newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]);
    });
    assert_eq!(sandbox.output("stat -c %g /dev/pts"), "0\n");
    decides(&sandbox, "mounts[2]", "option gid=5 is left out");
}

#[test]
fn what_may_only_be_raised_stays() {
    let sandbox = Sandbox::ordinary();
    sandbox.edit(|config| config["process"]["oomScoreAdj"] = json!(-500));
    let own = fs::read_to_string("/proc/self/oom_score_adj").unwrap();
    assert_eq!(sandbox.output("cat /proc/self/oom_score_adj"), own);
    decides(&sandbox, "process.oomScoreAdj", &format!("it stays {}", own.trim()));
}

#[test]
fn hard_limits_are_clamped() {
    let sandbox = Sandbox::ordinary();
    sandbox.edit(|config| {
        config["process"]["rlimits"] = json!([{"type": "RLIMIT_NOFILE", "soft": 99_000_000, "hard": 99_000_000}])
    });
    let out = sandbox.output("ulimit -Sn; ulimit -Hn");
    let lines: Vec<_> = out.lines().collect();
    assert_eq!(lines[0], lines[1]);
    decides(&sandbox, "process.rlimits[0]", &format!("RLIMIT_NOFILE is {0} soft, {0} hard", lines[0]));
}

#[test]
fn supplementary_groups_cannot_be_set() {
    let sandbox = Sandbox::ordinary();
    sandbox.edit(|config| config["process"]["user"]["additionalGids"] = json!([5, 6]));
    assert_eq!(sandbox.output("id -G"), "0\n");
    decides(&sandbox, "process.user.additionalGids", "the groups are not set");
}

#[test]
fn a_config_for_root_is_run_by_an_ordinary_user() {
    let sandbox = Sandbox::ordinary();
    fs::remove_file(sandbox.bundle().join("config.json")).unwrap();
    let mut spec = sandbox.command(&["spec", "--rootless=false"]);
    spec.current_dir(sandbox.bundle());
    finish(spec).ok();
    sandbox.edit(|config| config["process"]["terminal"] = json!(false));
    assert_eq!(sandbox.output("id -u; hostname; ls /sys/class/net"), "0\nrootlet\nlo\n");
    let decisions = decisions(&sandbox).join("\n");
    for word in
        ["linux.namespaces: a user namespace is added", "uid 0 in the container is you", "gid=5", "device rules"]
    {
        assert!(decisions.contains(word), "{word}: {decisions}");
    }
}

#[test]
fn a_limit_is_enforced_or_an_error_or_a_decision() {
    let sandbox = Sandbox::ordinary();
    sandbox.sh("echo ran");
    for resources in [
        json!({"memory": {"limit": 1_000_000}}),
        json!({"pids": {"limit": 10}}),
        json!({"cpu": {"quota": 1000}}),
        json!({"unified": {"memory.high": "1"}}),
    ] {
        let name = resources.as_object().unwrap().keys().next().unwrap().clone();
        sandbox.edit(|config| config["linux"]["resources"] = resources);
        sandbox.run().fails(&["config.json: linux.resources: ", &name, "cannot be enforced", "--limits try"]);
        assert_eq!(sandbox.run_with(&["--limits", "try"]).ok().out, "ran\n");
        sandbox.run_with(&["--limits", "try", "--strict"]).fails(&["linux.resources"]);
    }
    sandbox.edit(|config| config["linux"]["resources"] = json!({"memory": {"limit": -1}, "pids": null, "devices": []}));
    assert_eq!(sandbox.run().ok().out, "ran\n", "what asks for nothing needs nothing");
    sandbox.assert_clean();
}

#[test]
fn decisions_are_kept_in_the_state_and_logged_for_debugging() {
    let sandbox = Sandbox::ordinary();
    sandbox.sh("sleep 1000");
    sandbox.edit(|config| config["process"]["oomScoreAdj"] = json!(-500));
    let (bundle, log) = (sandbox.bundle(), sandbox.path().join("xdg/log"));
    sandbox
        .rootlet(&["--debug", "--log", log.to_str().unwrap(), "run", "-d", "-b", bundle.to_str().unwrap(), "box"])
        .ok();
    let state: Value =
        serde_json::from_str(&fs::read_to_string(sandbox.states().join("box/state.json")).unwrap()).unwrap();
    assert_eq!(state["decisions"][0]["property"], "process.oomScoreAdj");
    assert!(fs::read_to_string(log).unwrap().contains("level=debug msg=\"process.oomScoreAdj: it stays"));
}

#[test]
fn a_full_keyring_quota_is_survived() {
    if !is_root() {
        return skip("needs root to choose a user whose quota can be filled");
    }
    // As many live containers as the quota has keys, and some more.
    let most: usize = fs::read_to_string("/proc/sys/kernel/keys/maxkeys").unwrap().trim().parse().unwrap();
    if most > 1000 {
        return skip("kernel.keys.maxkeys is too large to be filled here");
    }
    let sandbox = Sandbox::stranger();
    sandbox.sh("sleep 1000");
    let mut survivors = 0;
    for number in 0..most + 2 {
        let mut command = sandbox.command_on_bundle(&["run", "-d", &format!("box-{number}")]);
        // Only who has a session keyring already is held to the quota (keyctl(2)).
        // SAFETY: keyctl(KEYCTL_JOIN_SESSION_KEYRING, NULL) touches no memory.
        unsafe {
            command.pre_exec(|| {
                libc::syscall(libc::SYS_keyctl, 1, 0);
                Ok(())
            })
        };
        finish(command).ok();
        let state = fs::read_to_string(sandbox.states().join(format!("box-{number}/state.json"))).unwrap();
        survivors += usize::from(state.contains("EDQUOT"));
    }
    assert!(survivors > 0, "the quota was never full");
}
