//! What a start costs, in numbers that are the same each time. Timings are `scripts/bench`'s.

use crate::sandbox::{Sandbox, binary, eventually, finish, is_root, skip, wait};
use std::fs;
use std::path::Path;

/// System calls of `run` with the config that `spec` writes, of both processes and the program (busybox's `true`: 16), and a twentieth more.
/// The debug build, which this is, makes 350 besides, to prove what it has open.
const MOST_CALLS: usize = 905;

/// Page faults of a foreground `run`, without its children: 430 to 530 were seen, as the page cache has the binary, and a seventh more. The debug
/// build is ten times the size of the release.
const MOST_FAULTS: u64 = 600;

/// Where a cgroup is made for the container, a start costs more.
fn makes_a_cgroup() -> bool {
    Path::new("/sys/fs/cgroup/cgroup.controllers").exists()
}

#[test]
fn a_start_makes_no_more_system_calls_than_it_did() {
    let sandbox = Sandbox::ordinary();
    let strace = Path::new("/usr/bin/strace");
    if !strace.exists() || !is_root() || makes_a_cgroup() {
        return skip(
            "needs strace, a binary that is root's, as one's own is run from a copy, and a host whose cgroups are not the caller's",
        );
    }
    sandbox.edit(|config| config["process"]["args"] = serde_json::json!(["/bin/true"]));
    let (log, bundle) = (sandbox.mkdir("log", 0o777).join("calls"), sandbox.bundle());
    let words = ["-f", "-o", log.to_str().unwrap(), binary().to_str().unwrap()];
    let run = ["run", "-b", bundle.to_str().unwrap(), "box"];
    let done = finish(sandbox.program(strace, &[&words[..], &run[..]].concat()));
    assert_eq!(done.code, 0, "{done:?}");
    let traced = fs::read_to_string(log).unwrap();
    let calls = traced.lines().filter(|line| line.contains('(') && !line.contains(" resumed>")).count();
    assert!(calls > 100 && calls <= MOST_CALLS, "{calls} system calls");
}

#[test]
fn a_start_touches_no_more_memory_than_it_did() {
    if !is_root() || makes_a_cgroup() {
        return skip(
            "needs a binary that is root's, as one's own is run from a copy, and a host whose cgroups are not the caller's",
        );
    }
    let sandbox = Sandbox::ordinary();
    sandbox.sh("true");
    // The first one has the binary read from the disk.
    assert_eq!(sandbox.run().code, 0);
    sandbox.sh("exec sleep 1000");
    let mut child = sandbox.command_on_bundle(&["run", "box"]).spawn().unwrap();
    eventually("it runs", || sandbox.rootlet(&["state", "box"]).out.contains("running"));
    let stat = fs::read_to_string(format!("/proc/{}/stat", child.id())).unwrap();
    let faults: u64 = stat.rsplit_once(')').unwrap().1.split_whitespace().nth(7).unwrap().parse().unwrap();
    sandbox.rootlet(&["kill", "box", "KILL"]).ok();
    wait(&mut child);
    assert!(faults > 50 && faults <= MOST_FAULTS, "{faults} page faults");
    sandbox.assert_clean();
}
