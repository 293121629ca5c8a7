//! Processes that are added to a container.

use crate::sandbox::{Done, Sandbox, binary, eventually, finish, skip};
use crate::terminal::receive_master;
use serde_json::{Value, json};
use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;

/// A container that runs until it is killed, and whose root may be written to.
fn running(sandbox: &Sandbox) {
    sandbox.edit(|config| config["root"]["readonly"] = json!(false));
    sandbox.sh("trap 'exit 0' TERM; sleep 1000 & wait");
    sandbox.start();
}

impl Sandbox {
    fn exec(&self, arguments: &[&str]) -> Done {
        self.rootlet(&[&["exec"], arguments].concat())
    }

    /// An error of exec's own.
    #[track_caller]
    fn exec_fails(&self, arguments: &[&str], words: &[&str]) {
        let done = self.exec(arguments);
        assert_eq!(done.code, 255, "{done:?}");
        for word in words {
            assert!(done.err.contains(word), "{word:?} is not in {}", done.err);
        }
        assert_eq!(done.err.lines().filter(|line| line.starts_with("error: ")).count(), 1, "{}", done.err);
    }
}

#[test]
fn the_process_is_in_the_container_and_its_exit_code_passes_through() {
    let sandbox = Sandbox::ordinary();
    sandbox.edit(|config| {
        config["process"]["cwd"] = json!("/data");
        config["process"]["env"] = json!(["PATH=/bin", "A=config", "B=config"]);
        config["process"]["rlimits"] = json!([{"type": "RLIMIT_NOFILE", "soft": 77, "hard": 77}]);
    });
    running(&sandbox);
    let first = "for name in user mnt pid ipc uts; do readlink /proc/1/ns/$name; done";
    let own = "for name in user mnt pid ipc uts; do readlink /proc/self/ns/$name; done";
    assert_eq!(sandbox.exec(&["box", "sh", "-c", first]).ok().out, sandbox.exec(&["box", "sh", "-c", own]).ok().out);
    let done = sandbox.exec(&[
        "-e",
        "A=exec",
        "-e",
        "C=exec",
        "box",
        "sh",
        "-c",
        "pwd; echo $A $B $C $HOME; ulimit -n; id -u; exit 7",
    ]);
    assert_eq!((done.code, done.out.as_str()), (7, "/data\nexec config exec /root\n77\n0\n"), "{}", done.err);
    assert_eq!(sandbox.exec(&["--cwd", "/tmp", "box", "sh", "-c", "pwd"]).ok().out, "/tmp\n");
    assert_eq!(sandbox.exec(&["box", "sh", "-c", "kill -9 $$"]).code, 137);
    assert_eq!(
        sandbox.exec(&["box", "sh", "-c", "ls /proc/self/fd | tr '\\n' ' '"]).ok().out,
        "0 1 2 3 ",
        "3 is ls's own"
    );
    sandbox.exec_fails(&["box", "nosuch"], &["exec: \"nosuch\": executable file not found in $PATH"]);
    sandbox.exec_fails(&["box", "/etc/passwd"], &["exec: \"/etc/passwd\": permission denied"]);
    sandbox.exec_fails(&["nosuch", "true"], &["container does not exist"]);
    sandbox.exec_fails(&["box"], &["process args cannot be empty"]);
    sandbox.exec_fails(&["--nosuch", "box", "true"], &["--nosuch"]);
    sandbox.rootlet(&["kill", "box", "KILL"]).ok();
    eventually("it has stopped", || sandbox.status("box") == "stopped");
    sandbox.exec_fails(&["box", "true"], &["cannot exec in a stopped container"]);
    sandbox.rootlet(&["delete", "box"]).ok();
    sandbox.assert_clean();
}

#[test]
fn a_container_that_waits_for_start_can_be_entered() {
    let sandbox = Sandbox::ordinary();
    sandbox.sh("sleep 1000");
    sandbox.create();
    assert_eq!(sandbox.exec(&["box", "hostname"]).ok().out, "rootlet\n");
    sandbox.rootlet(&["delete", "-f", "box"]).ok();
    // Its first process has entered all of its namespaces already.
    sandbox.edit(|config| {
        config["linux"]["namespaces"].as_array_mut().unwrap().push(json!({"type": "time"}));
        config["linux"]["timeOffsets"] = json!({"boottime": {"secs": 1_000_000_000}});
    });
    sandbox.create();
    let uptime = sandbox.exec(&["box", "cut", "-d.", "-f1", "/proc/uptime"]).ok().out;
    assert!(uptime.trim().parse::<u64>().unwrap() > 1_000_000_000, "{uptime}");
}

