//! System call filters, seen from inside a container.

use crate::sandbox::{Sandbox, finish, is_root, skip};
use rootlet::seccomp::Architecture;
use serde_json::{Value, json};
use std::fs;
use std::io::{IoSliceMut, Read};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

/// An errno that no system call gives, for what a filter refuses.
const REFUSED: i32 = 77;
const ENOSYS: i32 = 38;

/// A static program that makes system calls by their numbers.
fn probe() -> &'static PathBuf {
    static PROBE: OnceLock<PathBuf> = OnceLock::new();
    PROBE.get_or_init(|| {
        let place = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
        fs::create_dir_all(&place).unwrap();
        let program = place.join("probe");
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/integration/probe.c");
        let compiler = Command::new("cc").args(["-static", "-O1", "-o"]).arg(&program).arg(source).status().unwrap();
        assert!(compiler.success(), "cc is missing, or the static C library");
        program
    })
}

fn number(name: &str) -> u32 {
    find(name).unwrap_or_else(|| panic!("{name}"))
}

/// `None` if this architecture does not have it, as younger ones lack stat and mkdir.
fn find(name: &str) -> Option<u32> {
    Architecture::native().system_calls().find(|(_, known)| *known == name).map(|(number, _)| number)
}

/// A sandbox whose program is the probe.
fn sandbox() -> Sandbox {
    let sandbox = Sandbox::ordinary();
    fs::copy(probe(), sandbox.rootfs().join("bin/probe")).unwrap();
    sandbox
}

fn filter(sandbox: &Sandbox, profile: Value, calls: &[String]) {
    sandbox.edit(|config| {
        config["linux"]["seccomp"] = profile;
        let program = std::iter::once("/bin/probe".to_owned()).chain(calls.iter().cloned());
        config["process"]["args"] = json!(program.collect::<Vec<_>>());
    });
}

/// The errno of each call under a filter.
#[track_caller]
fn errnos(sandbox: &Sandbox, profile: Value, calls: &[String]) -> Vec<i32> {
    filter(sandbox, profile, calls);
    sandbox.run().ok().out.lines().map(|line| line.parse().unwrap()).collect()
}

/// An allow-list that is enough for the probe.
fn enough() -> Value {
    let names = "brk arch_prctl set_tid_address set_robust_list rseq prlimit64 readlink readlinkat getrandom mprotect fstat newfstatat \
                 write ioctl exit_group execve mmap munmap";
    json!(names.split_whitespace().collect::<Vec<_>>())
}

/// (name, arguments, allowed): what Docker's default profile does for a container without privileges, and podman's but for
/// [`PODMAN_ALLOWS`]. The arguments are such that the kernel itself refuses or does nothing.
const TABLE: &[(&str, &str, bool)] = &[
    ("read", "", true),
    ("write", "", true),
    ("openat", "", true),
    ("close", "", true),
    ("stat", "", true),
    ("lseek", "", true),
    ("mmap", "", true),
    ("ioctl", "", true),
    ("access", "", true),
    ("dup", "", true),
    ("getpid", "", true),
    ("socket", ":1", true),
    ("socket", ":2", true),
    ("socket", ":16", true),
    ("connect", "", true),
    ("sendmsg", "", true),
    ("kill", ":999999:0", true),
    ("fcntl", "", true),
    ("flock", "", true),
    ("mkdir", "", true),
    ("rename", "", true),
    ("chmod", "", true),
    ("chown", "", true),
    ("umask", ":18", true),
    ("getrlimit", "", true),
    ("ptrace", "", true),
    ("capget", "", true),
    ("capset", "", true),
    ("prctl", "", true),
    ("arch_prctl", "", true),
    ("chroot", "", true),
    ("setxattr", "", true),
    ("futex", ":0:1", true),
    ("epoll_create1", "", true),
    ("inotify_init1", "", true),
    ("getrandom", "", true),
    ("memfd_create", "", true),
    ("seccomp", "", true),
    ("copy_file_range", "", true),
    ("statx", "", true),
    ("personality", ":0", true),
    ("personality", ":0xffffffff", true),
    ("clone", ":0x7e020000", false),
    ("personality", ":0x40000", false),
    ("mount", "", false),
    ("umount2", "", false),
    ("pivot_root", "", false),
    ("unshare", ":0x10000000", false),
    ("setns", "", false),
    ("reboot", "", false),
    ("init_module", "", false),
    ("finit_module", "", false),
    ("delete_module", "", false),
    ("kexec_load", "", false),
    ("kexec_file_load", "", false),
    ("swapon", "", false),
    ("swapoff", "", false),
    ("bpf", "", false),
    ("perf_event_open", "", false),
    ("userfaultfd", "", false),
    ("keyctl", "", false),
    ("add_key", "", false),
    ("request_key", "", false),
    ("open_by_handle_at", "", false),
    ("acct", "", false),
    ("settimeofday", "", false),
    ("clock_settime", "", false),
    ("iopl", "", false),
    ("ioperm", "", false),
    ("quotactl", "", false),
    ("syslog", "", false),
    ("fsopen", "", false),
    ("move_mount", "", false),
    ("open_tree", "", false),
    ("io_uring_setup", "", false),
];

