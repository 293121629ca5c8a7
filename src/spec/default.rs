//! The configs that `rootlet spec` writes, built with oci-spec's types.

use crate::error::{Error, Result, found};
use crate::host::{Cgroups, Host};
use crate::sys::creds;
use oci_spec::runtime::{
    Capability, LinuxBuilder, LinuxCapabilitiesBuilder, LinuxDeviceCgroupBuilder, LinuxIdMappingBuilder,
    LinuxNamespaceBuilder, LinuxNamespaceType as Namespace, LinuxResourcesBuilder, Mount, MountBuilder,
    PosixRlimitBuilder, PosixRlimitType, ProcessBuilder, RootBuilder, Spec, SpecBuilder, UserBuilder,
};
use serde_json::Value;
use std::path::Path;

/// Accepted by runc and by every crun; nothing in these configs is newer.
const VERSION: &str = "1.0.2";

/// For whom a config is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// An ordinary user.
    Rootless,
    /// Root.
    Rootful,
    /// An ordinary user without an image: the host's /usr and /etc, read-only.
    HostFiles,
}

/// A config to start from.
pub fn config(kind: Kind, host: &Host) -> Result<Value> {
    let resolver = if kind == Kind::HostFiles { resolver_file()? } else { None };
    let spec = build(kind, host, host.cgroups()?, resolver).map_err(|error| Error::new(format!("spec: {error}")))?;
    let mut value = serde_json::to_value(&spec).map_err(|error| Error::new(format!("spec: {error}")))?;
    sort_capabilities(&mut value);
    Ok(value)
}

/// The text of a config.json; as runc's, indented by tabs and without a newline at the end.
pub fn text(config: &Value) -> Result<String> {
    let mut text = Vec::new();
    let mut serializer =
        serde_json::Serializer::with_formatter(&mut text, serde_json::ser::PrettyFormatter::with_indent(b"\t"));
    serde::Serialize::serialize(config, &mut serializer).map_err(|error| Error::new(format!("spec: {error}")))?;
    String::from_utf8(text).map_err(|error| Error::new(format!("spec: {error}")))
}

/// oci-spec keeps capabilities in a set of random order.
fn sort_capabilities(config: &mut Value) {
    if let Some(Value::Object(sets)) = config.pointer_mut("/process/capabilities") {
        for set in sets.values_mut().filter_map(Value::as_array_mut) {
            set.sort_by(|one, other| one.as_str().cmp(&other.as_str()));
        }
    }
}

type Built<T> = std::result::Result<T, oci_spec::OciSpecError>;

fn build(kind: Kind, host: &Host, cgroups: Cgroups, resolver: Option<String>) -> Built<Spec> {
    let rootless = kind != Kind::Rootful;
    let unified = cgroups == Cgroups::Unified;
    let mut namespaces = vec![Namespace::Pid, Namespace::Ipc, Namespace::Uts, Namespace::Mount];
    namespaces.extend((!rootless).then_some(Namespace::Network));
    namespaces.extend(rootless.then_some(Namespace::User));
    namespaces.extend(unified.then_some(Namespace::Cgroup));
    let namespaces = namespaces
        .into_iter()
        .map(|kind| LinuxNamespaceBuilder::default().typ(kind).build())
        .collect::<Built<Vec<_>>>()?;

    let mut linux =
        LinuxBuilder::default().namespaces(namespaces).masked_paths(paths(&MASKED)).readonly_paths(paths(&READONLY));
    if rootless {
        let map = |id| LinuxIdMappingBuilder::default().container_id(0u32).host_id(id).size(1u32).build();
        linux = linux.uid_mappings(vec![map(host.uid)?]).gid_mappings(vec![map(host.gid)?]);
    } else {
        let deny_all = LinuxDeviceCgroupBuilder::default().allow(false).access("rwm").build()?;
        linux = linux.resources(LinuxResourcesBuilder::default().devices(vec![deny_all]).build()?);
    }
    let mut linux = linux.build()?;
    if rootless {
        // oci-spec's default denies devices by a cgroup, which nobody needs in a user namespace.
        linux.set_resources(None);
    }
    linux.set_devices(None);

    let mut spec = SpecBuilder::default()
        .version(VERSION)
        .process(process(kind)?)
        .root(RootBuilder::default().path("rootfs").readonly(true).build()?)
        .hostname("rootlet")
        .mounts(mounts(kind, unified, resolver)?)
        .linux(linux)
        .build()?;
    spec.set_annotations(None);
    Ok(spec)
}

