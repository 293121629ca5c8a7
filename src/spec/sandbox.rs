//! The config of `rootlet sandbox`: one command on the host's own files.

use super::default::{self, Kind};
use super::edit::{Edits, Network, push_mount, set_variable};
use super::profile;
use crate::error::{Error, Result, found};
use crate::host::{self, Host};
use serde_json::{Value, json};
use std::ffi::OsString;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

/// What a command may do at a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// `--rw`: what is written is the host's.
    Writable,
    /// `--ro`.
    ReadOnly,
    /// `--hide`: it is empty.
    Hidden,
    /// `--tmp`: it is empty, and what is written is gone at the end.
    Memory,
}

impl Access {
    fn flag(self) -> &'static str {
        match self {
            Access::Writable => "--rw",
            Access::ReadOnly => "--ro",
            Access::Hidden => "--hide",
            Access::Memory => "--tmp",
        }
    }
}

/// What a sandbox is.
#[derive(Clone, Debug)]
pub struct Sandbox {
    /// Where the command begins, and may write.
    pub directory: PathBuf,
    /// The user's homes: what HOME says, if it says something, and what /etc/passwd says.
    pub homes: Vec<PathBuf>,
    /// Where states of containers are: who could reach a start socket would be let into a container.
    pub states: PathBuf,
    /// Whether the command sees the homes; `ReadOnly` or `Writable`.
    pub home_access: Option<Access>,
    /// Other places.
    pub places: Vec<(PathBuf, Access)>,
    /// NAME=VALUE, or NAME for the caller's own value.
    pub env: Vec<String>,
    /// Whether the command has all of the caller's variables.
    pub has_whole_environment: bool,
    /// Whether the command is root, and not the caller.
    pub is_root: bool,
    /// Whether Landlock's rules stand behind the mounts.
    pub has_landlock: bool,
    /// System calls that are allowed besides.
    pub system_calls: Vec<String>,
    /// The command, limits, network and filter.
    pub edits: Edits,
}

/// A config, and what it is about.
#[derive(Debug)]
pub struct Written {
    /// The config.
    pub config: Value,
    /// Where the command may write to directories of the host's.
    pub writable: Vec<PathBuf>,
    /// What the user should know.
    pub notes: Vec<Error>,
}

/// Below the home: keys, passwords and tokens of programs, and sockets of agents that use them.
pub const SECRETS: [&str; 34] = [
    ".ssh",
    ".gnupg",
    ".aws",
    ".azure",
    ".kube",
    ".docker",
    ".oci",
    ".config/gh",
    ".config/hub",
    ".config/glab-cli",
    ".config/gcloud",
    ".config/doctl",
    ".config/op",
    ".config/rclone",
    ".config/containers",
    ".config/google-chrome",
    ".config/chromium",
    ".config/BraveSoftware",
    ".config/git/credentials",
    ".mozilla",
    ".thunderbird",
    ".password-store",
    ".local/share/keyrings",
    ".local/share/kwalletd",
    ".terraform.d",
    ".cargo/credentials",
    ".cargo/credentials.toml",
    ".git-credentials",
    ".netrc",
    ".npmrc",
    ".pypirc",
    ".pgpass",
    ".vault-token",
    ".bash_history",
];

/// Directories of every sandbox's own, in memory: what is there on the host are other programs' files, and their sockets, by which
/// they could be asked to do something outside.
const OWN: [(&str, &str); 3] = [("/tmp", "mode=1777"), ("/var/tmp", "mode=1777"), ("/run", "mode=755")];

/// A mount, by the place that it is at.
struct Place {
    path: PathBuf,
    access: Access,
    /// The flag, or why it is there.
    reason: &'static str,
}

