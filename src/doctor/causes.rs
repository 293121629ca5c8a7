//! Why the kernel has refused something: the layer that really did, looked for when it has happened.

use super::trial;
use crate::capability::CAP_SETFCAP;
use crate::host;
use crate::sys::namespace::*;
use crate::sys::{Errno, creds, seccomp};
use std::fs;
use std::io::ErrorKind;

/// A cause, and its mend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cause {
    /// Who has refused, and why.
    pub because: String,
    /// What mends it.
    pub remedy: String,
}

/// A cause.
pub fn cause(because: impl Into<String>, remedy: impl Into<String>) -> Cause {
    Cause { because: because.into(), remedy: remedy.into() }
}

/// The limits of each kind of namespace: its flag, its name in linux.namespaces, and the sysctl.
pub const LIMITS: [(i32, &str, &str); 8] = [
    (CLONE_NEWUSER, "user", "max_user_namespaces"),
    (CLONE_NEWNS, "mount", "max_mnt_namespaces"),
    (CLONE_NEWPID, "pid", "max_pid_namespaces"),
    (CLONE_NEWIPC, "ipc", "max_ipc_namespaces"),
    (CLONE_NEWUTS, "uts", "max_uts_namespaces"),
    (CLONE_NEWNET, "network", "max_net_namespaces"),
    (CLONE_NEWCGROUP, "cgroup", "max_cgroup_namespaces"),
    (CLONE_NEWTIME, "time", "max_time_namespaces"),
];

/// Why namespaces of these kinds cannot be made (clone(2), unshare(2)).
pub fn of_namespaces(kinds: i32, errno: Errno) -> Option<Cause> {
    match errno {
        Errno::ENOSPC | Errno::EUSERS => too_many(kinds),
        Errno::EAGAIN => Some(of_processes()),
        Errno::EPERM | Errno::EACCES if setting("kernel/unprivileged_userns_clone").as_deref() == Some("0") => {
            Some(cause(
                "this host forbids user namespaces to ordinary users: kernel.unprivileged_userns_clone is 0",
                "as root: sysctl kernel.unprivileged_userns_clone=1",
            ))
        }
        Errno::EPERM | Errno::EACCES if setting("user/max_user_namespaces").as_deref() == Some("0") => too_many(kinds),
        Errno::EPERM | Errno::EACCES if is_restricted_by_apparmor() => Some(apparmor()),
        // user_namespaces(7): EPERM if the root directory is not that of the mount namespace.
        Errno::EPERM if fs::read("/proc/self/uid_map").is_ok_and(|map| map.is_empty()) => Some(cause(
            "you are in a user namespace in which no id is mapped, not even your own",
            "map it: `unshare -U` wants -r, or --map-current-user",
        )),
        Errno::EPERM if host::is_in_chroot() => Some(chroot()),
        Errno::EPERM | Errno::ENOSYS if is_filtered() => Some(filter("clone and unshare")),
        // Without /proc, that the root is no mount's cannot be seen.
        Errno::EPERM if of_proc() == Some(Proc::Missing) => Some(cause(
            "you are in a chroot, it seems, as nothing filters system calls here and /proc is missing: the kernel makes no user namespaces in one",
            CHROOT,
        )),
        Errno::EPERM => Some(cause(
            "you are in a chroot, or a security module forbids user namespaces: nothing filters system calls here",
            format!("{CHROOT}; see `dmesg` for what a security module says"),
        )),
        Errno::EINVAL => Some(cause(
            "this kernel was built without one of these namespaces",
            "leave it out of linux.namespaces, or boot a kernel that has it",
        )),
        _ => None,
    }
}

const CHROOT: &str = "enter that root by pivot_root, as `unshare --mount` and `switch_root` or a container do; or run this outside of it";

/// Why in a chroot there are no user namespaces.
pub fn chroot() -> Cause {
    cause("you are in a chroot, in which the kernel makes no user namespaces", CHROOT)
}

/// A limit of namespaces is reached: the lowest one of these kinds is named, unless it is that of a user namespace around.
pub fn too_many(kinds: i32) -> Option<Cause> {
    let asked = LIMITS.iter().filter(|(kind, ..)| kinds & kind != 0);
    let most = |name: &str| setting(&format!("user/{name}"))?.parse::<u64>().ok();
    let (most, name) = asked.filter_map(|(_, _, name)| Some((most(name)?, *name))).min()?;
    // As many as there are processes, or more, are nobody's doing.
    const MANY: u64 = 1000;
    Some(match most {
        MANY.. => {
            let (name, here) = which_is_full(kinds)?;
            cause(
                format!(
                    "a user namespace around this one has as many namespaces as its user.{name}, or they are nested too deeply \
                     ({} here)",
                    here.map_or("it cannot be read".to_owned(), |here| format!("it is {here}"))
                ),
                format!(
                    "as root there: sysctl user.{name}=15000; or run this less deeply nested, or leave the namespace out"
                ),
            )
        }
        _ => cause(
            format!("namespaces are too many, or nested too deeply: user.{name} is {most}"),
            format!("as root, where there are more than that: sysctl user.{name}=15000; or leave the namespace out"),
        ),
    })
}

