//! Commands as the tests of faults run them: what each needs, and how it is seen whether it has done all that it should.

use crate::sandbox::{Done, Sandbox};
use serde_json::{Value, json};
use std::fs;
use std::path::PathBuf;
use std::sync::OnceLock;

/// A command, and what must be true before and behind it.
pub struct Scene {
    pub name: &'static str,
    pub arguments: &'static [&'static str],
    /// Makes what it needs, and takes away what an earlier round has left.
    pub prepare: fn(&Sandbox),
    /// What is wrong although it says that all is well.
    pub judge: fn(&Sandbox, &Done, &Done) -> Result<(), String>,
    /// Whether it leaves no container behind when it fails.
    pub undoes: bool,
}

pub const CREATE: &[&str] = &["create", "-b", "bundle", "box"];

/// What a program sees of what was set up for it.
const LOOK: &str = "echo $HOME; id -u; id -g; hostname; pwd; ulimit -a; cut -d' ' -f4-6 /proc/self/mountinfo; cat /proc/self/oom_score_adj; \
    grep -E '^(Cap|Seccomp:|NoNewPrivs|Groups|Umask|SigBlk|SigIgn|NSpid)' /proc/self/status; ls /dev /proc/self/ns; \
    readlink /proc/self/fd/0; ls /proc/self/fd";

pub const SCENES: [Scene; 19] = [
    Scene {
        name: "run",
        arguments: &["run", "-b", "bundle", "box"],
        prepare: |s| looking(s),
        judge: same_output,
        undoes: true,
    },
    Scene {
        name: "run -d",
        arguments: &["run", "-d", "-b", "bundle", "--pid-file", "xdg/pid", "box"],
        prepare: |s| sleeping(s),
        judge: |s, _, _| is(s, "running").and_then(|()| has_pid_file(s)),
        undoes: true,
    },
    Scene {
        name: "create",
        arguments: &["create", "-b", "bundle", "--pid-file", "xdg/pid", "box"],
        prepare: |s| sleeping(s),
        judge: |s, _, _| {
            is(s, "created").and_then(|()| has_pid_file(s))?;
            s.rootlet(&["start", "box"]).ok();
            is(s, "running")
        },
        undoes: true,
    },
    Scene {
        name: "start",
        arguments: &["start", "box"],
        prepare: |s| drop((sleeping(s), s.rootlet(CREATE).ok())),
        judge: |s, _, _| is(s, "running"),
        undoes: false,
    },
    Scene {
        name: "exec",
        arguments: &["exec", "box", "sh", "-c", LOOK],
        prepare: |s| running(s),
        judge: same_output,
        undoes: false,
    },
    Scene {
        name: "exec -d",
        arguments: &["exec", "-d", "--pid-file", "xdg/pid", "box", "sleep", "1000"],
        prepare: |s| running(s),
        judge: |s, _, _| {
            let pid = fs::read_to_string(s.path().join("xdg/pid")).map_err(|error| error.to_string())?;
            let listed = s.rootlet(&["ps", "-f", "json", "box"]).ok().out;
            let pids: Vec<i32> = serde_json::from_str(&listed).unwrap();
            let is_there = pids.len() == 2 && pids.contains(&pid.parse().unwrap());
            if is_there { Ok(()) } else { Err(format!("{pid} is not in {pids:?}")) }
        },
        undoes: false,
    },
    Scene {
        name: "exec -t",
        arguments: &["exec", "-t", "-d", "--console-socket", "xdg/console", "box", "sleep", "1000"],
        prepare: |s| running(s),
        judge: |s, _, _| {
            let listed = s.rootlet(&["ps", "-f", "json", "box"]).ok().out;
            if listed.matches(',').count() == 1 { Ok(()) } else { Err(listed) }
        },
        undoes: false,
    },
    Scene {
        name: "kill",
        arguments: &["kill", "box", "KILL"],
        prepare: |s| running(s),
        judge: |s, _, _| ends(s),
        undoes: false,
    },
    Scene {
        name: "kill -a",
        arguments: &["kill", "--all", "box", "KILL"],
        prepare: |s| running(s),
        judge: |s, _, _| ends(s),
        undoes: false,
    },
    Scene {
        name: "delete",
        arguments: &["delete", "box"],
        prepare: |s| {
            running(s);
            s.rootlet(&["kill", "box", "KILL"]).ok();
            ends(s).unwrap();
        },
        judge: |s, _, _| is_gone(s),
        undoes: false,
    },
    Scene {
        name: "delete -f",
        arguments: &["delete", "--force", "box"],
        prepare: |s| running(s),
        judge: |s, _, _| is_gone(s),
        undoes: false,
    },
    Scene { name: "state", arguments: &["state", "box"], prepare: |s| stays(s), judge: same_output, undoes: false },
    Scene {
        name: "list",
        arguments: &["list", "-f", "json"],
        prepare: |s| stays(s),
        judge: same_output,
        undoes: false,
    },
    Scene {
        name: "ps",
        arguments: &["ps", "-f", "json", "box"],
        prepare: |s| stays(s),
        judge: same_output,
        undoes: false,
    },
    Scene {
        name: "pause",
        arguments: &["pause", "box"],
        prepare: |s| running(s),
        judge: |s, _, _| is(s, "paused").and_then(|()| is_stopped(s, true)),
        undoes: false,
    },
    Scene {
        name: "resume",
        arguments: &["resume", "box"],
        prepare: |s| drop((running(s), s.rootlet(&["pause", "box"]).ok())),
        judge: |s, _, _| is(s, "running").and_then(|()| is_stopped(s, false)),
        undoes: false,
    },
    Scene {
        name: "events",
        arguments: &["events", "--stats", "box"],
        prepare: |s| stays(s),
        judge: |_, done, healthy| {
            let shape = |done: &Done| {
                let value: Value = serde_json::from_str(&done.out).unwrap();
                let mut keys = Vec::new();
                shape_of(&value, "", &mut keys);
                keys
            };
            if shape(done) == shape(healthy) { Ok(()) } else { Err(format!("{} and not {}", done.out, healthy.out)) }
        },
        undoes: false,
    },
    Scene {
        name: "spec",
        arguments: &["spec", "-b", "xdg/new"],
        prepare: |s| {
            let _ = fs::remove_dir_all(s.path().join("xdg/new"));
            s.mkdir("xdg/new", 0o755);
        },
        judge: |s, _, _| {
            let text = fs::read_to_string(s.path().join("xdg/new/config.json")).map_err(|error| error.to_string())?;
            serde_json::from_str::<Value>(&text).map(drop).map_err(|error| error.to_string())
        },
        undoes: false,
    },
    Scene {
        name: "plan",
        arguments: &["plan", "-b", "bundle"],
        prepare: |s| looking(s),
        judge: same_output,
        undoes: false,
    },
];