/// podman relies on the missing capabilities here.
const PODMAN_ALLOWS: &[&str] = &[
    "clone3",
    "fsopen",
    "keyctl",
    "mount",
    "move_mount",
    "open_tree",
    "pivot_root",
    "reboot",
    "setns",
    "syslog",
    "umount2",
    "unshare",
];

/// Runs the table under a profile, and under runc with the same config where that is installed.
fn run_table(profile: Value, also_allowed: &[&str]) {
    let sandbox = sandbox();
    // One of these would make a process if it were allowed.
    let table: Vec<_> = TABLE
        .iter()
        .filter(|(name, ..)| find(name).is_some() && (also_allowed.is_empty() || *name != "clone"))
        .collect();
    let mut profile = profile;
    profile["defaultErrnoRet"] = json!(REFUSED);
    for rule in profile["syscalls"].as_array_mut().unwrap() {
        // podman refuses by rules of their own, and what nobody names gets ENOSYS.
        if rule["action"] == "SCMP_ACT_ERRNO" && rule["errnoRet"] == 1 {
            rule["errnoRet"] = json!(REFUSED);
        }
    }
    let calls: Vec<_> = table.iter().map(|(name, arguments, _)| format!("{}{arguments}", number(name))).collect();
    let seen = errnos(&sandbox, profile.clone(), &calls);
    assert_eq!(seen.len(), table.len());
    assert!(table.len() > 60);
    for ((name, arguments, allowed), errno) in table.iter().zip(&seen) {
        let allowed = *allowed || also_allowed.contains(name);
        assert_eq!(*errno != REFUSED && *errno != ENOSYS, allowed, "{name}{arguments}: errno {errno}");
    }
    // Ones that are newer than the profile, and one whose flags are out of a filter's sight.
    let calls = [number("file_setattr"), 9999, number("clone3")].map(|number| number.to_string());
    let seen = errnos(&sandbox, profile.clone(), &calls);
    assert_eq!(seen[..2], [ENOSYS; 2]);
    assert_eq!(seen[2] == ENOSYS, !also_allowed.contains(&"clone3"));
    // The 32-bit interface: mount is 21 there, getpid 20, the socketcall 102.
    if cfg!(target_arch = "x86_64") {
        let calls = ["x21", "x20", "x102:1"].map(str::to_owned);
        let seen = errnos(&sandbox, profile.clone(), &calls);
        assert_eq!((seen[0] == REFUSED, seen[1]), (!also_allowed.contains(&"mount"), 0));
        assert!(![REFUSED, ENOSYS].contains(&seen[2]));
    }

    if Command::new("runc").arg("--version").output().is_err() {
        return skip("runc is not installed: the table is not compared with it");
    }
    let calls: Vec<_> = table.iter().map(|(name, arguments, _)| format!("{}{arguments}", number(name))).collect();
    let ours = errnos(&sandbox, profile, &calls);
    let (bundle, root) = (sandbox.bundle(), sandbox.path().join("xdg/runc"));
    let arguments = ["--root", root.to_str().unwrap(), "run", "-b", bundle.to_str().unwrap(), "box"];
    let theirs = finish(sandbox.program("runc".as_ref(), &arguments));
    if theirs.code != 0 {
        return skip(&format!("runc cannot run the config here: {}", theirs.err));
    }
    let theirs: Vec<i32> = theirs.out.lines().map(|line| line.parse().unwrap()).collect();
    for (((name, arguments, _), ours), theirs) in table.iter().zip(ours).zip(theirs) {
        assert_eq!(ours, theirs, "{name}{arguments}: ours and runc's errno");
    }
}

#[test]
fn dockers_default_profile_does_what_it_does_under_runc() {
    run_table(serde_json::from_str(include_str!("../profiles/docker.json")).unwrap(), &[]);
}