#[test]
fn users_are_found_by_number_and_by_name() {
    let Some(sandbox) = Sandbox::root() else { return };
    sandbox.write("bundle/rootfs/etc/group", "root:x:0:\nuser:x:1000:\naudio:x:29:user\nvideo:x:44:root\n");
    running(&sandbox);
    let id =
        |user: &str| sandbox.exec(&["-u", user, "box", "sh", "-c", "echo $(id -u) $(id -g) $(id -G) $HOME"]).ok().out;
    assert_eq!(id("user"), "1000 1000 1000 29 /home/user\n");
    assert_eq!(id("user:audio"), "1000 29 29 /home/user\n");
    assert_eq!(id("1000"), "1000 0 0 /home/user\n", "as runc, the group stays the config's");
    assert_eq!(id("1000:44"), "1000 44 44 /home/user\n");
    assert_eq!(id("4000:4001"), "4000 4001 4001 /\n");
    let groups = sandbox.exec(&["-u", "user", "-g", "7", "-g", "8", "box", "id", "-G"]).ok().out;
    assert_eq!(groups, "1000 7 8 29\n");
    for user in ["1x", "4294967296", "4294967295", "-1", ":5", "0x0", " 0", "", "0:", "0:1x"] {
        sandbox.exec_fails(&["-u", user, "box", "true"], &["try: "]);
    }
    sandbox.exec_fails(&["-u", "nosuch", "box", "true"], &["not in the container's /etc/passwd"]);
    sandbox.exec_fails(&["-u", "user:nosuch", "box", "true"], &["not in the container's /etc/group"]);
}

#[test]
fn an_ordinary_users_container_has_one_id() {
    let sandbox = Sandbox::ordinary();
    running(&sandbox);
    assert_eq!(sandbox.exec(&["-u", "root", "box", "id", "-u"]).ok().out, "0\n");
    sandbox.exec_fails(&["-u", "user", "box", "true"], &["uid 1000 is not mapped"]);
}

