//! Docker Engine, with rootlet as one of its runtimes and as the default one.

use super::{Caller, Row, archive, have_engines, under_a_pty};
use crate::sandbox::Done;
use std::fs;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

/// A daemon with the configuration of the examples, and an image `box` that was imported; for one test at a time.
pub fn daemon() -> MutexGuard<'static, ()> {
    static READY: OnceLock<()> = OnceLock::new();
    static ALONE: Mutex<()> = Mutex::new(());
    let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    READY.get_or_init(|| {
        configure();
        docker(&format!("import {} box", archive())).ok();
    });
    alone
}

/// Starts it with the configuration of the examples.
pub fn configure() {
    fs::create_dir_all("/etc/docker").unwrap();
    let example = include_str!("../../../examples/docker/daemon.json");
    // As the README has it for hosts with cgroup v1.
    let trying = r#""runtimes": { "trying": { "path": "/usr/local/bin/rootlet", "runtimeArgs": ["--limits", "try"] },"#;
    fs::write("/etc/docker/daemon.json", example.replacen("\"runtimes\": {", trying, 1)).unwrap();
    Caller::Root.shell("systemctl restart docker").ok();
}

fn docker(arguments: &str) -> Done {
    Caller::Root.shell(&format!("docker {arguments}"))
}

#[track_caller]
fn says(arguments: &str) -> String {
    docker(arguments).ok().out
}

#[test]
fn containers_live_and_end() {
    if !have_engines() {
        return;
    }
    let _alone = daemon();
    let _row = Row::new(
        "docker",
        "rootful",
        "run, run -d, -it, logs, exec, top, pause, stop, restart, kill, rm -f; exit codes",
    );
    assert_eq!(says("run --runtime rootlet --rm box echo hi"), "hi\n");
    assert_eq!(says("run --runtime trying --rm -m 64m box echo hi"), "hi\n");
    says(r#"run -d --name life box sh -c 'trap "exit 3" TERM; echo up; while :; do sleep 0.1; done'"#);
    assert_eq!(says("inspect -f '{{.HostConfig.Runtime}}' life"), "rootlet\n");
    assert_eq!(says("logs life"), "up\n");
    let done = docker("exec -e A=b -u user -w /tmp life sh -c 'id -u; pwd; echo $A; exit 5'");
    assert_eq!((done.code, done.out.as_str()), (5, "1000\n/tmp\nb\n"), "{done:?}");
    let done = under_a_pty(Caller::Root, "docker exec -it life sh", "tty; exit 6\\n");
    assert!(done.out.contains("/dev/pts/0") && done.code == 6, "{done:?}");
    let done = under_a_pty(Caller::Root, "docker run --rm -it box sh", "tty; exit 5\\n");
    assert!(done.out.contains("/dev/pts/0") && done.code == 5, "{done:?}");
    assert!(says("top life").contains("sleep"));
    says("pause life");
    assert!(says("ps --format '{{.Status}}'").contains("Paused"));
    says("unpause life");
    says("stop -t 20 life");
    assert_eq!(says("inspect -f '{{.State.ExitCode}}' life"), "3\n");
    says("restart -t 20 life");
    says("kill life");
    assert_eq!(says("wait life"), "137\n");
    says("rm -f life");
    let missing = docker("run --rm box nosuch");
    assert!(missing.code == 127 && missing.err.contains("executable file not found"), "{missing:?}");
    let refused = docker("run --rm box /etc/passwd");
    assert!(refused.code == 126 && refused.err.contains("permission denied"), "{refused:?}");
}

#[test]
fn options_and_limits_are_followed() {
    if !have_engines() {
        return;
    }
    let _alone = daemon();
    let what = "--memory, --pids-limit, --cpus, update, stats, -v, --tmpfs, --read-only, --cap-drop, --user, --init, --privileged, -p, --device, build";
    let _row = Row::new("docker", "rootful", what);
    let files = "/sys/fs/cgroup/memory.max /sys/fs/cgroup/pids.max /sys/fs/cgroup/cpu.max";
    assert_eq!(
        says(&format!("run --rm -m 64m --pids-limit 20 --cpus 0.5 box cat {files}")),
        "67108864\n20\n50000 100000\n"
    );
    says("run -d --name limited -m 64m box sleep 1000");
    says("update -m 48m --memory-swap 48m --pids-limit 30 limited");
    assert_eq!(says("exec limited cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/pids.max"), "50331648\n30\n");
    assert!(says("stats --no-stream --format '{{.MemUsage}}' limited").contains("/ 48MiB"));
    says("rm -f limited");
    // Of .State.OOMKilled, Docker 20.10 hears not each time: with runc 2 of 10, with rootlet 9 of 20.
    assert_eq!(docker("run --name oom -m 16m --memory-swap 16m box tail /dev/zero").code, 137);
    says("rm oom");
    let flags = "--read-only --tmpfs /t -v /etc:/v:ro --cap-drop ALL --security-opt no-new-privileges --user 1000 --ulimit nofile=99";
    let script =
        "touch /t/x; ls /t; id -u; ulimit -n; grep CapBnd /proc/self/status; touch /x || touch /v/x || echo denied";
    let shown = says(&format!("run --rm {flags} box sh -c '{script}'"));
    assert_eq!(shown, "x\n1000\n99\nCapBnd:\t0000000000000000\ndenied\n");
    assert!(says("run --rm --init box ps").contains("-- ps"));
    assert!(says("run --rm --privileged box sh -c 'mount -t tmpfs x /tmp && echo mounted'").contains("mounted"));
    assert!(says("run --rm -p 8080:80 box ip -o link").contains("eth0"));
    assert_eq!(says("run --rm --pid host --ipc host --uts host box hostname"), "vm\n");
    assert!(says("run --rm --device /dev/fuse box ls -l /dev/fuse").contains("10, 229"));
    Caller::Root.write("context/Dockerfile", "FROM box\nRUN echo built >/built\nCMD cat /built\n");
    says("build -q -t built context");
    assert_eq!(says("run --rm built"), "built\n");
}
