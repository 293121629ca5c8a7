//! Looking into a rootlet that waits, or that is about to become a program: CVE-2016-9962.

use super::{allow, everybody, has_strace, program, secret, slowly};
use crate::sandbox::{Done, Sandbox, eventually, finish};
use serde_json::json;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::process::Child;

/// What shows of process 1: lines that begin with `leak` are of the host.
fn look(secret: &str) -> String {
    format!(
        "for f in /proc/1/fd/*; do cat $f/../../../../../../../..{secret} 2>/dev/null && echo leak $f; done; \
         for f in root cwd; do cat /proc/1/$f/../../../../../../../..{secret} 2>/dev/null && echo leak $f; done; \
         cat /proc/1/environ /proc/1/cmdline 2>/dev/null | tr '\\0' '\\n' | grep -e SECRET -e bundle && echo leak environ; true"
    )
}

#[track_caller]
fn sees_nothing(done: &Done) {
    assert!(!done.out.contains("leak") && !done.out.contains("secret") && !done.out.contains("SECRET"), "{done:?}");
}

fn create(sandbox: &Sandbox) {
    let mut create = sandbox.command_on_bundle(&["create", "box"]);
    create.env("SECRET", "of the caller");
    finish(create).ok();
}

#[test]
fn a_created_container_shows_nothing_of_its_maker() {
    for sandbox in everybody() {
        let secret = secret(&sandbox);
        sandbox.sh("true");
        create(&sandbox);
        let look = look(secret.to_str().unwrap());
        sees_nothing(&sandbox.rootlet(&["exec", "box", "sh", "-c", &look]).ok());
        // Also not to who may trace.
        if sandbox.uid() == 0 {
            sees_nothing(&sandbox.rootlet(&["exec", "--cap", "CAP_SYS_PTRACE", "box", "sh", "-c", &look]).ok());
        }
        // Where it has a user namespace, nobody in it looks at all.
        if sandbox.config()["linux"]["uidMappings"].is_array() {
            let done = sandbox.rootlet(&["exec", "box", "sh", "-c", "ls /proc/1/fd; cat /proc/1/environ | wc -c"]).ok();
            assert_eq!(done.out, "0\n", "{done:?}");
        }
        sandbox.rootlet(&["start", "box"]).ok();
        sandbox.rootlet(&["delete", "--force", "box"]).ok();
        sandbox.assert_clean();
    }
}

#[test]
fn a_hook_of_the_images_sees_nothing_of_the_maker() {
    for sandbox in everybody() {
        let secret = secret(&sandbox);
        program(&sandbox, "hook", &format!("#!/bin/sh\n{{ {}; }} >/data/found 2>&1\n", look(secret.to_str().unwrap())));
        sandbox.sh("cat /data/found");
        sandbox.edit(|config| {
            config["root"]["readonly"] = json!(false);
            config["hooks"] = json!({"startContainer": [{"path": "/hook", "env": ["PATH=/bin"]}]});
        });
        let mut run = sandbox.command_on_bundle(&["run", "box"]);
        run.env("SECRET", "of the caller");
        sees_nothing(&finish(run).ok());
        create(&sandbox);
        sandbox.rootlet(&["start", "box"]).ok();
        eventually("it has ended", || sandbox.status("box") == "stopped");
        let found = fs::read_to_string(sandbox.rootfs().join("data/found")).unwrap();
        assert!(!found.contains("leak") && !found.contains("SECRET"), "{found}");
    }
}

#[test]
fn who_may_trace_sees_no_environment_of_who_calls_exec() {
    // A neighbour with CAP_SYS_PTRACE, in the user namespace of the host, reads what a new process has from its maker.
    let Some(sandbox) = Sandbox::root() else { return };
    if !has_strace(&sandbox) {
        return;
    }
    sandbox.sh("while :; do cat /proc/[0-9]*/environ 2>/dev/null | tr '\\0' '\\n' | grep SECRET; done >/found");
    sandbox.edit(|config| {
        allow(config, "CAP_SYS_PTRACE");
        config["root"]["readonly"] = json!(false);
    });
    sandbox.start();
    for call in ["close_range", "capset", "execve"] {
        let strace = ["-f", "-qq", "-o", "/dev/null", "-e"];
        let delay = format!("inject={call}:delay_enter=150000:when=1..4");
        let rootlet = crate::sandbox::binary().to_str().unwrap();
        let mut exec =
            sandbox.program("strace".as_ref(), &[&strace[..], &[&delay, rootlet, "exec", "box", "true"]].concat());
        exec.env("SECRET", "of the caller");
        finish(exec).ok();
    }
    assert_eq!(fs::read_to_string(sandbox.rootfs().join("found")).unwrap(), "");
}