#[test]
fn privileges_are_the_containers_and_those_that_are_added() {
    let sandbox = Sandbox::ordinary();
    sandbox.edit(|config| {
        config["process"]["noNewPrivileges"] = json!(false);
        let none = json!([]);
        let one = json!(["CAP_CHOWN"]);
        config["process"]["capabilities"] =
            json!({"bounding": one, "effective": one, "permitted": one, "inheritable": one, "ambient": none});
    });
    running(&sandbox);
    let status = |arguments: &[&str]| {
        let grep = ["box", "grep", "-E", "Cap(Inh|Prm|Eff|Bnd|Amb)|NoNewPrivs", "/proc/self/status"];
        let out = sandbox.exec(&[arguments, &grep].concat()).ok().out;
        out.lines().map(|line| line.split_once('\t').unwrap().1.trim_start_matches('0').to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(status(&[]), ["1", "1", "1", "1", "", ""]);
    // CVE-2022-29162: what is added is never inheritable. CAP_NET_RAW is number 13.
    assert_eq!(status(&["--cap", "CAP_NET_RAW"]), ["1", "2001", "2001", "2001", "", ""]);
    assert_eq!(status(&["--no-new-privs"]).last().unwrap(), "1");
    let done = sandbox.exec(&["--apparmor", "nosuch", "box", "true"]);
    assert!(done.code == 255 && done.err.contains("process.apparmorProfile"), "{done:?}");
}

#[test]
fn filters_hold_for_added_processes() {
    for no_new_privileges in [true, false] {
        let sandbox = Sandbox::ordinary();
        sandbox.edit(|config| {
            config["process"]["noNewPrivileges"] = json!(no_new_privileges);
            config["linux"]["seccomp"] = json!({
                "defaultAction": "SCMP_ACT_ALLOW",
                "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 95}]
            });
        });
        running(&sandbox);
        let done = sandbox.exec(&["box", "mkdir", "/tmp/made"]);
        assert!(done.code == 1 && done.err.contains("not supported"), "{done:?}");
    }
}

#[test]
fn a_process_can_be_given_as_a_file() {
    let sandbox = Sandbox::ordinary();
    running(&sandbox);
    let process = json!({"args": ["sh", "-c", "echo $A; pwd; grep CapEff /proc/self/status"], "cwd": "/tmp", "env": ["PATH=/bin", "A=file"]});
    let file = sandbox.write("process.json", &process.to_string());
    let done = sandbox.exec(&["--process", file.to_str().unwrap(), "box"]).ok();
    assert_eq!(
        done.out, "file\n/tmp\nCapEff:\t0000000020000420\n",
        "capabilities that are left out are the container's"
    );
    for (text, words) in [
        (json!({"args": ["true"]}).to_string(), ["process.cwd", "missing"]),
        (json!({"args": "true", "cwd": "/"}).to_string(), ["process.args", "a list is needed"]),
        (json!({"args": [], "cwd": "/"}).to_string(), ["exec failed", "missing or empty"]),
        ("{".to_owned(), ["process.json", "line 1"]),
    ] {
        fs::write(&file, text).unwrap();
        sandbox.exec_fails(&["--process", file.to_str().unwrap(), "box"], &words);
    }
    sandbox.exec_fails(&["--process", "/nosuch", "box"], &["cannot read /nosuch", "--process"]);
}

#[test]
fn a_detached_process_outlives_its_maker_and_nobody_stays_between() {
    let sandbox = Sandbox::ordinary();
    running(&sandbox);
    let pid_file = sandbox.path().join("xdg/pid");
    sandbox
        .exec(&[
            "-d",
            "--pid-file",
            pid_file.to_str().unwrap(),
            "box",
            "sh",
            "-c",
            "echo begun > /data/begun; sleep 1000",
        ])
        .ok();
    let pid = fs::read_to_string(&pid_file).unwrap();
    eventually("it has begun", || sandbox.rootfs().join("data/begun").exists());
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let parent = status.lines().find_map(|line| line.strip_prefix("PPid:")).unwrap().trim();
    assert!(!fs::read_to_string(format!("/proc/{parent}/comm")).unwrap().contains("rootlet"));
    let pids: Vec<i32> = serde_json::from_str(&sandbox.rootlet(&["ps", "-f", "json", "box"]).ok().out).unwrap();
    assert!(pids.contains(&pid.parse().unwrap()), "{pids:?} has no {pid}");
    // Nothing is left of one that could not begin.
    fs::remove_file(&pid_file).unwrap();
    sandbox.exec_fails(&["-d", "--pid-file", pid_file.to_str().unwrap(), "box", "nosuch"], &["not found"]);
    assert!(!pid_file.exists());
}

#[test]
fn a_foreground_exec_that_is_killed_takes_its_process_along() {
    let sandbox = Sandbox::ordinary();
    running(&sandbox);
    let mut exec = sandbox.command(&["exec", "box", "sleep", "1001"]).spawn().unwrap();
    let sleeps = || sandbox.exec(&["box", "ps"]).ok().out.contains("sleep 1001");
    eventually("it sleeps", sleeps);
    exec.kill().unwrap();
    exec.wait().unwrap();
    eventually("it has ended", || !sleeps());
    // Other signals are passed on.
    let mut exec =
        sandbox.command(&["exec", "box", "sh", "-c", "trap 'exit 9' TERM; echo > /data/trap; sleep 1002 & wait"]);
    let mut exec = exec.spawn().unwrap();
    eventually("it waits", || sandbox.rootfs().join("data/trap").exists());
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(exec.id() as i32), nix::sys::signal::SIGTERM).unwrap();
    assert_eq!(crate::sandbox::wait(&mut exec), 9);
}

#[test]
fn terminals_are_relayed_or_sent_to_a_socket() {
    let sandbox = Sandbox::ordinary();
    running(&sandbox);
    let exec = format!("{} exec -t box sh -c 'tty; test -t 0 && test -t 1 && echo all; exit 5'", binary().display());
    let mut command = sandbox.program("script".as_ref(), &["-q", "-e", "-c", &exec, "/dev/null"]);
    // Without a writer script(1) would type an end of file in between.
    let (input, typed) = std::io::pipe().unwrap();
    command.stdin(input);
    let done = finish(command);
    drop(typed);
    assert_eq!(done.code, 5, "{done:?}");
    assert!(done.out.contains("/dev/pts/0\r\nall\r\n"), "{done:?}");

    let path = sandbox.path().join("console.sock");
    let listener = UnixListener::bind(&path).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o777)).unwrap();
    sandbox
        .exec(&["-t", "-d", "--console-socket", path.to_str().unwrap(), "box", "sh", "-c", "read line; echo got $line"])
        .ok();
    let mut master = receive_master(&listener);
    master.write_all(b"hello\n").unwrap();
    let (mut shown, mut buffer) = (Vec::new(), [0; 256]);
    while let Ok(length @ 1..) = master.read(&mut buffer) {
        shown.extend_from_slice(&buffer[..length]);
    }
    assert!(String::from_utf8_lossy(&shown).contains("got hello"));
    sandbox.exec_fails(&["-t", "-d", "box", "true"], &["without setting console socket"]);
    sandbox.exec_fails(&["-t", "box", "true"], &["standard input is not a terminal"]);
}

#[test]
fn descriptors_and_a_pidfd_are_passed_on() {
    let sandbox = Sandbox::ordinary();
    running(&sandbox);
    let file = sandbox.write("passed", "from outside");
    let exec = format!("{} exec --preserve-fds 1 box cat /proc/self/fd/3 3<{}", binary().display(), file.display());
    assert_eq!(finish(sandbox.program("/bin/sh".as_ref(), &["-c", &exec])).ok().out, "from outside");
    let path = sandbox.path().join("pidfd.sock");
    let listener = UnixListener::bind(&path).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o777)).unwrap();
    let (socket, pid_file) = (path.to_str().unwrap(), sandbox.path().join("xdg/pid"));
    sandbox.exec(&["-d", "--pidfd-socket", socket, "--pid-file", pid_file.to_str().unwrap(), "box", "sleep", "9"]).ok();
    let mut text = String::new();
    listener.accept().unwrap().0.read_to_string(&mut text).unwrap();
    assert_eq!(text, fs::read_to_string(pid_file).unwrap());
}

