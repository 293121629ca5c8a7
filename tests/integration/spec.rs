//! `rootlet spec`: the configs that it writes, and that other runtimes can read them.

use crate::sandbox::{Sandbox, finish, skip};
use serde_json::{Value, json};
use std::fs;
use std::process::Command;

fn write_spec(sandbox: &Sandbox, flags: &[&str]) -> Value {
    let _ = fs::remove_file(sandbox.bundle().join("config.json"));
    let bundle = sandbox.bundle();
    sandbox.rootlet(&[&["spec", "--bundle", bundle.to_str().unwrap()], flags].concat()).ok();
    sandbox.config()
}

#[test]
fn rootless_is_the_default() {
    let sandbox = Sandbox::ordinary();
    let config = write_spec(&sandbox, &[]);
    assert_eq!(config["linux"]["uidMappings"], json!([{"containerID": 0, "hostID": sandbox.uid(), "size": 1}]));
    for flags in [&["--rootless"][..], &["--rootless=true"]] {
        assert_eq!(write_spec(&sandbox, flags), config);
    }
    let rootful = write_spec(&sandbox, &["--rootless=false"]);
    assert!(rootful["linux"].get("uidMappings").is_none());
    assert!(rootful.to_string().contains(r#"{"type":"network"}"#));
    let text = fs::read_to_string(sandbox.bundle().join("config.json")).unwrap();
    assert!(text.starts_with("{\n\t\"ociVersion\"") && text.ends_with('}'), "tabs, and no newline at the end");
    let bundle = sandbox.bundle();
    sandbox.rootlet(&["spec", "-b", bundle.to_str().unwrap()]).fails(&["File config.json exists. Remove it first"]);
}

#[test]
fn a_host_bundle_needs_no_image() {
    let sandbox = Sandbox::empty(Sandbox::ordinary().uid());
    let bundle = sandbox.mkdir("bundle", 0o755);
    sandbox.rootlet(&["spec", "--host", "-b", bundle.to_str().unwrap()]).ok();
    sandbox.edit(|config| {
        config["process"]["terminal"] = json!(false);
        config["process"]["args"] = json!(["bash", "-c", "id -un; hostname; cat /etc/os-release | head -c 1 | wc -c; touch /tmp/x /run/x && echo writable; touch /usr/x /etc/x /x 2>&1 | wc -l; perl -e 'print 6*7'"]);
    });
    assert_eq!(sandbox.run().ok().out, "root\nrootlet\n1\nwritable\n3\n42");
    // Programs that keep something at home, and the caller's language, terminal and limits.
    let script =
        "cd ~ && echo x >.rc && echo $HOME $LANG $TERM $SECRET; touch /var/tmp/x /home/x /run/user/x && ulimit -Sn";
    let mut command = sandbox.command(&["run", "--host", "box", "--", "bash", "-c", script]);
    command.env("HOME", sandbox.path()).env("LANG", "C.UTF-8").env("TERM", "vt100").env("SECRET", "the caller's");
    let limit = finish(sandbox.program("bash".as_ref(), &["-c", "ulimit -Sn"])).ok().out;
    assert_eq!(finish(command).ok().out, format!("/root C.UTF-8 vt100\n{limit}"));
    sandbox.assert_clean();
}

#[test]
fn other_runtimes_read_these_configs() {
    for runtime in ["runc", "crun"] {
        if Command::new(runtime).arg("--version").output().is_err() {
            skip(&format!("{runtime} is not installed"));
            continue;
        }
        let sandbox = Sandbox::ordinary();
        for flags in [&[][..], &["--rootless=false"], &["--host"]] {
            write_spec(&sandbox, flags);
            sandbox.edit(|config| {
                config["process"]["terminal"] = json!(false);
                // A program that is not there: whoever looks for it has read and followed the config.
                config["process"]["args"] = json!(["nosuch-program"]);
            });
            let bundle = sandbox.bundle();
            let root = sandbox.path().join("xdg").join(runtime);
            let done = finish(sandbox.program(
                runtime.as_ref(),
                &["--root", root.to_str().unwrap(), "run", "-b", bundle.to_str().unwrap(), "box"],
            ));
            let complaints = ["unknown", "invalid", "unmarshal", "parse", "unsupported"];
            assert!(!complaints.iter().any(|word| done.err.contains(word)), "{runtime} {flags:?}: {}", done.err);
        }
    }
}