/// Which of these kinds cannot be made any more, by making each: its sysctl, and what that is here.
fn which_is_full(kinds: i32) -> Option<(&'static str, Option<String>)> {
    let asked: Vec<_> = LIMITS.iter().filter(|(kind, ..)| kinds & kind != 0 && *kind != CLONE_NEWUSER).collect();
    let unshare: Vec<_> = asked.iter().map(|(kind, ..)| move || unshare(*kind)).collect();
    let trials: Vec<_> = unshare.iter().map(|trial| trial as trial::Trial).collect();
    let name = match trial::run(kinds & CLONE_NEWUSER, &trials) {
        Err(_) => "max_user_namespaces",
        Ok(tried) => asked.iter().zip(tried).find(|(_, tried)| tried.is_err()).map(|((_, _, name), _)| *name)?,
    };
    Some((name, setting(&format!("user/{name}"))))
}

/// Why a process cannot be made (EAGAIN).
pub fn of_processes() -> Cause {
    const RLIMIT_NPROC: u32 = 6;
    match crate::sys::sched::limit(RLIMIT_NPROC) {
        Ok(limit) if limit.soft < 1_000_000 => cause(
            format!(
                "you may have no more processes: RLIMIT_NPROC is {}, and it counts all of yours; or a cgroup around has as many as its pids.max",
                limit.soft
            ),
            "end some, or raise the limit: `ulimit -u`, and nproc in /etc/security/limits.conf",
        ),
        _ => cause(
            "you may have no more processes: a cgroup around has as many as its pids.max, or the host as many as kernel.pid_max",
            "end some, or raise the limit",
        ),
    }
}

/// What the machine is short of, or has lost: no property of a config's.
pub fn of_machine(errno: Errno) -> Option<Cause> {
    match errno {
        Errno::ENOMEM => Some(cause(
            "memory is short: the machine's, or what a limit leaves (memory.max, RLIMIT_AS)",
            "free some, or raise the limit, and try again",
        )),
        Errno::EIO => Some(cause("the device or the file system below has failed", "see `dmesg`")),
        _ => None,
    }
}

/// Why nothing more can be opened (EMFILE, ENFILE).
pub fn of_descriptors(errno: Errno) -> Option<Cause> {
    const RLIMIT_NOFILE: u32 = 7;
    match errno {
        Errno::EMFILE => {
            const ENOUGH: u64 = 64;
            match crate::sys::sched::limit(RLIMIT_NOFILE).map_or(0, |limit| limit.soft) {
                limit if limit < ENOUGH => Some(cause(
                    format!("too few files may be open: RLIMIT_NOFILE is {limit} for rootlet"),
                    "raise it to 64 or more: `ulimit -n`",
                )),
                _ => Some(cause(
                    "too few files may be open in the new process: RLIMIT_NOFILE of process.rlimits, or what somebody has set for it",
                    "raise RLIMIT_NOFILE in process.rlimits to 64 or more",
                )),
            }
        }
        Errno::ENFILE => Some(cause(
            "the whole host has as many files open as fs.file-max",
            "as root: sysctl fs.file-max, and see who has so many (`lsof`)",
        )),
        _ => None,
    }
}

/// Ubuntu 24.04 and later.
pub fn apparmor() -> Cause {
    cause(
        "AppArmor restricts user namespaces here: kernel.apparmor_restrict_unprivileged_userns is 1",
        "as root: write \"abi <abi/4.0>, profile rootlet /usr/{local/,}bin/rootlet flags=(unconfined) { userns, }\" to \
         /etc/apparmor.d/rootlet, `apparmor_parser -r /etc/apparmor.d/rootlet`, and install rootlet there; or \
         sysctl kernel.apparmor_restrict_unprivileged_userns=0",
    )
}

/// Whether AppArmor keeps ordinary users from user namespaces (Ubuntu 23.10 and newer).
pub fn is_restricted_by_apparmor() -> bool {
    setting("kernel/apparmor_restrict_unprivileged_userns").as_deref() == Some("1")
}

/// What an outer container's filter forbids.
pub fn filter(what: &str) -> Cause {
    cause(
        format!("a system call filter is in force around rootlet, and may forbid {what}"),
        "start the outer container with `--security-opt seccomp=unconfined` (Docker, podman), with \
         `seccompProfile: {type: Unconfined}` (Kubernetes), or with a profile that allows the call; a sandbox of rootlet's around, with `--seccomp none` or \
         `--allow-syscall`",
    )
}

/// Whether a system call filter is in force already. It is known also where there is no /proc.
pub fn is_filtered() -> bool {
    seccomp::is_filtered()
}

