//! Advice: (verb, errno) -> why it failed and what mends it. What depends on this host is in `circumstances.rs`.

use super::{Entry, Step, circumstances};
use crate::error::Error;
use crate::sys::{self, Call, Errno, mount};
use std::ffi::CStr;

/// Because, and what to try.
type Advice = (&'static str, &'static str);

/// The whole message for a step that failed.
pub fn explain(entry: &Entry, error: sys::Error, is_filtered: bool) -> Error {
    if let Some(message) = explain_program(entry, error) {
        return with_filter(message, error, is_filtered);
    }
    let subject = subject(&entry.step);
    let property = match subject {
        Some(path) if matches!(entry.step, Step::SetSysctl { .. }) => {
            format!("{} ({})", entry.origin, key_of(&path.to_string_lossy()))
        }
        Some(path) => format!("{} ({})", entry.origin, path.to_string_lossy()),
        None => entry.origin.to_string(),
    };
    let mut message = Error { errno: Some(error.errno), ..Error::in_config(property, error.call.name()) };
    if matches!(error.call, Call::HookExit | Call::HookTimeout) {
        message.errno = None;
        message.message = match (&entry.step, error.call) {
            (Step::RunHook(program), Call::HookExit) => format!("hook {} failed", program.path.to_string_lossy()),
            (Step::RunHook(program), _) => format!(
                "hook {} took longer than {} s and was ended",
                program.path.to_string_lossy(),
                program.timeout / 1000
            ),
            _ => message.message,
        };
        return message;
    }
    if let Some((because, remedy)) = advise(&entry.step, error) {
        message = message.because(because).remedy(remedy);
    }
    let message = circumstances::add(message, entry, error).of_kernel(error);
    with_filter(message, error, is_filtered)
}

/// Adds that a filter may be the cause, if one is in force already.
fn with_filter(mut message: Error, error: sys::Error, is_filtered: bool) -> Error {
    if is_filtered && matches!(error.errno, Errno::EPERM | Errno::ENOSYS | Errno::EACCES) {
        let filter = "linux.seccomp is installed by then and may forbid the call";
        let mend = format!(
            "allow {} in linux.seccomp, or set process.noNewPrivileges to true: then the filter comes last",
            error.call.name()
        );
        let either = |own: Option<String>, other: String| match own {
            Some(own) => format!("{other}; or: {own}"),
            None => other,
        };
        let (because, remedy) = (message.because.take(), message.remedy.take());
        message = message.because(either(because, filter.to_owned())).remedy(either(remedy, mend));
    }
    message
}

/// Failures of the user's own program, in the words that engines look for.
fn explain_program(entry: &Entry, error: sys::Error) -> Option<Error> {
    let name = match &entry.step {
        Step::FindExecutable { name, .. } => name.to_string_lossy(),
        Step::Execute { arguments, .. } => arguments.as_slice().first()?.to_string_lossy(),
        _ => return None,
    };
    let error = match (error.call, error.errno) {
        (Call::Lookup, Errno::ENOENT) if !name.contains('/') => {
            Error::new(format!("exec: {name:?}: executable file not found in $PATH"))
                .because("none of the directories of PATH in process.env has it in the container")
                .remedy("correct process.args, set PATH in process.env, or put the program into the root file system")
        }
        (Call::Lookup, Errno::ENOENT) => Error::new(format!("exec: {name:?}: stat {name}: no such file or directory"))
            .because("the container has no such program")
            .remedy("correct process.args, or put the program into the root file system"),
        (Call::Openat2, Errno::ELOOP) => Error::new(format!("exec: {name:?}: its path leads by a link of procfs, or by links in a circle"))
            .because("a link of procfs could lead out of the container (CVE-2024-21626)")
            .remedy("write the program's own path in process.args"),
        (Call::Lookup | Call::Open, Errno::EACCES) => Error::new(format!("exec: {name:?}: permission denied"))
            .because("process.user may not execute the file, or a directory on its path may not be searched, or it lies on a noexec mount")
            .remedy("chmod a+x it in the root file system"),
        (Call::Lookup, Errno::EISDIR) => Error::new(format!("exec: {name:?}: is a directory"))
            .because("only a file can be executed")
            .remedy("name a program in it, in process.args"),
        (Call::Execve, Errno::E2BIG) => Error::new(format!("exec: {name:?}: argument list too long"))
            .because("execve(2) takes 128 KiB of one string, and of all a quarter of the stack's limit")
            .remedy("shorten process.args and process.env, or hand a file over"),
        (_, Errno::ENOENT) => Error::new(format!("exec: {name:?}: no such file or directory"))
            .because("the program exists, but not the interpreter or dynamic loader that it names")
            .remedy("put the loader (see `ldd` or the #! line) into the root file system, or use a static program"),
        (_, Errno::ENOEXEC) => Error::new(format!("exec: {name:?}: exec format error"))
            .because("the file is neither a program for this machine nor a script with a #! line")
            .remedy("see `file` of it, and `uname -m`"),
        (_, Errno::EACCES) => Error::new(format!("exec: {name:?}: permission denied")),
        (call, errno) => Error { errno: Some(errno), ..Error::new(format!("exec: {name:?}: {}", call.name())) },
    };
    Some(Error { property: entry.origin.to_string(), ..error })
}

