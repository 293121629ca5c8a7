//! `mounts`: what the container sees besides its root, in the order of the config.

mod fuse;
mod made;
mod mapped;
pub mod options;
mod overlay;

use super::{Planner, Property, Scope, id_mappings, selinux};
use crate::error::Result;
use crate::host::Cgroups;
use crate::plan::step::MountStep;
use crate::plan::step::trees::{self, Attach, Attributes, Bind, Key, NewTree};
use crate::plan::{Entry, Phase};
use crate::spec::Mount;
use crate::sys::mount;
use options::{Options, propagations};
use std::ffi::{CStr, CString};

pub const PROPERTY: Property = Property { paths: &["mounts"], phase: Phase::Inside, scope: Scope::Create, plan };
pub const READONLY: Property =
    Property { paths: &["mounts"], phase: Phase::Jailed, scope: Scope::Create, plan: plan_readonly };

/// What lxcfs and its like serve: the only paths below /proc where a bind cannot deceive the runtime (as in runc).
const BELOW_PROC: [&str; 11] = [
    "/proc/cpuinfo",
    "/proc/diskstats",
    "/proc/meminfo",
    "/proc/stat",
    "/proc/swaps",
    "/proc/uptime",
    "/proc/loadavg",
    "/proc/slabinfo",
    "/proc/sys/kernel/ns_last_pid",
    "/proc/sys/crypto/fips_enabled",
    "/proc/net/dev",
];

/// Options of cgroup2 (the kernel's cgroup-v2.rst).
const OF_CGROUPS: [&str; 6] = [
    "nsdelegate",
    "favordynmods",
    "memory_localevents",
    "memory_recursiveprot",
    "memory_hugetlb_accounting",
    "pids_localevents",
];

fn plan(planner: &mut Planner) -> Result<()> {
    planner.each(&planner.spec.mounts, plan_mount)
}

fn plan_mount(planner: &mut Planner, mount: &Mount) -> Result<()> {
    let destination = clean(&mount.destination);
    let mut options = options::parse(&mount.options);
    if mount.destination.is_empty() {
        return Err(planner.error("destination is missing").remedy("add the path in the container, such as \"/data\""));
    }
    if destination == "/" && !may_cover_root(planner, mount, &options) {
        return Err(planner
            .error("destination is the root itself")
            .because("only the first mount may be there: a bind, a tmpfs, an overlay, or one that is served")
            .remedy("set root.path instead"));
    }
    let kind = mount.kind.as_deref().unwrap_or("none");
    if kind.starts_with("fuse.") {
        // What they mean is for the program to say.
        options.data.append(&mut options.foreign);
    }
    if !options.foreign.is_empty() {
        planner.decide(format!("{}: ignored", options.foreign.join(", ")), "it is for engines, or for mount(8)")?;
    }
    let target = planner.c_string(&destination)?;
    if options.remount {
        return remount(planner, target, &options);
    }
    if let Some(made) = kind.strip_prefix(made::PREFIX) {
        return made::plan(planner, mount, made, target, &options);
    }
    if options.bind.is_some() || kind == "bind" {
        return bind(planner, mount, &destination, target, options);
    }
    if mapped::is_mapped(mount, &options) {
        return Err(planner
            .error("an idmapped mount that is not a bind")
            .because("what is mounted afresh has the ids of the container anyway")
            .remedy("take idmap and the mappings out"));
    }
    if let Some(program) = kind.strip_prefix("fuse.") {
        return fuse::plan(planner, mount, program, target, &options);
    }
    new(planner, mount, kind, &destination, target, options)
}

/// A layer over the root, such as one that is thrown away, comes before all that is in it.
fn may_cover_root(planner: &Planner, mount: &Mount, options: &Options) -> bool {
    let is_bind = options.bind.is_some() || mount.kind.as_deref() == Some("bind");
    let is_plain = !options.remount && !options.means_symlinks() && !mapped::is_mapped(mount, options);
    let is_layer =
        mount.kind.as_deref().is_some_and(|kind| matches!(kind, "overlay" | "tmpfs") || kind.starts_with("fuse."));
    planner.current.index == Some(0) && is_plain && (is_bind || is_layer)
}

