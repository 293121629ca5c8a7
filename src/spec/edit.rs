//! What the flags of `rootlet spec` change in a config, so that nobody edits JSON for the usual things.

use super::profile;
use crate::error::{Error, Result};
use crate::host::Host;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// Which network the container has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Network {
    /// The caller's.
    Host,
    /// Its own, with nothing but a loopback device.
    None,
    /// Its own, with a way out; who leads it.
    Private(&'static str),
}

/// What package managers need, and what they start: to write to their own read-only files, and to change root.
const NEEDED: [&str; 9] =
    ["CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "MKNOD", "SETFCAP", "SETGID", "SETUID", "SYS_CHROOT"];

/// The changes, as the flags have them. `None` and empty leave the config as it is.
#[derive(Clone, Debug, Default, PartialEq)]
#[allow(missing_docs)] // the flags are documented where they are read
pub struct Edits {
    pub rootfs: Option<PathBuf>,
    pub args: Vec<String>,
    pub env: Vec<String>,
    pub cwd: Option<String>,
    pub user: Option<String>,
    pub as_me: bool,
    pub home: Option<PathBuf>,
    pub mounts: Vec<String>,
    pub memory: Option<String>,
    pub cpus: Option<String>,
    pub pids: Option<i64>,
    pub cap_add: Vec<String>,
    pub cap_drop: Vec<String>,
    pub no_tty: bool,
    pub hostname: Option<String>,
    pub network: Option<Network>,
    pub publish: Vec<String>,
    pub readonly: Option<bool>,
    pub fake_root: bool,
    pub init: bool,
    pub seccomp: Option<String>,
}

impl Edits {
    /// Changes a config that [`super::default`] has built.
    pub fn apply(&self, config: &mut Value, host: &Host, rootless: bool) -> Result<()> {
        if let Some(rootfs) = &self.rootfs {
            config["root"]["path"] = json!(rootfs);
        }
        if let Some(readonly) = self.readonly {
            config["root"]["readonly"] = json!(readonly);
        }
        if let Some(hostname) = &self.hostname {
            config["hostname"] = json!(hostname);
        }
        if !self.args.is_empty() {
            config["process"]["args"] = json!(self.args);
        }
        if let Some(cwd) = &self.cwd {
            config["process"]["cwd"] = json!(cwd);
        }
        if self.no_tty {
            config["process"]["terminal"] = json!(false);
        }
        self.env.iter().try_for_each(|variable| set_variable(config, variable))?;
        if let Some(user) = &self.user {
            // Where root is faked, the one id that is mapped stays root's.
            set_user(config, user, rootless && !self.fake_root)?;
        }
        if self.as_me {
            set_user(config, &format!("{}:{}", host.uid, host.gid), rootless)?;
        }
        self.furnish(config)?;
        self.mounts.iter().try_for_each(|mount| add_mount(config, mount))?;
        self.limit(config)?;
        self.change_capabilities(config)?;
        if let Some(network) = self.network {
            set_network(config, network);
        }
        if !self.publish.is_empty() {
            config["annotations"]["org.rootlet.publish"] = json!(self.publish.join(","));
        }
        if self.fake_root {
            // `property::annotations` reads it.
            config["annotations"]["org.rootlet.fake-root"] = json!("true");
        }
        if self.init {
            config["annotations"]["org.rootlet.init"] = json!("true");
        }
        match self.seccomp.as_deref() {
            None => {}
            Some("none") => drop(config["linux"].as_object_mut().map(|linux| linux.shift_remove("seccomp"))),
            Some("default") => config["linux"]["seccomp"] = profile::default(),
            Some(file) => {
                let capabilities = config["process"]["capabilities"]["bounding"].as_array().cloned();
                let names = capabilities.into_iter().flatten().filter_map(|name| Some(name.as_str()?.to_owned()));
                config["linux"]["seccomp"] = profile::read(Path::new(file), &names.collect::<Vec<_>>(), host)?;
            }
        }
        Ok(())
    }

    /// A home for the program: a directory of the host's, or for whoever is there as on the host, one in memory.
    fn furnish(&self, config: &mut Value) -> Result<()> {
        if self.home.is_none() && !self.as_me {
            return Ok(());
        }
        let own = std::env::var("HOME").ok().filter(|home| self.as_me && home.starts_with('/') && home != "/");
        let directory = own.unwrap_or_else(|| "/root".to_owned());
        set_variable(config, &format!("HOME={directory}"))?;
        let mount = match &self.home {
            Some(home) => {
                let source = std::path::absolute(home).map_err(|error| Error::from_io("--home", &error))?;
                json!({ "destination": directory, "type": "none", "source": source, "options": ["rbind", "nosuid", "nodev"] })
            }
            None => {
                json!({ "destination": directory, "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "nodev", "mode=700"] })
            }
        };
        push_mount(config, mount);
        Ok(())
    }

    fn limit(&self, config: &mut Value) -> Result<()> {
        if let Some(memory) = &self.memory {
            let bytes = bytes(memory).ok_or_else(|| wrong("--memory", memory, "a size such as 512M or 1G"))?;
            config["linux"]["resources"]["memory"]["limit"] = json!(bytes);
        }
        if let Some(cpus) = &self.cpus {
            // cgroup v2, cpu.max: microseconds in a period of 0.1 s.
            const PERIOD: f64 = 100_000.0;
            let number = cpus.parse::<f64>().ok().filter(|number| number.is_finite() && (0.01..1e6).contains(number));
            let number = number
                .ok_or_else(|| wrong("--cpus", cpus, "a number of processors from 0.01 to 1000000, such as 1.5"))?;
            config["linux"]["resources"]["cpu"] = json!({ "quota": (number * PERIOD) as i64, "period": PERIOD as u64 });
        }
        if let Some(pids) = self.pids {
            config["linux"]["resources"]["pids"] = json!({ "limit": pids });
        }
        Ok(())
    }

    fn change_capabilities(&self, config: &mut Value) -> Result<()> {
        let known = crate::capability::NAMES;
        let resolve = |flag: &str, name: &String| {
            let upper = name.to_ascii_uppercase();
            let short = upper.strip_prefix("CAP_").unwrap_or(&upper);
            match short {
                "ALL" => Ok(known.iter().map(|name| format!("CAP_{name}")).collect()),
                short if known.contains(&short) => Ok(vec![format!("CAP_{short}")]),
                _ => Err(wrong(flag, name, "a name of capabilities(7) such as NET_RAW, or ALL")),
            }
        };
        let needed = if self.fake_root { &NEEDED[..] } else { &[] };
        let dropped: Vec<Vec<String>> =
            self.cap_drop.iter().map(|name| resolve("--cap-drop", name)).collect::<Result<_>>()?;
        let added: Vec<Vec<String>> =
            self.cap_add.iter().map(|name| resolve("--cap-add", name)).collect::<Result<_>>()?;
        if dropped.is_empty() && added.is_empty() && needed.is_empty() {
            return Ok(());
        }
        for set in ["bounding", "effective", "permitted"] {
            let before = config["process"]["capabilities"][set].as_array().cloned().unwrap_or_default();
            let mut names: Vec<String> = before.iter().filter_map(|name| Some(name.as_str()?.to_owned())).collect();
            names.extend(needed.iter().map(|name| format!("CAP_{name}")));
            // As Docker: what is dropped with ALL can be added again.
            names.retain(|name| !dropped.iter().flatten().any(|dropped| dropped == name));
            names.extend(added.iter().flatten().cloned());
            names.sort();
            names.dedup();
            config["process"]["capabilities"][set] = json!(names);
        }
        Ok(())
    }
}

fn wrong(flag: &str, value: &str, right: &str) -> Error {
    Error::new(format!("{flag} {value:?} says nothing that is understood")).remedy(format!("write {right}"))
}

/// A size in bytes, with a unit of 1024 if it has one, as runc's `update` takes it.
pub fn bytes(text: &str) -> Option<i64> {
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let unit: i64 = match text.get(digits.len()..)?.to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kb" | "kib" => 1 << 10,
        "m" | "mb" | "mib" => 1 << 20,
        "g" | "gb" | "gib" => 1 << 30,
        "t" | "tb" | "tib" => 1 << 40,
        _ => return None,
    };
    let number: f64 = digits.parse().ok()?;
    let bytes = number * unit as f64;
    (number > 0.0 && bytes < i64::MAX as f64).then_some(bytes as i64)
}

pub(super) fn set_variable(config: &mut Value, variable: &str) -> Result<()> {
    let Some((name, _)) = variable.split_once('=').filter(|(name, _)| !name.is_empty()) else {
        return Err(wrong("--env", variable, "NAME=VALUE"));
    };
    if let Some(variables) = config["process"]["env"].as_array_mut() {
        let is_same = |known: &Value| {
            known.as_str().and_then(|known| known.split_once('=')).is_some_and(|(known, _)| known == name)
        };
        variables.retain(|known| !is_same(known));
        variables.push(json!(variable));
    }
    Ok(())
}

fn set_user(config: &mut Value, user: &str, rootless: bool) -> Result<()> {
    let (uid, gid) = user.split_once(':').unwrap_or((user, user));
    // Digits only: a sign, blanks or a name must not become another user.
    let number = |text: &str| {
        let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse::<u32>().ok().filter(|id| is_number && *id != u32::MAX)
    };
    let (Some(uid), Some(gid)) = (number(uid), number(gid)) else {
        return Err(wrong("--user", user, "UID or UID:GID, as numbers"));
    };
    config["process"]["user"]["uid"] = json!(uid);
    config["process"]["user"]["gid"] = json!(gid);
    if rootless {
        // The one id that an ordinary user can map, his own, is that user in the container.
        config["linux"]["uidMappings"][0]["containerID"] = json!(uid);
        config["linux"]["gidMappings"][0]["containerID"] = json!(gid);
    }
    Ok(())
}

/// `type=bind,src=/data,dst=/data,ro`, as Docker and podman have it. What is no key of theirs is an option of the mount.
fn add_mount(config: &mut Value, text: &str) -> Result<()> {
    let form = "type=bind,src=DIRECTORY,dst=DIRECTORY[,ro] or type=tmpfs,dst=DIRECTORY[,size=64m]";
    let (mut kind, mut source, mut destination) = ("bind", None, None);
    let (mut options, mut readonly) = (Vec::new(), false);
    for part in text.split(',').filter(|part| !part.is_empty()) {
        match part.split_once('=').unwrap_or((part, "")) {
            ("type", value) => kind = value,
            ("src" | "source", value) => source = Some(value),
            ("dst" | "destination" | "target", value) => destination = Some(value),
            ("ro" | "readonly", "" | "true") => readonly = true,
            ("rw", "") | ("ro" | "readonly", "false") => readonly = false,
            ("tmpfs-size", value) => options.push(format!("size={value}")),
            ("tmpfs-mode", value) => options.push(format!("mode={value}")),
            ("bind-propagation", value) => options.push(value.to_owned()),
            _ => options.push(part.to_owned()),
        }
    }
    let Some(destination) = destination.filter(|destination| destination.starts_with('/')) else {
        return Err(wrong("--mount", text, form));
    };
    if kind == "volume" {
        return Err(Error::new(format!("--mount {text:?}: rootlet keeps no volumes")).remedy(format!("write {form}")));
    }
    let mut all = Vec::new();
    if kind == "bind" {
        let Some(source) = source else { return Err(wrong("--mount", text, form)) };
        // A path of the caller's directory, not of the bundle's.
        let source =
            std::path::absolute(source).map_err(|error| Error::from_io(format!("--mount {text:?}"), &error))?;
        all.extend(["rbind", "nosuid", "nodev"].map(str::to_owned));
        all.extend(readonly.then(|| "rro".to_owned()));
        all.extend(options);
        push_mount(config, json!({ "destination": destination, "type": "none", "source": source, "options": all }));
    } else {
        all.extend(["nosuid", "nodev"].map(str::to_owned));
        all.extend(readonly.then(|| "ro".to_owned()));
        all.extend(options);
        let source = source.unwrap_or(kind);
        push_mount(config, json!({ "destination": destination, "type": kind, "source": source, "options": all }));
    }
    Ok(())
}

pub(super) fn push_mount(config: &mut Value, mount: Value) {
    if let Some(mounts) = config["mounts"].as_array_mut() {
        mounts.push(mount);
    }
}

fn set_network(config: &mut Value, network: Network) {
    let Some(namespaces) = config["linux"]["namespaces"].as_array_mut() else { return };
    namespaces.retain(|namespace| namespace["type"] != "network");
    if network != Network::Host {
        namespaces.push(json!({ "type": "network" }));
    }
    // `property::network` reads it.
    if let Network::Private(helper) = network {
        config["annotations"]["org.rootlet.network"] = json!(helper);
    } else if let Some(annotations) = config["annotations"].as_object_mut() {
        annotations.shift_remove("org.rootlet.network");
    }
    let fresh = json!({ "destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["nosuid", "noexec", "nodev", "ro"] });
    let bound = json!({ "destination": "/sys", "type": "none", "source": "/sys", "options": ["rbind", "nosuid", "noexec", "nodev", "rro"] });
    let sys = config["mounts"].as_array_mut().into_iter().flatten().find(|mount| mount["destination"] == "/sys");
    if let Some(sys) = sys {
        // The host's /sys would show the host's devices; without a network namespace there is no other.
        *sys = if network == Network::Host { bound } else { fresh };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units_of_1024() {
        for (text, expected) in [
            ("1G", Some(1 << 30)),
            ("1.5g", Some(3 << 29)),
            ("100MiB", Some(100 << 20)),
            ("4096", Some(4096)),
            ("64k", Some(65536)),
            ("", None),
            ("-1", None),
            ("1X", None),
            ("G", None),
            ("9999999999999T", None),
        ] {
            assert_eq!(bytes(text), expected, "{text}");
        }
    }
}
