//! create, start, state, list, kill, delete, run: outputs and exit codes as runc's clients know them.

use crate::sandbox::{Sandbox, binary, eventually, finish, is_root, skip, wait};
use nix::fcntl::{Flock, FlockArg};
use serde_json::{Value, json};
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

#[test]
fn programs_that_their_user_may_not_read_belong_to_the_container_all_the_same() {
    if !is_root() {
        return skip("needs root, to make a program that its user may not read");
    }
    let sandbox = Sandbox::ordinary();
    let program = sandbox.mkdir("bundle/rootfs/hidden", 0o755).join("sleep");
    fs::copy(sandbox.rootfs().join("bin/busybox"), &program).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o711)).unwrap();
    chown(&program, Some(0), Some(0)).unwrap();
    // Before Linux 6.11, who came from outside could be any container's that has the same ids: other tests' are not.
    sandbox.edit(|config| {
        for key in ["uidMappings", "gidMappings"] {
            config["linux"][key][0]["containerID"] = json!(7);
        }
        config["process"]["user"] = json!({"uid": 7, "gid": 7});
    });
    sandbox.sh("/hidden/sleep 1000 & sh -c '/hidden/sleep 1000 & wait' & wait; exec sleep 1000");
    sandbox.start();
    let pids =
        || -> Vec<i32> { serde_json::from_str(&sandbox.rootlet(&["ps", "-f", "json", "box"]).ok().out).unwrap() };
    let hidden = |pids: Vec<i32>| {
        let is_hidden =
            |pid: &i32| fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|path| path.ends_with("hidden/sleep"));
        pids.into_iter().filter(is_hidden).collect::<Vec<_>>()
    };
    eventually("both are listed", || hidden(pids()).len() == 2);
    let is_stopped = |pid: &i32| fs::read_to_string(format!("/proc/{pid}/stat")).unwrap().contains(") T ");
    sandbox.rootlet(&["pause", "box"]).ok();
    let both = hidden(pids());
    assert!(both.iter().all(is_stopped));
    // Who came from outside has no forebear inside.
    sandbox.rootlet(&["resume", "box"]).ok();
    assert!(!both.iter().any(is_stopped));
    let file = sandbox.path().join("pid");
    sandbox.rootlet(&["exec", "-d", "--pid-file", file.to_str().unwrap(), "box", "/hidden/sleep", "1000"]).ok();
    let pid: i32 = fs::read_to_string(&file).unwrap().parse().unwrap();
    let listed = sandbox.rootlet(&["ps", "-f", "json", "box"]);
    match listed.code {
        0 => assert!(hidden(pids()).contains(&pid), "{listed:?}"),
        // Before Linux 6.11.
        _ => drop(listed.fails(&[&format!("whether process {pid} is one of the container's is not known")])),
    }
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL).unwrap();
    eventually("both are left", || {
        sandbox.rootlet(&["ps", "-f", "json", "box"]).code == 0 && hidden(pids()).len() == 2
    });
    sandbox.rootlet(&["kill", "--all", "box", "TERM"]).ok();
    eventually("all have ended", || hidden(pids()).is_empty());
    sandbox.rootlet(&["delete", "-f", "box"]).ok();
    sandbox.assert_clean();
}

#[test]
fn the_processes_of_a_container_are_listed() {
    let sandbox = Sandbox::ordinary();
    sandbox.rootlet(&["ps", "box"]).fails(&["container does not exist"]);
    sandbox.sh("sleep 1000 & sleep 1000 & wait");
    let bundle = sandbox.bundle();
    let pid_file = sandbox.path().join("box.pid");
    let flags = ["run", "-d", "--pid-file", pid_file.to_str().unwrap(), "-b", bundle.to_str().unwrap(), "box"];
    sandbox.rootlet(&flags).ok();
    let pids =
        || -> Vec<i32> { serde_json::from_str(&sandbox.rootlet(&["ps", "-f", "json", "box"]).ok().out).unwrap() };
    eventually("the shell has started both", || pids().len() == 3);
    let first: i32 = fs::read_to_string(&pid_file).unwrap().parse().unwrap();
    assert!(pids().contains(&first));
    for pid in pids() {
        let namespace = |pid: i32| fs::read_link(format!("/proc/{pid}/ns/pid")).unwrap();
        assert_eq!(namespace(pid), namespace(first));
    }

    let has_ps = std::process::Command::new("ps").output().is_ok();
    if has_ps {
        let table = sandbox.rootlet(&["ps", "box"]).ok().out;
        let header = table.lines().next().unwrap();
        assert!(header.starts_with("UID") && header.contains("PID") && table.lines().count() == 4, "{table}");
        let columns = sandbox.rootlet(&["ps", "box", "-o", "pid=PID,comm", "-e"]).ok().out;
        assert!(columns.contains(&format!("{first} sh\n")) && columns.lines().count() == 4, "{columns}");
        let full = sandbox.rootlet(&["ps", "box", "-ef"]).ok().out;
        assert_eq!(full.lines().count(), 4, "{full}");
        sandbox.rootlet(&["ps", "box", "-o", "comm"]).fails(&["couldn't find PID field in ps output", "-o pid,args"]);
        sandbox.rootlet(&["ps", "box", "--nosuch-option"]).fails(&["ps --nosuch-option", "correct the options"]);
    } else {
        skip("ps(1) is not installed");
    }

    sandbox.rootlet(&["kill", "--all", "box", "KILL"]).ok();
    eventually("it has ended", || sandbox.rootlet(&["state", "box"]).ok().out.contains("stopped"));
    assert_eq!(sandbox.rootlet(&["ps", "-f", "json", "box"]).ok().out, "[]\n");
    sandbox.rootlet(&["delete", "box"]).ok();
    sandbox.assert_clean();

    // Without a pid namespace nobody knows which are the container's.
    sandbox.sh("exec sleep 1000");
    sandbox.edit(|config| {
        config["linux"]["namespaces"].as_array_mut().unwrap().retain(|namespace| namespace["type"] != "pid");
    });
    sandbox.rootlet(&flags).ok();
    sandbox.rootlet(&["ps", "box"]).fails(&["neither a cgroup nor a pid namespace", "linux.namespaces"]);
    sandbox.rootlet(&["delete", "--force", "box"]).ok();
}

