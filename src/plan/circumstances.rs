//! What of this host explains a failure: facts that cannot stand in the tables of `words`, asked when it has happened.

use super::print::NAMESPACES;
use super::step::trees::Mount;
use super::step::{MountStep, NamespaceStep, PrivilegeStep};
use super::{Entry, Origin, Step};
use crate::capability::CAP_SETFCAP;
use crate::error::Error;
use crate::host;
use crate::sys::namespace::*;
use crate::sys::{self, Call, Errno, creds};

/// Adds what is known of the host to the message for a step that failed.
pub(super) fn add(message: Error, entry: &Entry, error: sys::Error) -> Error {
    with_surroundings(with_facts(message, entry, error), error)
}

fn with_facts(message: Error, entry: &Entry, error: sys::Error) -> Error {
    match (&entry.step, error.call, error.errno) {
        (Step::Mount(step @ (MountStep::Bind(_) | MountStep::Attach(_))), Call::Open | Call::Openat2 | Call::Mount | Call::OpenTree, Errno::ENOENT) => message
            .because(format!("its source {} is missing on the host", step.source().unwrap_or_default().to_string_lossy()))
            .remedy("correct the source of the mount, or make it"),
        (Step::Mount(MountStep::Mount(Mount { kind, .. })), Call::Mount, Errno::ENODEV) => message
            .because(format!("this kernel has no file system {:?}", kind.to_string_lossy()))
            .remedy("correct the type of the mount; for a directory of the host, add \"rbind\" to the options"),
        (Step::Mount(MountStep::Mount(Mount { kind, .. })), Call::Mount, Errno::EPERM) if kind.to_bytes() == b"proc" => match host::masks_of_proc() {
            masks if masks.is_empty() => message
                .because("a fresh /proc needs a pid namespace of the container's own and an unmasked /proc around it")
                .remedy("add {\"type\": \"pid\"} to linux.namespaces"),
            masks => message
                .because(format!("the /proc around it is masked at {}, and a fresh one would show what that hides", masks.join(", ")))
                .remedy(
                    "start the outer container with `--security-opt systempaths=unconfined` (Docker), `--security-opt unmask=/proc/*` (podman) \
                     or `procMount: Unmasked` (Kubernetes); or leave the pid namespace out, then /proc is bound",
                ),
        },
        (Step::Namespace(NamespaceStep::Unshare { kinds }), _, Errno::ENOSPC | Errno::EUSERS) => too_many(message, &[*kinds]),
        (Step::Namespace(NamespaceStep::SetTimeOffsets { .. }), Call::Unshare, Errno::ENOSPC | Errno::EUSERS) => {
            let property = "linux.namespaces".to_owned();
            too_many(Error { property, ..message }, &[CLONE_NEWTIME])
        }
        (Step::Mount(MountStep::Propagate { .. }), _, Errno::EINVAL) if host::is_in_chroot() => message
            .because("you are in a chroot whose root is no mount, and its propagation cannot be set")
            .remedy("make it one before you enter it (`mount --bind DIR DIR`), or enter it by pivot_root"),
        (Step::Mount(step @ (MountStep::Mount(_) | MountStep::MakeTree(_))), Call::Mount | Call::Fsopen, Errno::EINVAL) => {
            match unknown_option(step) {
                Some(option) => message.because(format!("tmpfs has no option {option:?}")).remedy("correct it: see tmpfs(5), and mount(8) for those of every file system"),
                None => message,
            }
        }
        // The clone succeeds there, but whoever is in the new namespace has no capabilities.
        (
            Step::Namespace(NamespaceStep::MapIds { .. })
            | Step::Privilege(PrivilegeStep::BecomeId { .. })
            | Step::Mount(MountStep::Propagate { .. }),
            _,
            Errno::EPERM | Errno::EACCES,
        ) if restricted_by_apparmor() =>
        {
            message.because(APPARMOR.0).remedy(APPARMOR.1)
        }
        // Since Linux 5.12, as CAP_SETFCAP could be used against files of the outer root.
        (Step::Namespace(NamespaceStep::MapIds { .. }), _, Errno::EPERM) if creds::effective_uid() == 0 && creds::effective_capabilities().is_ok_and(|own| own & 1 << CAP_SETFCAP == 0) => message
            .because("you are root of an outer container, and whoever maps uid 0 again needs CAP_SETFCAP there")
            .remedy("start the outer container with the capability CAP_SETFCAP, or map another hostID"),
        _ => message,
    }
}

/// Ubuntu 24.04 and later.
const APPARMOR: (&str, &str) = (
    "AppArmor restricts user namespaces here: kernel.apparmor_restrict_unprivileged_userns is 1",
    "as root: write \"abi <abi/4.0>, profile rootlet /usr/{local/,}bin/rootlet flags=(unconfined) { userns, }\" to \
     /etc/apparmor.d/rootlet, `apparmor_parser -r /etc/apparmor.d/rootlet`, and install rootlet there; or \
     sysctl kernel.apparmor_restrict_unprivileged_userns=0",
);

fn restricted_by_apparmor() -> bool {
    std::fs::read("/proc/sys/kernel/apparmor_restrict_unprivileged_userns").is_ok_and(|text| text.starts_with(b"1"))
}