#[test]
fn podmans_default_profile_does_what_it_does_under_runc() {
    let place = "/usr/share/containers/seccomp.json";
    if !fs::exists(place).unwrap() {
        return skip("podman's profile is not installed (golang-github-containers-common)");
    }
    let sandbox = Sandbox::empty(Sandbox::ordinary().uid());
    let bundle = sandbox.mkdir("bundle", 0o755);
    let flags = ["--seccomp", place, "--cap-add", "SYS_CHROOT"];
    sandbox.rootlet(&[&["spec", "-b", bundle.to_str().unwrap()], &flags[..]].concat()).ok();
    let profile = sandbox.config()["linux"]["seccomp"].clone();
    assert!(profile["syscalls"].as_array().unwrap().len() > 5 && !profile.to_string().contains("includes"));
    run_table(profile, PODMAN_ALLOWS);
}

#[test]
fn the_default_profile_of_spec_denies_what_it_says_and_developers_work() {
    let sandbox = Sandbox::empty(Sandbox::ordinary().uid());
    let bundle = sandbox.mkdir("bundle", 0o755);
    let script = "perl -e 'print 6*7, \"\\n\"'; bash -c 'sleep 0 & wait; echo job'; echo $(cat <(echo piped)); \
                  unshare --user true 2>&1 | grep -c 'not permitted'; mount -t tmpfs x /tmp 2>&1 | grep -c -E 'denied|not permitted'";
    sandbox
        .rootlet(&[
            "spec",
            "--host",
            "--no-tty",
            "--seccomp",
            "default",
            "-b",
            bundle.to_str().unwrap(),
            "--args",
            "bash",
            "-c",
            script,
        ])
        .ok();
    assert_eq!(sandbox.run().ok().out, "42\njob\npiped\n1\n1\n");
    // Neither way leads to the socket families that are denied; others are there.
    let probe = self::sandbox();
    let calls =
        ["socket:38", "socket:40", "socket:2:1:0"].map(|call| call.replace("socket", &number("socket").to_string()));
    assert_eq!(errnos(&probe, sandbox.config()["linux"]["seccomp"].clone(), &calls), [1, 1, 0]);
    if cfg!(target_arch = "x86_64") {
        let profile = sandbox.config()["linux"]["seccomp"].clone();
        assert_eq!(errnos(&probe, profile, &["x102:1".to_owned(), "x359:40:1:0".to_owned()]), [ENOSYS, 1]);
    }
    for (_, names) in rootlet::spec::profile::DENIED {
        for name in *names {
            let rules = sandbox.config()["linux"]["seccomp"]["syscalls"].to_string();
            assert!(!rules.contains(&format!("\"{name}\"")), "{name} is allowed");
        }
    }
}

#[test]
fn every_action_is_taken() {
    let sandbox = sandbox();
    let call = [number("mkdirat").to_string()];
    let profile = |action: &str, errno: Option<u32>| {
        let mut rule = json!({"names": ["mkdirat", "a_call_that_no_kernel_has"], "action": action});
        if let Some(errno) = errno {
            rule["errnoRet"] = json!(errno);
        }
        json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]})
    };
    assert_eq!(errnos(&sandbox, profile("SCMP_ACT_ERRNO", None), &call), [1]);
    assert_eq!(errnos(&sandbox, profile("SCMP_ACT_ERRNO", Some(55)), &call), [55]);
    assert_eq!(errnos(&sandbox, profile("SCMP_ACT_ERRNO", Some(0)), &call), [0]);
    assert_eq!(errnos(&sandbox, profile("SCMP_ACT_LOG", None), &call), [14], "EFAULT, from the kernel");
    assert_eq!(errnos(&sandbox, profile("SCMP_ACT_TRACE", None), &call), [ENOSYS], "nobody traces");
    for action in ["SCMP_ACT_KILL", "SCMP_ACT_KILL_THREAD", "SCMP_ACT_KILL_PROCESS", "SCMP_ACT_TRAP"] {
        filter(&sandbox, profile(action, None), &call);
        assert_eq!(sandbox.run().code, 128 + 31, "{action}");
    }
    // Several conditions on one argument are alternatives; on several, all must hold.
    let condition = |index: u32, value: u64| json!({"index": index, "value": value, "op": "SCMP_CMP_EQ"});
    let calls = ["7", "8", "9"].map(|first| format!("{}:{first}:1", number("dup3")));
    let alternatives = json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["dup3"], "action": "SCMP_ACT_ERRNO", "errnoRet": 55, "args": [condition(0, 7), condition(0, 8)]}]});
    assert_eq!(errnos(&sandbox, alternatives, &calls), [55, 55, 22]);
    let both = json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["dup3"], "action": "SCMP_ACT_ERRNO", "errnoRet": 55, "args": [condition(0, 7), condition(1, 1)]}]});
    assert_eq!(errnos(&sandbox, both, &calls), [55, 22, 22]);
    sandbox.assert_clean();
}

