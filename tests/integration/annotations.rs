//! What peers read in annotations, and flags of theirs.

use crate::sandbox::{Sandbox, eventually};
use serde_json::json;
use std::fs;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;

fn listen(sandbox: &Sandbox, name: &str) -> (UnixListener, String) {
    let path = sandbox.path().join(name);
    let listener = UnixListener::bind(&path).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o777)).unwrap();
    (listener, path.to_str().unwrap().to_owned())
}

#[test]
fn what_only_crun_would_follow_is_said() {
    let sandbox = Sandbox::ordinary();
    sandbox.sh("true");
    sandbox.edit(|config| config["annotations"] = json!({"run.oci.handler": "wasm", "org.example": "free text"}));
    let done = sandbox.run().ok();
    assert!(done.err.starts_with("warning: config.json: annotations: run.oci.handler is not followed"), "{done:?}");
    assert_eq!(done.err.lines().count(), 1, "{done:?}");
    sandbox.run_with(&["--strict"]).fails(&["run.oci.handler is not followed"]);
}

#[test]
fn a_receiver_gets_the_pidfd() {
    let sandbox = Sandbox::ordinary();
    let (listener, path) = listen(&sandbox, "pidfd.sock");
    sandbox.sh("sleep 1000");
    sandbox.edit(|config| config["annotations"] = json!({"run.oci.pidfd_receiver": path}));
    sandbox.start();
    let mut text = String::new();
    listener.accept().unwrap().0.read_to_string(&mut text).unwrap();
    let state: serde_json::Value = serde_json::from_str(&sandbox.rootlet(&["state", "box"]).ok().out).unwrap();
    assert_eq!(text, state["pid"].to_string());
    sandbox.rootlet(&["delete", "-f", "box"]).ok();
    fs::remove_file(path).unwrap();
    sandbox.on_bundle(&["run", "-d", "box"]).fails(&["pidfd.sock", "must listen there"]);
    sandbox.assert_clean();
}

#[test]
fn hooks_write_to_the_files_that_are_named() {
    let sandbox = Sandbox::ordinary();
    sandbox.sh("true");
    let (out, err) = (sandbox.path().join("xdg/out"), sandbox.path().join("xdg/err"));
    sandbox.edit(|config| {
        config["annotations"] = json!({"run.oci.hooks.stdout": out, "run.oci.hooks.stderr": err});
        for kind in ["createRuntime", "createContainer", "poststart", "poststop"] {
            let script = format!("echo {kind}; echo {kind} >&2");
            config["hooks"][kind] = json!([{"path": "/bin/sh", "args": ["sh", "-c", script]}]);
        }
    });
    sandbox.run().ok();
    // Inside, both go to one place.
    let expected = "createRuntime\ncreateContainer\ncreateContainer\npoststart\npoststop\n";
    assert_eq!(fs::read_to_string(&out).unwrap(), expected);
    assert_eq!(fs::read_to_string(&err).unwrap(), "createRuntime\npoststart\npoststop\n");
    sandbox.edit(|config| config["annotations"] = json!({"run.oci.hooks.stdout": "/nosuch/file"}));
    sandbox.run().fails(&["run.oci.hooks.stdout: cannot open /nosuch/file"]);
    // Nobody waits for who reads a fifo.
    let fifo = sandbox.path().join("xdg/fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::from_bits_truncate(0o666)).unwrap();
    nix::unistd::chown(&fifo, Some(sandbox.uid().into()), None).unwrap();
    sandbox.edit(|config| config["annotations"] = json!({"run.oci.hooks.stdout": fifo}));
    sandbox.run().fails(&["run.oci.hooks.stdout: cannot open", "ENXIO"]);
    // Where no hook is run, nothing is made.
    sandbox.edit(|config| {
        config["annotations"] = json!({"run.oci.hooks.stdout": sandbox.path().join("xdg/none")});
        config["hooks"] = json!({"startContainer": [{"path": "/bin/true"}]});
    });
    sandbox.run().ok();
    assert!(!sandbox.path().join("xdg/none").exists());
    sandbox.assert_clean();
}

#[test]
fn a_filter_may_come_compiled() {
    let sandbox = Sandbox::ordinary();
    sandbox.sh("mkdir /tmp/x 2>&1; echo $?; grep Seccomp: /proc/self/status");
    sandbox.edit(|config| {
        config["linux"]["seccomp"] = json!({"defaultAction": "SCMP_ACT_ERRNO"});
        config["root"]["readonly"] = json!(false);
    });
    // ld [nr]; jeq mkdir(at); ret errno 5; ret allow
    let number = |name: &str| if name == "mkdir" && cfg!(target_arch = "x86_64") { 83u32 } else { 34 };
    let program = [
        (0x20u16, 0u8, 0u8, 0u32),
        (0x15, 0, 1, number("mkdir")),
        (0x06, 0, 0, 0x0005_0005),
        (0x06, 0, 0, 0x7fff_0000),
    ];
    let bytes: Vec<u8> = program
        .iter()
        .flat_map(|(code, jt, jf, k)| [&code.to_ne_bytes()[..], &[*jt, *jf], &k.to_ne_bytes()].concat())
        .collect();
    let annotate =
        |text: &str| sandbox.edit(|config| config["annotations"] = json!({"run.oci.seccomp_bpf_data": text}));
    annotate(&base64(&bytes));
    assert_eq!(sandbox.run().ok().out, "mkdir: can't create directory '/tmp/x': Input/output error\n1\nSeccomp:\t2\n");
    for (wrong, why) in [("!", "not base64"), ("AAAA", "8 bytes"), (&base64(&[0xff; 8]), "seccomp")] {
        annotate(wrong);
        sandbox.run().fails(&[why]);
    }
    sandbox.assert_clean();
}

fn base64(bytes: &[u8]) -> String {
    let letters = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let group = |part: &[u8]| {
        let bits = part.iter().fold(0u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - part.len()));
        (0..4)
            .map(
                |place| {
                    if place <= part.len() { letters[(bits >> (18 - 6 * place) & 63) as usize] as char } else { '=' }
                },
            )
            .collect::<String>()
    };
    bytes.chunks(3).map(group).collect()
}

