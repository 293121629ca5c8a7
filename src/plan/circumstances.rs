//! What of this host explains a failure: facts that cannot stand in the tables of `words`, asked when it has happened.

use super::step::trees::Mount;
use super::step::{MountStep, NamespaceStep, PrivilegeStep};
use super::{Entry, Origin, Step};
use crate::doctor::causes::{self, Cause, Proc};
use crate::error::Error;
use crate::host;
use crate::sys::namespace::CLONE_NEWTIME;
use crate::sys::{self, Call, Errno};
use strsim::damerau_levenshtein;

/// Adds what is known of the host to the message for a step that failed.
pub(super) fn add(message: Error, entry: &Entry, error: sys::Error) -> Error {
    with_surroundings(with_facts(message, entry, error), error)
}

fn with_facts(message: Error, entry: &Entry, error: sys::Error) -> Error {
    match (&entry.step, error.call, error.errno) {
        (
            Step::Mount(step @ (MountStep::Bind(_) | MountStep::Attach(_))),
            Call::Open | Call::Openat2 | Call::Mount | Call::OpenTree,
            Errno::ENOENT,
        ) => message
            .because(format!(
                "its source {} is missing on the host",
                step.source().unwrap_or_default().to_string_lossy()
            ))
            .remedy("correct the source of the mount, or make it"),
        (Step::Mount(MountStep::Mount(Mount { kind, .. })), Call::Mount, Errno::ENODEV) => message
            .because(format!("this kernel has no file system {:?}", kind.to_string_lossy()))
            .remedy("correct the type of the mount; for a directory of the host, add \"rbind\" to the options"),
        (Step::Mount(MountStep::Mount(Mount { kind, .. })), Call::Mount, Errno::EPERM)
            if kind.to_bytes() == b"proc" =>
        {
            match causes::of_proc() {
                Some(masked @ Proc::Masked(_)) => by(message, masked.cause()),
                _ => message
                    .because(
                        "a fresh /proc needs a pid namespace of the container's own and an unmasked /proc around it",
                    )
                    .remedy("add {\"type\": \"pid\"} to linux.namespaces"),
            }
        }
        (Step::Namespace(NamespaceStep::Unshare { kinds }), _, Errno::ENOSPC | Errno::EUSERS) => {
            too_many(message, *kinds)
        }
        (Step::Namespace(NamespaceStep::SetTimeOffsets { .. }), Call::Unshare, Errno::ENOSPC | Errno::EUSERS) => {
            let property = "linux.namespaces".to_owned();
            too_many(Error { property, ..message }, CLONE_NEWTIME)
        }
        (Step::Mount(MountStep::Propagate { .. }), _, Errno::EINVAL) => by(message, causes::of_propagation()),
        (
            Step::Mount(step @ (MountStep::Mount(_) | MountStep::MakeTree(_))),
            Call::Mount | Call::Fsopen,
            Errno::EINVAL,
        ) => match unknown_option(step) {
            Some(option) => {
                let near = OF_TMPFS.iter().chain(&OF_ALL).min_by_key(|known| damerau_levenshtein(known, &option));
                let near = near.filter(|known| damerau_levenshtein(known, &option) <= 2);
                let meant = near.map(|known| format!("did you mean {known:?}? ")).unwrap_or_default();
                message
                    .because(format!("tmpfs has no option {option:?}"))
                    .remedy(format!("{meant}correct it: see tmpfs(5), and mount(8) for those of every file system"))
            }
            None => message,
        },
        (Step::Namespace(NamespaceStep::SetSysctl { .. }), Call::Open, Errno::ENOENT) => match causes::of_proc() {
            Some(partial @ Proc::Partial) => by(message, partial.cause()),
            _ => message,
        },
        // What is written by a path of /proc, or opened there.
        (
            Step::Namespace(NamespaceStep::MapIds { .. })
            | Step::Mount(MountStep::EnterDescriptors | MountStep::OpenProc),
            ..,
        ) => match causes::of_id_maps(error.errno) {
            Some(cause) => by(message, cause),
            None => message,
        },
        // The clone succeeds there, but whoever is in the new namespace has no capabilities.
        (
            Step::Privilege(PrivilegeStep::BecomeId { .. }) | Step::Mount(MountStep::Propagate { .. }),
            _,
            Errno::EPERM | Errno::EACCES,
        ) if causes::is_restricted_by_apparmor() => by(message, causes::apparmor()),
        _ => message,
    }
}

/// With a cause that was looked for.
fn by(message: Error, Cause { because, remedy }: Cause) -> Error {
    message.because(because).remedy(remedy)
}

/// What a failed clone means. There is no step to blame.
pub fn explain_clone(namespaces: &str, errno: Errno) -> Error {
    let origin = Origin { property: "linux.namespaces", index: None };
    let error =
        Error { errno: Some(errno), ..Error::in_config(origin.to_string(), format!("clone3 with {namespaces}")) };
    let kinds = causes::LIMITS.iter().filter(|(_, name, _)| namespaces.split(", ").any(|asked| asked == *name));
    let kinds = kinds.fold(0, |all, (kind, ..)| all | kind);
    let explained = match causes::of_namespaces(kinds, errno) {
        Some(cause) => by(error, cause),
        None => error,
    };
    with_surroundings(explained, sys::Error::new(Call::Clone, errno))
}

/// Options of every file system, which are flags and never reach it.
const OF_ALL: [&str; 14] = [
    "rw",
    "nosuid",
    "suid",
    "nodev",
    "dev",
    "noexec",
    "exec",
    "nosymfollow",
    "noatime",
    "atime",
    "relatime",
    "strictatime",
    "rbind",
    "bind",
];

/// Of tmpfs(5).
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

/// The first option that tmpfs does not have, which is what most people mistype options of.
fn unknown_option(step: &MountStep) -> Option<String> {
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

/// A limit of namespaces is reached.
fn too_many(error: Error, kinds: i32) -> Error {
    match causes::too_many(kinds) {
        Some(cause) => by(error, cause),
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
        Errno::EMFILE | Errno::ENFILE if message.because.is_none() => match causes::of_descriptors(error.errno) {
            Some(cause) => by(message, cause),
            None => message,
        },
        Errno::EAGAIN if message.because.is_none() && matches!(error.call, Call::Clone | Call::Fork) => {
            by(message, causes::of_processes())
        }
        Errno::EPERM | Errno::ENOSYS if message.because.is_none() && causes::is_filtered() => {
            by(message, causes::filter(error.call.name()))
        }
        _ => message,
    }
}