#[test]
fn the_exit_code_is_the_programs() {
    let sandbox = Sandbox::ordinary();
    for code in [0, 1, 7, 255] {
        assert_eq!(sandbox.sh(&format!("exit {code}")).run().code, code);
    }
    sandbox.assert_clean();
}

#[test]
fn a_signal_is_128_and_its_number() {
    let sandbox = Sandbox::ordinary();
    sandbox.sh("trap 'exit 99' TERM; echo ready; while :; do sleep 0.1; done");
    let mut run = sandbox.run_until_ready();
    sandbox.rootlet(&["kill", "box", "KILL"]).ok();
    assert_eq!(wait(&mut run), 137);
    sandbox.assert_clean();
}

#[test]
fn a_foreground_run_passes_signals_on() {
    let sandbox = Sandbox::ordinary();
    sandbox.sh("trap 'exit 99' TERM; echo ready; while :; do sleep 0.1; done");
    let mut run = sandbox.run_until_ready();
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(run.id() as i32), nix::sys::signal::SIGTERM).unwrap();
    assert_eq!(wait(&mut run), 99);
    sandbox.assert_clean();
}

#[test]
fn a_signal_that_comes_with_the_beginning_is_the_programs() {
    if std::process::Command::new("strace").arg("-V").output().is_err() {
        return skip("strace is not installed");
    }
    let sandbox = Sandbox::ordinary();
    sandbox.sh("trap 'exit 99' TERM; echo ready; while :; do sleep 0.1; done");
    let bundle = sandbox.bundle();
    // rootlet looks what has come only when both have: the program's beginning, and the signal.
    let rootlet = [binary().to_str().unwrap(), "run", "-b", bundle.to_str().unwrap(), "box"];
    let strace = ["-qq", "-o", "/dev/null", "-e", "inject=poll:delay_enter=500000:when=2+", "-D"];
    let mut command = sandbox.program("strace".as_ref(), &[&strace[..], &rootlet].concat());
    let mut run = command.stdout(std::process::Stdio::piped()).spawn().unwrap();
    let mut ready = [0; 6];
    std::io::Read::read_exact(run.stdout.as_mut().unwrap(), &mut ready).unwrap();
    // With -D, the child is rootlet itself.
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(run.id() as i32), nix::sys::signal::SIGTERM).unwrap();
    assert_eq!(wait(&mut run), 99);
    sandbox.assert_clean();
}

#[test]
fn create_start_and_delete() {
    let sandbox = Sandbox::ordinary();
    sandbox.sh("echo started > /data/started; sleep 1000");
    sandbox.edit(|config| config["root"]["readonly"] = json!(false));
    let (bundle, pid_file) = (sandbox.bundle(), sandbox.path().join("pid"));
    sandbox
        .rootlet(&["create", "--bundle", bundle.to_str().unwrap(), "--pid-file", pid_file.to_str().unwrap(), "box"])
        .ok();

    let text = sandbox.rootlet(&["state", "box"]).ok().out;
    assert!(!text.ends_with('\n') && text.starts_with("{\n  \"ociVersion\""), "{text}");
    let state: Value = serde_json::from_str(&text).unwrap();
    let keys: Vec<_> = state.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["ociVersion", "id", "pid", "status", "bundle", "rootfs", "created", "owner"]);
    assert_eq!(state["status"], "created");
    assert_eq!(fs::read_to_string(&pid_file).unwrap(), state["pid"].to_string(), "digits, and no newline");
    assert!(!sandbox.rootfs().join("data/started").exists(), "create runs nothing");

    sandbox.rootlet(&["start", "box"]).ok();
    assert_eq!(sandbox.status("box"), "running");
    sandbox.rootlet(&["start", "box"]).fails(&["already running"]);
    eventually("the program has begun", || sandbox.rootfs().join("data/started").exists());
    sandbox.rootlet(&["delete", "box"]).fails(&["cannot delete container box that is not stopped: running", "--force"]);
    sandbox.rootlet(&["kill", "box", "9"]).ok();
    eventually("it has stopped", || sandbox.status("box") == "stopped");
    sandbox.rootlet(&["kill", "box"]).fails(&["container not running"]);
    sandbox.rootlet(&["delete", "box"]).ok();
    sandbox.rootlet(&["state", "box"]).fails(&["container does not exist"]);
    sandbox.assert_clean();
}

#[test]
fn nobody_stays_between_the_container_and_its_caller() {
    let sandbox = Sandbox::ordinary();
    sandbox.sh("sleep 1000");
    sandbox.start();
    let state: Value = serde_json::from_str(&sandbox.rootlet(&["state", "box"]).out).unwrap();
    let status = fs::read_to_string(format!("/proc/{}/status", state["pid"])).unwrap();
    let parent = status.lines().find_map(|line| line.strip_prefix("PPid:")).unwrap().trim();
    let name = fs::read_to_string(format!("/proc/{parent}/comm")).unwrap();
    assert!(!name.contains("rootlet-test"), "the parent is {name}");
}