#[test]
fn cpus_are_those_of_exec_cpu_affinity() {
    let sandbox = Sandbox::ordinary();
    let cpus = |affinity: Value| {
        sandbox.edit(|config| config["process"]["execCPUAffinity"] = affinity);
        running(&sandbox);
        let out = sandbox.exec(&["box", "grep", "Cpus_allowed_list", "/proc/self/status"]).ok().out;
        sandbox.rootlet(&["delete", "-f", "box"]).ok();
        out.split_whitespace().last().unwrap().to_owned()
    };
    let own = fs::read_to_string("/proc/self/status").unwrap();
    let own = own.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).unwrap().trim();
    assert_eq!(cpus(json!({"initial": "0", "final": "0"})), "0");
    assert_eq!(cpus(json!({"initial": "0"})), own, "without a last list, all that the cgroup allows");
    assert_eq!(cpus(json!({"final": "0"})), "0");
}

#[test]
fn an_oom_score_and_a_time_namespace_are_shared() {
    let sandbox = Sandbox::ordinary();
    sandbox.edit(|config| {
        config["process"]["oomScoreAdj"] = json!(777);
        config["linux"]["namespaces"].as_array_mut().unwrap().push(json!({"type": "time"}));
        config["linux"]["timeOffsets"] = json!({"boottime": {"secs": 1_000_000_000}});
    });
    running(&sandbox);
    assert_eq!(sandbox.exec(&["box", "cat", "/proc/self/oom_score_adj"]).ok().out, "777\n");
    let uptime = sandbox.exec(&["box", "cut", "-d.", "-f1", "/proc/uptime"]).ok().out;
    assert!(uptime.trim().parse::<u64>().unwrap() > 1_000_000_000, "{uptime}");
}

#[test]
fn nothing_of_the_host_is_seen_before_the_program_begins() {
    // CVE-2016-9962. strace(1) holds the process up when it has joined everything and enters its directory.
    let sandbox = Sandbox::ordinary();
    sandbox.edit(|config| {
        let all = json!(["CAP_SYS_PTRACE", "CAP_SYS_ADMIN", "CAP_DAC_OVERRIDE", "CAP_KILL"]);
        let none = json!([]);
        config["process"]["capabilities"] =
            json!({"bounding": all, "effective": all, "permitted": all, "inheritable": none, "ambient": none});
        config["root"]["readonly"] = json!(false);
    });
    sandbox.sh(
        // What was read counts if the process has not become its program meanwhile.
        "early() { grep -q rootlet $p/comm; }
         while :; do for p in /proc/[0-9]*; do early || continue; echo seen
         for name in exe cwd root fd/3 fd/4 fd/5; do readlink $p/$name && early && echo leak $name; done
         ls $p/fd | grep . && early && echo leak fd; cat $p/environ | grep . && early && echo leak environ
         done 2>/dev/null >>/data/seen; done",
    );
    sandbox.start();
    let strace = ["-f", "-qq", "-o", "/dev/null", "-e", "inject=chdir,close_range:delay_enter=500000"];
    let rootlet = binary().to_str().unwrap();
    let done = finish(sandbox.program("strace".as_ref(), &[&strace[..], &[rootlet, "exec", "box", "true"]].concat()));
    if done.code != 0 {
        return skip(&format!("strace does not work here: {}", done.err));
    }
    let seen = fs::read_to_string(sandbox.rootfs().join("data/seen")).unwrap();
    assert!(seen.contains("seen"), "the process was never there to be looked at");
    assert!(!seen.contains("leak"), "{seen}");
}

#[test]
fn the_flags_of_the_program_are_its_own() {
    let sandbox = Sandbox::ordinary();
    running(&sandbox);
    let words = ["-user", "root", "-version", "-cwd", "--root=x", "-strict", "-tty", "-env"];
    let expected = format!("{}\n", words.join(" "));
    let program = [&["box", "echo"], &words[..]].concat();
    assert_eq!(sandbox.exec(&program).ok().out, expected);
    assert_eq!(sandbox.exec(&[&["-cwd", "/tmp", "-env", "A=1"], &program[..]].concat()).ok().out, expected);
    sandbox.exec_fails(&["box", "-d", "true"], &["exec: \"-d\": executable file not found"]);
    assert_eq!(sandbox.exec(&["--e", "A=1", "box", "--", "sh", "-c", "echo $A"]).ok().out, "1\n");
    let root = sandbox.states();
    let globals = ["-root", root.to_str().unwrap(), "-log-format=text", "exec"];
    assert_eq!(sandbox.rootlet(&[&globals, &program[..]].concat()).ok().out, expected);
}