#[test]
fn an_architecture_that_the_profile_does_not_name_is_killed() {
    if !cfg!(target_arch = "x86_64") {
        return skip("the 32-bit interface is one of x86");
    }
    let sandbox = sandbox();
    let profile = |architectures: Value| json!({"defaultAction": "SCMP_ACT_ALLOW", "architectures": architectures, "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_ERRNO", "errnoRet": 55}]});
    filter(&sandbox, profile(json!(["SCMP_ARCH_X86_64"])), &["x20".to_owned()]);
    assert_eq!(sandbox.run().code, 128 + 31);
    let both = profile(json!(["SCMP_ARCH_X86", "SCMP_ARCH_S390X"]));
    assert_eq!(errnos(&sandbox, both, &["x20".to_owned(), "x39".to_owned()]), [0, 55]);
    // x32: the same architecture, with a bit in the number.
    filter(&sandbox, profile(json!([])), &[(0x4000_0000 + 39).to_string()]);
    assert_eq!(sandbox.run().code, 128 + 31);
}

#[test]
fn with_no_new_privileges_the_filter_needs_to_allow_only_the_program() {
    let sandbox = sandbox();
    let profile = json!({"defaultAction": "SCMP_ACT_KILL_PROCESS", "syscalls": [{"names": enough(), "action": "SCMP_ACT_ALLOW"}]});
    let calls = [format!("{}:1", number("ioctl"))];
    assert_eq!(errnos(&sandbox, profile.clone(), &calls).len(), 1, "nothing of rootlet's own was killed");
    // The same by create and start, where more happens in between.
    sandbox.create();
    sandbox.rootlet(&["start", "box"]).ok();
    sandbox.rootlet(&["delete", "--force", "box"]).ok();

    // Without no_new_privs it comes before capabilities are dropped, and rootlet's own calls are under it.
    sandbox.edit(|config| config["process"]["noNewPrivileges"] = json!(false));
    sandbox.run().fails(&["linux.seccomp", "SIGSYS", "noNewPrivileges"]);
    let mut gentle = profile;
    gentle["defaultAction"] = json!("SCMP_ACT_ALLOW");
    gentle["syscalls"] = json!([{"names": ["capset"], "action": "SCMP_ACT_ERRNO"}]);
    filter(&sandbox, gentle, &calls);
    sandbox.run().fails(&["process.capabilities: capset", "linux.seccomp is installed by then", "allow capset"]);
    sandbox.assert_clean();
}

#[test]
fn a_denial_that_denies_nothing_is_warned_about() {
    let sandbox = sandbox();
    let profile = json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["unshaer", "mkdirat"], "action": "SCMP_ACT_ERRNO"}]});
    filter(&sandbox, profile, &[number("getpid").to_string()]);
    let done = sandbox.run().ok();
    assert!(done.err.contains("warning: config.json: linux.seccomp: \"unshaer\" is not a system call"), "{done:?}");
    assert_eq!(done.err.lines().count(), 1, "{done:?}");
}

#[test]
fn flags_are_given_to_the_kernel() {
    let sandbox = sandbox();
    let call = [number("getpid").to_string()];
    for (flags, expected) in [
        (json!(null), "flags 0x4"),
        (json!([]), "flags 0x0"),
        (json!(["SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_TSYNC"]), "flags 0x2"),
        (json!(["SECCOMP_FILTER_FLAG_SPEC_ALLOW"]), "flags 0x4"),
    ] {
        let mut profile = json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": []});
        if !flags.is_null() {
            profile["flags"] = flags;
        }
        assert_eq!(errnos(&sandbox, profile, &call), [0]);
        let bundle = sandbox.bundle();
        let plan = sandbox.rootlet(&["plan", "-b", bundle.to_str().unwrap()]).ok().out;
        assert!(plan.contains(expected), "{plan}");
    }
}

/// struct seccomp_notif and seccomp_notif_resp, and the requests that read one and answer it (linux/seccomp.h).
#[repr(C)]
#[derive(Default)]
struct Notification {
    id: u64,
    pid: u32,
    flags: u32,
    number: i32,
    architecture: u32,
    instruction_pointer: u64,
    arguments: [u64; 6],
}