fn process(kind: Kind) -> Built<oci_spec::runtime::Process> {
    let capabilities = || {
        [Capability::AuditWrite, Capability::Kill, Capability::NetBindService]
            .into_iter()
            .collect::<std::collections::HashSet<_>>()
    };
    let mut sets = LinuxCapabilitiesBuilder::default()
        .bounding(capabilities())
        .permitted(capabilities())
        .effective(capabilities())
        .build()?;
    // CVE-2022-29162: no inheritable capability unless somebody asks for it.
    sets.set_inheritable(None).set_ambient(None);
    let descriptors =
        PosixRlimitBuilder::default().typ(PosixRlimitType::RlimitNofile).soft(1024u64).hard(1024u64).build()?;
    let mut process = ProcessBuilder::default()
        .terminal(true)
        .user(UserBuilder::default().uid(0u32).gid(0u32).build()?)
        .args(vec!["sh".to_owned()])
        .env(environment(kind))
        .cwd("/")
        .capabilities(sets)
        // The host's programs have the caller's limits.
        .rlimits(if kind == Kind::HostFiles { Vec::new() } else { vec![descriptors] })
        .no_new_privileges(true)
        .build()?;
    process.set_apparmor_profile(None).set_selinux_label(None);
    Ok(process)
}

/// What tells the host's programs how the caller reads: his terminal and his language.
const KEPT: [&str; 5] = ["TERM", "COLORTERM", "LANG", "LANGUAGE", "TZ"];

pub(super) fn environment(kind: Kind) -> Vec<String> {
    let path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    let is_kept = |name: &str| kind == Kind::HostFiles && (KEPT.contains(&name) || name.starts_with("LC_"));
    let mut kept: Vec<String> = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .filter(|(name, value)| is_kept(name) && !value.is_empty())
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    kept.sort();
    if !kept.iter().any(|variable| variable.starts_with("TERM=")) {
        kept.insert(0, "TERM=xterm".to_owned());
    }
    [path.to_owned()].into_iter().chain(kept).collect()
}

fn paths(paths: &[&str]) -> Vec<String> {
    paths.iter().map(|path| (*path).to_owned()).collect()
}

/// What runc masks.
const MASKED: [&str; 10] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/sys/firmware",
    "/proc/scsi",
];

/// What runc makes read-only.
const READONLY: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

fn mounts(kind: Kind, unified: bool, resolver: Option<String>) -> Built<Vec<Mount>> {
    let rootless = kind != Kind::Rootful;
    let mount = |destination: &str, kind: &str, source: &str, options: &[&str]| {
        let builder = MountBuilder::default().destination(destination).typ(kind).source(source);
        let mount = if options.is_empty() { builder.build() } else { builder.options(paths(options)).build() };
        mount.map(|mut mount| {
            if options.is_empty() {
                mount.set_options(None);
            }
            mount
        })
    };
    let mut mounts = vec![
        mount("/proc", "proc", "proc", &[])?,
        mount("/dev", "tmpfs", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"])?,
        match rootless {
            // Group 5 (tty) is not mapped.
            true => mount(
                "/dev/pts",
                "devpts",
                "devpts",
                &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"],
            )?,
            false => mount(
                "/dev/pts",
                "devpts",
                "devpts",
                &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
            )?,
        },
        mount("/dev/shm", "tmpfs", "shm", &["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"])?,
        mount("/dev/mqueue", "mqueue", "mqueue", &["nosuid", "noexec", "nodev"])?,
        match rootless {
            // A fresh sysfs needs a network namespace; `ro` would leave what is mounted below /sys writable.
            true => mount("/sys", "none", "/sys", &["rbind", "nosuid", "noexec", "nodev", "rro"])?,
            false => mount("/sys", "sysfs", "sysfs", &["nosuid", "noexec", "nodev", "ro"])?,
        },
    ];
    if unified || !rootless {
        mounts.push(mount("/sys/fs/cgroup", "cgroup", "cgroup", &["nosuid", "noexec", "nodev", "relatime", "ro"])?);
    }
    if kind == Kind::HostFiles {
        for directory in host_directories() {
            mounts.push(mount(directory, "none", directory, &["rbind", "nosuid", "nodev", "rro"])?);
        }
        for (directory, mode) in MEMORY {
            mounts.push(mount(directory, "tmpfs", "tmpfs", &["nosuid", "nodev", mode])?);
        }
        // Where systemd-resolved runs, /etc/resolv.conf is a symlink to a file below /run.
        if let Some(file) = resolver {
            mounts.push(mount(&file, "none", &file, &["bind", "nosuid", "nodev", "ro"])?);
        }
    }
    Ok(mounts)
}

/// Where programs write that are the host's: in memory.
const MEMORY: [(&str, &str); 6] = [
    ("/tmp", "mode=1777"),
    ("/var/tmp", "mode=1777"),
    ("/run", "mode=755"),
    ("/run/user", "mode=755"),
    ("/home", "mode=755"),
    ("/root", "mode=700"),
];

pub(super) fn resolver_file() -> Result<Option<String>> {
    let path = "/etc/resolv.conf";
    let file = found(Path::new(path).canonicalize()).map_err(|error| Error::from_io(path, &error))?;
    Ok(file.filter(|file| file.starts_with("/run")).and_then(|file| file.to_str().map(str::to_owned)))
}

/// Directories of programs that are links into /usr on a merged host, and directories of their own elsewhere.
const PROGRAMS: [&str; 6] = ["/bin", "/sbin", "/lib", "/lib64", "/lib32", "/libx32"];

/// What a host bundle binds.
fn host_directories() -> Vec<&'static str> {
    let own = PROGRAMS.into_iter().filter(|path| Path::new(path).is_dir() && !Path::new(path).is_symlink());
    ["/usr", "/etc"].into_iter().chain(Path::new("/opt").is_dir().then_some("/opt")).chain(own).collect()
}

