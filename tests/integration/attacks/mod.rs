//! Attacks on rootlet, each tried as an image, a config, a neighbour or a process in the container would. The tests are named
//! after them; `scripts/mutants` takes the defences out one by one and sees which of these tests notice.

mod descriptors;
mod devices;
mod fake_root;
mod inputs;
mod privileges;
mod races;
mod sandboxes;
mod tracing;

use crate::sandbox::{Sandbox, binary, finish};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

/// An ordinary user's container, root's, and root's with a user namespace; those that can be had here.
fn everybody() -> Vec<Sandbox> {
    [Some(Sandbox::ordinary()), Sandbox::root(), Sandbox::remapped()].into_iter().flatten().collect()
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