#[test]
fn who_may_trace_writes_into_no_memory_of_who_calls_exec() {
    // As above, and fills a new process's first stack with zeros: its maker, which is outside, must not have that memory.
    let Some(sandbox) = Sandbox::root() else { return };
    if !has_strace(&sandbox) {
        return;
    }
    sandbox.sh("while :; do for p in /proc/[0-9]*; do case $(readlink $p/exe) in
        /bin/* | '') ;;
        *) grep -F '[stack]' $p/maps | while IFS='- ' read -r begin end _; do
            dd if=/dev/zero of=$p/mem bs=4096 seek=$((0x$begin / 4096)) count=$(((0x$end - 0x$begin) / 4096)) conv=notrunc &&
                echo overwritten >>/found
           done ;;
        esac; done; done");
    sandbox.edit(|config| {
        allow(config, "CAP_SYS_PTRACE");
        config["root"]["readonly"] = json!(false);
    });
    // Without a cgroup of its own, which alone would be a reason.
    sandbox.on_bundle(&["--cgroup-manager", "disabled", "run", "-d", "box"]).ok();
    let rootlet = crate::sandbox::binary().to_str().unwrap();
    let delay = "inject=capset:delay_enter=300000:when=1..4";
    let strace = ["-f", "-qq", "-o", "/dev/null", "-e", delay, rootlet, "exec", "box", "true"];
    // strace ends by the signal by which its program does.
    let signal = |child: &mut Child| child.wait().unwrap().signal().unwrap_or(0);
    let done = crate::sandbox::finish_by(sandbox.program("strace".as_ref(), &strace), signal);
    assert!(sandbox.rootfs().join("found").exists() && done.code == 0, "{done:?}");
}

#[test]
fn hooks_of_the_host_look_up_the_process_and_its_namespaces() {
    // What nobody else may see is what createRuntime hooks are for.
    for sandbox in everybody() {
        let hook = sandbox.script("hook", "pid=$(sed 's/.*\"pid\": *\\([0-9]*\\).*/\\1/'); readlink /proc/$pid/ns/net /proc/$pid/ns/user >&2 && exit 3");
        sandbox.sh("true");
        sandbox
            .edit(|config| config["hooks"] = json!({"createRuntime": [{"path": hook, "env": ["PATH=/bin:/usr/bin"]}]}));
        sandbox.run().fails(&["createRuntime", "net:[", "user:["]);
    }
}