#[test]
fn whoever_waits_is_its_users_own_and_has_all_that_it_was_started_with() {
    let sandbox = Sandbox::ordinary();
    sandbox.sh("echo ready; exec sleep 1000");
    let mut command = sandbox.command_on_bundle(&["run", "box"]);
    let mut run = command.env("ROOTLET_TEST_WORD", "kept").stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(run.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let path = |file: &str| format!("/proc/{}/{file}", run.id());
    // Who cannot be looked into is root's there.
    eventually("it is its user's", || fs::metadata(path("environ")).unwrap().uid() == sandbox.uid());
    let has = |file: &str, word: &str| fs::read_to_string(path(file)).unwrap().split('\0').any(|found| found == word);
    assert!(has("environ", "ROOTLET_TEST_WORD=kept") && has("cmdline", "run"));
    sandbox.rootlet(&["kill", "box", "KILL"]).ok();
    assert_eq!(wait(&mut run), 137);
    sandbox.assert_clean();
}

#[test]
fn what_a_container_is_given_is_not_its_callers() {
    let sandbox = Sandbox::ordinary();
    sandbox.edit(|config| config["process"]["oomScoreAdj"] = json!(600));
    sandbox.sh("cat /proc/self/oom_score_adj; exec sleep 1000");
    let mut run = sandbox.command_on_bundle(&["run", "box"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(run.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "600\n");
    let adj = |process: &str| fs::read_to_string(format!("/proc/{process}/oom_score_adj")).unwrap();
    assert_eq!(adj(&run.id().to_string()), adj("self"));
    sandbox.rootlet(&["kill", "box", "KILL"]).ok();
    assert_eq!(wait(&mut run), 137);
    sandbox.assert_clean();
}

#[test]
fn lists_are_tables_json_or_names() {
    let sandbox = Sandbox::ordinary();
    assert_eq!(sandbox.rootlet(&["list", "-f", "json"]).ok().out, "null\n");
    assert!(!sandbox.states().exists(), "a command that needs no state makes none");
    sandbox.sh("sleep 1000");
    sandbox.on_bundle(&["create", "one"]).ok();
    sandbox.on_bundle(&["run", "--detach", "two"]).ok();
    assert_eq!(sandbox.rootlet(&["list", "-q"]).ok().out, "one\ntwo\n");
    let table = sandbox.rootlet(&["list"]).ok().out;
    let rows: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows[0], ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"]);
    assert_eq!((rows[1][0], rows[1][2]), ("one", "created"));
    assert_eq!((rows[2][0], rows[2][2]), ("two", "running"));
    let json: Value = serde_json::from_str(&sandbox.rootlet(&["list", "--format=json"]).ok().out).unwrap();
    assert_eq!(json[1]["id"], "two");
    assert_eq!(json[1]["owner"], sandbox.owner());
    sandbox.rootlet(&["--root", "/nonexistent-rootlet", "list"]).fails(&["/nonexistent-rootlet"]);
}

#[test]
fn delete_force_ends_and_forgives() {
    let sandbox = Sandbox::ordinary();
    sandbox.sh("trap '' TERM; sleep 1000");
    sandbox.start();
    sandbox.rootlet(&["delete", "-f", "box"]).ok();
    sandbox.rootlet(&["delete", "--force", "box"]).ok();
    sandbox.rootlet(&["delete", "box"]).fails(&["does not exist"]);
    sandbox.assert_clean();
}

#[test]
fn a_container_that_is_being_made_is_not_taken_for_a_stopped_one() {
    let sandbox = Sandbox::ordinary();
    let directory = sandbox.mkdir("xdg/rootlet", 0o700).join("box");
    fs::create_dir(&directory).unwrap();
    fs::set_permissions(&directory, fs::Permissions::from_mode(0o1700)).unwrap();
    std::os::unix::fs::chown(&directory, Some(sandbox.uid()), Some(sandbox.uid())).unwrap();
    // As its maker does before it knows the process.
    let lock = Flock::lock(fs::File::open(&directory).unwrap(), FlockArg::LockExclusiveNonblock).unwrap();
    assert_eq!(sandbox.status("box"), "creating");
    sandbox.rootlet(&["kill", "box"]).fails(&["is being created"]);
    for flags in [&["delete", "box"][..], &["delete", "--force", "box"]] {
        sandbox.rootlet(flags).fails(&["cannot delete", "it is being created"]);
    }
    sandbox.on_bundle(&["run", "box"]).fails(&["already exists"]);
    drop(lock);
    assert_eq!(sandbox.status("box"), "stopped");
    sandbox.rootlet(&["delete", "box"]).ok();
    sandbox.assert_clean();
}

#[test]
fn whoever_deletes_what_is_just_started_gets_an_error_or_its_maker_does() {
    let sandbox = Sandbox::ordinary();
    sandbox.sh("sleep 1000");
    for _ in 0..20 {
        let mut run = sandbox.command_on_bundle(&["run", "-d", "box"]).spawn().unwrap();
        let delete = loop {
            let done = sandbox.rootlet(&["delete", "box"]);
            if !done.err.contains("does not exist") || run.try_wait().unwrap().is_some() {
                break done;
            }
        };
        let started = wait(&mut run) == 0;
        // What delete has removed may have been an empty directory, which run has made again.
        assert!(started || delete.code == 0, "one of them: {delete:?}");
        assert!(!started || sandbox.status("box") == "running");
        sandbox.rootlet(&["delete", "--force", "box"]).ok();
    }
    sandbox.assert_clean();
}

#[test]
fn a_signal_ends_what_has_not_begun() {
    let sandbox = Sandbox::ordinary();
    sandbox.sh("echo never");
    sandbox.create();
    sandbox.rootlet(&["kill", "box", "WINCH"]).ok();
    assert_eq!(sandbox.status("box"), "created");
    sandbox.rootlet(&["kill", "box", "TERM"]).ok();
    eventually("it has stopped", || sandbox.status("box") == "stopped");
    sandbox.rootlet(&["start", "box"]).fails(&["cannot start a container that has stopped"]);
    sandbox.rootlet(&["delete", "box"]).ok();
    sandbox.assert_clean();
}

#[test]
fn signal_0_asks_whether_there_is_somebody() {
    let sandbox = Sandbox::ordinary();
    sandbox.sh("sleep 1000");
    sandbox.start();
    sandbox.rootlet(&["kill", "box", "0"]).ok();
    sandbox.rootlet(&["kill", "box", "KILL"]).ok();
    eventually("it has stopped", || sandbox.status("box") == "stopped");
    sandbox.rootlet(&["kill", "box", "0"]).fails(&["container not running"]);
    sandbox.rootlet(&["delete", "box"]).ok();
}

#[test]
fn the_end_of_the_first_process_by_force_is_the_end_of_all_without_a_pid_namespace() {
    let Some(sandbox) = Sandbox::root() else { return };
    sandbox.edit(|config| {
        config["linux"]["namespaces"].as_array_mut().unwrap().retain(|namespace| namespace["type"] != "pid");
    });
    sandbox.sh("sleep 1000 & sleep 1000");
    sandbox.start();
    let state: Value =
        serde_json::from_str(&fs::read_to_string(sandbox.states().join("box/state.json")).unwrap()).unwrap();
    let Some(cgroup) = state["cgroup"]["path"].as_str().map(PathBuf::from) else {
        sandbox.rootlet(&["delete", "--force", "box"]).ok();
        return skip("needs a cgroup v2 hierarchy");
    };
    let processes = || fs::read_to_string(cgroup.join("cgroup.procs")).unwrap().lines().count();
    eventually("both sleep", || processes() == 2);
    sandbox.rootlet(&["kill", "box", "KILL"]).ok();
    eventually("nobody is left", || processes() == 0);
    sandbox.rootlet(&["delete", "box"]).ok();
    sandbox.assert_clean();
}

#[test]
fn kill_all_reaches_every_process() {
    let sandbox = Sandbox::ordinary();
    sandbox.edit(|config| config["root"]["readonly"] = json!(false));
    sandbox.sh("sh -c 'trap \"echo hit > /data/hit; exit\" USR1; echo > /data/ready; while :; do sleep 0.1; done' & trap '' USR1; wait; sleep 1000");
    sandbox.start();
    eventually("the child is ready", || sandbox.rootfs().join("data/ready").exists());
    sandbox.rootlet(&["kill", "--all", "box", "SIGUSR1"]).ok();
    eventually("the child got it", || sandbox.rootfs().join("data/hit").exists());
}

#[test]
fn flags_come_twice_with_one_dash_and_with_values() {
    let sandbox = Sandbox::ordinary();
    sandbox.sh("true");
    let bundle = sandbox.bundle();
    let bundle = bundle.to_str().unwrap();
    let root = sandbox.path().join("xdg/other");
    let root = format!("--root={}", root.to_str().unwrap());
    sandbox
        .rootlet(&[
            &root,
            &root,
            "--debug=false",
            "--rootless=auto",
            "--criu",
            "/x",
            "run",
            "-no-subreaper",
            "--bundle",
            "/",
            "--bundle",
            bundle,
            "--no-new-keyring=true",
            "--keep=false",
            "box",
        ])
        .ok();
    sandbox.on_bundle(&["--systemd-cgroup", "run", "box"]).fails(&["systemd cannot be asked for a cgroup"]);
    sandbox.rootlet(&["run", "--no-such-flag", "box"]).fails(&["--no-such-flag"]);
    sandbox.rootlet(&["--rootless=maybe", "list"]).fails(&["--rootless"]);
    sandbox.rootlet(&["run", "box", "--bundle"]).fails(&["flag needs an argument: --bundle"]);
    assert_eq!(sandbox.rootlet(&["frobnicate"]).code, 3);
}

#[test]
fn what_other_engines_call_otherwise_is_answered() {
    let sandbox = Sandbox::ordinary();
    for (words, answer) in [
        (&["ls"][..], "rootlet list"),
        (&["strat", "box"], "rootlet start"),
        (&["pull", "alpine"], "rootlet unpack oci:"),
        (&["run", "-it", "box"], "rootlet spec"),
        (&["run", "--rm", "box"], "--keep"),
        (&["run", "box", "sh"], "write the program behind `--`"),
        (&["run", "-v", "a:b", "box"], "--mount type=bind"),
        (&["run", "--name", "box"], "rootlet run NAME"),
        (&["kill", "-9", "box"], "kill ID KILL"),
    ] {
        let done = sandbox.rootlet(words);
        assert!(done.code != 0 && done.err.contains(answer), "{words:?}: {done:?}");
    }
    sandbox.assert_clean();
}

#[test]
fn help_has_an_example_for_every_command() {
    let sandbox = Sandbox::empty(0);
    let help = finish(sandbox.command(&["--help"])).ok().out;
    for command in ["spec", "run", "create", "start", "state", "list", "kill", "delete", "plan"] {
        assert!(help.contains(&format!("  {command} ")), "{help}");
        let text = sandbox.rootlet(&[command, "--help"]).ok().out;
        assert!(text.contains("Example") && text.contains(&format!("rootlet {command}")), "{text}");
    }
    assert!(sandbox.rootlet(&["--version"]).ok().out.starts_with("rootlet version "));
    assert_eq!(sandbox.rootlet(&[]).ok().out, help);
}

#[test]
fn a_closed_pipe_ends_quietly() {
    let sandbox = Sandbox::ordinary();
    let shell = format!("{} --help | head -n 1; exit ${{PIPESTATUS[0]}}", binary().display());
    let done = finish(sandbox.program("/bin/bash".as_ref(), &["-c", &shell]));
    assert!(done.err.is_empty() && [0, 141].contains(&done.code), "{done:?}");
}

#[test]
fn the_log_has_one_json_object_after_a_failure() {
    let sandbox = Sandbox::ordinary();
    sandbox.edit(|config| {
        config["process"]["args"] = json!(["nosuch"]);
        config["surprise"] = json!(1);
        config["process"]["capabilities"]["bounding"] = json!(["CAP_FUTURE"]);
    });
    let (bundle, log) = (sandbox.bundle(), sandbox.path().join("xdg/log.json"));
    let arguments =
        ["--log", log.to_str().unwrap(), "--log-format", "json", "create", "-b", bundle.to_str().unwrap(), "box"];
    sandbox.rootlet(&arguments).fails(&["executable file not found in $PATH"]);
    let record: Value = serde_json::from_str(&fs::read_to_string(&log).unwrap()).expect("one document");
    assert_eq!(record["level"], "error");
    assert!(record["msg"].as_str().unwrap().contains("executable file not found in $PATH"));
    let time = record["time"].as_str().unwrap();
    assert!(time.ends_with('Z') && time.len() == 20 && time.as_bytes()[10] == b'T', "{time}");
    sandbox.assert_clean();
}

#[test]
fn a_container_whose_maker_is_killed_ends_and_its_id_is_free() {
    let sandbox = Sandbox::ordinary();
    sandbox.sh("echo ready; sleep 1000");
    let mut run = sandbox.run_until_ready();
    run.kill().unwrap();
    run.wait().unwrap();
    eventually("the container ends, too", || sandbox.status("box") == "stopped");
    sandbox.create();
    sandbox.on_bundle(&["create", "box"]).fails(&["container with given ID already exists"]);
    assert_eq!(sandbox.status("box"), "created");
}

#[test]
fn killed_at_any_moment_it_leaves_a_stopped_state_at_most() {
    let sandbox = Sandbox::ordinary();
    sandbox.sh("sleep 1000");
    for delay in 0..40 {
        let mut create = sandbox.command_on_bundle(&["create", "box"]).spawn().unwrap();
        std::thread::sleep(std::time::Duration::from_micros(delay * 500));
        create.kill().unwrap();
        let finished = create.wait().unwrap().success();
        let left = sandbox.rootlet(&["list", "-q"]).ok().out;
        if left.is_empty() {
            continue;
        }
        if !finished {
            // The child may need a moment to see that its maker is gone.
            eventually("what is left is stopped or whole", || {
                ["stopped", "created"].contains(&sandbox.status_or_stopped("box").as_str())
            });
        }
        let status = sandbox.status_or_stopped("box");
        if status == "stopped" {
            sandbox.create();
        }
        sandbox.rootlet(&["delete", "--force", "box"]).ok();
    }
    sandbox.assert_clean();
}

impl Sandbox {
    /// A state that was never completed has no JSON, and is stopped.
    fn status_or_stopped(&self, id: &str) -> String {
        let table = self.rootlet(&["list"]).out;
        let row = table.lines().find(|line| line.starts_with(id)).unwrap_or_default().to_owned();
        row.split_whitespace().nth(2).unwrap_or("stopped").to_owned()
    }
}

#[test]
fn descriptors_are_passed_on_when_asked_for() {
    let sandbox = Sandbox::ordinary();
    sandbox.sh("ls /proc/self/fd | tr '\\n' ' '; cat <&3");
    let (bundle, file) = (sandbox.bundle(), sandbox.write("passed", "from outside"));
    let rootlet = format!(
        "{} run --preserve-fds 1 -b {} box 3<{} 4</dev/null",
        binary().display(),
        bundle.display(),
        file.display()
    );
    let done = finish(sandbox.program("/bin/sh".as_ref(), &["-c", &rootlet])).ok();
    assert_eq!(done.out, "0 1 2 3 4 from outside", "4 is the directory that ls reads");
    let listen = format!(
        "LISTEN_FDS=1 LISTEN_PID=$$ exec {} run -b {} box 3<{}",
        binary().display(),
        bundle.display(),
        file.display()
    );
    sandbox.sh("echo $LISTEN_FDS $LISTEN_PID; cat <&3");
    assert_eq!(finish(sandbox.program("/bin/sh".as_ref(), &["-c", &listen])).ok().out, "1 1\nfrom outside");
}

#[test]
fn the_pidfd_is_sent_to_its_socket() {
    let sandbox = Sandbox::ordinary();
    sandbox.sh("sleep 1000");
    let path = sandbox.path().join("pidfd.sock");
    let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o777)).unwrap();
    sandbox.on_bundle(&["run", "-d", "--pidfd-socket", path.to_str().unwrap(), "box"]).ok();
    let mut text = String::new();
    listener.accept().unwrap().0.read_to_string(&mut text).unwrap();
    let state: Value = serde_json::from_str(&sandbox.rootlet(&["state", "box"]).out).unwrap();
    assert_eq!(text, state["pid"].to_string());
}

#[test]
fn a_state_directory_of_somebody_else_is_refused() {
    if !crate::sandbox::is_root() {
        return skip("needs root to prepare a directory of another user");
    }
    let sandbox = Sandbox::ordinary();
    sandbox.sh("true");
    let foreign = Sandbox::empty(0);
    fs::create_dir(foreign.path().join("tmp")).unwrap();
    fs::set_permissions(foreign.path().join("tmp"), fs::Permissions::from_mode(0o1777)).unwrap();
    let trap = foreign.path().join(format!("tmp/rootlet-{}", sandbox.uid()));
    fs::create_dir(&trap).unwrap();
    fs::set_permissions(&trap, fs::Permissions::from_mode(0o777)).unwrap();
    let mut command = sandbox.command_on_bundle(&["run", "box"]);
    // XDG_RUNTIME_DIR belongs to root, as after `su`: it is passed over, too.
    command.env("XDG_RUNTIME_DIR", foreign.path()).env("TMPDIR", foreign.path().join("tmp"));
    finish(command).fails(&["is not yours alone", "--root"]);
}

#[test]
fn any_writable_directory_can_be_the_root() {
    let sandbox = Sandbox::ordinary();
    sandbox.sh("true");
    let deep = sandbox.path().join("xdg").join("long".repeat(40)).join("deeper".repeat(20));
    sandbox.on_bundle(&["--root", deep.to_str().unwrap(), "create", "box"]).ok();
    sandbox.rootlet(&["--root", deep.to_str().unwrap(), "start", "box"]).ok();
    sandbox.rootlet(&["--root", deep.to_str().unwrap(), "delete", "-f", "box"]).ok();
    sandbox.rootlet(&["--root", "/", "list"]).fails(&["--root /"]);
}

#[test]
fn root_runs_containers_without_a_user_namespace() {
    let Some(sandbox) = Sandbox::root() else { return };
    let out =
        sandbox.output("id -u; cat /proc/self/uid_map | tr -s ' '; ls /sys/class/net; grep CapEff /proc/self/status");
    assert_eq!(out, "0\n 0 0 4294967295\nlo\nCapEff:\t0000000020000420\n");
    sandbox.assert_clean();
}

#[test]
fn a_caller_that_ignores_the_ends_of_its_children_gets_its_exit_code() {
    let sandbox = Sandbox::ordinary();
    sandbox.sh("exit 9");
    let bundle = sandbox.bundle();
    let run = format!("trap '' CHLD; exec {} run -b {} box", binary().display(), bundle.display());
    assert_eq!(finish(sandbox.program("/bin/sh".as_ref(), &["-c", &run])).code, 9);
}

#[test]
fn what_cannot_be_looked_for_is_not_missing() {
    let sandbox = Sandbox::ordinary();
    sandbox.sh("sleep 1000");
    sandbox.start();
    let states = sandbox.states();
    let fault = ["-qq", "-o", "/dev/null", "-P", states.to_str().unwrap(), "-e", "inject=openat:error=EMFILE"];
    let delete = [&fault[..], &[binary().to_str().unwrap(), "delete", "--force", "box"]].concat();
    if std::process::Command::new("strace").arg("-V").output().is_err() {
        return skip("strace is not installed");
    }
    finish(sandbox.program("strace".as_ref(), &delete)).fails(&["EMFILE"]);
    assert_eq!(sandbox.status("box"), "running");
}

#[test]
fn a_pid_file_takes_no_other_things_place() {
    let sandbox = Sandbox::ordinary();
    sandbox.sh("true");
    let (bundle, place) = (sandbox.bundle(), sandbox.mkdir("place", 0o755));
    let run = ["run", "-d", "--pid-file", place.to_str().unwrap(), "-b", bundle.to_str().unwrap(), "box"];
    sandbox.rootlet(&run).fails(&["--pid-file", "is no file"]);
    sandbox.assert_clean();
}

#[test]
fn a_deletion_waits_for_no_hook_without_end() {
    let sandbox = Sandbox::ordinary();
    let hook = sandbox.script("hook", "touch \"${0%/*}/xdg/begun\"; exec sleep 1000");
    sandbox.edit(|config| config["hooks"]["createRuntime"] = json!([{"path": hook}]));
    sandbox.sh("sleep 1000");
    let mut create = sandbox.command_on_bundle(&["create", "box"]).spawn().unwrap();
    eventually("the hook runs", || sandbox.path().join("xdg/begun").exists());
    sandbox.rootlet(&["delete", "-f", "box"]).fails(&[
        "is locked",
        "one of its hooks",
        "try: wait, or end that process (`fuser",
    ]);
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(create.id() as i32), nix::sys::signal::Signal::SIGTERM).unwrap();
    assert_ne!(wait(&mut create), 0);
    sandbox.rootlet(&["delete", "-f", "box"]).ok();
    sandbox.assert_clean();
}

