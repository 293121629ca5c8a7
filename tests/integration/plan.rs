//! `rootlet plan`: what would be done, and why, without doing it.

use crate::sandbox::{Sandbox, skip};
use std::fs;
use std::path::Path;

/// The plan of the default configs is written down; a change shows in review. ROOTLET_BLESS=1 writes them anew.
#[test]
fn the_default_plans_are_as_written_down() {
    let sandbox = Sandbox::ordinary();
    let (bundle, uid) = (sandbox.bundle(), sandbox.uid().to_string());
    let is_unified = fs::metadata("/sys/fs/cgroup/cgroup.controllers").is_ok();
    if is_unified {
        return skip("the plans that are written down are those of a host with cgroup v1");
    }
    let plan = sandbox.rootlet(&["plan", "-b", bundle.to_str().unwrap()]).ok().out;
    let plan = plan.replace(bundle.to_str().unwrap(), "BUNDLE").replace(&uid, "UID");
    let place = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/plan/rootless.txt");
    if std::env::var_os("ROOTLET_BLESS").is_some() {
        fs::create_dir_all(place.parent().unwrap()).unwrap();
        fs::write(&place, &plan).unwrap();
    }
    assert_eq!(plan, fs::read_to_string(place).unwrap());
}

#[test]
fn a_plan_makes_nothing() {
    let sandbox = Sandbox::ordinary();
    let list = |path: &Path| {
        let mut names: Vec<_> = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()).collect();
        names.sort();
        names
    };
    let before = [list(&sandbox.bundle()), list(&sandbox.rootfs()), list(&sandbox.path().join("xdg"))];
    let bundle = sandbox.bundle();
    sandbox.rootlet(&["plan", "-b", bundle.to_str().unwrap()]).ok();
    assert_eq!(before, [list(&sandbox.bundle()), list(&sandbox.rootfs()), list(&sandbox.path().join("xdg"))]);
}
