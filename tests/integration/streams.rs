//! What a program gets from its caller: streams, descriptors, arguments and variables byte for byte, processors, a manager.

use crate::sandbox::{Done, Sandbox, binary, eventually, finish};
use serde_json::json;
use std::ffi::OsStr;
use std::fs;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::process::Stdio;

impl Sandbox {
    /// Runs a script of the host's as the sandbox's user, with `$rootlet` and `$bundle`.
    pub fn caller(&self, script: &str) -> Done {
        let mut command = self.program("/bin/bash".as_ref(), &["-c", script]);
        command.env("rootlet", binary()).env("bundle", self.bundle());
        finish(command)
    }
}

#[test]
fn an_ordinary_user_of_roots_container_can_open_its_streams_again() {
    let Some(sandbox) = Sandbox::root() else { return };
    sandbox.sh("echo out >>/dev/stdout; echo err >>/dev/stderr; stat -L -c %u:%g /dev/stdout /dev/null >>/dev/stdout");
    sandbox.edit(|config| config["process"]["user"] = json!({"uid": 1000, "gid": 1000}));
    let file = sandbox.path().join("out");
    let read_only = sandbox.write("in", "");
    let done = sandbox.caller("$rootlet run -b $bundle box <in 2>&1 >>out | cat");
    assert_eq!((done.out.as_str(), done.err.as_str()), ("err\n", ""), "a pipe, and a file");
    let out = fs::read_to_string(&file).unwrap();
    assert_eq!(out, "out\n1000:0\n0:0\n", "the group stays, and so does what is everybody's");
    assert_eq!(fs::metadata(read_only).unwrap().uid(), 0, "who may only read a file does not get it");
    sandbox.sh("sleep 1000");
    sandbox.start();
    let exec = "$rootlet exec -u 7 box sh -c 'echo again >>/dev/stdout' | cat";
    assert_eq!(sandbox.caller(exec).ok().out, "again\n");
    sandbox.rootlet(&["delete", "-f", "box"]).ok();
    sandbox.assert_clean();
}

#[test]
fn what_is_not_open_is_not_preserved_and_nothing_of_rootlets_takes_its_place() {
    let sandbox = Sandbox::ordinary();
    sandbox.write("file", "from outside\n");
    sandbox.write("log", "");
    sandbox.sh("for fd in 3 4 5 6 7 8 9; do test -e /proc/self/fd/$fd && echo $fd; done; cat <&5");
    let done = sandbox
        .caller("$rootlet --log log run --preserve-fds 7 -b $bundle box 3<&- 4<&- 5<file 6<&- 7<&- 8<&- 9</dev/null")
        .ok();
    assert_eq!(done.out, "5\n9\nfrom outside\n");
    for count in ["4294967295", "1000000"] {
        let done = sandbox.caller(&format!("$rootlet run --preserve-fds {count} -b $bundle box 3<&- 4<&- 5<file")).ok();
        assert_eq!(done.out, "5\nfrom outside\n");
    }
    sandbox.sh("sleep 1000");
    sandbox.start();
    let done =
        sandbox.caller("$rootlet --log log exec --preserve-fds 4 box ls /proc/self/fd 3<&- 4<&- 5<file 9<file").ok();
    assert_eq!(done.out.split_whitespace().collect::<Vec<_>>(), ["0", "1", "2", "3", "5"], "3 is ls's own");
}

#[test]
fn a_caller_with_more_descriptors_than_the_container_may_have() {
    let sandbox = Sandbox::ordinary();
    sandbox.edit(|config| config["process"]["rlimits"] = json!([{"type": "RLIMIT_NOFILE", "soft": 16, "hard": 16}]));
    sandbox.sh("ls /proc/self/fd | wc -l; ulimit -n");
    let many = "ulimit -n 2000; for fd in $(seq 10 1500); do eval \"exec $fd</dev/null\"; done;";
    assert_eq!(sandbox.caller(&format!("{many} $rootlet run -b $bundle box")).ok().out, "4\n16\n");
    sandbox.sh("sleep 1000");
    sandbox.start();
    let done = sandbox.caller(&format!("{many} $rootlet exec box sh -c 'ls /proc/self/fd | wc -l'")).ok();
    assert_eq!(done.out, "4\n");
}