#[test]
fn a_container_that_is_deleted_does_not_seem_to_be_made() {
    let sandbox = Sandbox::ordinary();
    if std::process::Command::new("strace").arg("-V").output().is_err() {
        return skip("strace is not installed");
    }
    sandbox.sh("sleep 1000");
    sandbox.start();
    let delete = [
        "-qq",
        "-o",
        "/dev/null",
        "-e",
        "inject=rmdir:delay_enter=500000",
        binary().to_str().unwrap(),
        "delete",
        "-f",
        "box",
    ];
    let mut slow = sandbox.program("strace".as_ref(), &delete).spawn().unwrap();
    let mut answers = std::collections::BTreeSet::new();
    while slow.try_wait().unwrap().is_none() {
        let done = sandbox.rootlet(&["state", "box"]);
        answers.insert(match done.code {
            0 => serde_json::from_str::<Value>(&done.out).unwrap()["status"].to_string(),
            _ => done.err.lines().next().unwrap().to_owned(),
        });
    }
    let last = "error: container does not exist: \"box\"".to_owned();
    assert!(answers.remove(&last) && !answers.iter().any(|answer| answer.contains("creat")), "{answers:?}");
    // What a killed one leaves is in nobody's way.
    for ends in ["delete", "create"] {
        let place = sandbox.states().strip_prefix(sandbox.path()).unwrap().join("box~");
        let left = sandbox.mkdir(place.to_str().unwrap(), 0o700);
        sandbox.write(place.join("state.json").to_str().unwrap(), "{}");
        match ends {
            "delete" => sandbox.rootlet(&["delete", "-f", "box"]).ok(),
            _ => sandbox.rootlet(&["create", "-b", sandbox.bundle().to_str().unwrap(), "box"]).ok(),
        };
        assert!(!left.exists());
    }
    sandbox.rootlet(&["delete", "-f", "box"]).ok();
    sandbox.assert_clean();
}

