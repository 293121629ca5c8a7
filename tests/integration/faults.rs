//! Every system call of a start is made to fail in turn: never a hang, never a leftover, never a wrong exit code.

use crate::sandbox::{Done, Sandbox, binary, finish, skip};
use std::collections::BTreeMap;
use std::fs;

/// Runs the sandbox's container under strace(1), with a fault.
fn with_fault(sandbox: &Sandbox, fault: &str, record: &str) -> Done {
    let bundle = sandbox.bundle();
    under_strace(sandbox, fault, record, &["run", "-b", bundle.to_str().unwrap(), "box"])
}

fn under_strace(sandbox: &Sandbox, fault: &str, record: &str, arguments: &[&str]) -> Done {
    let strace = ["-f", "-qq", "-o", record, "-e", fault, binary().to_str().unwrap()];
    finish(sandbox.program("strace".as_ref(), &[&strace, arguments].concat()))
}

/// Each call by its number in a process that makes it most often, from what strace(1) has recorded.
fn calls_of(record: &str) -> Vec<(String, u32)> {
    // strace counts per process, so a fault at a number hits both the parent and the child.
    let mut counts: BTreeMap<String, BTreeMap<String, u32>> = BTreeMap::new();
    for line in fs::read_to_string(record).unwrap().lines() {
        let Some((pid, call)) = line.split_once(' ') else { continue };
        // The end of a call that another process interrupted was counted where it began.
        let Some((name, _)) = call.trim_start().split_once('(').filter(|(name, _)| !name.starts_with('<')) else {
            continue;
        };
        *counts.entry(name.to_owned()).or_default().entry(pid.to_owned()).or_default() += 1;
    }
    let numbered = |(name, by_process): (&String, &BTreeMap<String, u32>)| {
        let name = name.clone();
        (1..=*by_process.values().max().unwrap()).map(move |number| (name.clone(), number))
    };
    // The first execve starts rootlet itself.
    counts.iter().flat_map(numbered).filter(|(name, number)| name != "execve" || *number > 1).collect()
}

/// What rootlet calls before it becomes the program; reading and memory are left to the C library.
const CALLS: &str = "bind,capset,chdir,clone3,close_range,execve,fchdir,flock,fstatfs,keyctl,mkdir,mkdirat,mknodat,mount,mount_setattr,openat2,\
                     pivot_root,prlimit64,recvmsg,rename,sendmsg,sethostname,setresgid,setresuid,setsid,socketpair,symlinkat,umount2,write";

#[test]
fn every_call_may_fail() {
    if std::process::Command::new("strace").arg("-V").output().is_err() {
        return skip("strace is not installed");
    }
    let sandbox = Sandbox::ordinary();
    sandbox.sh("echo ran");
    let record = sandbox.path().join("xdg/record");
    let record = record.to_str().unwrap();
    let healthy = with_fault(&sandbox, &format!("trace={CALLS}"), record);
    if healthy.code != 0 {
        return skip(&format!("strace does not work here: {}", healthy.err));
    }
    let work = calls_of(record);
    assert!(work.len() > 20, "{work:?}");
    std::thread::scope(|scope| {
        for part in work.chunks(work.len().div_ceil(4)) {
            scope.spawn(move || {
                let sandbox = Sandbox::ordinary();
                sandbox.sh("echo ran");
                for (name, number) in part {
                    let done = with_fault(&sandbox, &format!("inject={name}:error=EIO:when={number}"), "/dev/null");
                    let fault = format!("{name} number {number}: {done:?}");
                    assert!(!done.err.contains("panicked") && !done.err.contains("allocated"), "{fault}");
                    match done.code {
                        // What is tolerated, or a fault in the program itself.
                        0 => assert!(done.out == "ran\n" || name == "write", "{fault}"),
                        1 => assert!(done.err.contains("error: ") || name == "write", "{fault}"),
                        code => panic!("exit code {code}: {fault}"),
                    }
                    eprintln!("{name} number {number}: exit code {}", done.code);
                    sandbox.is_clean();
                }
            });
        }
    });
}

#[test]
fn every_call_of_exec_may_fail() {
    if std::process::Command::new("strace").arg("-V").output().is_err() {
        return skip("strace is not installed");
    }
    const CALLS: &str = "capset,chdir,clone,clone3,close_range,execve,fchdir,fstatfs,keyctl,openat2,pidfd_open,prlimit64,\
                         recvmsg,sendmsg,setns,setresgid,setresuid,setsid,socketpair";
    let sandbox = Sandbox::ordinary();
    sandbox.sh("sleep 1000");
    sandbox.start();
    let record = sandbox.path().join("xdg/record");
    let record = record.to_str().unwrap();
    let exec = |fault: &str, record: &str| under_strace(&sandbox, fault, record, &["exec", "box", "echo", "ran"]);
    let healthy = exec(&format!("trace={CALLS}"), record);
    if healthy.code != 0 {
        return skip(&format!("strace does not work here: {}", healthy.err));
    }
    let work = calls_of(record);
    assert!(work.len() > 15, "{work:?}");
    for (name, number) in work {
        let done = exec(&format!("inject={name}:error=EIO:when={number}"), "/dev/null");
        let fault = format!("{name} number {number}: {done:?}");
        assert!(!done.err.contains("panicked") && !done.err.contains("allocated"), "{fault}");
        match done.code {
            0 => assert_eq!(done.out, "ran\n", "{fault}"),
            255 => assert!(done.err.contains("error: "), "{fault}"),
            code => panic!("exit code {code}: {fault}"),
        }
        eprintln!("{name} number {number}: exit code {}", done.code);
        let pids: Vec<i32> = serde_json::from_str(&sandbox.rootlet(&["ps", "-f", "json", "box"]).ok().out).unwrap();
        assert_eq!(pids.len(), 1, "something is left: {fault}");
    }
}