/// What is wrong with /proc.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Proc {
    /// No /proc is mounted.
    Missing,
    /// /proc is that of another pid namespace.
    Stale,
    /// /proc shows processes alone (subset=pid).
    Partial,
    /// Nothing can be written to /proc.
    ReadOnly,
    /// Parts of it are covered.
    Masked(Vec<String>),
}

/// What is wrong with /proc, if something is.
pub fn of_proc() -> Option<Proc> {
    match fs::read_link("/proc/self") {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let is_proc = fs::metadata("/proc/version").is_ok() || fs::metadata("/proc/sys").is_ok();
            return Some(if is_proc { Proc::Stale } else { Proc::Missing });
        }
        Err(_) => return Some(Proc::Missing),
        // The number of this process in the namespace that /proc shows.
        Ok(own) if own.to_str() != Some(&std::process::id().to_string()) => return Some(Proc::Stale),
        Ok(_) => {}
    }
    if fs::metadata("/proc/sys").is_err() {
        return Some(Proc::Partial);
    }
    let is_readonly = |line: &str| {
        let mut fields = line.split(' ');
        fields.nth(4) == Some("/proc")
            && fields.next().is_some_and(|options| options.split(',').any(|option| option == "ro"))
    };
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    // The last one covers the others.
    let last = mounts.lines().rfind(|line| line.split(' ').nth(4) == Some("/proc"));
    if last.is_some_and(is_readonly) || (last.is_none() && is_write_refused()) {
        return Some(Proc::ReadOnly);
    }
    let masks = host::masks_of_proc();
    (!masks.is_empty()).then_some(Proc::Masked(masks))
}

/// /proc is part of a mount that is read-only.
fn is_write_refused() -> bool {
    let opened = fs::OpenOptions::new().write(true).open("/proc/self/comm");
    opened.is_err_and(|error| error.raw_os_error() == Some(Errno::EROFS as i32))
}

impl Proc {
    /// The cause in words, with what mends it.
    pub fn cause(&self) -> Cause {
        match self {
            Proc::Missing => cause(
                "there is no /proc here, by which the ids of a user namespace are mapped",
                "mount one: mount -t proc proc /proc",
            ),
            Proc::Stale => cause(
                "/proc is that of another pid namespace: this process is not in it, under its own number",
                "mount one of this namespace: mount -t proc proc /proc (`unshare --mount-proc` does that)",
            ),
            Proc::Partial => cause(
                "/proc shows processes alone (subset=pid), and not what the kernel says of itself",
                "mount all of it: mount -t proc proc /proc",
            ),
            Proc::ReadOnly => cause(
                "/proc is read-only here, and the ids of a user namespace are written to it",
                "have it mounted afresh by whoever made the sandbox around (bubblewrap: --proc /proc; Docker: --security-opt systempaths=unconfined)",
            ),
            Proc::Masked(masks) => cause(
                format!(
                    "the /proc around is masked at {}, and a fresh one would show what that hides",
                    masks.join(", ")
                ),
                "start the outer container with `--security-opt systempaths=unconfined` (Docker), `--security-opt unmask=/proc/*` (podman) \
                 or `procMount: Unmasked` (Kubernetes); or leave the pid namespace out, then /proc is bound",
            ),
        }
    }
}

/// Why ids cannot be mapped.
pub fn of_id_maps(errno: Errno) -> Option<Cause> {
    match (errno, of_proc()) {
        (_, Some(proc @ (Proc::Missing | Proc::Stale | Proc::ReadOnly))) => Some(proc.cause()),
        // The clone succeeds there, but whoever is in the new namespace has no capabilities.
        (Errno::EPERM | Errno::EACCES, _) if is_restricted_by_apparmor() => Some(apparmor()),
        // Since Linux 5.12, as CAP_SETFCAP could be used against files of the outer root.
        (Errno::EPERM, _)
            if creds::effective_uid() == 0
                && creds::effective_capabilities().is_ok_and(|own| own & 1 << CAP_SETFCAP == 0) =>
        {
            Some(cause(
                "you are root of an outer container, and whoever maps uid 0 again needs CAP_SETFCAP there",
                "start the outer container with the capability CAP_SETFCAP, or map another hostID",
            ))
        }
        _ => None,
    }
}

/// Why propagation cannot be set (EINVAL).
pub fn of_propagation() -> Cause {
    match host::is_in_chroot() {
        true => cause(
            "you are in a chroot whose root is no mount, and its propagation cannot be set",
            "make it one before you enter it (`mount --bind DIR DIR`), or enter it by pivot_root",
        ),
        false => cause(
            "/ is no mount point here, and its propagation cannot be set",
            "make it one before you enter it (`mount --bind DIR DIR`), or enter it by pivot_root",
        ),
    }
}

/// What a sysctl says, by its path below /proc/sys.
pub fn setting(path: &str) -> Option<String> {
    fs::read_to_string(format!("/proc/sys/{path}")).ok().map(|text| text.trim().to_owned())
}
