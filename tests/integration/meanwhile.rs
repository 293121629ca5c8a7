//! An id that becomes another container's between a command's look and its deed: before each of its system calls in turn, the
//! container is deleted, and another of the same name is there. The command is never about the new one. And what a command
//! that was killed half-way has begun, the next one brings to its end.

use crate::sandbox::{Done, Sandbox, eventually, wait};
use crate::tracer::{Deed, Fault, Place, trace};
use serde_json::{Value, json};
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Ends the container, as its owner does, and makes another. Whether that could be: a command may have its lock, or a process in it.
fn replace(sandbox: &Sandbox, begin: &[&str]) -> bool {
    let in_time = |arguments: &[&str]| {
        let rootlet = crate::sandbox::binary().to_str().unwrap();
        let command = sandbox.program("timeout".as_ref(), &[&["-s", "KILL", "1", rootlet], arguments].concat());
        crate::sandbox::finish(command).code == 0
    };
    if !in_time(&["delete", "-f", "box"]) {
        return false;
    }
    sandbox.edit(|config| config["annotations"] = json!({"which": "the second"}));
    in_time(begin)
}

/// What is wrong with the new one.
fn is_unharmed(sandbox: &Sandbox, status: &str) -> Result<(), String> {
    let shown = sandbox.rootlet(&["state", "box"]);
    let state: Value = serde_json::from_str(&shown.out).map_err(|_| shown.err)?;
    if state["status"] != status || state["annotations"]["which"] != "the second" {
        return Err(state.to_string());
    }
    let config = fs::read_to_string(sandbox.states().join("box/config.json")).unwrap();
    if !config.contains("the second") {
        return Err("its config is the first one's".to_owned());
    }
    let letter = fs::read_to_string(format!("/proc/{}/stat", state["pid"])).unwrap();
    if letter.contains(") T ") {
        return Err("it was stopped".to_owned());
    }
    if status == "created" {
        let started = sandbox.rootlet(&["start", "box"]);
        if started.code != 0 {
            return Err(format!("it does not start: {started:?}"));
        }
    }
    Ok(())
}

/// How many calls of a command are tried, unless `ROOTLET_ROUNDS` is set: then all.
const PLACES: usize = 15;

const CREATE: &[&str] = &["create", "-b", "bundle", "box"];
const RUN: &[&str] = &["run", "-d", "-b", "bundle", "box"];

fn is_never_about_the_next(sandbox: &Arc<Sandbox>, first: &[&'static [&'static str]], command: &[&str]) {
    let begin = |sandbox: &Sandbox| {
        sandbox.rootlet(&["delete", "-f", "box"]);
        sandbox.edit(|config| config["annotations"] = json!({"which": "the first"}));
        first.iter().for_each(|command| drop(sandbox.rootlet(command).ok()));
    };
    begin(sandbox);
    let healthy = trace(sandbox, command, &Fault::None);
    assert_eq!(healthy.done.code, 0, "{command:?}: {healthy:?}");
    let mut replaced = 0;
    let looked = healthy.looked.expect("it opens the directory of the container");
    let after: Vec<_> = healthy.calls.into_iter().filter(|(place, _)| *place > looked).collect();
    let share = if std::env::var_os("ROOTLET_ROUNDS").is_some() { 1 } else { after.len().div_ceil(PLACES) };
    for (place, call) in after.into_iter().step_by(share) {
        for (next, status) in [(CREATE, "created"), (RUN, "running")] {
            begin(sandbox);
            let is_replaced = Arc::new(AtomicBool::new(false));
            let (theirs, done) = (sandbox.clone(), is_replaced.clone());
            let deed = Deed(Arc::new(move || done.store(replace(&theirs, next), Ordering::Relaxed)));
            let traced = trace(sandbox, command, &Fault::Meanwhile(place, deed));
            assert!(!traced.hung, "{command:?}, {call:?} ({place:?})");
            if is_replaced.load(Ordering::Relaxed) {
                replaced += 1;
                is_unharmed(sandbox, status)
                    .unwrap_or_else(|why| panic!("{command:?}, before {call:?} ({place:?}): {why}\n{:?}", traced.done));
            }
        }
    }
    assert!(replaced > 0, "{command:?}: {replaced}");
    sandbox.rootlet(&["delete", "-f", "box"]).ok();
    sandbox.assert_clean();
}

fn sleeping() -> Arc<Sandbox> {
    let sandbox = Sandbox::ordinary();
    sandbox.edit(|config| config["process"]["args"] = json!(["sleep", "1000"]));
    Arc::new(sandbox)
}

#[test]
fn a_start_is_for_the_container_that_was_there() {
    is_never_about_the_next(&sleeping(), &[CREATE], &["start", "box"]);
}