#[test]
fn the_last_of_two_values_of_a_variable_is_meant() {
    let sandbox = Sandbox::ordinary();
    sandbox.edit(|config| config["process"]["env"] = json!(["PATH=/bin", "A=1", "B=1", "A=2"]));
    sandbox.sh("env; trap 'exit 0' TERM; sleep 1000 & wait");
    let env = |done: &Done| done.out.lines().filter(|line| line.starts_with(['A', 'B'])).map(str::to_owned).collect();
    sandbox.edit(|config| config["process"]["args"] = json!(["env"]));
    let lines: Vec<String> = env(&sandbox.run().ok());
    assert_eq!(lines, ["B=1", "A=2"]);
    running(&sandbox);
    let lines: Vec<String> = env(&sandbox.exec(&["-e", "B=2", "-e", "B=3", "box", "env"]).ok());
    assert_eq!(lines, ["A=2", "B=3"]);
    let home = |flags: &[&str]| sandbox.exec(&[flags, &["box", "sh", "-c", "echo $HOME"]].concat()).ok().out;
    assert_eq!((home(&["-e", "HOME=/x"]), home(&["-e", "HOME=/x", "-e", "HOME="])), ("/x\n".into(), "/root\n".into()));
}

#[test]
fn what_cannot_be_given_is_said() {
    let sandbox = Sandbox::ordinary();
    running(&sandbox);
    let done = sandbox.exec(&["-g", "44", "box", "true"]).ok();
    assert!(done.err.contains("warning: process.user.additionalGids: the groups are not set"), "{done:?}");
    let done = sandbox.exec(&["--cap", "NET_RAW", "box", "true"]).ok();
    assert!(done.err.contains("did you mean CAP_NET_RAW?"), "{done:?}");
    sandbox.exec_fails(&["-g", "-1", "box", "true"], &["-1", "--additional-gids"]);
    sandbox.exec_fails(&["box", ""], &["exec: \"\": executable file not found in $PATH"]);
    sandbox.exec_fails(&["box", "/bin"], &["exec: \"/bin\": is a directory", "try: "]);
    let long = json!({"args": ["true"], "cwd": "/", "env": [format!("A={}", "x".repeat(200_000))]}).to_string();
    let file = sandbox.write("process.json", &long);
    sandbox.exec_fails(&["-p", file.to_str().unwrap(), "box"], &["argument list too long", "128 KiB"]);
    let file = sandbox.write("process.json", "{\"cwd\": \"/\"}");
    sandbox.exec_fails(&["-p", file.to_str().unwrap(), "box"], &["exec failed: process.args: missing or empty"]);
    assert_eq!(sandbox.exec(&["--cwd", "", "box", "sh", "-c", "pwd"]).ok().out, "/\n");
}

#[test]
fn no_new_privileges_can_be_had_and_lifted() {
    let sandbox = Sandbox::ordinary();
    running(&sandbox);
    let value = |flags: &[&str]| {
        let done = sandbox.exec(&[flags, &["box", "sh", "-c", "grep NoNewPrivs /proc/self/status"]].concat()).ok();
        done.out.trim().chars().last()
    };
    assert!(sandbox.config()["process"]["noNewPrivileges"].as_bool().unwrap());
    assert_eq!((value(&[]), value(&["--no-new-privs"])), (Some('1'), Some('1')));
    assert_eq!(value(&["--no-new-privs=false"]), Some('0'));
}

#[test]
fn whoever_makes_pid_namespaces_in_the_container_still_belongs_to_it() {
    let sandbox = Sandbox::ordinary();
    running(&sandbox);
    let state = fs::read_to_string(sandbox.states().join("box/state.json")).unwrap();
    if serde_json::from_str::<Value>(&state).unwrap()["cgroup"].is_object() {
        return skip("needs a host without a cgroup of one's own");
    }
    let script = "while :; do echo x >>/count; sleep 0.02; done";
    sandbox.exec(&["-d", "--cap", "CAP_SYS_ADMIN", "box", "unshare", "-p", "-f", "sh", "-c", script]).ok();
    let count = || fs::read(sandbox.rootfs().join("count")).map_or(0, |lines| lines.len());
    eventually("it counts", || count() > 0);
    let pids = || serde_json::from_str::<Vec<i32>>(&sandbox.rootlet(&["ps", "-f", "json", "box"]).ok().out).unwrap();
    assert!(pids().len() >= 4, "sh, sleep, unshare and what that has made: {:?}", pids());
    sandbox.rootlet(&["pause", "box"]).ok();
    let before = count();
    std::thread::sleep(std::time::Duration::from_millis(200));
    assert_eq!(count(), before);
    sandbox.exec_fails(&["--ignore-paused", "box", "true"], &["cannot exec in a paused container", "resume"]);
    sandbox.rootlet(&["kill", "box", "CONT"]).fails(&["SIGCONT would end the pause", "resume"]);
    assert_eq!(sandbox.status("box"), "paused");
    sandbox.rootlet(&["resume", "box"]).ok();
    eventually("it goes on", || count() > before);
}