#[test]
fn an_output_that_takes_nothing_is_an_error() {
    let sandbox = Sandbox::ordinary();
    for command in [&["list"][..], &["--version"], &["features"], &["--help"]] {
        let mut command = sandbox.command(command);
        command.stdout(fs::File::open("/dev/null").unwrap());
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && said.contains("cannot write to standard output: write: EBADF"), "{said}");
    }
}

#[test]
fn what_has_no_process_is_created_and_start_says_what_is_missing() {
    let sandbox = Sandbox::ordinary();
    sandbox.edit(|config| drop(config.as_object_mut().unwrap().remove("process")));
    sandbox.create();
    for _ in 0..2 {
        sandbox.rootlet(&["start", "box"]).fails(&["process: missing", "rootlet delete box"]);
        assert_eq!(sandbox.status("box"), "created");
    }
    sandbox.rootlet(&["delete", "box"]).ok();
    sandbox.run().fails(&["process: missing", "rootlet spec"]);
    sandbox.on_bundle(&["run", "-d", "box"]).fails(&["process: missing"]);
    sandbox.assert_clean();
}

#[test]
fn who_has_ended_before_its_program_was_not_started() {
    let sandbox = Sandbox::ordinary();
    sandbox.sh("sleep 1000");
    sandbox.edit(|config| {
        config["root"]["readonly"] = json!(false);
        config["hooks"] =
            json!({"startContainer": [{"path": "/bin/sh", "args": ["sh", "-c", "echo >/data/begun; sleep 1000"]}]});
    });
    let (bundle, begun) = (sandbox.bundle(), sandbox.rootfs().join("data/begun"));
    for arguments in [&["run", "-d", "-b", bundle.to_str().unwrap(), "box"][..], &["start", "box"]] {
        if arguments[0] == "start" {
            sandbox.rootlet(&["create", "-b", bundle.to_str().unwrap(), "box"]).ok();
        }
        let mut start = sandbox.command(arguments);
        let start =
            std::thread::spawn(move || finish(std::mem::replace(&mut start, std::process::Command::new("true"))));
        eventually("the hook runs", || begun.exists());
        sandbox.rootlet(&["kill", "box", "KILL"]).ok();
        start.join().unwrap().fails(&["ended before its program began"]);
        fs::remove_file(&begun).unwrap();
        sandbox.rootlet(&["delete", "-f", "box"]).ok();
        sandbox.assert_clean();
    }
}

