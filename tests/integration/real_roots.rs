//! A whole Debian root file system, as mmdebstrap makes it, run by an ordinary user.

use crate::sandbox::{Sandbox, is_root, skip};
use serde_json::json;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// A cached Debian root, made on the first use.
pub fn debian() -> Option<PathBuf> {
    let place = std::env::temp_dir().join("rootlet-test-debian");
    if place.join("usr/bin/apt-get").exists() {
        return Some(place);
    }
    if !is_root() {
        skip("needs root to make a Debian root file system");
        return None;
    }
    if Command::new("mmdebstrap").arg("--version").stdout(Stdio::null()).status().is_err() {
        skip("mmdebstrap is not installed");
        return None;
    }
    let draft = place.with_extension(std::process::id().to_string());
    let output = Command::new("mmdebstrap")
        .args(["--variant=apt", "--include=procps,perl-base", "--dpkgopt=path-exclude=/usr/share/doc/*", "bookworm"])
        .arg(&draft)
        .output()
        .unwrap();
    if !output.status.success() {
        let _ = std::fs::remove_dir_all(&draft);
        skip(&format!(
            "mmdebstrap failed: {}",
            String::from_utf8_lossy(&output.stderr).lines().last().unwrap_or_default()
        ));
        return None;
    }
    std::fs::rename(&draft, &place).unwrap();
    Some(place)
}

#[test]
fn debian_works_for_an_ordinary_user() {
    let Some(root) = debian() else { return };
    let sandbox = Sandbox::ordinary();
    sandbox.edit(|config| {
        config["root"] = json!({"path": root, "readonly": true});
        config["mounts"].as_array_mut().unwrap().push(json!({"destination": "/tmp", "type": "tmpfs"}));
        config["process"]["args"] = json!([
            "bash", "-c",
            "apt-get --version | head -n 1; perl -e 'print 6 * 7, \"\\n\"'; whoami; set -m; sleep 1000 & jobs; kill %1; wait; ps -e -o comm= | head -n 1; echo $HOME"
        ]);
    });
    let out = sandbox.run().ok().out;
    let lines: Vec<_> = out.lines().collect();
    assert!(lines[0].starts_with("apt "), "{out}");
    assert_eq!(lines[1..3], ["42", "root"]);
    assert!(lines[3].contains("Running") && lines[3].contains("sleep 1000"), "{out}");
    assert_eq!(lines[lines.len() - 2..], ["bash", "/root"]);
    sandbox.assert_clean();
}
