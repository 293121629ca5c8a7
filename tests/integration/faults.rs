//! Every system call of a command is made to fail in turn, with each errno that fits: never a success that is none, never a
//! hang, never a leftover. `scripts/faults` runs all of it, and the tests a sample.

use crate::sandbox::{Done, Sandbox, is_root};
use crate::tracer::{Fault, Place, Traced, errnos, trace};
use nix::errno::Errno;
use serde_json::{Value, json};
use std::fs;
use std::os::unix::net::UnixListener;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock};
use syscalls::Sysno;

/// A command, and what must be true before and behind it.
struct Scene {
    name: &'static str,
    arguments: &'static [&'static str],
    /// Makes what it needs, and takes away what an earlier round has left.
    prepare: fn(&Sandbox),
    /// What is wrong although it says that all is well.
    judge: fn(&Sandbox, &Done, &Done) -> Result<(), String>,
    /// Whether it leaves no container behind when it fails.
    undoes: bool,
}

const CREATE: &[&str] = &["create", "-b", "bundle", "box"];

/// What a program sees of what was set up for it.
const LOOK: &str = "echo $HOME; id -u; id -g; hostname; pwd; ulimit -a; cut -d' ' -f4-6 /proc/self/mountinfo; cat /proc/self/oom_score_adj; \
    grep -E '^(Cap|Seccomp:|NoNewPrivs|Groups|Umask|SigBlk|SigIgn|NSpid)' /proc/self/status; ls /dev /proc/self/ns; \
    readlink /proc/self/fd/0; ls /proc/self/fd";

