//! An id that becomes another container's between a command's look and its deed: before each of its system calls in turn, the
//! container is deleted, and another of the same name is there. The command is never about the new one.

use crate::sandbox::Sandbox;
use crate::tracer::{Deed, Fault, trace};
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
    assert!(replaced > 3, "{command:?}: {replaced}");
    sandbox.rootlet(&["delete", "-f", "box"]).ok();
    sandbox.is_clean();
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