/// Keys of a JSON value, with those numbers that say whether anybody is there.
fn shape_of(value: &Value, at: &str, keys: &mut Vec<String>) {
    match value {
        Value::Object(object) => object.iter().for_each(|(key, value)| shape_of(value, &format!("{at}.{key}"), keys)),
        value => keys.push(format!("{at} {}", if value == &json!(0) { "0" } else { "" })),
    }
}

pub fn discard(sandbox: &Sandbox) {
    if sandbox.states().join("box").exists() {
        sandbox.rootlet(&["delete", "--force", "box"]).ok();
    }
    sandbox.end_processes();
    let _ = fs::remove_file(sandbox.path().join("xdg/pid"));
}

fn looking(sandbox: &Sandbox) {
    discard(sandbox);
    sandbox.sh(LOOK);
}

fn sleeping(sandbox: &Sandbox) {
    discard(sandbox);
    sandbox.edit(|config| config["process"]["args"] = json!(["sleep", "1000"]));
}

fn running(sandbox: &Sandbox) {
    sleeping(sandbox);
    sandbox.start();
}

/// For commands that change nothing.
fn stays(sandbox: &Sandbox) {
    if !sandbox.states().join("box").exists() {
        running(sandbox);
    }
}

fn same_output(_: &Sandbox, done: &Done, healthy: &Done) -> Result<(), String> {
    if done.out == healthy.out {
        return Ok(());
    }
    let differs = |(now, then): &(&str, &str)| now != then;
    match done.out.lines().zip(healthy.out.lines()).find(differs) {
        Some((now, then)) => Err(format!("{now:?} and not {then:?}")),
        None => Err(format!("{} lines and not {}", done.out.lines().count(), healthy.out.lines().count())),
    }
}