#[test]
fn what_is_not_utf8_passes_through_byte_for_byte() {
    let sandbox = Sandbox::ordinary();
    let strange = sandbox.path().join(OsStr::from_bytes(b"b\xffndle"));
    fs::rename(sandbox.bundle(), &strange).unwrap();
    std::os::unix::fs::symlink(&strange, sandbox.bundle()).unwrap();
    sandbox.add_mount(json!({"destination": "/data", "type": "bind", "source": "rootfs/etc", "options": ["bind"]}));
    let poststop = sandbox.script("poststop", "cat >poststop.json");
    sandbox.edit(|config| config["hooks"] = json!({"poststop": [{"path": poststop}]}));
    sandbox.sh("ls /data; sleep 1000");
    sandbox.start();
    assert_eq!(sandbox.status("box"), "running");
    let state: serde_json::Value = serde_json::from_str(&sandbox.rootlet(&["state", "box"]).ok().out).unwrap();
    assert!(state["bundle"].as_str().unwrap().ends_with("b\u{fffd}ndle"), "{state}");
    let exec = "$rootlet exec -e $'A=\\xfe' box sh -c 'printf %s \"$A$1\"' sh $'\\xfd' | od -An -tx1";
    assert_eq!(sandbox.caller(exec).ok().out.trim(), "fe fd");
    // The config is found again, below the bundle as it is.
    sandbox.rootlet(&["exec", "box", "ls", "/data/passwd"]).ok();
    assert!(sandbox.rootlet(&["list"]).ok().out.contains("box"));
    sandbox.rootlet(&["delete", "-f", "box"]).ok();
    sandbox.assert_clean();
}

#[test]
fn the_callers_processors_are_not_the_containers() {
    let sandbox = Sandbox::ordinary();
    let all = finish(sandbox.program("/usr/bin/nproc".as_ref(), &[])).ok().out;
    sandbox.sh("nproc");
    assert_eq!(sandbox.caller("taskset -c 0 $rootlet run -b $bundle box").ok().out, all);
    sandbox.sh("sleep 1000");
    sandbox.start();
    assert_eq!(sandbox.caller("taskset -c 0 $rootlet exec box nproc").ok().out, all);
}

#[test]
fn a_manager_that_cannot_be_reached_is_warned_about() {
    let sandbox = Sandbox::ordinary();
    sandbox.sh("echo ${NOTIFY_SOCKET:-none}");
    for address in ["/nosuch/socket", "@rootlet-nosuch", "relative", "/dev/null"] {
        let done = sandbox.caller(&format!("NOTIFY_SOCKET={address} $rootlet run -b $bundle box")).ok();
        assert_eq!(done.out, "none\n");
        let warnings: Vec<_> = done.err.lines().collect();
        assert!(
            warnings.len() == 1 && warnings[0].contains(&format!("NOTIFY_SOCKET {address} cannot be reached")),
            "{done:?}"
        );
    }
    sandbox.caller("NOTIFY_SOCKET=/nosuch $rootlet run -d -b $bundle box").ok();
    sandbox.rootlet(&["delete", "-f", "box"]).ok();
    sandbox.assert_clean();
}

/// Runs a script at a terminal of script(1), and returns all that was shown.
fn at_a_terminal(sandbox: &Sandbox, script: &str) -> String {
    let mut command = sandbox.program("/usr/bin/script".as_ref(), &["-q", "-e", "-c", script, "/dev/null"]);
    command.env("rootlet", binary()).env("bundle", sandbox.bundle());
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut shown = String::new();
    child.stdout.take().unwrap().read_to_string(&mut shown).unwrap();
    let code = child.wait().unwrap().code();
    assert_eq!(code, Some(0), "{shown}");
    shown
}

#[test]
fn a_terminals_output_in_a_pipe_has_no_carriage_returns() {
    let sandbox = Sandbox::ordinary();
    sandbox.edit(|config| config["process"]["terminal"] = json!(true));
    sandbox.sh("test -t 1 && echo a terminal; echo two");
    at_a_terminal(&sandbox, "$rootlet run -b $bundle box >xdg/out");
    assert_eq!(fs::read_to_string(sandbox.path().join("xdg/out")).unwrap(), "a terminal\ntwo\n");
    assert_eq!(at_a_terminal(&sandbox, "$rootlet run -b $bundle box"), "a terminal\r\ntwo\r\n", "once, and not twice");
    assert_eq!(at_a_terminal(&sandbox, "$rootlet run -b $bundle box </dev/null"), "a terminal\r\ntwo\r\n");
}

#[test]
fn a_terminal_may_have_another_standard_input() {
    let sandbox = Sandbox::ordinary();
    sandbox.sh("sleep 1000");
    sandbox.start();
    let shown = at_a_terminal(&sandbox, "echo hello | $rootlet exec -t box cat 2>xdg/err >xdg/out; cat xdg/err");
    assert_eq!(shown, "");
    // What is typed is echoed, as at every terminal; the end of the pipe is one for `cat`, too.
    assert_eq!(fs::read_to_string(sandbox.path().join("xdg/out")).unwrap(), "hello\nhello\n");
    at_a_terminal(&sandbox, "printf unfinished | $rootlet exec -t box cat >xdg/out");
    assert_eq!(fs::read_to_string(sandbox.path().join("xdg/out")).unwrap(), "unfinishedunfinished");
    // More than either side has room for.
    at_a_terminal(&sandbox, "seq 100000 | $rootlet exec -t box sh -c 'stty -echo; cat' >xdg/out");
    let out = fs::read_to_string(sandbox.path().join("xdg/out")).unwrap();
    assert_eq!(out.lines().next_back(), Some("100000"));
    sandbox.caller("$rootlet exec -t box true").fails_of_exec("nor is there another");
}