#[test]
fn a_foreground_run_that_goes_on_does_not_end_a_pause() {
    let sandbox = Sandbox::ordinary();
    sandbox.sh("echo ready; while :; do sleep 0.1; done");
    let mut run = sandbox.run_until_ready();
    sandbox.rootlet(&["pause", "box"]).ok();
    // As a shell's `fg` does.
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(run.id() as i32), nix::sys::signal::SIGCONT).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(100));
    assert_eq!(sandbox.status("box"), "paused");
    sandbox.rootlet(&["resume", "box"]).ok();
    sandbox.rootlet(&["kill", "box", "KILL"]).ok();
    run.wait().unwrap();
    sandbox.assert_clean();
}

#[test]
fn a_damaged_state_among_other_files_is_not_overlooked() {
    let sandbox = Sandbox::ordinary();
    sandbox.sh("sleep 1000");
    sandbox.start();
    let place = sandbox.states().join("box");
    let state = fs::read_to_string(place.join("state.json")).unwrap();
    fs::write(place.join("core"), "").unwrap();
    fs::write(place.join("state.json"), &state[..state.len() / 2]).unwrap();
    for arguments in [&["list"][..], &["delete", "-f", "box"], &["state", "box"]] {
        sandbox.rootlet(arguments).fails(&["state.json is damaged", "other files", "move away"]);
    }
    fs::write(place.join("state.json"), state).unwrap();
    fs::remove_file(place.join("core")).unwrap();
    sandbox.rootlet(&["delete", "-f", "box"]).ok();
    sandbox.assert_clean();
}