/// A path without `.`, `..` and empty parts; a relative one counts from the root (deprecated, as in runc).
pub fn clean(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

fn bind(planner: &mut Planner, mount: &Mount, destination: &str, target: CString, mut options: Options) -> Result<()> {
    let Some(source) = mount.source.as_deref().filter(|source| !source.is_empty()) else {
        return Err(planner
            .error("a bind without source")
            .remedy("add \"source\": a path on the host, or relative to the bundle"));
    };
    if let Some(data) = options.data.first() {
        return Err(planner
            .error(format!("option {data:?} is not one of a bind"))
            .because("a bind shows what is mounted already, so there is no file system to take it")
            .remedy(match options::similar(data) {
                Some(known) => format!("did you mean {known:?}? Correct or remove it"),
                None => "correct or remove it".to_owned(),
            }));
    }
    if destination.starts_with("/proc/") && !BELOW_PROC.contains(&destination) {
        return Err(planner
            .error(format!("{destination} may not be bound"))
            .because("what is mounted over parts of /proc could deceive the runtime (CVE-2019-16884)")
            .remedy("bind it elsewhere; below /proc only single files as lxcfs serves them are allowed"));
    }
    if destination == "/proc" && source != "/proc" {
        return Err(planner
            .error("only the host's /proc may be bound on /proc")
            .because("another directory could deceive the runtime (CVE-2019-16884)"));
    }
    let path = planner.request.bundle.join(source);
    if let Some(to) = options.copy_symlink.then(|| planner.host.symlink(&path)).transpose()?.flatten() {
        // As crun: the link is the container's from then on, and no mount has the options.
        let to = planner.c_string(&to)?;
        planner.step(MountStep::Symlink { path: target, to, optional: false });
        return Ok(());
    }
    let source = planner.c_string(&path)?;
    keep_access_times(planner, &mut options)?;
    if planner.shuts_devices_of(&path)? && (options.clear | options.clear_recursively) & mount::MOUNT_ATTR_NODEV == 0 {
        options.set_recursively |= mount::MOUNT_ATTR_NODEV;
    }
    let attributes = options.attributes();
    let recursive = options.bind == Some(true);
    let over_proc = destination == "/proc" || destination.starts_with("/proc/");
    if mapped::is_mapped(mount, &options) {
        if options.means_symlinks() {
            return Err(planner
                .error("idmap goes neither with src-nofollow nor with dest-nofollow")
                .remedy("name the path that the symlink leads to"));
        }
        let mapped = mapped::plan(planner, mount, &options, source)?;
        planner.step(MountStep::Attach(Box::new(Attach { mapped, target, over_proc, attributes })));
    } else {
        let (source_itself, target_itself) = (options.source_itself, options.target_itself);
        planner.step(MountStep::Bind(Bind {
            source,
            target,
            recursive,
            over_proc,
            source_itself,
            target_itself,
            inode: options.inode,
            attributes,
        }));
    }
    Ok(())
}

/// The number by which a tree is kept: its index in `mounts`.
fn tree(planner: &Planner) -> usize {
    planner.current.index.unwrap_or(0)
}

/// mount_namespaces(7): of a mount that a less privileged namespace has taken over, access time flags are locked.
fn keep_access_times(planner: &mut Planner, options: &mut Options) -> Result<()> {
    const TIMES: u64 = mount::MOUNT_ATTR__ATIME | mount::MOUNT_ATTR_NODIRATIME;
    let asked = options.set | options.clear | options.set_recursively | options.clear_recursively;
    if !planner.has_other_user_namespace() || asked & TIMES == 0 {
        return Ok(());
    }
    for attributes in
        [&mut options.set, &mut options.clear, &mut options.set_recursively, &mut options.clear_recursively]
    {
        *attributes &= !TIMES;
    }
    planner.decide("access time options are left out", "a user namespace may not change them on the host's mounts")
}

fn remount(planner: &mut Planner, target: CString, options: &Options) -> Result<()> {
    if options.bind.is_none() && !options.data.is_empty() {
        let data = Some(planner.c_string(options.data.join(","))?);
        planner.step(MountStep::Remount { target: target.clone(), flags: options.flags, data });
    }
    for attributes in options.attributes() {
        planner.step(MountStep::SetMountAttributes {
            target: target.clone(),
            attributes,
            itself: options.means_symlinks(),
        });
    }
    Ok(())
}

fn new(
    planner: &mut Planner,
    mount: &Mount,
    kind: &str,
    destination: &str,
    target: CString,
    mut options: Options,
) -> Result<()> {
    if kind == "none" || kind.is_empty() {
        return Err(planner
            .error("neither a file system type nor a bind")
            .remedy("add \"type\", or \"rbind\" to the options"));
    }
    if kind == "sysfs" && !planner.spec.has_new_namespace("network") && planner.has_other_user_namespace() {
        let reason = "sysfs can be mounted afresh only with a network namespace of the container's own";
        planner.decide("the host's /sys is bound, read-only with all below it", reason)?;
        return bind_host(planner, c"/sys", target);
    }
    if kind == "proc" && planner.has_other_user_namespace() && planner.spec.namespace("pid").is_none() {
        planner.decide(
            "the caller's /proc is bound",
            "the container shares the caller's processes, and /proc of those cannot be mounted afresh",
        )?;
        let attributes = options.attributes();
        let source = c"/proc".into();
        planner.step(MountStep::Bind(Bind {
            source,
            target,
            recursive: true,
            over_proc: true,
            attributes,
            ..Bind::default()
        }));
        return Ok(());
    }
    let kind = if kind == "cgroup" { "cgroup2" } else { kind };
    if kind == "cgroup2" {
        // CVE-2023-25809: without a cgroup namespace, what is visible is the host's tree.
        let owns_none = planner.has_other_user_namespace() || !planner.host.in_initial_user_namespace()?;
        if owns_none && !planner.spec.has_new_namespace("cgroup") {
            planner.decide(
                "the host's /sys/fs/cgroup is bound, read-only with all below it",
                "cgroup2 can be mounted only with a cgroup namespace of the container's own",
            )?;
            return bind_host(planner, c"/sys/fs/cgroup", target);
        }
        if planner.host.cgroups()? == Cgroups::Legacy {
            planner.decide("cgroup v2 is mounted", "rootlet does not drive the v1 controllers that this host uses")?;
        }
        if let Some(option) = options.data.iter().find(|option| !OF_CGROUPS.contains(&option.as_str())) {
            return Err(planner
                .error(format!("{option:?} is not an option of cgroup v2"))
                .remedy("correct or remove it; see `man 7 cgroups`"));
        }
        // They are the host's to choose: a mount in the first cgroup namespace changes them for all, and what it does not say
        // is switched off, nsdelegate with it. In another namespace they are ignored.
        options.data = match planner.spec.has_new_namespace("cgroup") {
            true => Vec::new(),
            false => planner.host.hierarchy_options(&OF_CGROUPS)?,
        };
        if shows_cgroups(planner, destination) {
            // The same file system twice on one mount point is EBUSY, and a bound /sys shows it there.
            planner.step(MountStep::Mount(trees::Mount {
                source: c"tmpfs".into(),
                target: target.clone(),
                kind: c"tmpfs".into(),
                flags: mount::MS_RDONLY | mount::MS_NOSUID | mount::MS_NODEV | mount::MS_NOEXEC,
                data: Some(c"size=0k".into()),
                real_directory: false,
            }));
        }
    }
    drop_unmapped_ids(planner, &mut options)?;
    if kind == "overlay" {
        overlay::adapt(planner, &mut options);
    }
    if matches!(kind, "tmpfs" | "devpts" | "mqueue" | "overlay") {
        options.data.extend(selinux::mount_label(planner));
    }
    if options.copy_up && kind != "tmpfs" {
        return Err(planner
            .error("tmpcopyup is an option of tmpfs alone")
            .remedy("set \"type\" to \"tmpfs\", or leave the option out"));
    }
    options.flags = options.flags_of_new();
    // What is mounted in a user namespace has no devices anyway.
    let is_dead = kind == "tmpfs" && planner.has_other_user_namespace();
    if planner.shuts_devices && !is_dead && !matches!(kind, "proc" | "sysfs" | "devpts" | "mqueue" | "cgroup2") {
        options.flags |= mount::MS_NODEV;
    }
    let source = planner.c_string(mount.source.as_deref().unwrap_or(kind))?;
    // Mounts below it must find their mount points made; it becomes read-only when all are there.
    let becomes_readonly = kind == "tmpfs" && options.flags & mount::MS_RDONLY != 0;
    let propagation: Vec<_> = propagations(&options.propagation).filter(|one| is_a_change(planner, *one)).collect();
    // As with the peers: tmpfs alone would be open to everybody.
    let takes_mode = kind == "tmpfs" && !options.data.iter().any(|option| option.starts_with("mode="));
    if becomes_readonly || options.copy_up || takes_mode || destination == "/" || !propagation.is_empty() {
        if becomes_readonly {
            options.flags &= !mount::MS_RDONLY;
        }
        let tree = NewTree {
            target,
            kind: planner.c_string(kind)?,
            source,
            options: keys(planner, &options)?,
            set: options::attributes_of(options.flags),
            attributes: propagation.into_boxed_slice(),
            copies: options.copy_up,
            takes_mode,
            number: becomes_readonly.then(|| tree(planner)),
        };
        planner.step(MountStep::MakeTree(Box::new(tree)));
        return Ok(());
    }
    let data = match options.data.is_empty() {
        true => None,
        false => Some(planner.c_string(options.data.join(","))?),
    };
    let real_directory = matches!(kind, "proc" | "sysfs") || matches!(destination, "/proc" | "/sys" | "/dev");
    let kind = planner.c_string(kind)?;
    planner.step(MountStep::Mount(trees::Mount { source, target, kind, flags: options.flags, data, real_directory }));
    Ok(())
}

/// A new mount is nobody's peer and nobody's slave, unless the one that it is on is shared.
fn is_a_change(planner: &Planner, attributes: Attributes) -> bool {
    let is_shared = |option: &String| matches!(option.as_str(), "shared" | "rshared");
    !matches!(attributes.propagation, mount::MS_PRIVATE | mount::MS_SLAVE)
        || planner.spec.mounts.iter().any(|mount| mount.options.iter().any(is_shared))
}

/// The options of a file system as fsconfig(2) takes them.
fn keys(planner: &Planner, options: &Options) -> Result<Box<[Key]>> {
    let flags = options::superblock_keys(options.flags);
    flags.into_iter().chain(options.data.iter().map(String::as_str)).map(|option| key(planner, option)).collect()
}

fn key(planner: &Planner, option: &str) -> Result<Key> {
    let (key, value) = option.split_once('=').map_or((option, None), |(key, value)| (key, Some(value)));
    if value.is_some_and(|value| value.len() > 255) {
        return Err(planner
            .error(format!("option {key} is longer than 255 bytes"))
            .because("over the root, with a propagation, or to be made read-only later, the kernel takes no longer one")
            .remedy("choose shorter paths, or leave the propagation out"));
    }
    let value = value.map(|value| planner.c_string(value.trim_matches('"'))).transpose()?;
    Ok((planner.c_string(key)?, value))
}

/// Whether the last of the earlier mounts there, or above it, has cgroup2 there: the same, or a bind of what it is in.
fn shows_cgroups(planner: &Planner, destination: &str) -> bool {
    let is_above = |target: &CStr| {
        let rest = destination.strip_prefix(&*target.to_string_lossy());
        rest.is_some_and(|rest| rest.starts_with('/') || target == c"/")
    };
    let is_it = |target: &CStr| target.to_bytes() == destination.as_bytes();
    planner.plan.entries.iter().filter_map(Entry::mount_step).fold(false, |shown, step| match step {
        MountStep::Mount(mount) if is_it(&mount.target) => mount.kind.as_c_str() == c"cgroup2",
        MountStep::Mount(mount) if is_above(&mount.target) => false,
        MountStep::Bind(bind) if is_above(&bind.target) => true,
        _ => shown,
    })
}

fn bind_host(planner: &mut Planner, source: &CStr, target: CString) -> Result<()> {
    let set = mount::MOUNT_ATTR_RDONLY | mount::MOUNT_ATTR_NOSUID | mount::MOUNT_ATTR_NODEV | mount::MOUNT_ATTR_NOEXEC;
    let attributes = Attributes { set, propagation: mount::MS_PRIVATE, recursive: true, ..Attributes::default() };
    planner.step(MountStep::Bind(Bind {
        source: source.into(),
        target,
        recursive: true,
        attributes: Box::new([attributes]),
        ..Bind::default()
    }));
    Ok(())
}

/// `gid=5` of devpts fails with EINVAL where group 5 is not mapped.
fn drop_unmapped_ids(planner: &mut Planner, options: &mut Options) -> Result<()> {
    for option in &options.data {
        let id = ["uid=", "gid="].iter().find_map(|name| option.strip_prefix(name)?.parse().ok());
        id.map_or(Ok(()), |id| planner.check_id(option.get(..3).unwrap_or_default(), id))?;
    }
    if !planner.has_new_user_namespace() {
        return Ok(());
    }
    let linux = planner.spec.linux();
    for (prefix, mappings) in [("uid=", &linux.uid_mappings), ("gid=", &linux.gid_mappings)] {
        let is_unmapped = |option: &String| {
            let id = option.strip_prefix(prefix).and_then(|id| id.parse().ok());
            // Without mappings, the caller is 0.
            id.is_some_and(|id: u32| if mappings.is_empty() { id != 0 } else { !id_mappings::is_mapped(mappings, id) })
        };
        while let Some(position) = options.data.iter().position(is_unmapped) {
            let option = options.data.remove(position);
            planner.decide(format!("option {option} is left out"), "the id is not mapped in the container")?;
        }
    }
    Ok(())
}

/// tmpfs mounts that the config wants read-only: after all mounts and devices.
fn plan_readonly(planner: &mut Planner) -> Result<()> {
    let kept = planner.plan.entries.iter().filter_map(Entry::mount_step).filter_map(|step| match step {
        MountStep::MakeTree(tree) => Some((tree.number?, tree.target.clone())),
        _ => None,
    });
    for (tree, target) in kept.collect::<Vec<_>>() {
        planner.current.index = Some(tree);
        let attributes = Attributes { set: mount::MOUNT_ATTR_RDONLY, ..Attributes::default() };
        planner.step(MountStep::SetTreeAttributes { tree, target, attributes });
    }
    planner.current.index = None;
    Ok(())
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_destination_stays_below_the_root() {
        for (path, clean) in [("/a/../../b", "/b"), ("a//b/./c/", "/a/b/c"), ("/..", "/"), ("", "/")] {
            assert_eq!(super::clean(path), clean);
        }
    }
}
