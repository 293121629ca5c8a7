//! System call filters that `rootlet spec --seccomp` writes: one of our own, or one that an engine's profile means here.

use crate::error::{Error, Result};
use crate::host::Host;
use crate::seccomp::Architecture;
use crate::sys::Errno;
use crate::sys::fd;
use serde_json::{Map, Value, json};
use std::io::Read;
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Many times what a profile has.
const LARGEST: u64 = 16 << 20;

/// What the default profile denies, with the reason. Everything else that the kernels of its day have is allowed; what
/// is newer fails with ENOSYS, and programs fall back.
pub const DENIED: &[(&str, &[&str])] = &[
    (
        "namespaces and mounts: with them, an ordinary program reaches kernel code that was written for root",
        &[
            "unshare",
            "setns",
            "mount",
            "umount",
            "umount2",
            "pivot_root",
            "move_mount",
            "open_tree",
            "open_tree_attr",
            "fsopen",
            "fsconfig",
            "fsmount",
            "fspick",
            "mount_setattr",
        ],
    ),
    (
        "io_uring, bpf, userfaultfd, perf: where most escapes of late began; io_uring does calls that no filter sees",
        &["io_uring_setup", "io_uring_enter", "io_uring_register", "bpf", "userfaultfd", "perf_event_open"],
    ),
    ("keyrings: they belong to the user and not to the container", &["add_key", "keyctl", "request_key"]),
    ("files by handle: a handle leads to any file of a file system, around all mounts", &["open_by_handle_at"]),
    (
        "the kernel itself: modules, another kernel, reboot, its log, swap, quotas, accounting",
        &[
            "create_module",
            "init_module",
            "finit_module",
            "delete_module",
            "query_module",
            "get_kernel_syms",
            "kexec_load",
            "kexec_file_load",
            "reboot",
            "syslog",
            "swapon",
            "swapoff",
            "quotactl",
            "quotactl_fd",
            "acct",
            "nfsservctl",
            "lookup_dcookie",
            "vhangup",
        ],
    ),
    (
        "the clock, which has no namespace (reading it is allowed)",
        &["clock_settime", "clock_settime64", "settimeofday", "stime"],
    ),
    (
        "ports and old modes of the processor",
        &["iopl", "ioperm", "vm86", "vm86old", "pciconfig_read", "pciconfig_write", "pciconfig_iobase"],
    ),
    ("calls that nothing has used for decades", &["uselib", "ustat", "sysfs", "_sysctl", "bdflush"]),
    ("what moves the memory of other processes", &["migrate_pages", "move_pages"]),
];

/// CLONE_NEW* of clone(2).
const NAMESPACES: u64 = 0x7e02_0000;
const ENOSYS: u64 = 38;
/// address families(7): AF_ALG and AF_VSOCK reach the kernel's cryptography and the hypervisor.
const AF_ALG: u64 = 38;
const AF_VSOCK: u64 = 40;
/// personality(2): Linux, 32 bits, both without address randomization as gdb asks, and the question which it is.
const PERSONALITIES: [u64; 7] = [0, 8, 0x2_0000, 0x2_0008, 0x4_0000, 0x4_0008, 0xffff_ffff];

/// The default profile.
pub fn default() -> Value {
    let by_argument = ["clone", "clone3", "socket", "socketcall", "personality"];
    let mut left_out: Vec<&str> = DENIED.iter().flat_map(|(_, names)| *names).chain(&by_argument).copied().collect();
    left_out.sort_unstable();
    // All of the family, each once.
    let mut allowed: Vec<&str> = crate::seccomp::names().collect();
    allowed.retain(|name| left_out.binary_search(name).is_err());
    allowed.sort_unstable();
    let allow = |name: &str, operator: &str, value: u64| {
        let argument = json!({ "index": 0, "value": value, "op": operator });
        json!({ "names": [name], "action": "SCMP_ACT_ALLOW", "args": [argument] })
    };
    let mut rules = vec![
        json!({ "names": allowed, "action": "SCMP_ACT_ALLOW" }),
        allow("clone", "SCMP_CMP_MASKED_EQ", NAMESPACES),
        // Its flags are in memory, where no filter looks; C libraries fall back to clone.
        json!({ "names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": ENOSYS }),
        // So are the arguments of x86's socketcall, by which any program could have the families that are denied.
        json!({ "names": ["socketcall"], "action": "SCMP_ACT_ERRNO", "errnoRet": ENOSYS }),
        allow("socket", "SCMP_CMP_LT", AF_ALG),
        allow("socket", "SCMP_CMP_EQ", AF_ALG + 1),
        allow("socket", "SCMP_CMP_GT", AF_VSOCK),
    ];
    rules.extend(PERSONALITIES.map(|personality| allow("personality", "SCMP_CMP_EQ", personality)));
    let names = crate::seccomp::ARCHITECTURES;
    let architectures: Vec<_> = names
        .iter()
        .filter(|(_, architecture)| architecture.is_some_and(Architecture::runs_here))
        .map(|(name, _)| *name)
        .collect();
    json!({
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": 1,
        "architectures": architectures,
        "syscalls": rules,
    })
}