#[test]
fn ps_takes_any_columns_or_says_why_not() {
    let sandbox = Sandbox::ordinary();
    sandbox.sh("sleep 1234");
    sandbox.start();
    let ps = |options: &[&str]| sandbox.rootlet(&[&["ps", "box"], options].concat());
    for options in [&["-o", "pid,args"][..], &["-e", "-o", "user,pid,args"], &["aux"], &[]] {
        let out = ps(options).ok().out;
        assert!(out.lines().count() == 2 && out.contains("sleep 1234"), "{options:?}: {out}");
    }
    ps(&["-e", "-o", "args,pid"]).fails(&["PID is behind a column", "write pid first"]);
    ps(&["-o", "args"]).fails(&["couldn't find PID field"]);
}

#[test]
fn what_may_be_left_of_a_container_is_said() {
    let sandbox = Sandbox::ordinary();
    sandbox.edit(|config| {
        let namespaces = config["linux"]["namespaces"].as_array_mut().unwrap();
        namespaces.retain(|namespace| namespace["type"] != "pid");
    });
    sandbox.sh("sleep 1000 & exit 4");
    let done = sandbox.run();
    assert_eq!(done.code, 4);
    assert!(done.err.contains("processes that the container has left"), "{done:?}");
    sandbox.sh("sleep 1000 & exec sleep 1000");
    sandbox.start();
    let deleted = sandbox.rootlet(&["delete", "--force", "box"]).ok();
    assert!(deleted.err.contains("processes that the container has left"), "{deleted:?}");
    assert_eq!(sandbox.processes().len(), 2);
    sandbox.end_processes();
    sandbox.assert_clean();
}