impl Sandbox {
    /// The config, which could have been read from a file.
    pub fn write(&self, host: &Host) -> Result<Written> {
        let mut config = default::config(Kind::Rootless, host)?;
        // It is covered by the host's root at once: any directory is as good.
        config["root"] = json!({ "path": "/usr", "readonly": true });
        let process = &mut config["process"];
        process["capabilities"] = json!({ "bounding": [], "effective": [], "permitted": [] });
        process["env"] = json!(default::environment(Kind::HostFiles));
        if let Some(fields) = process.as_object_mut() {
            fields.shift_remove("rlimits");
        }
        if let Some(fields) = config.as_object_mut() {
            // Its namespace begins with the host's.
            fields.shift_remove("hostname");
        }
        if let Some(namespaces) = config["linux"]["namespaces"].as_array_mut()
            && !namespaces.iter().any(|namespace| namespace["type"] == "cgroup")
        {
            namespaces.push(json!({ "type": "cgroup" }));
        }
        // `property::init` reads it.
        config["annotations"]["org.rootlet.init"] = json!("true");
        if let Some(mounts) = config["mounts"].as_array_mut() {
            let root = json!({ "destination": "/", "type": "none", "source": "/", "options": ["rbind", "nosuid", "nodev", "rro"] });
            mounts.insert(0, root);
        }
        let mut notes = Vec::new();
        let mut writable = Vec::new();
        for (path, mode) in OWN {
            if is_directory(Path::new(path))? {
                push_mount(&mut config, memory(Path::new(path), &[mode]));
            }
        }
        if let Some(file) = default::resolver_file()? {
            push_mount(
                &mut config,
                json!({ "destination": file, "type": "none", "source": file, "options": ["bind", "nosuid", "nodev", "ro"] }),
            );
        }
        for place in self.places(&mut notes)? {
            let Place { path, access, .. } = &place;
            let mount = match access {
                Access::Memory => memory(path, &["mode=700"]),
                Access::Hidden if path.is_dir() => memory(path, &["ro", "mode=555"]),
                Access::Hidden => {
                    json!({ "destination": path, "type": "none", "source": "/dev/null", "options": ["bind", "nosuid", "noexec", "ro"] })
                }
                Access::Writable | Access::ReadOnly => self.bind(path, *access)?,
            };
            if *access == Access::Writable && path.is_dir() {
                writable.push(path.clone());
            }
            push_mount(&mut config, mount);
        }
        self.set_environment(&mut config, host)?;
        let mut edits = self.edits.clone();
        edits.cwd = Some(text_of(&self.directory)?);
        // The ids that are mapped are the caller's own, under the same numbers.
        edits.user = (!self.is_root).then(|| format!("{}:{}", host.uid, host.gid));
        edits.network = Some(edits.network.unwrap_or(Network::None));
        edits.apply(&mut config, host, true)?;
        if edits.network == Some(Network::Host) {
            // The host's /sys is there, read-only with all below it.
            if let Some(mounts) = config["mounts"].as_array_mut() {
                mounts.retain(|mount| mount["destination"] != "/sys");
            }
        }
        if edits.seccomp.is_none() {
            config["linux"]["seccomp"] = profile::default();
        }
        allow(&mut config, &self.system_calls)?;
        if self.has_landlock {
            restrict(&mut config);
        }
        Ok(Written { config, writable, notes })
    }

    /// All places, those above before those below them.
    fn places(&self, notes: &mut Vec<Error>) -> Result<Vec<Place>> {
        let mut places: Vec<Place> = Vec::new();
        for (path, access) in &self.places {
            let found = path.canonicalize().map_err(|error| {
                Error::from_io(format!("{} {}", access.flag(), path.display()), &error)
                    .remedy("name a file or directory that is there; a sandbox makes none on the host")
            })?;
            refuse_special(&found, *access)?;
            match places.iter().find(|place| place.path == found) {
                Some(other) if other.access != *access => {
                    return Err(Error::new(format!(
                        "{} {1} and {2} {1}",
                        other.reason,
                        found.display(),
                        access.flag()
                    ))
                    .because("they contradict each other")
                    .remedy("leave one of them out"));
                }
                Some(_) => {}
                None => places.push(Place { path: found, access: *access, reason: access.flag() }),
            }
        }
        let is_named = |places: &[Place], path: &Path| places.iter().any(|place| place.path == path);
        for home in &self.homes {
            if !is_named(&places, home) {
                let access = self.home_access.unwrap_or(Access::Memory);
                places.push(Place { path: home.clone(), access, reason: "your home" });
            }
        }
        // What cannot be looked at cannot be read either.
        let of_home = |home: &PathBuf| {
            SECRETS.iter().filter_map(|secret| home.join(secret).canonicalize().ok()).collect::<Vec<_>>()
        };
        let hidden: Vec<PathBuf> = self.homes.iter().flat_map(of_home).chain([self.states.clone()]).collect();
        self.add_directory(&mut places, &hidden, notes)?;
        for path in hidden {
            if is_shown(&places, &path) && !is_named(&places, &path) {
                places.push(Place { path, access: Access::Hidden, reason: "secrets" });
            }
        }
        // The last that is pushed for a place would cover it, and what is deeper must come later. The sort is stable.
        places.sort_by_key(|place| depth(&place.path));
        Ok(places)
    }