/// What a failed clone means. There is no step to blame.
pub fn explain_clone(namespaces: &str, errno: Errno) -> Error {
    let origin = Origin { property: "linux.namespaces", index: None };
    let error =
        Error { errno: Some(errno), ..Error::in_config(origin.to_string(), format!("clone3 with {namespaces}")) };
    let setting = |path: &str| std::fs::read_to_string(path).map(|text| text.trim().to_owned()).unwrap_or_default();
    let explained = match errno {
        Errno::ENOSPC | Errno::EUSERS => {
            let kinds: Vec<_> = NAMESPACES.iter().filter(|(name, _)| namespaces.contains(name)).map(|(_, kind)| *kind).collect();
            too_many(error, &kinds)
        }
        Errno::EAGAIN => error
            .because("you, or a cgroup around, may have no more processes (RLIMIT_NPROC, pids.max)")
            .remedy("end some, or raise the limit"),
        Errno::EPERM if setting("/proc/sys/kernel/unprivileged_userns_clone") == "0" => error
            .because("this host forbids user namespaces to ordinary users: kernel.unprivileged_userns_clone is 0")
            .remedy("as root: sysctl kernel.unprivileged_userns_clone=1"),
        Errno::EPERM | Errno::EACCES if restricted_by_apparmor() => error.because(APPARMOR.0).remedy(APPARMOR.1),
        // user_namespaces(7): EPERM if the root directory is not that of the mount namespace.
        Errno::EPERM if host::is_in_chroot() => error
            .because("you are in a chroot, in which the kernel makes no user namespaces")
            .remedy("enter that root by pivot_root, as `unshare --mount` and `switch_root` or a container do; or run this outside of it"),
        Errno::EPERM => error
            .because("a seccomp filter of an outer container, or a missing privilege, forbids the namespaces")
            .remedy("start the outer container with a seccomp profile that allows clone and unshare (Docker: --security-opt seccomp=unconfined)"),
        Errno::EINVAL => error.because("this kernel was built without one of these namespaces").remedy("leave it out of linux.namespaces"),
        _ => error,
    };
    with_surroundings(explained, sys::Error::new(Call::Clone, errno))
}

/// The first option that tmpfs does not have, which is what most people mistype options of.
fn unknown_option(step: &MountStep) -> Option<String> {
    const OF_TMPFS: [&str; 21] = [
        "size",
        "nr_blocks",
        "nr_inodes",
        "mode",
        "uid",
        "gid",
        "huge",
        "mpol",
        "inode32",
        "inode64",
        "noswap",
        "quota",
        "usrquota",
        "grpquota",
        "usrquota_block_hardlimit",
        "usrquota_inode_hardlimit",
        "grpquota_block_hardlimit",
        "grpquota_inode_hardlimit",
        "casefold",
        "strict_encoding",
        "ro",
    ];
    let (kind, keys): (_, Vec<String>) = match step {
        MountStep::Mount(mount) => {
            let data = mount.data.as_ref()?.to_string_lossy();
            (
                &mount.kind,
                data.split(',').map(|option| option.split('=').next().unwrap_or_default().to_owned()).collect(),
            )
        }
        MountStep::MakeTree(tree) => {
            (&tree.kind, tree.options.iter().map(|(key, _)| key.to_string_lossy().into_owned()).collect())
        }
        _ => return None,
    };
    keys.into_iter().find(|key| kind.to_bytes() == b"tmpfs" && !key.is_empty() && !OF_TMPFS.contains(&key.as_str()))
}

/// A limit of namespaces is reached: the lowest one of these kinds is named.
fn too_many(error: Error, kinds: &[i32]) -> Error {
    const SETTINGS: [(i32, &str); 8] = [
        (CLONE_NEWUSER, "max_user_namespaces"),
        (CLONE_NEWNS, "max_mnt_namespaces"),
        (CLONE_NEWPID, "max_pid_namespaces"),
        (CLONE_NEWIPC, "max_ipc_namespaces"),
        (CLONE_NEWUTS, "max_uts_namespaces"),
        (CLONE_NEWNET, "max_net_namespaces"),
        (CLONE_NEWCGROUP, "max_cgroup_namespaces"),
        (CLONE_NEWTIME, "max_time_namespaces"),
    ];
    let most = |name: &str| std::fs::read_to_string(format!("/proc/sys/user/{name}")).ok()?.trim().parse::<u64>().ok();
    let asked = SETTINGS.iter().filter(|(kind, _)| kinds.contains(kind));
    match asked.filter_map(|(_, name)| Some((most(name)?, name))).min() {
        Some((most, name)) => error
            .because(format!("namespaces are too many, or nested too deeply: user.{name} is {most}"))
            .remedy(format!(
                "as root, where there are more than that: sysctl user.{name}=15000; or leave the namespace out"
            )),
        None => error,
    }
}

/// What an outer container forbids, where nothing else is known to be the cause.
fn with_surroundings(message: Error, error: sys::Error) -> Error {
    match error.errno {
        Errno::EACCES if message.because.is_none() => match host::apparmor_profile() {
            Some(profile) => message
                .because(format!(
                    "AppArmor's profile {profile:?} is in force around rootlet, and may forbid {}",
                    error.call.name()
                ))
                .remedy(
                    "start the outer container with `--security-opt apparmor=unconfined` (Docker, podman) or \
                     `appArmorProfile: {type: Unconfined}` (Kubernetes)",
                ),
            None => message,
        },
        Errno::EMFILE if message.because.is_none() => message
            .because("RLIMIT_NOFILE, of process.rlimits or the caller's, lets the process open too few files")
            .remedy("raise RLIMIT_NOFILE in process.rlimits to 16 or more, or `ulimit -n`"),
        Errno::EPERM | Errno::ENOSYS if message.because.is_none() && host::is_filtered() => message
            .because(format!("a system call filter is in force around rootlet, and may forbid {}", error.call.name()))
            .remedy(
                "start the outer container with `--security-opt seccomp=unconfined` (Docker, podman), with \
                 `seccompProfile: {type: Unconfined}` (Kubernetes), or with a profile that allows the call",
            ),
        _ => message,
    }
}