#[test]
fn a_container_that_is_deleted_while_it_is_paused_keeps_nobody_waiting() {
    let Some(sandbox) = Sandbox::root() else { return };
    sandbox.sh("sleep 1000");
    for _ in 0..6 {
        sandbox.start();
        let begin = Instant::now();
        let mut pause = sandbox.command(&["pause", "box"]).stderr(std::process::Stdio::null()).spawn().unwrap();
        sandbox.rootlet(&["delete", "--force", "box"]).ok();
        wait(&mut pause);
        assert!(begin.elapsed() < Duration::from_secs(9), "it was waited for to the end of all patience");
    }
    sandbox.assert_clean();
}

#[test]
fn a_program_does_not_run_of_which_nobody_would_hear() {
    let sandbox = Sandbox::ordinary();
    let mark = sandbox.rootfs().join("tmp/ran");
    sandbox.edit(|config| config["root"]["readonly"] = json!(false));
    sandbox.sh("touch /tmp/ran; exit 5");
    for flags in [["--pid-file", "/nosuch/pid"], ["--pid-file", "/proc/pid"], ["--pidfd-socket", "/nosuch.sock"]] {
        sandbox.on_bundle(&["run", flags[0], flags[1], "box"]).fails(&["/nosuch", "/proc"].map(|_| flags[1]));
        assert!(!mark.exists(), "{flags:?}");
        sandbox.assert_clean();
    }
    if is_root() {
        // Where everybody may write, a file can be somebody else's to replace.
        let place = sandbox.mkdir("shared", 0o755);
        fs::set_permissions(&place, fs::Permissions::from_mode(0o1777)).unwrap();
        chown(&place, Some(0), Some(0)).unwrap();
        let file = place.join("pid");
        fs::write(&file, "").unwrap();
        chown(&file, Some(12_346), None).unwrap();
        sandbox.on_bundle(&["run", "--pid-file", file.to_str().unwrap(), "box"]).fails(&["cannot write the pid file"]);
        assert!(!mark.exists());
    }
    assert_eq!(sandbox.on_bundle(&["run", "box"]).code, 5);
    assert!(mark.exists());
    sandbox.sh("sleep 1000");
    sandbox.start();
    let done = sandbox.rootlet(&["exec", "--pid-file", "/nosuch/pid", "box", "touch", "/tmp/again"]);
    assert!(done.code == 255 && done.err.contains("/nosuch/pid"), "{done:?}");
    assert!(!sandbox.rootfs().join("tmp/again").exists());
    sandbox.rootlet(&["delete", "-f", "box"]).ok();
    sandbox.assert_clean();
}

#[test]
fn states_are_found_behind_a_link() {
    let sandbox = Sandbox::ordinary();
    let (states, link) = (sandbox.mkdir("states", 0o700), sandbox.path().join("link"));
    std::os::unix::fs::symlink(&states, &link).unwrap();
    let (states, link) = (states.to_str().unwrap(), link.to_str().unwrap());
    sandbox.sh("sleep 1000");
    sandbox.on_bundle(&["--root", link, "run", "-d", "box"]).ok();
    for root in [states, link] {
        assert!(sandbox.rootlet(&["--root", root, "state", "box"]).ok().out.contains("\"running\""));
        assert_eq!(sandbox.rootlet(&["--root", root, "list", "-q"]).ok().out, "box\n");
    }
    if is_root() {
        // Another user's link leads where that user likes.
        let theirs = sandbox.path().join("theirs");
        std::os::unix::fs::symlink(states, &theirs).unwrap();
        std::os::unix::fs::lchown(&theirs, Some(12_346), None).unwrap();
        sandbox.rootlet(&["--root", theirs.to_str().unwrap(), "list"]).fails(&["another user's link"]);
    }
    sandbox.rootlet(&["--root", link, "exec", "box", "true"]).ok();
    sandbox.rootlet(&["--root", link, "delete", "-f", "box"]).ok();
    assert_eq!(sandbox.rootlet(&["--root", states, "list", "-q"]).ok().out, "");
    assert_eq!(sandbox.processes(), [""; 0]);
}

#[test]
fn a_foreground_run_that_comes_to_no_end_keeps_no_name() {
    let sandbox = Sandbox::ordinary();
    let mark = sandbox.path().join("poststop");
    let hook = sandbox.script("hook", &format!("echo >>{}; sleep 1", mark.display()));
    sandbox.edit(|config| config["hooks"] = json!({"poststop": [{"path": hook}]}));
    sandbox.sh("echo ready; exec sleep 1000");
    let mut run = sandbox.run_until_ready();
    // The program may be faster than who has made it.
    let state = || fs::read_to_string(sandbox.states().join("box/state.json")).unwrap_or_default();
    eventually("it is created", || state().contains("\"isCreating\":false"));
    let send = |signal| nix::sys::signal::kill(nix::unistd::Pid::from_raw(run.id() as i32), signal).unwrap();
    send(nix::sys::signal::SIGSTOP);
    // Whoever comes meanwhile, and the run itself when it goes on, have nothing left to do.
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| sandbox.rootlet(&["delete", "-f", "box"]).ok());
        }
        eventually("the hook runs", || mark.exists());
        send(nix::sys::signal::SIGCONT);
    });
    assert_eq!(sandbox.rootlet(&["list", "-q"]).ok().out, "");
    assert_eq!(wait(&mut run), 137);
    assert_eq!(fs::read_to_string(&mark).unwrap(), "\n", "the hook was run once");
    sandbox.assert_clean();
}