#[repr(C)]
struct Answer {
    id: u64,
    value: i64,
    error: i32,
    flags: u32,
}

const RECEIVE: u64 = 0xc050_2100;
const SEND: u64 = 0xc018_2101;

/// Answers one system call with an errno, as an agent does. Returns its number and what came with the listener.
fn answer_one(socket: &UnixListener, errno: i32) -> (i32, Value) {
    let (mut connection, _) = socket.accept().unwrap();
    let mut text = vec![0; 1 << 16];
    let mut space = nix::cmsg_space!([RawFd; 1]);
    let mut parts = [IoSliceMut::new(&mut text)];
    let message = nix::sys::socket::recvmsg::<()>(
        connection.as_raw_fd(),
        &mut parts,
        Some(&mut space),
        nix::sys::socket::MsgFlags::empty(),
    )
    .unwrap();
    let descriptors: Vec<RawFd> = message
        .cmsgs()
        .unwrap()
        .flat_map(|part| match part {
            nix::sys::socket::ControlMessageOwned::ScmRights(descriptors) => descriptors,
            _ => Vec::new(),
        })
        .collect();
    let length = message.bytes;
    assert_eq!(descriptors.len(), 1);
    // SAFETY: the kernel has just given us this descriptor.
    let listener = unsafe { OwnedFd::from_raw_fd(descriptors[0]) };
    text.truncate(length);
    connection.read_to_end(&mut text).unwrap();
    let state = serde_json::from_slice(&text).unwrap();

    let mut notification = Notification::default();
    // SAFETY: both structures are the kernel's.
    let received = unsafe { libc::ioctl(listener.as_raw_fd(), RECEIVE as _, &raw mut notification) };
    assert_eq!(received, 0);
    let answer = Answer { id: notification.id, value: 0, error: -errno, flags: 0 };
    // SAFETY: as above.
    assert_eq!(unsafe { libc::ioctl(listener.as_raw_fd(), SEND as _, &raw const answer) }, 0);
    (notification.number, state)
}

#[test]
fn an_agent_answers_for_the_kernel() {
    let sandbox = sandbox();
    let place = sandbox.path().join("xdg/agent.sock");
    let profile = json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "listenerPath": place,
        "listenerMetadata": "for the agent",
        "flags": ["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"],
        "syscalls": [{"names": ["mkdirat"], "action": "SCMP_ACT_NOTIFY"}],
    });
    filter(&sandbox, profile.clone(), &[number("mkdirat").to_string()]);
    sandbox.run().fails(&["linux.seccomp.listenerPath", "agent.sock", "because:"]);

    let socket = UnixListener::bind(&place).unwrap();
    if is_root() {
        std::os::unix::fs::chown(&place, Some(sandbox.uid()), Some(sandbox.uid())).unwrap();
    }
    // At once or by start, and with the filter before or after capabilities are dropped.
    for no_new_privileges in [true, false] {
        sandbox.edit(|config| config["process"]["noNewPrivileges"] = json!(no_new_privileges));
        std::thread::scope(|scope| {
            let agent = scope.spawn(|| answer_one(&socket, 55));
            assert_eq!(sandbox.run().ok().out, "55\n");
            let (called, state) = agent.join().unwrap();
            assert_eq!(called as u32, number("mkdirat"));
            assert_eq!((&state["metadata"], &state["fds"][0]), (&json!("for the agent"), &json!("seccompFd")));
            assert_eq!(state["state"]["id"], "box");
            assert!(state["pid"].as_i64().unwrap() > 1 && state["pid"] == state["state"]["pid"]);
        });
        std::thread::scope(|scope| {
            let agent = scope.spawn(|| answer_one(&socket, 56));
            let (bundle, out) = (sandbox.bundle(), sandbox.path().join("xdg/out"));
            let mut create = sandbox.command(&["create", "-b", bundle.to_str().unwrap(), "box"]);
            create.stdout(fs::File::create(&out).unwrap());
            assert!(create.status().unwrap().success());
            sandbox.rootlet(&["start", "box"]).ok();
            let (_, state) = agent.join().unwrap();
            assert_eq!(state["state"]["status"], "creating", "as with runc, before `start`");
            crate::sandbox::eventually("the program ends", || sandbox.status("box") == "stopped");
            assert_eq!(fs::read_to_string(out).unwrap(), "56\n");
            sandbox.rootlet(&["delete", "box"]).ok();
        });
    }
    sandbox.assert_clean();
}