#[test]
fn the_working_directory_of_exec_is_never_outside() {
    // CVE-2024-21626.
    let sandbox = Sandbox::ordinary();
    running(&sandbox);
    for number in 0..20 {
        let cwd = format!("/proc/self/fd/{number}");
        sandbox.exec_fails(&["--cwd", &cwd, "box", "true"], &["process.cwd"]);
    }
}

#[test]
fn root_enters_containers_with_and_without_a_user_namespace() {
    let Some(sandbox) = Sandbox::root() else { return };
    running(&sandbox);
    assert_eq!(sandbox.exec(&["box", "hostname"]).ok().out, "rootlet\n");
    sandbox.rootlet(&["delete", "-f", "box"]).ok();
    sandbox.edit(|config| {
        config["linux"]["namespaces"].as_array_mut().unwrap().push(json!({"type": "user"}));
        config["linux"]["uidMappings"] = json!([{"containerID": 0, "hostID": 100_000, "size": 65536}]);
        config["linux"]["gidMappings"] = json!([{"containerID": 0, "hostID": 100_000, "size": 65536}]);
    });
    running(&sandbox);
    assert_eq!(sandbox.exec(&["-u", "1000:1000", "box", "id", "-u"]).ok().out, "1000\n");
    let map = sandbox.exec(&["box", "cat", "/proc/self/uid_map"]).ok().out;
    assert_eq!(map.split_whitespace().collect::<Vec<_>>(), ["0", "100000", "65536"]);
}

#[test]
fn a_container_that_is_being_created_is_not_entered() {
    // Its first process may still be in the host's root.
    let sandbox = Sandbox::ordinary();
    let hook = sandbox.script(
        "hook",
        &format!("touch {0}/xdg/begun; while [ ! -e {0}/xdg/go ]; do sleep 0.05; done", sandbox.path().display()),
    );
    sandbox.edit(|config| config["hooks"]["createRuntime"] = json!([{"path": hook}]));
    sandbox.sh("sleep 1000");
    let mut create = sandbox.command_on_bundle(&["create", "box"]).spawn().unwrap();
    eventually("the hook runs", || sandbox.path().join("xdg/begun").exists());
    assert_eq!(sandbox.status("box"), "creating");
    sandbox.exec_fails(&["box", "cat", "/etc/hostname"], &["being created"]);
    for command in ["start", "pause"] {
        sandbox.rootlet(&[command, "box"]).fails(&["being created"]);
    }
    sandbox.write("xdg/go", "");
    assert_eq!(crate::sandbox::wait(&mut create), 0);
    sandbox.exec(&["box", "true"]).ok();
    sandbox.rootlet(&["delete", "--force", "box"]).ok();
    sandbox.assert_clean();
}

#[test]
fn a_created_container_is_paused_and_resumed() {
    let sandbox = Sandbox::ordinary();
    sandbox.sh("sleep 1000");
    sandbox.create();
    sandbox.rootlet(&["pause", "box"]).ok();
    assert_eq!(sandbox.status("box"), "paused");
    sandbox.rootlet(&["start", "box"]).fails(&["paused"]);
    sandbox.rootlet(&["resume", "box"]).ok();
    assert_eq!(sandbox.status("box"), "created");
    sandbox.rootlet(&["start", "box"]).ok();
    assert_eq!(sandbox.status("box"), "running");
}

#[test]
fn who_shares_the_hosts_pids_sees_nothing_of_the_host_in_a_new_process() {
    let Some(sandbox) = Sandbox::root() else { return };
    sandbox.edit(|config| {
        config["linux"]["namespaces"].as_array_mut().unwrap().retain(|namespace| namespace["type"] != "pid");
        config["root"]["readonly"] = json!(false);
    });
    running(&sandbox);
    // A container that waits has the host's descriptors, if any.
    sandbox.on_bundle(&["create", "other"]).ok();
    let state: Value = serde_json::from_str(&sandbox.rootlet(&["state", "other"]).ok().out).unwrap();
    let fds = format!("/proc/{}/fd", state["pid"]);
    let open: Vec<_> = fs::read_dir(&fds).unwrap().map(|fd| fs::read_link(fd.unwrap().path()).unwrap()).collect();
    assert!(open.iter().all(|path| !path.starts_with(sandbox.path())), "the state's directory is open: {open:?}");
    let look = format!(
        "cat /proc/{0}/comm; for n in 3 4 5 6 7; do readlink {fds}/$n && echo leak; done; readlink /proc/{0}/cwd && echo leak",
        state["pid"]
    );
    let done = sandbox.exec(&["box", "sh", "-c", &look]);
    assert!(done.out.contains("rootlet") && !done.out.contains("leak"), "{done:?}");
    sandbox.rootlet(&["delete", "--force", "other"]).ok();
}