#[test]
fn exactly_one_start_has_a_container() {
    // 20 rounds of two starts at once.
    let sandbox = Sandbox::ordinary();
    sandbox.sh("sleep 1000");
    for round in 0..20 {
        create(&sandbox);
        let starts: Vec<_> = (0..2).map(|_| sandbox.command(&["start", "box"])).collect();
        let codes: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = starts.into_iter().map(|start| scope.spawn(|| finish(start).code)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!(codes.iter().sum::<i32>(), 1, "{round}: {codes:?}");
        sandbox.rootlet(&["delete", "--force", "box"]).ok();
    }
}

#[test]
fn a_waiting_container_is_entered_by_what_it_hands_over() {
    for sandbox in everybody() {
        sandbox.sh("true");
        create(&sandbox);
        let done = sandbox
            .rootlet(&["exec", "-u", "root", "box", "sh", "-c", "hostname; ps -o pid,args | grep -c sh; id -u"])
            .ok();
        assert!(done.out.starts_with("rootlet\n") && done.out.ends_with("0\n"), "{done:?}");
        let ps = sandbox.rootlet(&["ps", "--format", "json", "box"]).ok();
        assert_eq!(ps.out.matches(',').count(), 0, "the first process alone: {ps:?}");
        slowly_started(&sandbox);
        sandbox.rootlet(&["delete", "--force", "box"]).ok();
    }
}

/// A start that takes long is one all the same.
fn slowly_started(sandbox: &Sandbox) {
    if has_strace(sandbox) {
        slowly(sandbox, "inject=sendmsg:delay_enter=50000", &["start", "box"]).ok();
    }
}

#[test]
fn who_is_in_a_user_namespace_looks_at_no_new_process() {
    for sandbox in everybody() {
        if !sandbox.config()["linux"]["uidMappings"].is_array() || !has_strace(&sandbox) {
            continue;
        }
        // Its name is looked at afterwards: by then it is no program of the container's yet.
        sandbox
            .sh("while :; do for p in /proc/[0-9]*; do cat $p/environ >/dev/null 2>&1 && ls $p/fd >/dev/null 2>&1 && \
             case $(cat $p/comm) in rootlet*) echo seen $p;; esac; done; done >/found 2>/dev/null");
        sandbox.edit(|config| {
            allow(config, "CAP_SYS_PTRACE");
            config["root"]["readonly"] = json!(false);
        });
        sandbox.start();
        for call in ["close_range", "openat2", "capset", "execve"] {
            slowly(&sandbox, &format!("inject={call}:delay_enter=100000:when=1..6"), &["exec", "box", "true"]).ok();
        }
        assert_eq!(fs::read_to_string(sandbox.rootfs().join("found")).unwrap(), "");
    }
}

#[test]
fn a_start_that_is_given_up_starts_nothing() {
    for sandbox in everybody() {
        sandbox.sh("true");
        create(&sandbox);
        let state: serde_json::Value = serde_json::from_str(&sandbox.rootlet(&["state", "box"]).ok().out).unwrap();
        let pid = state["pid"].as_i64().unwrap() as i32;
        // SAFETY: the pid of a container that was just created.
        let signal = |signal| unsafe { libc::kill(pid, signal) };
        signal(libc::SIGSTOP);
        let mut start = sandbox.command(&["start", "box"]).spawn().unwrap();
        std::thread::sleep(std::time::Duration::from_millis(200));
        start.kill().unwrap();
        start.wait().unwrap();
        signal(libc::SIGCONT);
        std::thread::sleep(std::time::Duration::from_millis(50));
        assert_eq!(sandbox.status("box"), "created");
        sandbox.rootlet(&["start", "box"]).ok();
        sandbox.rootlet(&["delete", "--force", "box"]).ok();
    }
}

#[test]
fn the_command_line_of_exec_is_not_to_be_seen_inside() {
    // It is readable for everybody, and has what `-e` adds.
    for sandbox in everybody() {
        if !has_strace(&sandbox) {
            return;
        }
        sandbox
            .sh("while :; do for p in /proc/[0-9]*; do tr '\\0' '|' <$p/cmdline; echo; done; done 2>/dev/null >/found");
        sandbox.edit(|config| config["root"]["readonly"] = json!(false));
        sandbox.start();
        for (call, microseconds) in [("close_range", 100_000), ("capset", 100_000), ("execve", 400_000)] {
            let delay = format!("inject={call}:delay_enter={microseconds}:when=1..4");
            slowly(&sandbox, &delay, &["exec", "-e", "PASS=WORD", "box", "true"]).ok();
        }
        let found = fs::read_to_string(sandbox.rootfs().join("found")).unwrap();
        // Neither the arguments, nor where the binary is, nor how long all of it was.
        let is_own = |line: &str| {
            matches!(line, "" | "rootlet|" | "true|") || line.starts_with("tr|") || line.starts_with("sh|")
        };
        assert!(found.lines().any(|line| line == "rootlet|") && found.lines().all(is_own), "{found}");
    }
}

#[test]
fn a_hook_of_the_images_does_not_read_what_the_hosts_have_said() {
    for sandbox in everybody() {
        let host = sandbox.script("hook", "echo a secret of the host; echo a secret of the host >&2");
        program(
            &sandbox,
            "hook",
            "#!/bin/sh\nfor f in /proc/$$/fd/* /proc/1/fd/*; do head -c 4000 $f; done 2>/dev/null | grep 'a secre[t]' >/data/found; exit 3\n",
        );
        sandbox.sh("true");
        sandbox.edit(|config| {
            config["hooks"] = json!({"createContainer": [{"path": host, "env": ["PATH=/bin:/usr/bin"]}], "startContainer": [{"path": "/hook", "env": ["PATH=/bin"]}]});
        });
        sandbox.edit(|config| config["root"]["readonly"] = json!(false));
        sandbox.run().fails(&["startContainer"]);
        assert_eq!(fs::read_to_string(sandbox.rootfs().join("data/found")).unwrap(), "");
    }
}