const SCENES: [Scene; 19] = [
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

fn discard(sandbox: &Sandbox) {
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

fn state(sandbox: &Sandbox) -> Value {
    serde_json::from_str(&sandbox.rootlet(&["state", "box"]).ok().out).unwrap()
}

/// Whether it has that status, and its first process is what that says.
fn is(sandbox: &Sandbox, status: &str) -> Result<(), String> {
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

fn is_gone(sandbox: &Sandbox) -> Result<(), String> {
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
fn empty_cgroups() -> Vec<PathBuf> {
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

/// What came of a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Right,
    WrongSuccess,
    Hung,
    LeftOver,
    /// An error that does not say which call has failed, and why.
    Vague,
}

/// Whatever the command said: what is wrong now.
fn judge(scene: &Scene, sandbox: &Sandbox, traced: &Traced, healthy: &Done, errno: Errno) -> (Verdict, String) {
    let done = &traced.done;
    if traced.hung {
        return (Verdict::Hung, String::new());
    }
    if done.code == 0 {
        return match (scene.judge)(sandbox, done, healthy) {
            Ok(()) => (Verdict::Right, String::new()),
            Err(why) => (Verdict::WrongSuccess, why),
        };
    }
    if scene.undoes {
        // What cannot be removed behind a program's end is not, and is said; `delete` knows it.
        let has_run = scene.name == "run" && !done.out.is_empty();
        if (has_run || done.err.contains("cannot remove")) && sandbox.rootlet(&["list", "-q"]).ok().out == "box\n" {
            discard(sandbox);
        }
        if let Err(why) = is_gone(sandbox) {
            return (Verdict::LeftOver, why);
        }
    } else if scene.name.starts_with("exec") {
        let listed: Vec<i32> = serde_json::from_str(&sandbox.rootlet(&["ps", "-f", "json", "box"]).ok().out).unwrap();
        // Its first process does not reap what the shell has left.
        let lives = |pid: &&i32| !fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default().contains(") Z ");
        if listed.iter().filter(lives).count() > 1 {
            return (Verdict::LeftOver, format!("processes of the container: {listed:?}"));
        }
    } else if scene.name == "spec" && sandbox.path().join("xdg/new/config.json").exists() {
        return (Verdict::LeftOver, "config.json".to_owned());
    }
    let errors = done.err.lines().filter(|line| line.starts_with("error: ")).count();
    if errors != 1 || done.err.contains("panicked") || !matches!(done.code, 1 | 255) {
        return (Verdict::Vague, String::new());
    }
    if !done.err.contains(&format!("{errno:?}")) {
        return (Verdict::Vague, String::new());
    }
    (Verdict::Right, String::new())
}

/// All faults of a command, or some of them.
fn faults(calls: impl Iterator<Item = (Place, Sysno)>, share: usize) -> Vec<(Place, Sysno, Errno)> {
    let all = calls.flat_map(|(place, call)| errnos(call).into_iter().map(move |errno| (place, call, errno)));
    // A stride that meets each errno.
    all.enumerate().filter(|(index, _)| index % share == 0).map(|(_, fault)| fault).collect()
}

fn sandbox_of(uid: Option<u32>) -> Option<Sandbox> {
    let sandbox = match uid {
        None => Sandbox::ordinary(),
        Some(_) => Sandbox::root()?,
    };
    sandbox.edit(|config| config["process"]["oomScoreAdj"] = json!(500));
    Some(sandbox)
}

/// Somebody must listen where a terminal is handed over.
fn listen(sandbox: &Sandbox) -> UnixListener {
    let path = sandbox.path().join("xdg/console");
    let listener = UnixListener::bind(&path).unwrap();
    nix::unistd::chown(&path, Some(sandbox.uid().into()), None).unwrap();
    listener
}

fn try_scene(scene: &Scene, uid: Option<u32>, share: usize, totals: &Mutex<[usize; 6]>) -> Vec<String> {
    let Some(sandbox) = sandbox_of(uid) else { return Vec::new() };
    let _listener = listen(&sandbox);
    empty_cgroups();
    (scene.prepare)(&sandbox);
    let healthy = trace(&sandbox, scene.arguments, &Fault::None);
    assert_eq!(healthy.done.code, 0, "{}: {:?}", scene.name, healthy.done);
    assert!(!healthy.hung && healthy.calls.len() > 5, "{}: {healthy:?}", scene.name);
    (scene.judge)(&sandbox, &healthy.done, &healthy.done).unwrap_or_else(|why| panic!("{}: {why}", scene.name));
    let mut complaints = Vec::new();
    let mut counts = [healthy.calls.len(), 0, 0, 0, 0, 0];
    for (place, call, errno) in faults(healthy.calls.iter().map(|(place, call)| (*place, *call)), share) {
        (scene.prepare)(&sandbox);
        let traced = trace(&sandbox, scene.arguments, &Fault::Fail(place, errno));
        let judged = || judge(scene, &sandbox, &traced, &healthy.done, errno);
        // A command of the judge's own may fail, too.
        let (verdict, why) = catch_unwind(AssertUnwindSafe(judged))
            .unwrap_or_else(|_| (Verdict::WrongSuccess, "what it has left is in the way".to_owned()));
        counts[1 + verdict as usize] += 1;
        if verdict != Verdict::Right {
            let (process, number) = (place.process, place.number);
            let Done { code, err, .. } = &traced.done;
            let call = traced.calls.get(&place).unwrap_or(&call);
            let complaint = format!(
                "{verdict:?}: {} ({}): {} ({process}.{number}) = {errno:?}: {why} [{code}] {err}",
                scene.name,
                uid.map_or("ordinary", |_| "root"),
                call.name(),
            );
            eprintln!("{complaint}");
            complaints.push(complaint);
        }
    }
    discard(&sandbox);
    let mut totals = totals.lock().unwrap();
    totals.iter_mut().zip(counts).for_each(|(total, count)| *total += count);
    complaints
}

/// Does something with each command as each user, several at a time, and collects what is complained of. `ROOTLET_FAULTS`
/// says how much: `all`, or one command by its name; without it, every so many-th fault.
fn with_each_scene(one_of: usize, work: impl Fn(&Scene, Option<u32>, usize) -> Vec<String> + Sync) -> Vec<String> {
    let wanted = std::env::var("ROOTLET_FAULTS").unwrap_or_default();
    let share = if wanted.is_empty() { one_of } else { 1 };
    let users: &[Option<u32>] = if is_root() { &[None, Some(0)] } else { &[None] };
    let all = users.iter().flat_map(|uid| SCENES.iter().map(move |scene| (scene, *uid)));
    let all: Vec<_> = all.filter(|(scene, _)| ["", "all", scene.name].contains(&wanted.as_str())).collect();
    assert!(!all.is_empty(), "no such command; there are: {}", SCENES.map(|scene| scene.name).join(", "));
    let (next, complaints) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while let Some((scene, uid)) = all.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let start = std::time::Instant::now();
                    let found = work(scene, *uid, share);
                    let (name, seconds) = (scene.name, start.elapsed().as_secs());
                    if seconds > 0 {
                        println!("done: {name} ({}) in {seconds} s", uid.map_or("ordinary", |_| "root"));
                    }
                    complaints.lock().unwrap().extend(found);
                }
            });
        }
    });
    complaints.into_inner().unwrap()
}