    /// The directory that the command begins in, which it may write to, unless that would share what is private.
    fn add_directory(&self, places: &mut Vec<Place>, secrets: &[PathBuf], notes: &mut Vec<Error>) -> Result<()> {
        let own = self.directory.as_path();
        let hide = |path: &Path, by: String| {
            Err(Error::new(format!("the current directory, {}, is hidden", own.display()))
                .because(format!("{by} {}", path.display()))
                .remedy("give --rw . if the command is to have it, or go elsewhere"))
        };
        if places.iter().any(|place| place.path == own && place.reason.starts_with("--")) {
            return Ok(());
        }
        // The deepest flag about a directory that it is in.
        let named = places.iter().filter(|place| place.reason.starts_with("--") && own.starts_with(&place.path));
        let named = named.max_by_key(|place| depth(&place.path));
        if let Some(place) = named.filter(|place| place.access == Access::Hidden) {
            return hide(&place.path, "--hide says so of".to_owned());
        }
        let secret = secrets.iter().filter(|secret| own.starts_with(secret)).max_by_key(|secret| depth(secret));
        if let Some(secret) = secret.filter(|secret| named.is_none_or(|named| depth(&named.path) < depth(secret))) {
            return hide(secret, "keys, passwords or states are kept, as a rule, in".to_owned());
        }
        let is_private = OWN.iter().any(|(private, _)| own == Path::new(private));
        if is_private || (self.home_access.is_none() && self.homes.iter().any(|home| own == home)) {
            let remedy = match is_private {
                true => "go to a directory in it, or give --rw .",
                false => "go to a directory in it, or give --share-home (or --share-home=ro)",
            };
            notes.push(
                Error::new(format!(
                    "in the sandbox, the current directory, {}, is an empty one in memory",
                    own.display()
                ))
                .because("it is private there, as your home and directories for temporary files are")
                .remedy(remedy),
            );
            return Ok(());
        }
        if self.homes.iter().any(|home| own == home) {
            return Ok(());
        }
        if self.homes.iter().any(|home| home.starts_with(own)) {
            notes.push(
                Error::new(format!("the current directory, {}, is read-only in the sandbox", own.display()))
                    .because("your home is below it")
                    .remedy("go to a directory of your own, or give --rw DIR"),
            );
            return Ok(());
        }
        if own == Path::new("/") || SPECIAL.iter().any(|special| own.starts_with(special)) {
            return Ok(());
        }
        places.push(Place { path: own.to_owned(), access: Access::Writable, reason: "the current directory" });
        Ok(())
    }

    fn bind(&self, path: &Path, access: Access) -> Result<Value> {
        let kind = path.metadata().map_err(|error| Error::from_io(path.display(), &error))?.file_type();
        let mut options = vec!["rbind", "nosuid"];
        // A device that is named is meant.
        options.extend((!kind.is_char_device() && !kind.is_block_device()).then_some("nodev"));
        options.extend((access == Access::ReadOnly).then_some("rro"));
        Ok(json!({ "destination": text_of(path)?, "type": "none", "source": text_of(path)?, "options": options }))
    }

    fn set_environment(&self, config: &mut Value, host: &Host) -> Result<()> {
        let home = self.homes.first().map_or(Path::new("/"), PathBuf::as_path);
        set_variable(config, &format!("HOME={}", text_of(home)?))?;
        if let Some(name) = host::name_of(if self.is_root { 0 } else { host.uid }) {
            set_variable(config, &format!("USER={name}"))?;
            set_variable(config, &format!("LOGNAME={name}"))?;
        }
        let text = |what: &str, value: OsString| {
            value.into_string().map_err(|value| {
                Error::new(format!("{what}: {} is no UTF-8", value.display()))
                    .because("a config is JSON, which has no other text")
                    .remedy("leave the variable out, or unset it")
            })
        };
        if self.has_whole_environment {
            for (name, value) in std::env::vars_os() {
                let name = text("--env-all", name)?;
                let value = text(&format!("--env-all: {name}"), value)?;
                set_variable(config, &format!("{name}={value}"))?;
            }
        }
        for variable in &self.env {
            match variable.split_once('=') {
                Some(_) => set_variable(config, variable)?,
                None => {
                    let value = std::env::var_os(variable).ok_or_else(|| {
                        Error::new(format!("--env {variable}: you have no such variable"))
                            .remedy(format!("write --env {variable}=VALUE, or leave it out"))
                    })?;
                    let value = text(&format!("--env {variable}"), value)?;
                    set_variable(config, &format!("{variable}={value}"))?;
                }
            }
        }
        Ok(())
    }
}