/// The key of a parameter, as sysctl.d(5) writes it.
fn key_of(path: &str) -> String {
    let swapped = |letter| match letter {
        '/' => '.',
        '.' => '/',
        other => other,
    };
    path.trim_start_matches("../../sys/").chars().map(swapped).collect()
}

/// The path that a step is about.
fn subject(step: &Step) -> Option<&CStr> {
    Some(match step {
        Step::Mount { target, .. }
        | Step::Attach { target, .. }
        | Step::AwaitFuse { target }
        | Step::Bind { target, .. }
        | Step::SetMountAttributes { target, .. }
        | Step::SetTreeAttributes { target, .. }
        | Step::Remount { target, .. } => target,
        Step::MakeNode { path, .. }
        | Step::BindNode { path, .. }
        | Step::Symlink { path, .. }
        | Step::SetSysctl { path, .. }
        | Step::Mask { path }
        | Step::MakeReadonly { path }
        | Step::MakeDirectory { path }
        | Step::Chdir { path } => path,
        Step::MountFuse(mount) => &mount.target,
        Step::MakeTree(tree) => &tree.target,
        Step::BindRoot { source, .. } => source,
        Step::MoveDevice { name, .. } => name,
        _ => return None,
    })
}

/// The table.
fn advise(step: &Step, error: sys::Error) -> Option<Advice> {
    let is = |kind: &CStr, name: &str| kind.to_bytes() == name.as_bytes();
    let is_overlay = match step {
        Step::Mount { kind, .. } => is(kind, "overlay"),
        Step::MakeTree(tree) => is(&tree.kind, "overlay"),
        _ => false,
    };
    Some(match (step, error.call, error.errno) {
        (Step::MapIds { .. }, _, Errno::EPERM | Errno::EACCES) => (
            "the kernel lets a user map only ids that it may use; where AppArmor restricts user namespaces, none at all",
            "map one id, your own (`rootlet spec` writes it), and see `sysctl kernel.apparmor_restrict_unprivileged_userns`",
        ),
        (Step::MapIds { .. }, _, Errno::EINVAL) => (
            "ranges overlap, are empty, or are more than the 340 that the kernel takes",
            "correct linux.uidMappings and linux.gidMappings",
        ),
        (Step::Mount { kind, .. }, Call::Mount, Errno::EPERM) if is(kind, "sysfs") => (
            "a fresh sysfs needs a network namespace of the container's own",
            "add {\"type\": \"network\"} to linux.namespaces, or bind /sys",
        ),
        (Step::Mount { kind, .. }, Call::Mount, Errno::EPERM) if is(kind, "mqueue") => (
            "mqueue needs an ipc namespace of the container's own",
            "add {\"type\": \"ipc\"} to linux.namespaces, or leave the mount out",
        ),
        (Step::Mount { kind, .. }, Call::Mount, Errno::EPERM) if is(kind, "cgroup2") => (
            "cgroup2 needs a cgroup namespace of the container's own",
            "add {\"type\": \"cgroup\"} to linux.namespaces",
        ),
        (Step::Mount { .. }, Call::Mount, Errno::EPERM) => (
            "not every file system may be mounted in a user namespace; proc, sysfs, tmpfs, devpts, mqueue, cgroup2, overlay and fuse may",
            "mount the device as root and bind it",
        ),
        (Step::Mount { .. } | Step::MakeTree(_) | Step::Remount { .. }, Call::Mount | Call::Fsopen, Errno::EINVAL) => (
            "the file system does not take one of the options or its value, or an id in them is not mapped in the container",
            "look into `dmesg`, and at the options",
        ),
        (Step::Mount { .. } | Step::MakeTree(_), Call::Mount | Call::Fsopen, Errno::ENOENT) if is_overlay => (
            "lowerdir, upperdir or workdir is missing",
            "make it, or correct the options; they may be relative to the bundle",
        ),
        (Step::Mount { .. } | Step::MakeTree(_) | Step::Bind { .. }, Call::Fstatfs, Errno::ELOOP) => (
            "the destination lies in procfs, where a mount could deceive the runtime",
            "choose another destination; below /proc only single files as lxcfs serves them may be bound",
        ),
        (Step::Mount { real_directory: true, .. }, Call::Openat2, Errno::ELOOP) => {
            ("the destination is a symlink in the image", "make it a directory in the root file system")
        }
        (Step::Mount { .. } | Step::MakeTree(_) | Step::Bind { .. }, Call::Mkdir | Call::Mknod, Errno::EROFS) => (
            "the destination is missing, and what it lies in is read-only: the root file system, or an earlier mount such as /usr of the host's",
            "make it there beforehand, or choose a destination that is not below a read-only mount",
        ),
        (
            Step::Mount { .. } | Step::MakeTree(_) | Step::Bind { .. },
            Call::Mkdir | Call::Mknod,
            Errno::EACCES | Errno::EPERM,
        ) => (
            "the destination is missing in the root file system and cannot be made there",
            "make it beforehand, with the same owner as the root file system",
        ),
        (Step::Mount { .. } | Step::MakeTree(_), Call::Openat2, Errno::EACCES) => (
            "you may not search the root file system (root.path), or a directory of it on the way",
            "give it to whom it is to belong: `chown -R` as root, or unpack it as the user who runs it",
        ),
        (Step::Bind { .. }, Call::Open | Call::Mount | Call::OpenTree, Errno::EACCES) => {
            ("you may not search a directory on the way to the source", "choose a source that you may read")
        }
        (Step::Bind { .. }, Call::Mount | Call::MoveMount, Errno::ENOTDIR | Errno::EINVAL)
            if error.errno == Errno::ENOTDIR || error.call == Call::MoveMount =>
        {
            (
                "one of source and destination is a directory and the other is not",
                "bind a directory on a directory, a file on a file",
            )
        }
        (Step::Bind { recursive: false, .. }, Call::Mount | Call::OpenTree, Errno::EINVAL) => (
            "the source has mounts below it, and a user namespace may not show what they cover",
            "write \"rbind\" instead of \"bind\" in the options",
        ),
        (Step::SetMountAttributes { attributes, .. }, Call::MountSetattr, Errno::EPERM) => locked(attributes.clear),
        (Step::Bind { attributes, .. } | Step::Attach { attributes, .. }, Call::MountSetattr, Errno::EPERM) => {
            locked(attributes.iter().fold(0, |clear, one| clear | one.clear))
        }
        (Step::Attach { .. }, Call::MapMount, Errno::EINVAL) => (
            "the file system of the source, or this kernel, has no idmapped mounts",
            "take idmap and the mappings out, or move the source to a file system that has them, such as ext4",
        ),
        (Step::Attach { .. }, Call::MapMount, Errno::EPERM) => {
            ("the file system belongs to another user namespace", "take idmap and the mappings out")
        }
        (Step::MountFuse(_), Call::Open, Errno::EACCES | Errno::EPERM) => (
            "you may not open /dev/fuse",
            "as root: chmod 666 /dev/fuse (what most distributions have), or give the outer container the device",
        ),
        (Step::MountFuse(_), Call::Open, Errno::ENOENT | Errno::ENODEV | Errno::ENXIO) => {
            ("this host has no /dev/fuse", "as root: modprobe fuse, or give the outer container the device /dev/fuse")
        }
        (Step::MountFuse(_), Call::Mount, Errno::EINVAL) => {
            ("the kernel does not know one of the options", "see max_read and blksize in the options of the mount")
        }
        (Step::Symlink { .. }, Call::Symlink, Errno::EEXIST) => (
            "the image has something else there",
            "choose another destination, or take copy-symlink out of the options",
        ),
        (Step::AwaitFuse { .. }, _, _) => {
            ("the program that serves it has ended", "correct source and options of the mount")
        }
        (Step::MoveDevice { .. }, _, Errno::ENODEV) => {
            ("the caller has no network device of that name", "see `ip link`; correct linux.netDevices")
        }
        (Step::MoveDevice { .. }, _, Errno::EEXIST) => {
            ("the container has a network device of that name already", "choose another \"name\" in linux.netDevices")
        }
        (Step::MoveDevice { .. }, _, Errno::EINVAL | Errno::EPERM | Errno::EOPNOTSUPP) => {
            ("the device cannot leave its network namespace, as `lo` and bridges cannot", "move another device")
        }
        (Step::SetMemoryPolicy { .. }, _, Errno::ENOSYS) => {
            ("this kernel was built without NUMA", "leave linux.memoryPolicy out")
        }
        (Step::SetMemoryPolicy { .. }, _, Errno::EINVAL) => (
            "the mode needs other nodes or flags, or a node is not there",
            "see set_mempolicy(2) and /sys/devices/system/node/online",
        ),
        (Step::SetLabel { .. }, _, Errno::ENOENT | Errno::EINVAL) => {
            ("the security module does not know it", "load the profile or policy, or correct the name")
        }
        (Step::InstallFilter { .. }, _, Errno::EACCES) => {
            ("a filter without process.noNewPrivileges needs CAP_SYS_ADMIN", "set process.noNewPrivileges to true")
        }
        (Step::InstallFilter { .. }, _, Errno::EINVAL | Errno::ENOSYS) => (
            "this kernel lacks an action or flag of the profile, or system call filters",
            "leave out what is newer than the kernel (SCMP_ACT_NOTIFY: 5.0, WAIT_KILLABLE_RECV: 5.19)",
        ),
        (Step::InstallFilter { .. }, _, Errno::EBUSY) => {
            ("an outer filter has a listener already, and the kernel allows one", "take SCMP_ACT_NOTIFY out")
        }
        (Step::SetScheduling(scheduling), _, Errno::EBUSY) if scheduling.policy == 6 => (
            "the processors are not free enough for runtime in each period",
            "lower runtime, or raise deadline and period, in process.scheduler",
        ),
        (Step::SetScheduling(_), _, Errno::EINVAL) => (
            "the policy does not exist in this kernel, or does not go with nice, priority or the times",
            "see sched_setattr(2); SCHED_DEADLINE needs runtime <= deadline <= period, all above 1024",
        ),
        (Step::BindNode { .. }, Call::Open | Call::Mount, Errno::ENOENT) => (
            "the host has no such device, and a user namespace cannot make one",
            "leave the device out, or make it on the host",
        ),
        (Step::BindNode { .. }, Call::Fstat, Errno::ENODEV) => (
            "what the host has at that path is another device, or none, and a user namespace cannot make one",
            "correct type, major and minor: see `ls -l` of it",
        ),
        (Step::MakeNode { .. }, Call::Mknod, Errno::EEXIST) => (
            "something else is there already, which the image or a volume has brought",
            "mount a tmpfs on /dev, or remove it from the root file system",
        ),
        (Step::MakeNode { .. }, Call::Mknod, Errno::EPERM) => {
            ("the caller may not make device nodes", "leave the device out of linux.devices")
        }
        (Step::BindRoot { .. }, _, Errno::ENOENT) => (
            "the root file system is missing",
            "put one there, or write a config that needs none with `rootlet spec --host`; or correct root.path, which is relative to the bundle",
        ),
        (Step::BindRoot { .. }, _, Errno::ENOTDIR) => {
            ("the root file system is not a directory", "unpack the image into a directory")
        }
        (Step::BindRoot { .. }, _, Errno::EACCES) => {
            ("you may not search a directory on the way to the root file system", "chmod a+x it, or move the bundle")
        }
        (Step::BindRoot { .. }, Call::OpenTree, Errno::EINVAL) => (
            "the root file system has mounts below it, and a user namespace may not show what they cover",
            "unmount them, or choose another directory",
        ),
        (Step::PivotRoot, Call::PivotRoot, Errno::EINVAL) => {
            ("the host's root is an initramfs, or shared where it may not be", "give --no-pivot")
        }
        (Step::OpenTerminal { .. }, _, Errno::ENOENT | Errno::ENOTTY | Errno::ENOTDIR) => (
            "a terminal comes from the container's own devpts, and none is mounted on /dev/pts",
            "add {\"destination\": \"/dev/pts\", \"type\": \"devpts\", \"source\": \"devpts\", \"options\": [\"newinstance\", \"ptmxmode=0666\"]} to mounts",
        ),
        (Step::SetLimit { .. }, _, Errno::EPERM) => ("a hard limit may only be lowered", "lower it in process.rlimits"),
        (Step::SetOomScoreAdj { .. }, _, Errno::EACCES | Errno::EPERM) => {
            ("the value may only be raised", "raise process.oomScoreAdj")
        }
        (Step::JoinNewKeyring, _, Errno::EDQUOT) => (
            "you have as many keys as kernel.keys.maxkeys allows",
            "give --no-new-keyring, or end containers that you do not need",
        ),
        (Step::JoinNewKeyring, _, _) => {
            ("this kernel, or an outer container's seccomp filter, allows no keyrings", "give --no-new-keyring")
        }
        (Step::SetTimeOffsets { .. }, _, Errno::EINVAL) => {
            ("this kernel has no time namespaces", "leave linux.timeOffsets and the time namespace out")
        }
        (Step::SetTimeOffsets { .. }, _, Errno::ERANGE) => {
            ("the clock would be before 0 or too far ahead", "choose smaller offsets")
        }
        (Step::SetSysctl { .. }, Call::Open, Errno::ENOENT) => {
            ("this kernel has no such parameter", "correct the key in linux.sysctl")
        }
        (Step::SetSysctl { .. }, _, Errno::EROFS | Errno::EACCES | Errno::EPERM) => {
            ("the parameter may not be written in this namespace", "leave it out of linux.sysctl")
        }
        (Step::SetSysctl { .. }, Call::Write, Errno::EINVAL) => {
            ("the kernel does not take that value", "correct the value in linux.sysctl")
        }
        (Step::Mask { .. }, Call::Openat2 | Call::Fstat, _) => (
            "the container's /dev/null is not the null device",
            "mount a tmpfs on /dev, or leave /dev/null out of linux.devices",
        ),
        (Step::BecomeUser { .. }, Call::Setgroups, Errno::EPERM) => {
            ("supplementary groups cannot be set with a single mapped gid", "leave process.user.additionalGids out")
        }
        (Step::BecomeUser { .. } | Step::BecomeId { .. }, _, Errno::EINVAL) => (
            "the id is not mapped in the container's user namespace",
            "map it in linux.uidMappings and linux.gidMappings",
        ),
        (Step::SetCapabilities { .. }, _, Errno::EPERM) => {
            ("the caller does not have all of these capabilities", "take them out of process.capabilities")
        }
        (Step::SetScheduling(_), _, Errno::EPERM) => (
            "only privileged users may use that policy, priority or nice value",
            "leave process.scheduler out, or raise nice",
        ),
        (Step::SetIoPriority { .. }, _, Errno::EPERM) => {
            ("the realtime class is for privileged users", "write \"IOPRIO_CLASS_BE\"")
        }
        (Step::MakeDirectory { .. } | Step::Chdir { .. }, _, Errno::ELOOP) => (
            "the directory is a link of procfs to something outside the container (CVE-2024-21626)",
            "write a plain path in process.cwd",
        ),
        (Step::Chdir { .. }, _, Errno::ENOENT) => {
            ("there is no such directory in the container", "make it, or correct --cwd")
        }
        (Step::MakeDirectory { .. } | Step::Chdir { .. }, _, Errno::ENOTDIR) => {
            ("it is not a directory", "correct process.cwd")
        }
        (Step::MakeDirectory { .. }, Call::Mkdir, _) => {
            ("it is missing and cannot be made", "make the directory in the root file system, or correct process.cwd")
        }
        (Step::LoopbackUp, _, Errno::EPERM) => (
            "the network namespace does not belong to the container's user namespace",
            "leave the network namespace out",
        ),
        _ => return None,
    })
}