/// Commands that make or change something.
const LIVING: &[&str] = &["create", "run -d", "start", "exec -d", "delete", "delete -f", "pause", "resume", "kill"];

#[test]
fn whoever_is_killed_leaves_nothing_that_nobody_knows() {
    let total = AtomicUsize::new(0);
    let complaints = with_each_scene(71, |scene, uid, share| {
        let Some(sandbox) = LIVING.contains(&scene.name).then(|| sandbox_of(uid)).flatten() else { return Vec::new() };
        (scene.prepare)(&sandbox);
        let healthy = trace(&sandbox, scene.arguments, &Fault::None);
        assert_eq!(healthy.done.code, 0, "{}: {:?}", scene.name, healthy.done);
        let mut complaints = Vec::new();
        for (place, call) in healthy.calls.iter().step_by(share) {
            (scene.prepare)(&sandbox);
            let traced = trace(&sandbox, scene.arguments, &Fault::Kill(*place));
            total.fetch_add(1, Ordering::Relaxed);
            let judged = catch_unwind(AssertUnwindSafe(|| look_behind(&sandbox, &traced)));
            if let Err(why) = judged.unwrap_or_else(|_| Err("a command failed".to_owned())) {
                let (process, number) = (place.process, place.number);
                let complaint = format!(
                    "{} ({}): killed behind {} ({process}.{number}): {why} {:?}",
                    scene.name,
                    uid.map_or("ordinary", |_| "root"),
                    call.name(),
                    traced.done
                );
                eprintln!("{complaint}");
                complaints.push(complaint);
                discard(&sandbox);
            }
        }
        complaints
    });
    let total = total.into_inner();
    if total > 0 {
        println!("{total} deaths: {} wrong", complaints.len());
    }
    assert!(complaints.is_empty(), "{} complaints", complaints.len());
}

