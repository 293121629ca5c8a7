//! Every system call of a command is made to fail in turn, with each errno that fits: never a success that is none, never a
//! hang, never a leftover. `scripts/faults` runs all of it, and the tests a sample.

use crate::sandbox::{Done, Sandbox, is_root};
use crate::scenes::{CREATE, SCENES, Scene, discard, empty_cgroups, is, is_gone, state};
use crate::tracer::{Fault, Place, Traced, errnos, trace};
use nix::errno::Errno;
use serde_json::{Value, json};
use std::fs;
use std::os::unix::net::UnixListener;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use syscalls::Sysno;

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
    is_gone(sandbox)?;
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