/// Reads a profile: as config.json has it, or as Docker and podman keep it, with conditions on architecture, capabilities
/// and kernel that are settled here.
pub fn read(path: &Path, capabilities: &[String], host: &Host) -> Result<Value> {
    let wrong = |message: String| Error::new(format!("{}: {message}", path.display())).remedy("correct --seccomp");
    let read = |path: &Path| {
        let mut text = String::new();
        // Nobody is waited for who does not write to a fifo.
        let file = std::fs::OpenOptions::new().read(true).custom_flags(fd::O_NONBLOCK).open(path)?;
        fd::set_blocking(file.as_fd()).map_err(|error| std::io::Error::from_raw_os_error(error.errno as i32))?;
        let length = file.take(LARGEST).read_to_string(&mut text)?;
        if length as u64 == LARGEST { Err(std::io::Error::other("larger than any profile")) } else { Ok(text) }
    };
    let text = read(path).map_err(|error| {
        Error::from_io(format!("cannot read {}", path.display()), &error).remedy("correct --seccomp")
    })?;
    let mut profile: Map<String, Value> =
        serde_json::from_str(&text).map_err(|error| wrong(format!("not a profile: {error}")))?;
    if let Some(Value::Array(map)) = profile.remove("archMap") {
        let native = crate::seccomp::ARCHITECTURES.iter().find(|(_, known)| *known == Some(Architecture::native()));
        let native = native.map_or("", |(name, _)| name);
        let entry = map.iter().find(|entry| entry.get("architecture").and_then(Value::as_str) == Some(native));
        let below = entry.and_then(|entry| entry.get("subArchitectures")).and_then(Value::as_array);
        let mut architectures = vec![Value::from(native)];
        architectures.extend(below.into_iter().flatten().cloned());
        profile.insert("architectures".to_owned(), Value::Array(architectures));
    }
    let rules = match profile.get_mut("syscalls") {
        Some(Value::Array(rules)) => rules,
        // Go writes an empty list as null.
        None | Some(Value::Null) => &mut Vec::new(),
        Some(_) => return Err(wrong("\"syscalls\" is not a list".to_owned())),
    };
    let kernel = host.kernel()?;
    rules.retain(|rule| applies(rule, capabilities, kernel));
    for rule in rules.iter_mut().filter_map(Value::as_object_mut) {
        for key in ["includes", "excludes", "comment"] {
            rule.shift_remove(key);
        }
        if let Some(name) = rule.shift_remove("name") {
            rule.entry("names").or_insert_with(|| json!([name]));
        }
        // Profiles write what means nothing as null and as an empty text.
        rule.retain(|_, value| !value.is_null() && value.as_str() != Some(""));
        number_errno(rule, "errno", "errnoRet").map_err(wrong)?;
    }
    profile.retain(|_, value| !value.is_null() && value.as_str() != Some(""));
    number_errno(&mut profile, "defaultErrno", "defaultErrnoRet").map_err(wrong)?;
    Ok(Value::Object(profile))
}

/// Puts a number in place of podman's own name of an errno, which stands beside the number or alone.
fn number_errno(object: &mut Map<String, Value>, name: &str, number: &str) -> std::result::Result<(), String> {
    let Some(Value::String(text)) = object.shift_remove(name) else { return Ok(()) };
    if !object.contains_key(number) {
        let found = (1..134).find(|errno| format!("{:?}", Errno::from_raw(*errno)) == text);
        let found = found.ok_or_else(|| format!("{name} {text:?}: write one such as \"EPERM\""))?;
        object.insert(number.to_owned(), json!(found));
    }
    Ok(())
}

/// Docker's name of the native architecture (runtime.GOARCH).
const GO_ARCHITECTURE: &str = match Architecture::native() {
    Architecture::Aarch64 => "arm64",
    Architecture::Riscv64 => "riscv64",
    _ => "amd64",
};

fn applies(rule: &Value, capabilities: &[String], kernel: &str) -> bool {
    let strings = |part: &str, key: &str| -> Vec<&str> {
        let list = rule.get(part).and_then(|part| part.get(key)).and_then(Value::as_array);
        list.into_iter().flatten().filter_map(Value::as_str).collect()
    };
    let has = |name: &&str| capabilities.iter().any(|known| known == name);
    let included = strings("includes", "arches");
    let newest = rule.pointer("/includes/minKernel").and_then(Value::as_str);
    (included.is_empty() || included.contains(&GO_ARCHITECTURE))
        && !strings("excludes", "arches").contains(&GO_ARCHITECTURE)
        && strings("includes", "caps").iter().all(has)
        && !strings("excludes", "caps").iter().any(has)
        && newest.is_none_or(|least| version(kernel) >= version(least))
}

/// Major and minor number of a kernel's version.
fn version(text: &str) -> (u32, u32) {
    let mut numbers = text.split(|letter: char| !letter.is_ascii_digit()).filter_map(|part| part.parse().ok());
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_denied_exists_and_is_not_allowed() {
        let profile = default();
        let allowed: Vec<_> = profile["syscalls"][0]["names"].as_array().unwrap().iter().collect();
        assert!(allowed.len() > 200);
        for name in DENIED.iter().flat_map(|(_, names)| *names) {
            assert!(!allowed.contains(&&Value::from(*name)), "{name}");
        }
        for name in ["read", "ptrace", "execve", "chroot", "seccomp", "landlock_restrict_self"] {
            assert!(allowed.contains(&&Value::from(name)), "{name}");
        }
    }

    #[test]
    fn conditions_of_an_engines_profile_are_settled() {
        let rule = json!({"names": ["bpf"], "includes": {"caps": ["CAP_BPF"], "minKernel": "5.8"}, "excludes": {"arches": ["s390"]}});
        let with = [String::from("CAP_BPF")];
        assert!(applies(&rule, &with, "6.1.0-13-amd64"));
        assert!(!applies(&rule, &[], "6.1.0"), "without the capability");
        assert!(!applies(&rule, &with, "5.4.0"), "on an older kernel");
        assert!(!applies(&json!({"excludes": {"caps": ["CAP_BPF"]}}), &with, "6.1.0"));
        assert!(!applies(&json!({"includes": {"arches": ["s390x"]}}), &with, "6.1.0"));
    }
}