pub fn state(sandbox: &Sandbox) -> Value {
    serde_json::from_str(&sandbox.rootlet(&["state", "box"]).ok().out).unwrap()
}

/// Whether it has that status, and its first process is what that says.
pub fn is(sandbox: &Sandbox, status: &str) -> Result<(), String> {
    let state = state(sandbox);
    if state["status"] != status {
        return Err(format!("it is {}", state["status"]));
    }
    let name = fs::read_to_string(format!("/proc/{}/comm", state["pid"])).unwrap_or_default();
    if (name == "sleep\n") == (status != "created") { Ok(()) } else { Err(format!("its process is {name:?}")) }
}

fn is_stopped(sandbox: &Sandbox, wanted: bool) -> Result<(), String> {
    let state = state(sandbox);
    let path = format!("/proc/{}/stat", state["pid"]);
    let record: Value =
        serde_json::from_str(&fs::read_to_string(sandbox.states().join("box/state.json")).unwrap()).unwrap();
    let is_stopped = match record["cgroup"]["path"].as_str() {
        Some(path) => fs::read_to_string(format!("{path}/cgroup.freeze")).unwrap().starts_with('1'),
        None => fs::read_to_string(path).unwrap().contains(") T "),
    };
    if is_stopped == wanted { Ok(()) } else { Err(format!("its processes are stopped: {is_stopped}")) }
}

fn has_pid_file(sandbox: &Sandbox) -> Result<(), String> {
    let text = fs::read_to_string(sandbox.path().join("xdg/pid")).map_err(|error| format!("pid file: {error}"))?;
    if text.parse() == Ok(state(sandbox)["pid"].as_i64().unwrap()) {
        Ok(())
    } else {
        Err(format!("the pid file says {text:?}"))
    }
}

fn ends(sandbox: &Sandbox) -> Result<(), String> {
    for _ in 0..500 {
        if state(sandbox)["status"] == "stopped" {
            return Ok(());
        }
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    Err("it does not end".to_owned())
}

pub fn is_gone(sandbox: &Sandbox) -> Result<(), String> {
    match sandbox.states().join("box").exists() {
        true => Err("its state is left".to_owned()),
        false => is_left_alone(sandbox),
    }
}

/// Whether no process and no cgroup is left of it.
fn is_left_alone(sandbox: &Sandbox) -> Result<(), String> {
    has_no_processes(sandbox)?;
    has_no_cgroups()
}

fn has_no_processes(sandbox: &Sandbox) -> Result<(), String> {
    let mut processes = Vec::new();
    for _ in 0..100 {
        processes = sandbox.processes();
        if processes.is_empty() {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    if !processes.is_empty() {
        return Err(format!("processes are left: {processes:?}"));
    }
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    if mounts.contains(sandbox.path().to_str().unwrap()) {
        return Err("mounts are left".to_owned());
    }
    Ok(())
}

fn has_no_cgroups() -> Result<(), String> {
    // Where no other test makes any.
    if std::env::var_os("ROOTLET_FAULTS").is_none() {
        return Ok(());
    }
    // Those of other commands are empty for a moment, too.
    let mut left = empty_cgroups();
    for _ in 0..200 {
        if left.is_empty() {
            return Ok(());
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
        let now = empty_cgroups();
        left.retain(|path| now.contains(path));
    }
    Err(format!("cgroups are left: {left:?}"))
}

/// Cgroups of containers that have no process, beside those that were there when the tests began.
pub fn empty_cgroups() -> Vec<PathBuf> {
    static BEFORE: OnceLock<Vec<PathBuf>> = OnceLock::new();
    let find = || {
        let mut found = Vec::new();
        for root in ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"] {
            for entry in fs::read_dir(root).into_iter().flatten().flatten() {
                let events = fs::read_to_string(entry.path().join("cgroup.events")).unwrap_or_default();
                if entry.file_name().as_encoded_bytes().starts_with(b"rootlet-box") && events.contains("populated 0") {
                    found.push(entry.path());
                }
            }
        }
        found
    };
    let before = BEFORE.get_or_init(find);
    find().into_iter().filter(|path| !before.contains(path)).collect()
}