#[test]
fn a_process_that_joins_namespaces_has_as_much_stack_as_another() {
    // It lives on the stack of a helper; a copy of a deep tree is the deepest that it does.
    let Some(sandbox) = Sandbox::root() else { return };
    let mut place = sandbox.rootfs().join("deep");
    for _ in 0..60 {
        fs::create_dir(&place).unwrap();
        std::os::unix::fs::symlink("x".repeat(4000), place.join("link")).unwrap();
        place = place.join("d");
    }
    sandbox.add_mount(json!({"destination": "/deep", "type": "tmpfs", "source": "tmpfs", "options": ["tmpcopyup"]}));
    sandbox.edit(|config| {
        config["mounts"].as_array_mut().unwrap().retain(|mount| mount["destination"] != "/dev/mqueue");
        for namespace in config["linux"]["namespaces"].as_array_mut().unwrap() {
            if namespace["type"] == "ipc" {
                namespace["path"] = json!("/proc/self/ns/ipc");
            }
        }
    });
    sandbox.sh("ls -R /deep | grep -c link");
    assert_eq!(sandbox.run().ok().out.trim(), "60");
}

#[test]
fn a_process_file_may_be_standard_input_also_where_rootlet_starts_again() {
    let Some(sandbox) = Sandbox::root() else { return };
    running(&sandbox);
    let exec = format!(
        "echo '{{\"args\": [\"echo\", \"hello\"], \"cwd\": \"/\"}}' | {} exec --process /dev/stdin box",
        binary().display()
    );
    assert_eq!(finish(sandbox.program("/bin/sh".as_ref(), &["-c", &exec])).ok().out, "hello\n");
}

/// A static program in the sandbox's root, from C; `false` (and a reason) where there is no compiler.
pub fn compile(sandbox: &Sandbox, name: &str, text: &str) -> bool {
    let source = sandbox.write(&format!("{name}.c"), text);
    let program = sandbox.rootfs().join("bin").join(name);
    let built = std::process::Command::new("cc").args(["-static", "-pthread", "-o"]).args([&program, &source]).output();
    match built {
        Ok(output) if output.status.success() => {
            std::fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
            true
        }
        other => {
            skip(&format!("cc makes no static program: {other:?}"));
            false
        }
    }
}

#[test]
fn a_pause_holds_whatever_the_container_does_about_it() {
    let threads = "#include <pthread.h>\n#include <unistd.h>\n#include <sys/syscall.h>\n\
        static void *sleep_on(void *nothing) { for (;;) sleep(1000); }\n\
        int main(void) { pthread_t other; pthread_create(&other, 0, sleep_on, 0); syscall(SYS_exit, 0); }\n";
    let wakers = "#include <signal.h>\n#include <unistd.h>\n\
        int main(void) { signal(SIGCHLD, SIG_IGN);\n\
        for (int i = 0; i < 3; i++) if (!fork()) for (;;) {\n\
            kill(-1, SIGCONT); kill(1, SIGCONT); pid_t next = fork(); if (next > 0) _exit(0); if (next < 0) usleep(1000); }\n\
        for (;;) { kill(-1, SIGCONT); usleep(100); } }\n";
    for (name, text) in [("threads", threads), ("wakers", wakers)] {
        let sandbox = Sandbox::ordinary();
        if !compile(&sandbox, name, text) {
            return;
        }
        sandbox.edit(|config| config["process"]["args"] = json!([name]));
        sandbox.start();
        for _ in 0..5 {
            std::thread::sleep(std::time::Duration::from_millis(50));
            let done = sandbox.rootlet(&["pause", "box"]);
            match done.code {
                0 => {
                    assert_eq!(sandbox.status("box"), "paused", "{name}: {done:?}");
                    sandbox.rootlet(&["resume", "box"]).ok();
                }
                // Before Linux 6.11, there is no telling whose a process is that is about to end.
                _ => assert!(["do not stop", "is not known"].iter().any(|word| done.err.contains(word)), "{done:?}"),
            }
            assert_eq!(sandbox.status("box"), "running", "{name}");
        }
        sandbox.rootlet(&["delete", "--force", "box"]).ok();
        sandbox.assert_clean();
    }
}

#[test]
fn a_missing_directory_is_made_by_run_and_not_by_exec() {
    for sandbox in [Some(Sandbox::ordinary()), Sandbox::root(), Sandbox::remapped()].into_iter().flatten() {
        sandbox.edit(|config| {
            config["root"]["readonly"] = json!(true);
            config["process"]["cwd"] = json!("/made/below");
        });
        assert_eq!(sandbox.output("pwd"), "/made/below\n");
        sandbox.edit(|config| config["root"]["readonly"] = json!(false));
        running(&sandbox);
        let words = ["process.cwd (/missing)", "ENOENT", "because: there is no such directory in the container"];
        sandbox.exec_fails(&["--cwd", "/missing", "box", "true"], &words);
        assert!(!sandbox.rootfs().join("missing").exists());
        sandbox.rootlet(&["delete", "-f", "box"]).ok();
        sandbox.assert_clean();
    }
}

