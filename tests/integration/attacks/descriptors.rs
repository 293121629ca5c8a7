//! What is open while the image can run: CVE-2024-21626 in all its forms, CVE-2019-5736.

use super::{allow, everybody, has_strace, program, secret};
use crate::sandbox::{Sandbox, binary, finish};
use serde_json::json;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

/// A copy of busybox on the host, which a container must not be able to execute, as a path from a descriptor.
fn bait(sandbox: &Sandbox) -> String {
    let bait = sandbox.path().join("bait");
    fs::copy("/bin/busybox", &bait).unwrap();
    fs::set_permissions(&bait, fs::Permissions::from_mode(0o755)).unwrap();
    format!("/../../../../../../../..{}", bait.display())
}

/// Descriptors that a runtime could have open.
const NUMBERS: std::ops::Range<u32> = 3..14;

#[test]
fn an_interpreter_by_a_descriptor_is_no_way_out() {
    // A script of the image whose #! line leads through what rootlet, or its caller, has open.
    for sandbox in everybody() {
        let bait = bait(&sandbox);
        let bundle = sandbox.bundle();
        for number in NUMBERS {
            program(&sandbox, "script", &format!("#!/proc/self/fd/{number}{bait} sh\necho escaped\n"));
            sandbox.edit(|config| config["process"]["args"] = json!(["/script"]));
            let run = format!("exec {} run -b {} box 7</ 9<{}", binary().display(), bundle.display(), bundle.display());
            let done = finish(sandbox.program("/bin/sh".as_ref(), &["-c", &run]));
            assert!(done.code != 0 && !done.out.contains("escaped"), "{number}: {done:?}");
        }
        sandbox.assert_clean();
    }
}

#[test]
fn a_program_by_a_descriptor_is_no_way_out() {
    for sandbox in everybody() {
        let bait = bait(&sandbox);
        let bundle = sandbox.bundle();
        for number in NUMBERS {
            let path = format!("/proc/self/fd/{number}{bait}");
            sandbox.edit(|config| config["process"]["args"] = json!([path, "echo", "escaped"]));
            let run = format!("exec {} run -b {} box 7</ 9<{}", binary().display(), bundle.display(), bundle.display());
            let done = finish(sandbox.program("/bin/sh".as_ref(), &["-c", &run]));
            assert!(done.code == 1 && !done.out.contains("escaped"), "{number}: {done:?}");
        }
        // Nor is rootlet itself a program of the container's (CVE-2019-5736).
        sandbox.edit(|config| config["process"]["args"] = json!(["/proc/self/exe", "--version"]));
        sandbox.run().fails(&["/proc/self/exe", "link of procfs"]);
    }
}

#[test]
fn nothing_is_open_in_exec_for_an_interpreter_either() {
    for sandbox in everybody() {
        let bait = bait(&sandbox);
        sandbox.sh("sleep 1000");
        for number in NUMBERS {
            program(
                &sandbox,
                &format!("script-{number}"),
                &format!("#!/proc/self/fd/{number}{bait} sh\necho escaped\n"),
            );
        }
        sandbox.start();
        for number in NUMBERS {
            let exec = |program: &str| {
                let exec = format!(
                    "exec {} exec box {program} echo escaped 7</ 9<{}",
                    binary().display(),
                    sandbox.path().display()
                );
                finish(sandbox.program("/bin/sh".as_ref(), &["-c", &exec]))
            };
            for program in [format!("/script-{number}"), format!("/proc/self/fd/{number}{bait}")] {
                let done = exec(&program);
                assert!(done.code != 0 && !done.out.contains("escaped"), "{program}: {done:?}");
            }
        }
    }
}

#[test]
fn nothing_is_open_for_a_hook_of_the_images() {
    for sandbox in everybody() {
        let bait = bait(&sandbox);
        for number in NUMBERS {
            program(&sandbox, "hook", &format!("#!/proc/self/fd/{number}{bait} sh\necho escaped >&2\nexit 3\n"));
            sandbox.sh("true");
            sandbox.edit(|config| config["hooks"] = json!({"startContainer": [{"path": "/hook"}]}));
            let done = sandbox.run();
            assert!(done.code == 1 && !done.err.contains("escaped"), "{number}: {done:?}");
        }
    }
}

#[test]
fn the_programs_descriptors_are_the_streams_and_what_is_preserved() {
    for sandbox in everybody() {
        sandbox.sh("ls /proc/self/fd; ls -l /proc/self/fd/");
        let bundle = sandbox.bundle();
        let run =
            format!("exec {} run --preserve-fds 1 -b {} box 3</dev/null 5</ 8</", binary().display(), bundle.display());
        let done = finish(sandbox.program("/bin/sh".as_ref(), &["-c", &run])).ok();
        let numbers: Vec<_> = done.out.lines().take_while(|line| line.len() < 3).collect();
        // 4 is the directory that ls reads.
        assert_eq!(numbers, ["0", "1", "2", "3", "4"], "{done:?}");
    }
}

#[test]
fn who_may_trace_sees_no_descriptor_of_a_new_process() {
    // CVE-2016-9962: a container with CAP_SYS_PTRACE, in the user namespace of the host, looks at each process that comes.
    let Some(sandbox) = Sandbox::root() else { return };
    if !has_strace(&sandbox) {
        return;
    }
    let up = "/../../../../../../../../../..";
    let secret = secret(&sandbox);
    sandbox.sh(&format!(
        "while :; do for f in /proc/[0-9]*/fd/[0-9]*; do \
         case $f in /proc/1/*) ;; *) cat $f{up}{0} 2>/dev/null; cat ${{f%/fd/*}}/cwd{up}{0} 2>/dev/null; cat ${{f%/fd/*}}/root{up}{0} 2>/dev/null;; esac; \
         done; done >/found",
        secret.display()
    ));
    sandbox.edit(|config| {
        allow(config, "CAP_SYS_PTRACE");
        config["root"]["readonly"] = json!(false);
    });
    sandbox.start();
    for call in ["close_range", "openat2", "capset", "execve"] {
        // Also what the caller of rootlet has left open.
        let rootlet = binary().display();
        let slow = format!("strace -f -qq -o /dev/null -e inject={call}:delay_enter=150000:when=1..6 {rootlet}");
        let exec = format!("exec {slow} exec box true 7</ 9<{}", sandbox.path().display());
        finish(sandbox.program("/bin/sh".as_ref(), &["-c", &exec])).ok();
    }
    assert_eq!(fs::read_to_string(sandbox.rootfs().join("found")).unwrap(), "");
}

#[test]
fn no_null_device_of_the_hosts_stays_open_where_the_container_has_spoilt_its_own() {
    let Some(sandbox) = Sandbox::root() else { return };
    let hosts = fs::metadata("/dev/null").unwrap();
    for spoil in ["rm -f /dev/null; ln -s zero /dev/null", "rm -f /dev/null", "rm -f /dev/null; : >/dev/null"] {
        sandbox.sh(&format!("{spoil}; echo ready; sleep 1000"));
        let mut run = sandbox.run_until_ready();
        let done =
            sandbox.rootlet(&["exec", "box", "sh", "-c", "stat -L -c '%d %i %t:%T' /proc/self/fd/0; cat <&0"]).ok();
        assert!(done.out.ends_with(" 1:3\n"), "{done:?}");
        assert!(!done.out.starts_with(&format!("{} {} ", hosts.dev(), hosts.ino())), "{done:?}");
        sandbox.rootlet(&["delete", "--force", "box"]).ok();
        crate::sandbox::wait(&mut run);
    }
}