/// Landlock's rules: what the mounts allow, once more.
fn restrict(config: &mut Value) {
    let mounts = config["mounts"].as_array().cloned().unwrap_or_default();
    let is_readonly = |mount: &Value| {
        let options = mount["options"].as_array();
        options.is_some_and(|options| options.iter().any(|option| option == "ro" || option == "rro"))
    };
    let writable: Vec<_> =
        mounts.iter().filter(|mount| !is_readonly(mount)).map(|mount| &mount["destination"]).collect();
    // `property::landlock` reads it.
    let rules = json!({ "read": ["/"], "write": writable });
    config["annotations"]["org.rootlet.landlock"] = json!(rules.to_string());
}

fn depth(path: &Path) -> usize {
    path.components().count()
}

/// Whether the command would see what is at a path on the host: not, where memory or nothing is in the place of what it is in.
fn is_shown(places: &[Place], path: &Path) -> bool {
    let above = places.iter().filter(|place| path.starts_with(&place.path)).max_by_key(|place| depth(&place.path));
    match above {
        Some(place) => matches!(place.access, Access::Writable | Access::ReadOnly),
        None => !OWN.iter().map(|(own, _)| *own).chain(SPECIAL).any(|own| path.starts_with(own)),
    }
}

/// File systems of the kernel's, of which a sandbox has its own.
const SPECIAL: [&str; 3] = ["/proc", "/sys", "/dev"];

fn refuse_special(path: &Path, access: Access) -> Result<()> {
    let is_device = path.starts_with("/dev") && path != Path::new("/dev");
    if path == Path::new("/") || (SPECIAL.iter().any(|special| path.starts_with(special)) && !is_device) {
        return Err(Error::new(format!("{} {}", access.flag(), path.display()))
            .because("the root, /proc, /sys and /dev of a sandbox are its own")
            .remedy("name a directory of files, or a single device such as /dev/kvm"));
    }
    Ok(())
}

fn memory(path: &Path, options: &[&str]) -> Value {
    let options: Vec<_> = ["nosuid", "nodev"].iter().chain(options).collect();
    json!({ "destination": path, "type": "tmpfs", "source": "tmpfs", "options": options })
}

fn is_directory(path: &Path) -> Result<bool> {
    let metadata = found(path.symlink_metadata()).map_err(|error| Error::from_io(path.display(), &error))?;
    Ok(metadata.is_some_and(|metadata| metadata.is_dir()))
}

fn text_of(path: &Path) -> Result<String> {
    path.to_str().map(str::to_owned).ok_or_else(|| {
        Error::new(format!("{} is no UTF-8", path.display()))
            .because("a config is JSON, which has no other text")
            .remedy("rename it, or name it by a link")
    })
}

/// Allows system calls besides those that the filter allows.
fn allow(config: &mut Value, names: &[String]) -> Result<()> {
    if names.is_empty() {
        return Ok(());
    }
    if let Some(wrong) = names.iter().find(|name| !crate::seccomp::is_known(name)) {
        return Err(Error::new(format!("--allow-syscall {wrong}: there is no such system call"))
            .remedy("write a name of syscalls(2), such as ptrace"));
    }
    let Some(rules) = config["linux"]["seccomp"]["syscalls"].as_array_mut() else {
        return Err(Error::new("--allow-syscall: there is no filter").remedy("leave --seccomp none out"));
    };
    for rule in rules.iter_mut() {
        if let Some(list) = rule["names"].as_array_mut() {
            list.retain(|name| !names.iter().any(|allowed| name == allowed));
        }
    }
    rules.retain(|rule| rule["names"].as_array().is_none_or(|names| !names.is_empty()));
    rules.push(json!({ "names": names, "action": "SCMP_ACT_ALLOW" }));
    Ok(())
}