/// Flags that the host's mount has and that a user namespace may not lift.
fn locked(clear: u64) -> Advice {
    let because = "the host has mounted the source with a flag that a user namespace may not lift";
    let options = [
        (mount::MOUNT_ATTR_NODEV, "leave \"dev\" out of the options"),
        (mount::MOUNT_ATTR_NOSUID, "leave \"suid\" out of the options"),
        (mount::MOUNT_ATTR_NOEXEC, "leave \"exec\" out of the options"),
        (mount::MOUNT_ATTR_RDONLY, "write \"ro\" instead of \"rw\" in the options"),
    ];
    let option = options
        .iter()
        .find(|(flag, _)| clear & flag != 0)
        .map_or("leave the access time options out", |(_, option)| option);
    (because, option)
}

/// The namespaces of a container could not be entered.
pub fn explain_entry(error: sys::Error) -> Error {
    let message = Error::from_call("cannot enter the container's namespaces", error);
    match error.errno {
        Errno::ESRCH => message.because("its first process has just ended, or the first thread of it"),
        Errno::EPERM | Errno::EACCES => message
            .because("its user namespace is not yours, or you are in another one than when it was created")
            .remedy("run this command as the user, and from the place, that created the container"),
        Errno::EINVAL => message.because("entering all at once needs Linux 5.8").remedy("use a newer kernel"),
        _ => message,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::mounting::Attributes;
    use crate::plan::{Origin, Phase};

    fn entry(step: Step) -> Entry {
        Entry { phase: Phase::Inside, origin: Origin { property: "mounts", index: Some(3) }, step, tolerate: &[] }
    }

    #[test]
    fn a_locked_flag_is_named_with_its_mend() {
        let attributes = Attributes { clear: mount::MOUNT_ATTR_NODEV, ..Attributes::default() };
        let step = Step::SetMountAttributes { target: c"/data".into(), attributes, itself: false };
        let error = explain(&entry(step), sys::Error::new(Call::MountSetattr, Errno::EPERM), false);
        assert_eq!(error.to_string(), "config.json: mounts[3] (/data): mount_setattr: EPERM (not permitted)");
        assert!(error.because.unwrap().contains("may not lift"));
        assert_eq!(error.remedy.unwrap(), "leave \"dev\" out of the options");
    }

    #[test]
    fn engines_recognise_a_missing_and_a_forbidden_program() {
        let find = |name: &CStr, errno| {
            let step = Step::FindExecutable { name: name.into(), candidates: Box::new([]) };
            explain(&entry(step), sys::Error::new(Call::Lookup, errno), false).message
        };
        assert_eq!(find(c"nosuch", Errno::ENOENT), "exec: \"nosuch\": executable file not found in $PATH");
        assert!(find(c"/nosuch", Errno::ENOENT).contains("no such file or directory"));
        assert!(find(c"/etc/passwd", Errno::EACCES).contains("permission denied"));
    }

    #[test]
    fn advice_never_has_the_words_that_engines_look_for() {
        let step = Step::Bind {
            source: c"/x".into(),
            target: c"/y".into(),
            recursive: false,
            over_proc: false,
            itself: (false, false),
            attributes: Box::new([]),
        };
        for errno in [Errno::ENOENT, Errno::EACCES, Errno::EINVAL, Errno::ENOTDIR] {
            let error = explain(
                &entry(Step::Bind {
                    source: c"/x".into(),
                    target: c"/y".into(),
                    recursive: false,
                    over_proc: false,
                    itself: (false, false),
                    attributes: Box::new([]),
                }),
                sys::Error::new(Call::Mount, errno),
                false,
            );
            let text = format!("{error} {:?} {:?}", error.because, error.remedy).to_lowercase();
            assert!(error.because.is_some(), "{step}: {errno}");
            for phrase in ["permission denied", "operation not permitted", "no such file or directory", "not found"] {
                assert!(!text.contains(phrase), "{text}");
            }
        }
    }
}
