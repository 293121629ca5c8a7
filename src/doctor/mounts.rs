//! File systems that a container mounts afresh in its own namespaces.

use super::causes::{Proc, apparmor, cause, filter, is_filtered, is_restricted_by_apparmor, of_proc};
use super::trial::{self, Trial};
use super::{Finding, Need};
use crate::host::Host;
use crate::sys::namespace::*;
use crate::sys::{Errno, fd, mount, process};
use std::ffi::CStr;
use std::os::fd::AsFd;

/// The type, the subject, and what it means to be without.
const KINDS: [(&CStr, &str, &str); 6] = [
    (
        c"proc",
        "fresh /proc",
        "a container with processes of its own cannot see them: leave the pid namespace out, then /proc is bound",
    ),
    (c"sysfs", "fresh /sys", "a container with a network of its own shows the host's devices in /sys"),
    (c"tmpfs", "tmpfs", "a container has no /dev of its own"),
    (c"devpts", "devpts", "a container has no terminals"),
    (c"mqueue", "mqueue", "a container has no POSIX message queues: leave /dev/mqueue out"),
    (c"cgroup2", "cgroup2 mount", "a container cannot see its cgroup: leave /sys/fs/cgroup out"),
];

pub fn probe(host: &Host) -> Vec<Finding> {
    let map = trial::map_ids(host.uid, host.gid);
    let fresh = |kind: &'static CStr| move || mount::make_tree(kind, kind, std::iter::empty(), 0).map(drop);
    let fresh: Vec<_> = KINDS.iter().map(|(kind, ..)| fresh(kind)).collect();
    let private = || mount::propagate_root(mount::MS_REC | mount::MS_SLAVE);
    let bind = || mount::open_tree(c"/", true).map(drop);
    let overlay = || {
        // In a file system of this process alone.
        let root = fd::open(c"/", fd::O_PATH | fd::O_DIRECTORY, 0)?;
        let tree = mount::make_tree(c"tmpfs", c"tmpfs", std::iter::empty(), 0)?;
        for name in [c"lower", c"upper", c"work"] {
            fd::make_dir_at(tree.as_fd(), name, 0o755)?;
        }
        mount::attach(tree.as_fd(), root.as_fd())?;
        fd::chdir(tree.as_fd())?;
        let options = [
            (c"lowerdir", Some(c"lower")),
            (c"upperdir", Some(c"upper")),
            (c"workdir", Some(c"work")),
            (c"userxattr", None),
        ];
        mount::make_tree(c"overlay", c"overlay", options.into_iter(), 0).map(drop)
    };
    let idmap = || {
        let tree = mount::make_tree(c"tmpfs", c"tmpfs", std::iter::empty(), 0)?;
        let holder = process::start_idle(CLONE_NEWUSER, false, None)?;
        let mapped = holder.map_and_open(b"0 0 1", b"0 0 1");
        holder.end();
        mount::map_ids(tree.as_fd(), mapped?.as_fd(), false)
    };
    let mut trials: Vec<Trial> = vec![&map, &private, &bind];
    trials.extend(fresh.iter().map(|trial| trial as Trial));
    trials.push(&overlay);
    let kinds =
        CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWNET | CLONE_NEWCGROUP;
    // What namespaces lack is said by their own probe; with fewer, the rest is still known.
    let fewer = [
        kinds,
        kinds & !CLONE_NEWCGROUP,
        kinds & !CLONE_NEWNET,
        CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID,
        CLONE_NEWUSER | CLONE_NEWNS,
    ];
    let Some((made, tried)) = fewer.into_iter().find_map(|kinds| Some((kinds, trial::run(kinds, &trials).ok()?)))
    else {
        return Vec::new();
    };
    let mut tried = tried.into_iter();
    if tried.next().is_none_or(|mapped| mapped.is_err()) {
        return Vec::new();
    }
    let mut findings = Vec::new();
    let refused = |subject, need, means: &str, error: crate::sys::Error| {
        let known = match error.errno {
            Errno::EPERM | Errno::EACCES if is_restricted_by_apparmor() => Some(apparmor()),
            Errno::EPERM | Errno::ENOSYS if is_filtered() => Some(filter(error.call.name())),
            Errno::ENODEV => Some(cause("this kernel has no such file system", "boot a kernel that has it")),
            _ => None,
        };
        match known {
            Some(known) => Finding::refused(subject, need, means, known),
            None => Finding::missing(subject, need, format!("{}: {:?}", error.call.name(), error.errno), means),
        }
    };
    if let Some(Err(error)) = tried.next() {
        let means = "no container can be made: its mounts would be the host's";
        findings.push(match error.errno {
            Errno::EINVAL => Finding::refused("private mounts", Need::All, means, super::causes::of_propagation()),
            _ => refused("private mounts", Need::All, means, error),
        });
    }
    if let Some(bound) = tried.next() {
        findings.push(match bound {
            Ok(()) => Finding::ok("bind mounts", Need::All, "can be made"),
            Err(error) => refused("bind mounts", Need::All, "no container can be made", error),
        });
    }
    for (kind, subject, means) in KINDS {
        let Some(tried) = tried.next() else { break };
        let kind = kind.to_str().unwrap_or_default();
        let need = Need::Mount(if kind == "cgroup2" { "cgroup" } else { kind });
        // Each is mounted only with the namespace that it shows.
        let lacks = match kind {
            "proc" => made & CLONE_NEWPID == 0,
            "sysfs" => made & CLONE_NEWNET == 0,
            "mqueue" => made & CLONE_NEWIPC == 0,
            "cgroup2" => made & CLONE_NEWCGROUP == 0,
            _ => false,
        };
        findings.push(match tried {
            Ok(()) => Finding::ok(subject, need, "can be mounted"),
            Err(_) if lacks => Finding::missing(subject, need, "its namespace cannot be made", means),
            Err(error) => match (kind, error.errno, of_proc()) {
                ("proc", Errno::EPERM, Some(masked @ Proc::Masked(_))) => {
                    Finding::refused(subject, need, means, masked.cause())
                }
                ("sysfs", Errno::EPERM, _) if !is_filtered() => Finding::refused(
                    subject,
                    need,
                    means,
                    cause(
                        "the /sys around is masked, or there is none, and a fresh one would show what that hides",
                        "start the outer container with /sys unmasked; rootlet's own default binds /sys",
                    ),
                ),
                _ => refused(subject, need, means, error),
            },
        });
    }
    if let Some(laid) = tried.next() {
        let need = Need::Mount("overlay");
        findings.push(match laid {
            Ok(()) => Finding::ok("overlay", need, "can be mounted: layers need no fuse"),
            Err(error) => {
                let means = "--layer and --image need fuse-overlayfs";
                match host.kernel_version() {
                    Ok(version) if version < (5, 11) => {
                        Finding::missing("overlay", need, "the kernel is older than 5.11", means)
                            .mended("boot a newer kernel, or: apt-get install fuse-overlayfs")
                    }
                    _ => refused("overlay", need, means, error).mended("apt-get install fuse-overlayfs"),
                }
            }
        });
    }
    // The maps are written by /proc, which is that of the caller's pid namespace.
    let mapped = trial::run(CLONE_NEWUSER | CLONE_NEWNS, &[&map, &private, &idmap]).unwrap_or_default();
    if let Some(mapped) = mapped.into_iter().nth(2) {
        let need = Need::Nothing;
        findings.push(match mapped {
            Ok(()) => Finding::ok(
                "idmapped mounts",
                need,
                "of what is mounted in the container; of the host's files they are root's alone",
            ),
            Err(_) => Finding::limited(
                "idmapped mounts",
                need,
                "none in a user namespace",
                "mounts with idmap are refused; owners of volumes stay as they are",
            )
            .mended("boot Linux 6.3 or newer, which has them for tmpfs"),
        });
    }
    findings
}
