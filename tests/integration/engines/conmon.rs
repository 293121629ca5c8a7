//! conmon alone, as CRI-O calls it.

use super::{INSTALLED, Row, have_engines};
use crate::sandbox::{Sandbox, eventually, finish};
use std::fs;

#[test]
fn it_watches_a_container() {
    if !have_engines() {
        return;
    }
    for uid in [0, 1000] {
        let who = if uid == 0 { "rootful" } else { "rootless" };
        let _row = Row::new("conmon", who, "create, log, exit file, exec");
        let sandbox = if uid == 0 { Sandbox::root().unwrap() } else { Sandbox::of(uid) };
        sandbox.sh("echo from inside; sleep 3; exit 7");
        let (exits, path) = (sandbox.mkdir("exits", 0o755), sandbox.path().display());
        sandbox.mkdir("sockets", 0o755);
        let common = format!(
            "conmon --api-version 1 -c box -u box -n box -r {INSTALLED} -b {path}/bundle --socket-dir-path {path}/sockets"
        );
        let create = format!(
            "{common} -p {path}/pid -l k8s-file:{path}/log --exit-dir {path}/exits --conmon-pidfile {path}/conmon.pid"
        );
        finish(sandbox.program("/bin/sh".as_ref(), &["-c", &create])).ok();
        eventually("it is created", || sandbox.rootlet(&["state", "box"]).out.contains("created\""));
        // The pid file comes last.
        eventually("its pid is known", || sandbox.path().join("pid").exists());
        let pid = fs::read_to_string(sandbox.path().join("pid")).unwrap();
        assert!(fs::exists(format!("/proc/{pid}")).unwrap(), "{pid}");
        sandbox.rootlet(&["start", "box"]).ok();
        sandbox.write(
            "process.json",
            r#"{"args": ["sh", "-c", "echo added"], "cwd": "/", "env": ["PATH=/bin"], "user": {"uid": 0, "gid": 0}}"#,
        );
        let exec = format!(
            "{common} -p {path}/exec.pid -l k8s-file:{path}/exec.log --exit-dir {path}/exits -e --exec-process-spec {path}/process.json"
        );
        finish(sandbox.program("/bin/sh".as_ref(), &["-c", &exec])).ok();
        let log = |name: &str| fs::read_to_string(sandbox.path().join(name)).unwrap_or_default();
        eventually("the added process has spoken", || log("exec.log").contains("stdout F added"));
        eventually("its exit code is known", || fs::read_to_string(exits.join("box")).is_ok_and(|code| code == "7"));
        assert!(log("log").contains("stdout F from inside"), "{}", log("log"));
        sandbox.rootlet(&["delete", "box"]).ok();
        sandbox.assert_clean();
    }
}
