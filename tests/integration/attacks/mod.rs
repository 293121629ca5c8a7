//! Attacks on rootlet, each tried as an image, a config, a neighbour or a process in the container would. The tests are named
//! after them; `scripts/mutants` takes the defences out one by one and sees which of these tests notice.

mod descriptors;
mod devices;
mod inputs;
mod privileges;
mod races;
mod tracing;

use crate::sandbox::{Sandbox, binary, finish};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// For root, with a user namespace that maps its root to uid 100000.
fn remapped() -> Option<Sandbox> {
    let sandbox = Sandbox::root()?;
    let mapping = json!([{"containerID": 0, "hostID": 100_000, "size": 65536}]);
    sandbox.edit(|config| {
        config["linux"]["namespaces"].as_array_mut().unwrap().push(json!({"type": "user"}));
        config["linux"]["uidMappings"] = mapping.clone();
        config["linux"]["gidMappings"] = mapping.clone();
    });
    give(&sandbox.rootfs(), 100_000);
    Some(sandbox)
}

/// Gives a tree to a user.
fn give(place: &Path, uid: u32) {
    std::os::unix::fs::lchown(place, Some(uid), Some(uid)).unwrap();
    if place.symlink_metadata().unwrap().is_dir() {
        fs::read_dir(place).unwrap().for_each(|entry| give(&entry.unwrap().path(), uid));
    }
}

/// An ordinary user's container, root's, and root's with a user namespace; those that can be had here.
fn everybody() -> Vec<Sandbox> {
    [Some(Sandbox::ordinary()), Sandbox::root(), remapped()].into_iter().flatten().collect()
}

/// A file of the host, outside of the bundle, that no container has business with.
fn secret(sandbox: &Sandbox) -> PathBuf {
    sandbox.write("secret", "a secret of the host\n")
}

/// Writes a program into the image.
fn program(sandbox: &Sandbox, name: &str, text: &str) {
    let path = sandbox.write(&format!("bundle/rootfs/{name}"), text);
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// Adds capabilities to all sets but the inheritable and ambient ones.
fn allow(config: &mut Value, capability: &str) {
    for set in ["bounding", "effective", "permitted"] {
        config["process"]["capabilities"][set].as_array_mut().unwrap().push(json!(capability));
    }
}

/// Runs rootlet while some of its calls take longer, so that races are won.
fn slowly(sandbox: &Sandbox, delays: &str, arguments: &[&str]) -> crate::sandbox::Done {
    let strace = ["-f", "-qq", "-o", "/dev/null", "-e", delays, binary().to_str().unwrap()];
    finish(sandbox.program("strace".as_ref(), &[&strace, arguments].concat()))
}

/// True if strace(1) can be had and works here.
fn has_strace(sandbox: &Sandbox) -> bool {
    let mut strace = sandbox.program("strace".as_ref(), &["-f", "-qq", "-o", "/dev/null", "true"]);
    let works = strace.status().is_ok_and(|status| status.success());
    if !works {
        crate::sandbox::skip("strace is not installed, or does not work here");
    }
    works
}