/// After a death: `list` is true, all can be deleted, the name can be had again, and nobody is left.
fn look_behind(sandbox: &Sandbox, traced: &Traced) -> Result<(), String> {
    if traced.hung {
        return Err("it hangs".to_owned());
    }
    // Whoever ends with its maker has a moment to do so.
    let mut settled = false;
    for _ in 0..200 {
        let listed = sandbox.rootlet(&["list", "-f", "json"]).ok().out;
        let listed: Value = serde_json::from_str(&listed).unwrap();
        let live = listed.as_array().is_some_and(|all| all.iter().any(|one| one["status"] != "stopped"));
        settled = live != sandbox.processes().is_empty();
        if settled {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    if !settled {
        return Err(format!("list says {:?}, and there are {:?}", sandbox.rootlet(&["list"]).out, sandbox.processes()));
    }
    if sandbox.states().join("box").exists() {
        let state = state(sandbox);
        let name = fs::read_to_string(format!("/proc/{}/comm", state["pid"])).unwrap_or_default();
        if (state["status"] == "created") && name == "sleep\n" {
            return Err("it is said to wait, and runs".to_owned());
        }
        sandbox.rootlet(&["delete", "--force", "box"]).ok();
    }
    // An empty cgroup that no state names yet is the next maker's.
    has_no_processes(sandbox)?;
    sandbox.rootlet(CREATE).ok();
    is(sandbox, "created")?;
    sandbox.rootlet(&["delete", "--force", "box"]).ok();
    is_gone(sandbox)
}

/// What is newer than the oldest kernel that is looked after, and what else a sandbox around rootlet may refuse.
const REFUSED: &[(&str, &[Sysno])] = &[
    ("clone3", &[Sysno::clone3]),
    ("close_range", &[Sysno::close_range]),
    ("faccessat2", &[Sysno::faccessat2]),
    ("fsopen", &[Sysno::fsopen, Sysno::fsconfig, Sysno::fsmount]),
    ("mount_setattr", &[Sysno::mount_setattr]),
    ("move_mount", &[Sysno::move_mount]),
    ("open_tree", &[Sysno::open_tree]),
    ("openat2", &[Sysno::openat2]),
    ("pidfd_open", &[Sysno::pidfd_open]),
    ("pidfd_send_signal", &[Sysno::pidfd_send_signal]),
    ("renameat2", &[Sysno::renameat2]),
];

#[test]
fn what_a_kernel_does_not_have_is_done_otherwise_or_named() {
    let total = AtomicUsize::new(0);
    let complaints = with_each_scene(4, |scene, uid, share| {
        let Some(sandbox) = sandbox_of(uid) else { return Vec::new() };
        let _listener = listen(&sandbox);
        (scene.prepare)(&sandbox);
        let healthy = trace(&sandbox, scene.arguments, &Fault::None);
        let mut complaints = Vec::new();
        // Another part of them for each command.
        let first = scene.name.len() % share;
        for (name, calls) in REFUSED.iter().skip(first).step_by(share) {
            if !healthy.calls.values().any(|call| calls.contains(call)) {
                continue;
            }
            for errno in [Errno::ENOSYS, Errno::EPERM] {
                (scene.prepare)(&sandbox);
                let traced = trace(&sandbox, scene.arguments, &Fault::Refuse(calls.to_vec(), errno));
                total.fetch_add(1, Ordering::Relaxed);
                let judged = || judge(scene, &sandbox, &traced, &healthy.done, errno);
                let (verdict, why) = catch_unwind(AssertUnwindSafe(judged))
                    .unwrap_or_else(|_| (Verdict::WrongSuccess, "what it has left is in the way".to_owned()));
                let is_named = traced.done.code == 0 || errno == Errno::EPERM || traced.done.err.contains("Linux ");
                if verdict == Verdict::Right && is_named {
                    continue;
                }
                let complaint = format!(
                    "{verdict:?}: {} ({}): without {name} ({errno:?}): {why} [{}] {}",
                    scene.name,
                    uid.map_or("ordinary", |_| "root"),
                    traced.done.code,
                    traced.done.err
                );
                eprintln!("{complaint}");
                complaints.push(complaint);
            }
        }
        discard(&sandbox);
        complaints
    });
    println!("{} refusals: {} wrong", total.into_inner(), complaints.len());
    assert!(complaints.is_empty(), "{} complaints", complaints.len());
}

#[test]
fn no_call_that_fails_makes_a_command_lie() {
    let totals = Mutex::new([0; 6]);
    let complaints = with_each_scene(101, |scene, uid, share| try_scene(scene, uid, share, &totals));
    let [calls, right, wrong, hung, left, vague] = *totals.lock().unwrap();
    let faults = right + wrong + hung + left + vague;
    let summary = format!(
        "{calls} calls x errnos: {faults} faults, {right} right, {wrong} wrong successes, {hung} hung, {left} left over, {vague} vague"
    );
    println!("{summary}");
    assert!(complaints.is_empty(), "{summary}");
}
