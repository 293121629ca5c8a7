//! `mounts`: what the container sees besides its root, in the order of the config.

use super::mount_options::{self, Options};
use super::{Planner, Property, id_mappings};
use crate::error::Result;
use crate::host::Cgroups;
use crate::plan::{Phase, Step};
use crate::spec::Mount;
use crate::sys::mount;
use std::ffi::CString;

pub const PROPERTY: Property = Property { path: "mounts", phase: Phase::Inside, plan };
pub const READONLY: Property = Property { path: "mounts", phase: Phase::Jailed, plan: plan_readonly };

/// What lxcfs and its like serve: the only places below /proc where a bind cannot deceive the runtime (as in runc).
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

fn plan(planner: &mut Planner) -> Result<()> {
    for (index, mount) in planner.spec.mounts.iter().enumerate() {
        planner.at(index);
        plan_mount(planner, mount)?;
    }
    Ok(())
}

fn plan_mount(planner: &mut Planner, mount: &Mount) -> Result<()> {
    let destination = clean(&mount.destination);
    if destination == "/" {
        let (message, remedy) = match mount.destination.is_empty() {
            true => ("destination is missing", "add the path in the container, such as \"/data\""),
            false => ("destination is the root itself", "set root.path instead"),
        };
        return Err(planner.error(message).remedy(remedy));
    }
    let options = mount_options::parse(&mount.options);
    if options.id_mapped || !mount.uid_mappings.is_empty() || !mount.gid_mappings.is_empty() {
        return Err(planner
            .error("idmapped mounts are not supported by this version of rootlet")
            .remedy("take idmap and the mappings out"));
    }
    let kind = mount.kind.as_deref().unwrap_or("none");
    let target = planner.c_string(&destination)?;
    if options.remount {
        return remount(planner, target, &options);
    }
    if options.bind.is_some() || kind == "bind" {
        return bind(planner, mount, &destination, target, options);
    }
    new(planner, mount, kind, &destination, target, options)
}

/// A path without `.`, `..` and empty parts; a relative one counts from the root (deprecated, as in runc).
fn clean(path: &str) -> String {
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
            .remedy("correct or remove it"));
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
    let source = planner.c_string(&planner.request.bundle.join(source).to_string_lossy())?;
    keep_access_times(planner, &mut options)?;
    let recursive = options.bind == Some(true);
    planner.step(Step::Bind { source, target: target.clone(), recursive, over_proc: destination.starts_with("/proc") });
    attributes(planner, target, &options);
    Ok(())
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

fn attributes(planner: &mut Planner, target: CString, options: &Options) {
    if options.set | options.clear != 0 {
        let (set, clear) = (options.set, options.clear);
        planner.step(Step::SetMountAttributes { target: target.clone(), set, clear, propagation: 0, recursive: false });
    }
    attributes_of_any(planner, target, options);
}

/// What mount(2) of a new file system cannot say in the same call.
fn attributes_of_any(planner: &mut Planner, target: CString, options: &Options) {
    let (set, clear) = (options.set_recursively, options.clear_recursively);
    if set | clear != 0 {
        planner.step(Step::SetMountAttributes { target: target.clone(), set, clear, propagation: 0, recursive: true });
    }
    for flags in &options.propagation {
        let (recursive, propagation) = (flags & mount::MS_REC != 0, flags & !mount::MS_REC);
        planner.step(Step::SetMountAttributes { target: target.clone(), set: 0, clear: 0, propagation, recursive });
    }
}