#[test]
fn a_pause_and_its_end_are_for_the_container_that_was_there() {
    let sandbox = sleeping();
    is_never_about_the_next(&sandbox, &[RUN], &["pause", "box"]);
    is_never_about_the_next(&sandbox, &[RUN, &["pause", "box"]], &["resume", "box"]);
}

#[test]
fn a_signal_is_for_the_container_that_was_there() {
    let sandbox = sleeping();
    is_never_about_the_next(&sandbox, &[RUN], &["kill", "box", "KILL"]);
    is_never_about_the_next(&sandbox, &[RUN], &["kill", "--all", "box", "USR1"]);
}

#[test]
fn a_process_is_added_to_the_container_that_was_there() {
    let sandbox = sleeping();
    is_never_about_the_next(&sandbox, &[RUN], &["exec", "-d", "box", "sleep", "1000"]);
}

#[test]
fn limits_are_for_the_container_that_was_there() {
    let Some(sandbox) = Sandbox::root() else { return };
    sandbox.edit(|config| config["process"]["args"] = json!(["sleep", "1000"]));
    let file = sandbox.write("limits", r#"{"unified": {"cgroup.max.descendants": "5"}}"#);
    is_never_about_the_next(&Arc::new(sandbox), &[RUN], &["update", "-r", file.to_str().unwrap(), "box"]);
}

#[test]
fn an_end_is_of_the_container_that_was_there() {
    let sandbox = sleeping();
    is_never_about_the_next(&sandbox, &[CREATE], &["delete", "box"]);
    is_never_about_the_next(&sandbox, &[RUN], &["delete", "--force", "box"]);
}

#[test]
fn what_was_killed_half_way_is_done_again() {
    let sandbox = Sandbox::ordinary();
    sandbox.sh("sleep 1000 & sleep 1000 & wait");
    sandbox.start();
    let pids =
        || -> Vec<i32> { serde_json::from_str(&sandbox.rootlet(&["ps", "-f", "json", "box"]).ok().out).unwrap() };
    eventually("all have begun", || pids().len() == 3);
    let are_stopped = |wanted: bool| {
        let is_stopped = |pid: i32| fs::read_to_string(format!("/proc/{pid}/stat")).unwrap().contains(") T ");
        pids().into_iter().all(|pid| is_stopped(pid) == wanted)
    };
    let places = |command: &str| -> Vec<Place> {
        let calls = trace(&sandbox, &[command, "box"], &Fault::None).calls;
        let share = calls.len().div_ceil(3 * PLACES);
        calls.into_keys().step_by(share).collect()
    };
    let again = |command: &str, place: Place, already: &str, wanted: bool| {
        trace(&sandbox, &[command, "box"], &Fault::Kill(place));
        let done: Done = sandbox.rootlet(&[command, "box"]);
        assert!(done.code == 0 || done.err.contains(already), "{command} at {place:?}: {done:?}");
        assert!(are_stopped(wanted), "{command} at {place:?}: {done:?}");
    };
    let (pauses, resumes) = (places("pause"), places("resume"));
    for number in 0..pauses.len().max(resumes.len()) {
        again("pause", pauses[number % pauses.len()], "is paused already", true);
        sandbox.rootlet(&["kill", "--all", "box", "CONT"]).fails(&["SIGCONT would end the pause"]);
        again("resume", resumes[number % resumes.len()], "not paused", false);
    }
    sandbox.rootlet(&["delete", "-f", "box"]).ok();
    sandbox.assert_clean();
}

#[test]
fn an_exit_code_is_the_programs_although_the_state_is_gone() {
    let sandbox = Sandbox::ordinary();
    sandbox.sh("echo ready; sleep 1; exit 7");
    let mut run = sandbox.run_until_ready();
    eventually("its maker is done", || sandbox.status("box") == "running");
    fs::remove_dir_all(sandbox.states()).unwrap();
    assert_eq!(wait(&mut run), 7);
}

#[test]
fn who_is_ended_before_the_last_hook_takes_its_container_back() {
    let sandbox = Sandbox::ordinary();
    let began = sandbox.path().join("xdg/began");
    let hook = sandbox.script("xdg/hook", &format!("#!/bin/sh\n: >{}; exec sleep 1000\n", began.display()));
    sandbox.sh("sleep 1000");
    sandbox.edit(|config| config["hooks"] = json!({"poststart": [{"path": hook}]}));
    let pid_file = sandbox.path().join("xdg/pid");
    let mut command = sandbox.command(&["run", "-d", "-b", "bundle", "--pid-file", pid_file.to_str().unwrap(), "box"]);
    let mut run = command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null()).spawn().unwrap();
    eventually("the hook has begun", || began.exists());
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(run.id() as i32), nix::sys::signal::Signal::SIGTERM).unwrap();
    assert_eq!(wait(&mut run), 128 + 15);
    assert!(!pid_file.exists());
    assert_eq!(sandbox.rootlet(&["list", "-q"]).ok().out, "");
    sandbox.assert_clean();
}