#[test]
fn short_flags_in_one_word_may_take_the_next() {
    let sandbox = Sandbox::ordinary();
    sandbox.sh("sleep 1000");
    sandbox.start();
    let done = sandbox.rootlet(&["exec", "-iu", "0", "-e", "A=B", "box", "sh", "-c", "echo $A"]).ok();
    assert_eq!(done.out, "B\n");
    sandbox.rootlet(&["exec", "-de", "A=B", "-u", "0", "box", "true"]).ok();
    sandbox.rootlet(&["exec", "-iu0", "-e", "A=B", "box", "true"]).ok();
    sandbox.rootlet(&["delete", "--force", "box"]).ok();
    sandbox.assert_clean();
}

#[test]
fn what_a_tracer_holds_is_not_paused_while_another_thread_runs() {
    let sandbox = Sandbox::ordinary();
    if !compile(&sandbox, "traced", include_str!("traced.c")) {
        return;
    }
    sandbox.edit(|config| config["root"]["readonly"] = json!(false));
    sandbox.sh("/bin/traced /tmp/count & wait");
    sandbox.start();
    let count = || fs::read_to_string(sandbox.rootfs().join("tmp/count")).unwrap_or_default();
    eventually("it counts", || count().len() > 1);
    for _ in 0..3 {
        let paused = sandbox.rootlet(&["pause", "box"]);
        let before = (sandbox.status("box"), count());
        std::thread::sleep(std::time::Duration::from_millis(300));
        if paused.code == 0 || before.0 == "paused" {
            assert_eq!(count(), before.1, "{paused:?}");
            sandbox.rootlet(&["resume", "box"]).ok();
        } else {
            assert!(paused.err.contains("is traced"), "{paused:?}");
        }
    }
    sandbox.rootlet(&["delete", "--force", "box"]).ok();
    sandbox.assert_clean();
}

#[test]
fn a_pause_that_one_process_has_left_is_none() {
    let sandbox = Sandbox::ordinary();
    sandbox.sh("sleep 1234 & exec sleep 1000");
    sandbox.start();
    sandbox.rootlet(&["pause", "box"]).ok();
    assert_eq!(sandbox.status("box"), "paused");
    // As a timer of its own does (timer_create(2), SIGEV_SIGNAL).
    let listed = sandbox.rootlet(&["ps", "--format", "json", "box"]).ok().out;
    let pids: Vec<i32> = serde_json::from_str(&listed).unwrap();
    let wake = |pid: i32| nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::SIGCONT).unwrap();
    wake(*pids.last().unwrap());
    eventually("the container is not paused", || sandbox.status("box") == "running");
    sandbox.rootlet(&["pause", "box"]).ok();
    assert_eq!(sandbox.status("box"), "paused");
    sandbox.rootlet(&["resume", "box"]).ok();
    sandbox.rootlet(&["delete", "--force", "box"]).ok();
    sandbox.assert_clean();
}

#[test]
fn whoever_is_ended_before_the_program_begins_is_no_program_that_ended() {
    let sandbox = Sandbox::ordinary();
    let strace = ["-D", "-f", "-qq", "-o", "/dev/null", "-e", "inject=capset:signal=SIGKILL:when=1"];
    let rootlet = |arguments: &[&str]| {
        let rootlet = crate::sandbox::binary().to_str().unwrap();
        finish(sandbox.program("strace".as_ref(), &[&strace[..], &[rootlet], arguments].concat()))
    };
    if sandbox.program("strace".as_ref(), &["-qq", "-o", "/dev/null", "true"]).status().is_err() {
        return skip("strace is not installed");
    }
    sandbox.sh("sleep 1000");
    sandbox.start();
    for flags in [&[][..], &["-d"]] {
        let done = rootlet(&[&["exec"], flags, &["box", "true"]].concat());
        assert!(done.code == 255 && done.err.contains("signal 9"), "{done:?}");
    }
    assert_eq!(sandbox.rootlet(&["exec", "box", "sh", "-c", "kill -9 $$"]).code, 137, "a program is one");
    let bundle = sandbox.bundle();
    let done = rootlet(&["run", "--status-fd", "1", "-b", bundle.to_str().unwrap(), "other"]);
    assert!(done.code == 1 && done.err.contains("before its program began, by signal 9"), "{done:?}");
    assert!(!done.out.contains("started") && !done.out.contains("exited"), "{done:?}");
    assert_eq!(sandbox.rootlet(&["list", "-q"]).ok().out, "box\n");
}

#[test]
fn a_state_without_its_config_is_not_one_that_was_deleted() {
    let sandbox = Sandbox::ordinary();
    sandbox.sh("sleep 1000");
    sandbox.start();
    fs::remove_file(sandbox.states().join("box/config.json")).unwrap();
    let done = sandbox.rootlet(&["exec", "box", "true"]);
    assert!(done.code == 255 && done.err.contains("config.json is missing"), "{done:?}");
    sandbox.rootlet(&["explain", "box"]).fails(&["config.json is missing", "delete --force box"]);
    sandbox.rootlet(&["delete", "--force", "box"]).ok();
    sandbox.assert_clean();
}