fn remount(planner: &mut Planner, target: CString, options: &Options) -> Result<()> {
    if options.bind.is_none() && !options.data.is_empty() {
        let data = Some(planner.c_string(&options.data.join(","))?);
        planner.step(Step::Remount { target: target.clone(), flags: options.flags, data });
    }
    attributes(planner, target, options);
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
        let step = Step::Bind { source: c"/proc".into(), target: target.clone(), recursive: true, over_proc: true };
        planner.step(step);
        attributes(planner, target, &options);
        return Ok(());
    }
    let kind = if kind == "cgroup" { "cgroup2" } else { kind };
    if kind == "cgroup2" {
        if planner.host.cgroups() == Cgroups::Legacy {
            planner.decide("cgroup v2 is mounted", "rootlet does not drive the v1 controllers that this host uses")?;
        }
        // CVE-2023-25809: without a cgroup namespace, what is visible is the host's tree.
        if planner.has_other_user_namespace() && !planner.spec.has_new_namespace("cgroup") {
            planner.decide(
                "the host's /sys/fs/cgroup is bound, read-only with all below it",
                "cgroup2 can be mounted only with a cgroup namespace of the container's own",
            )?;
            return bind_host(planner, c"/sys/fs/cgroup", target);
        }
        options.data.clear();
        if is_below_bind(planner, destination) {
            // The bound /sys shows cgroup2 there, and the same file system twice on one place is EBUSY.
            let step = Step::Mount {
                source: c"tmpfs".into(),
                target: target.clone(),
                kind: c"tmpfs".into(),
                flags: mount::MS_NOSUID | mount::MS_NODEV | mount::MS_NOEXEC,
                data: Some(c"size=0k".into()),
                real_directory: false,
            };
            planner.step(step);
        }
    }
    drop_unmapped_ids(planner, &mut options)?;
    let data = match options.data.is_empty() {
        true => None,
        false => Some(planner.c_string(&options.data.join(","))?),
    };
    if kind == "tmpfs" {
        // Mounts below it must find their places made; it becomes read-only when all are there.
        options.flags &= !mount::MS_RDONLY;
    }
    if options.copy_up {
        if kind != "tmpfs" {
            return Err(planner
                .error("tmpcopyup is an option of tmpfs alone")
                .remedy("set \"type\" to \"tmpfs\", or leave the option out"));
        }
        planner.step(Step::MountCopy { target: target.clone(), flags: options.flags, data });
    } else {
        let source = planner.c_string(mount.source.as_deref().unwrap_or(kind))?;
        let real_directory = matches!(kind, "proc" | "sysfs") || matches!(destination, "/proc" | "/sys" | "/dev");
        planner.step(Step::Mount {
            source,
            target: target.clone(),
            kind: planner.c_string(kind)?,
            flags: options.flags,
            data,
            real_directory,
        });
    }
    attributes_of_any(planner, target, &options);
    Ok(())
}

/// True if an earlier mount is a bind of a directory above.
fn is_below_bind(planner: &Planner, destination: &str) -> bool {
    planner.plan.entries.iter().any(|entry| match &entry.step {
        Step::Bind { target, .. } => {
            destination.strip_prefix(&*target.to_string_lossy()).is_some_and(|rest| rest.starts_with('/'))
        }
        _ => false,
    })
}

fn bind_host(planner: &mut Planner, source: &std::ffi::CStr, target: CString) -> Result<()> {
    planner.step(Step::Bind { source: source.into(), target: target.clone(), recursive: true, over_proc: false });
    let set = mount::MOUNT_ATTR_RDONLY | mount::MOUNT_ATTR_NOSUID | mount::MOUNT_ATTR_NODEV | mount::MOUNT_ATTR_NOEXEC;
    planner.step(Step::SetMountAttributes { target, set, clear: 0, propagation: 0, recursive: true });
    Ok(())
}

/// `gid=5` of devpts fails with EINVAL where group 5 is not mapped.
fn drop_unmapped_ids(planner: &mut Planner, options: &mut Options) -> Result<()> {
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
    for (index, mount) in planner.spec.mounts.iter().enumerate() {
        planner.at(index);
        let options = mount_options::parse(&mount.options);
        if mount.kind.as_deref() == Some("tmpfs")
            && options.bind.is_none()
            && options.flags & mount::MS_RDONLY != 0
            && !options.remount
        {
            let target = planner.c_string(&clean(&mount.destination))?;
            planner.step(Step::SetMountAttributes {
                target,
                set: mount::MOUNT_ATTR_RDONLY,
                clear: 0,
                propagation: 0,
                recursive: false,
            });
        }
    }
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