#[test]
fn many_containers_are_meant_by_one_expression() {
    let sandbox = Sandbox::ordinary();
    sandbox.sh("sleep 1000");
    for id in ["test-1", "test-2", "other"] {
        sandbox.on_bundle(&["run", "-d", id]).ok();
    }
    sandbox.rootlet(&["kill", "--regex", "^test-", "KILL"]).ok();
    eventually("both have stopped", || sandbox.status("test-1") == "stopped" && sandbox.status("test-2") == "stopped");
    assert_eq!(sandbox.status("other"), "running");
    sandbox.rootlet(&["kill", "--regex", "test", "KILL"]).fails_twice("container not running");
    // One that cannot be deleted keeps no other.
    let done = sandbox.rootlet(&["delete", "--regex", "."]);
    assert!(done.code == 1 && done.err.contains("other: cannot delete container"), "{done:?}");
    assert_eq!(sandbox.rootlet(&["list", "-q"]).ok().out, "other\n");
    sandbox.rootlet(&["delete", "--regex", "nobody"]).ok();
    sandbox.rootlet(&["delete", "-f", "--regex", "("]).fails(&["is no regular expression"]);
    sandbox.rootlet(&["delete", "-f", "--regex", "o.*r"]).ok();
    sandbox.assert_clean();
}

impl crate::sandbox::Done {
    #[track_caller]
    fn fails_twice(self, words: &str) {
        assert!(self.code == 1 && self.err.matches(words).count() == 2, "{self:?}");
    }
}

#[test]
fn a_config_may_have_another_name() {
    let sandbox = Sandbox::ordinary();
    sandbox.sh("echo from another");
    let (bundle, elsewhere) = (sandbox.bundle(), sandbox.path().join("xdg/whole.json"));
    fs::rename(bundle.join("config.json"), bundle.join("other.json")).unwrap();
    fs::copy(bundle.join("other.json"), &elsewhere).unwrap();
    for name in ["other.json", elsewhere.to_str().unwrap()] {
        let done = sandbox.rootlet(&["run", "-b", bundle.to_str().unwrap(), "--config", name, "box"]).ok();
        assert_eq!(done.out, "from another\n");
    }
    sandbox.run().fails(&["config.json", "missing"]);
    let spec = |flags: &[&str]| {
        sandbox.rootlet(&[&["spec", "-b", bundle.to_str().unwrap(), "-f", "other.json"], flags].concat())
    };
    spec(&[]).fails(&["File other.json exists", "--force"]);
    assert!(fs::read_to_string(bundle.join("other.json")).unwrap().contains("from another"));
    spec(&["--force"]).ok();
    assert!(!fs::read_to_string(bundle.join("other.json")).unwrap().contains("from another"));
    assert_eq!(fs::read_dir(&bundle).unwrap().count(), 2, "no draft is left");
}