impl Done {
    #[track_caller]
    fn fails_of_exec(self, words: &str) {
        assert!(self.code == 255 && self.err.contains(words), "{self:?}");
    }
}

#[test]
fn neither_typing_nor_printing_waits_for_the_other() {
    let sandbox = Sandbox::ordinary();
    sandbox.sh("sleep 1000");
    sandbox.start();
    // The program prints more than anybody reads, and reads nothing of what is typed.
    let script = "seq 300000 | $rootlet exec -t box sh -c 'stty -echo; sleep 1; echo done' >xdg/out";
    at_a_terminal(&sandbox, script);
    let out = fs::read_to_string(sandbox.path().join("xdg/out")).unwrap();
    assert!(out.ends_with("done\n"), "what was typed before is echoed: {} bytes", out.len());
}

#[test]
fn an_output_that_does_not_block_gets_all_of_it() {
    let sandbox = Sandbox::ordinary();
    sandbox.edit(|config| config["process"]["terminal"] = json!(true));
    sandbox.sh("seq 50000");
    // As some programs leave their terminals and pipes.
    let nonblocking = "perl -MFcntl -e 'fcntl(STDOUT, F_SETFL, O_NONBLOCK); exec @ARGV' --";
    let script = format!("{nonblocking} $rootlet run -b $bundle box | (sleep 1; cat) >xdg/out");
    at_a_terminal(&sandbox, &script);
    assert_eq!(fs::read_to_string(sandbox.path().join("xdg/out")).unwrap().lines().next_back(), Some("50000"));
    sandbox.edit(|config| config["process"]["terminal"] = json!(false));
    let list = format!("{nonblocking} $rootlet features | (sleep 1; cat) | tail -1");
    assert_eq!(sandbox.caller(&list).ok().out, "}\n");
}

#[test]
fn what_a_program_tells_a_manager_names_no_process_of_the_hosts() {
    let sandbox = Sandbox::ordinary();
    let path = sandbox.path().join("xdg/manager.sock");
    let manager = std::os::unix::net::UnixDatagram::bind(&path).unwrap();
    nix::unistd::chown(&path, Some(sandbox.uid().into()), None).unwrap();
    manager.set_read_timeout(Some(std::time::Duration::from_secs(20))).unwrap();
    // systemd ends a line by \r as well, and reads its text as far as the first NUL.
    let words = r#"READY=1\nSTATUS=x\rMAINPID=1\rNOTIFYACCESS=all\0MAINPID=2"#;
    let perl = format!(
        "use Socket; socket(S, AF_UNIX, SOCK_DGRAM, 0); send(S, \"{words}\", 0, sockaddr_un($ENV{{NOTIFY_SOCKET}})); sleep 1"
    );
    sandbox.on_bundle(&["spec", "--host", "--no-tty", "--force", "--args", "perl", "-e", &perl]).ok();
    let run = sandbox.caller(&format!("NOTIFY_SOCKET={} $rootlet run -b $bundle box", path.display())).ok();
    let mut buffer = [0; 4096];
    let length = manager.recv(&mut buffer).unwrap();
    assert_eq!(String::from_utf8_lossy(&buffer[..length]), "READY=1\nSTATUS=x", "{run:?}");
    sandbox.assert_clean();
}

#[test]
fn what_a_container_leaves_where_it_speaks_to_a_manager_is_removed() {
    let sandbox = Sandbox::ordinary();
    let path = sandbox.path().join("xdg/manager.sock");
    let _manager = std::os::unix::net::UnixDatagram::bind(&path).unwrap();
    nix::unistd::chown(&path, Some(sandbox.uid().into()), None).unwrap();
    sandbox.edit(|config| {
        for set in config["process"]["capabilities"].as_object_mut().unwrap().values_mut() {
            *set = serde_json::json!(["CAP_SYS_ADMIN"]);
        }
    });
    sandbox.sh("mount -o remount,bind,rw /run/notify && mkdir -p /run/notify/d/e/f && chmod 0 /run/notify/d/e /run/notify/d; sleep 1000");
    for _ in 0..2 {
        sandbox.caller(&format!("NOTIFY_SOCKET={} $rootlet create -b $bundle box", path.display())).ok();
        sandbox.rootlet(&["start", "box"]).ok();
        let place = sandbox.states().join("box/notify/d");
        eventually("it has made its directories", || {
            std::fs::metadata(&place).is_ok_and(|place| std::os::unix::fs::MetadataExt::mode(&place) & 0o777 == 0)
        });
        sandbox.rootlet(&["delete", "-f", "box"]).ok();
        assert_eq!(std::fs::read_dir(sandbox.states()).unwrap().count(), 0);
    }
    sandbox.assert_clean();
}
