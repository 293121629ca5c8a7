//! `linux.devices`, and the nodes and links of /dev that every container has.

use super::{Planner, Property, Scope, annotations};
use crate::error::Result;
use crate::plan::Phase;
use crate::plan::step::MountStep;
use crate::plan::step::nodes::{HostNode, Node};
use crate::spec::Device;
use std::path::Path;

pub const PROPERTY: Property = Property { paths: &["linux.devices"], phase: Phase::Inside, scope: Scope::Create, plan };

/// config-linux.md, default devices. /dev/console comes with the terminal, /dev/ptmx is a link.
const DEFAULT: [(&str, i64, i64); 6] = [
    ("/dev/null", 1, 3),
    ("/dev/zero", 1, 5),
    ("/dev/full", 1, 7),
    ("/dev/random", 1, 8),
    ("/dev/urandom", 1, 9),
    ("/dev/tty", 5, 0),
];

/// runtime-linux.md, dev symbolic links.
const LINKS: [(&str, &str); 5] = [
    ("/dev/ptmx", "pts/ptmx"),
    ("/dev/fd", "/proc/self/fd"),
    ("/dev/stdin", "/proc/self/fd/0"),
    ("/dev/stdout", "/proc/self/fd/1"),
    ("/dev/stderr", "/proc/self/fd/2"),
];

fn plan(planner: &mut Planner) -> Result<()> {
    let devices = &planner.spec.linux().devices;
    if annotations::find(planner.spec, annotations::DEVICES) == Some("false") {
        return plan_listed(planner);
    }
    // Where the config binds a whole /dev, its nodes are there.
    if planner
        .spec
        .mounts
        .iter()
        .any(|mount| mount.destination.trim_end_matches('/') == "/dev" && mount.kind.as_deref() != Some("tmpfs"))
    {
        return plan_listed(planner);
    }
    for (path, major, minor) in DEFAULT {
        if devices.iter().any(|device| device.path.trim_end_matches('/') == path) {
            continue;
        }
        let device = Device {
            kind: "c".to_owned(),
            path: path.to_owned(),
            major: Some(major),
            minor: Some(minor),
            file_mode: Some(0o666),
            ..Device::default()
        };
        plan_device(planner, &device)?;
    }
    for (path, to) in LINKS {
        let (path, to) = (planner.c_string(path)?, planner.c_string(to)?);
        planner.step(MountStep::Symlink { path, to, optional: true });
    }
    plan_listed(planner)
}

fn plan_listed(planner: &mut Planner) -> Result<()> {
    planner.each(&planner.spec.linux().devices, plan_device)
}

fn plan_device(planner: &mut Planner, device: &Device) -> Result<()> {
    let kind = match device.kind.as_str() {
        "c" | "u" => S_IFCHR,
        "b" => S_IFBLK,
        "p" => S_IFIFO,
        other => return Err(planner.error(format!("type {other:?}")).remedy("write \"c\", \"b\", \"u\" or \"p\"")),
    };
    let node = device.path.trim_end_matches('/');
    if !node.starts_with('/') {
        return Err(planner
            .error(format!("path {:?} is not an absolute path of a node", device.path))
            .remedy("write a path such as \"/dev/fuse\""));
    }
    if node.split('/').any(|part| matches!(part, "." | "..")) {
        return Err(planner
            .error(format!("path {:?} has . or .. in it", device.path))
            .because("an ordinary user's devices are the host's at the same path, and that must be plain to see")
            .remedy("write the path itself"));
    }
    for (name, id) in [("uid", device.uid), ("gid", device.gid)] {
        id.map_or(Ok(()), |id| planner.check_id(name, id))?;
    }
    let number = |number: Option<i64>, name: &str| match number {
        Some(number) => {
            u32::try_from(number).map_err(|_| planner.error(format!("{name} {number} is not a device number")))
        }
        None if kind == S_IFIFO => Ok(0),
        None => Err(planner.error(format!("{name} is missing")).remedy("see `ls -l` of the host's device")),
    };
    let (major, minor) = (number(device.major, "major")?, number(device.minor, "minor")?);
    if LINKS.iter().any(|(link, _)| *link == node) {
        // As in runc, /dev/ptmx is a link to that of the container's own devpts, also where an engine lists all of the host's
        // devices.
        return Ok(());
    }
    let path = planner.c_string(node)?;
    let is_dead = planner.has_other_user_namespace() || !planner.host.may_make_devices()? || planner.shuts_devices;
    if kind != S_IFIFO && is_dead {
        // mknod(2): a device node made in a user namespace could be used nowhere, so the kernel refuses; and where no program
        // decides about devices, only what is bound can be.
        // It is the host's own node: nobody who could may change its mode or owner. To a device one can write all the same.
        let readonly = !planner.host.is_ordinary_user();
        // Engines repeat what the host's node has; and whose it is there says nothing of who it is in the container.
        let asked = device.file_mode.map(|mode| mode & 0o7777);
        if let (Some(asked), Some(mode)) = (asked, planner.host.permissions(Path::new(node))?)
            && asked != mode
        {
            planner.decide(
                format!("{node} keeps the permissions and owner that it has on the host, {mode:o}"),
                "a user namespace shows the host's own node",
            )?;
        } else if device.uid.is_some_and(|uid| uid != 0) || device.gid.is_some_and(|gid| gid != 0) {
            planner.decide(
                format!("{node} keeps the owner that it has on the host"),
                "a user namespace shows the host's own node",
            )?;
        }
        let node = Node { path: path.clone(), mode: kind, major, minor, ..Node::default() };
        planner.step(MountStep::BindNode(HostNode { source: path, node, readonly }));
    } else {
        let mode = kind | device.file_mode.unwrap_or(0o666) & 0o7777;
        let (uid, gid) = (device.uid.unwrap_or(0), device.gid.unwrap_or(0));
        planner.step(MountStep::MakeNode(Node { path, mode, major, minor, uid, gid }));
    }
    Ok(())
}

/// inode(7).
const S_IFIFO: u32 = 0o010000;
const S_IFCHR: u32 = 0o020000;
const S_IFBLK: u32 = 0o060000;
