//! Many callers at once: each gets its answer, an id is one caller's, and nothing is left. `ROOTLET_ROUNDS` says how often.

use crate::sandbox::Sandbox;
use serde_json::{Value, json};
use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};

const CALLERS: usize = 16;

fn rounds() -> usize {
    std::env::var("ROOTLET_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(1)
}

fn sleeping() -> Sandbox {
    let sandbox = Sandbox::ordinary();
    sandbox.edit(|config| config["process"]["args"] = json!(["sleep", "1000"]));
    sandbox
}

#[test]
fn a_thousand_lives_by_sixteen_callers() {
    let sandbox = sleeping();
    for _ in 0..rounds() {
        let next = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..CALLERS {
                scope.spawn(|| {
                    loop {
                        let number = next.fetch_add(1, Ordering::Relaxed);
                        if number >= 1000 {
                            return;
                        }
                        live(&sandbox, &format!("box-{number}"), number);
                    }
                });
            }
        });
        assert_eq!(sandbox.rootlet(&["list", "-q"]).ok().out, "");
        sandbox.assert_clean();
    }
}

/// One container from its making to its end, by the ways that there are.
fn live(sandbox: &Sandbox, id: &str, number: usize) {
    if number.is_multiple_of(2) {
        sandbox.rootlet(&["create", "-b", "bundle", id]).ok();
        assert_eq!(sandbox.status(id), "created");
        sandbox.rootlet(&["start", id]).ok();
    } else {
        sandbox.rootlet(&["run", "-d", "-b", "bundle", id]).ok();
    }
    assert_eq!(sandbox.status(id), "running");
    if number.is_multiple_of(3) {
        let listed: Value = serde_json::from_str(&sandbox.rootlet(&["list", "-f", "json"]).ok().out).unwrap();
        let own = listed.as_array().unwrap().iter().find(|one| one["id"] == id).expect("it is in the list");
        assert_eq!(own["status"], "running");
    }
    if number.is_multiple_of(5) {
        assert_eq!(sandbox.rootlet(&["exec", id, "echo", "inside"]).ok().out, "inside\n");
    }
    if number.is_multiple_of(4) {
        sandbox.rootlet(&["kill", id, "KILL"]).ok();
        sandbox.rootlet(&["delete", id]).ok();
    } else {
        sandbox.rootlet(&["delete", "--force", id]).ok();
    }
    sandbox.rootlet(&["state", id]).fails(&["does not exist"]);
}

#[test]
fn an_id_is_one_callers() {
    let sandbox = sleeping();
    for round in 0..10 * rounds() {
        let barrier = Barrier::new(CALLERS);
        let won = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for caller in 0..CALLERS {
                let (barrier, won, sandbox) = (&barrier, &won, &sandbox);
                scope.spawn(move || {
                    barrier.wait();
                    let command: &[&str] = match caller % 2 {
                        0 => &["create", "-b", "bundle", "box"],
                        _ => &["run", "-d", "-b", "bundle", "box"],
                    };
                    let done = sandbox.rootlet(command);
                    match done.code {
                        0 => drop(won.fetch_add(1, Ordering::Relaxed)),
                        _ => drop(done.fails(&["already exists"])),
                    }
                });
            }
        });
        assert_eq!(won.into_inner(), 1, "round {round}");
        assert!(["created", "running"].contains(&sandbox.status("box").as_str()));
        sandbox.rootlet(&["delete", "--force", "box"]).ok();
        sandbox.assert_clean();
    }
}

#[test]
fn who_is_being_made_is_never_said_to_have_stopped() {
    let sandbox = sleeping();
    for _ in 0..20 * rounds() {
        let is_done = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    while is_done.load(Ordering::Relaxed) == 0 {
                        let done = sandbox.rootlet(&["state", "box"]);
                        match done.code {
                            0 => assert!(!done.out.contains("\"stopped\""), "{done:?}"),
                            _ => drop(done.fails(&["does not exist"])),
                        }
                        let listed = sandbox.rootlet(&["list"]).ok();
                        assert!(!listed.out.contains("stopped"), "{listed:?}");
                    }
                });
            }
            sandbox.rootlet(&["create", "-b", "bundle", "box"]).ok();
            is_done.store(1, Ordering::Relaxed);
        });
        sandbox.rootlet(&["delete", "--force", "box"]).ok();
    }
    sandbox.assert_clean();
}

#[test]
fn a_start_and_a_deletion_at_once_leave_nothing() {
    let sandbox = sleeping();
    for _ in 0..10 * rounds() {
        sandbox.rootlet(&["create", "-b", "bundle", "box"]).ok();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let started = sandbox.rootlet(&["start", "box"]);
                assert!(started.code == 0 || started.code == 1 && started.err.starts_with("error: "), "{started:?}");
            });
            scope.spawn(|| sandbox.rootlet(&["delete", "--force", "box"]).ok());
        });
        sandbox.rootlet(&["state", "box"]).fails(&["does not exist"]);
        sandbox.assert_clean();
    }
}

#[test]
fn a_creation_and_a_signal_at_once_leave_nothing_unknown() {
    let sandbox = sleeping();
    for _ in 0..10 * rounds() {
        std::thread::scope(|scope| {
            let created = scope.spawn(|| sandbox.rootlet(&["create", "-b", "bundle", "box"]));
            let killed = scope.spawn(|| (0..20).any(|_| sandbox.rootlet(&["kill", "box", "KILL"]).code == 0));
            let (created, killed) = (created.join().unwrap(), killed.join().unwrap());
            assert!(created.code == 0 || killed && created.err.starts_with("error: "), "{created:?}");
        });
        let gone = sandbox.rootlet(&["delete", "--force", "box"]);
        assert!(gone.code == 0 || gone.err.contains("does not exist"), "{gone:?}");
        sandbox.assert_clean();
    }
}