/// Makes the root file system of a host bundle: empty mount points, and the host's links into /usr.
pub fn make_host_rootfs(rootfs: &Path) -> Result<()> {
    // Whoever the program is, it has to get there.
    let umask = creds::set_umask(0o022);
    let made = make_places(rootfs);
    creds::set_umask(umask);
    made
}

fn make_places(rootfs: &Path) -> Result<()> {
    let failed = |path: &Path| {
        let message = format!("cannot make {}", path.display());
        move |error: std::io::Error| Error::from_io(&message, &error)
    };
    let directories =
        ["/proc", "/dev", "/sys", "/tmp", "/run", "/root", "/home", "/var/tmp"].into_iter().chain(host_directories());
    for directory in directories {
        let path = rootfs.join(directory.trim_start_matches('/'));
        std::fs::create_dir_all(&path).map_err(failed(&path))?;
    }
    for link in PROGRAMS {
        let target = match std::fs::read_link(link) {
            // A directory of its own.
            Err(error) if error.kind() == std::io::ErrorKind::InvalidInput => None,
            other => found(other).map_err(|error| Error::from_io(link, &error))?,
        };
        let Some(target) = target else { continue };
        let path = rootfs.join(link.trim_start_matches('/'));
        match std::os::unix::fs::symlink(target, &path) {
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => return Err(failed(&path)(error)),
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::OnceCell;

    fn host(cgroups: Cgroups) -> Host {
        Host { uid: 1000, gid: 1001, cgroups: OnceCell::from(cgroups), ..Host::default() }
    }

    fn written(kind: Kind, cgroups: Cgroups) -> Value {
        config(kind, &host(cgroups)).unwrap()
    }

    #[test]
    fn the_rootless_config_maps_the_caller_and_asks_for_what_the_host_has() {
        let config = written(Kind::Rootless, Cgroups::Legacy);
        assert_eq!(config.pointer("/linux/uidMappings/0/hostID"), Some(&1000.into()));
        assert_eq!(config.pointer("/linux/gidMappings/0/hostID"), Some(&1001.into()));
        let text = config.to_string();
        assert!(
            !text.contains("cgroup")
                && !text.contains("gid=5")
                && !text.contains("network")
                && !text.contains("resources"),
            "{text}"
        );
        assert!(written(Kind::Rootless, Cgroups::Unified).to_string().contains(r#""type":"cgroup""#));
    }

    #[test]
    fn the_same_config_is_written_every_time() {
        let texts: Vec<_> =
            (0..8).map(|_| text(&config(Kind::Rootful, &host(Cgroups::Unified)).unwrap()).unwrap()).collect();
        assert!(texts.windows(2).all(|pair| pair.first() == pair.last()));
        assert!(texts.first().unwrap().contains("CAP_AUDIT_WRITE"));
    }

    #[test]
    fn what_is_written_can_be_read() {
        for kind in [Kind::Rootless, Kind::Rootful, Kind::HostFiles] {
            let loaded =
                crate::spec::load::parse(&text(&config(kind, &host(Cgroups::Unified)).unwrap()).unwrap()).unwrap();
            assert_eq!(loaded.unknown, Vec::<String>::new());
        }
    }
}
