//! The config of `rootlet sandbox`: one command on the host's own files.

use super::default::{self, Kind};
use super::edit::{Edits, Network, push_mount, set_variable};
use super::found::Found;
use super::profile;
use super::secrets::{self, SECRETS};
use crate::error::{Error, Result, found};
use crate::host::{self, Host};
use crate::sys::creds;
use serde_json::{Value, json};
use std::cell::OnceCell;
use std::ffi::OsString;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

/// What a command may do with a path.
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
    /// How it is asked for.
    pub fn flag(self) -> &'static str {
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
    pub directory: Found,
    /// The user's homes: what HOME says, if it says something, and what /etc/passwd says.
    pub homes: Vec<PathBuf>,
    /// Where else the homes are to be seen, as by a bind mount.
    pub aliases: Vec<PathBuf>,
    /// XDG_RUNTIME_DIR, in which programs have their sockets.
    pub runtime_directory: Option<PathBuf>,
    /// Whether the command sees the homes; `ReadOnly` or `Writable`.
    pub home_access: Option<Access>,
    /// Other paths.
    pub paths: Vec<(Found, Access)>,
    /// Whether what is writable is covered by a layer.
    pub has_layer: bool,
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

/// Devices that each has of its own.
fn is_in_every_sandbox(path: &Path) -> bool {
    let names = ["null", "zero", "full", "random", "urandom", "tty"];
    path.strip_prefix("/dev").is_ok_and(|name| names.iter().any(|known| name == Path::new(known)))
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

/// Directories of every sandbox's own, in memory: what is there on the host are other programs' files, and their sockets, by which
/// they could be asked to do something outside.
const OWN: [(&str, &str); 3] = [("/tmp", "mode=1777"), ("/var/tmp", "mode=1777"), ("/run", "mode=755")];

/// A mount, by what it shows, and how.
#[derive(Debug)]
struct MountPoint {
    path: PathBuf,
    access: Access,
    /// The flag, or why it is there.
    reason: &'static str,
    /// Of one in memory.
    mode: &'static str,
    /// What it must be, if it was named.
    inode: Option<(u64, u64)>,
}

impl MountPoint {
    fn new(path: PathBuf, access: Access, reason: &'static str) -> MountPoint {
        MountPoint { path, access, reason, mode: "mode=700", inode: None }
    }

    fn is_named(&self) -> bool {
        self.reason.starts_with("--")
    }

    fn shows_the_host(&self) -> bool {
        matches!(self.access, Access::Writable | Access::ReadOnly)
    }

    fn mount(&self) -> Result<Value> {
        let MountPoint { path, access, .. } = self;
        let path_text = text_of(path)?;
        Ok(match access {
            Access::Memory => memory(path, &[self.mode]),
            Access::Hidden if path.is_dir() => memory(path, &["ro", "mode=555"]),
            Access::Hidden => {
                json!({ "destination": path_text, "type": "none", "source": NOTHING, "options": ["bind", "nosuid", "noexec", "ro"] })
            }
            Access::Writable | Access::ReadOnly => {
                let found = path.symlink_metadata().map_err(|error| Error::from_io(path.display(), &error))?;
                let kind = found.file_type();
                let mut options = vec!["rbind".to_owned(), "rnosuid".to_owned()];
                // A device that is named is meant.
                options.extend((!kind.is_char_device() && !kind.is_block_device()).then(|| "rnodev".to_owned()));
                options.extend((*access == Access::ReadOnly).then(|| "rro".to_owned()));
                options.extend(kind.is_symlink().then(|| "copy-symlink".to_owned()));
                options.extend(self.inode.map(|(device, inode)| format!("rootlet.inode={device}:{inode}")));
                json!({ "destination": path_text, "type": "none", "source": path_text, "options": options })
            }
        })
    }
}

/// What is bound over a file that is hidden.
pub const NOTHING: &str = "/dev/null";

/// The mount points of a sandbox, while they are put together.
struct MountPoints<'a> {
    sandbox: &'a Sandbox,
    all: Vec<MountPoint>,
    notes: Vec<Error>,
    secrets: OnceCell<Vec<PathBuf>>,
}

impl MountPoints<'_> {
    /// All, those above before those below them.
    fn of(sandbox: &Sandbox) -> Result<(Vec<MountPoint>, Vec<Error>)> {
        let mut points = MountPoints { sandbox, all: Vec::new(), notes: Vec::new(), secrets: OnceCell::new() };
        points.add_named()?;
        for (path, mode) in OWN {
            if is_directory(Path::new(path))? && !points.has(Path::new(path)) {
                points.all.push(MountPoint { mode, ..MountPoint::new(path.into(), Access::Memory, "a sandbox's own") });
            }
        }
        if let Some(directory) = &sandbox.runtime_directory
            && points.deepest(directory).is_none()
        {
            points.all.push(MountPoint::new(directory.clone(), Access::Memory, "a sandbox's own"));
        }
        if let Some(file) = default::resolver_file()? {
            points.all.push(MountPoint::new(file.into(), Access::ReadOnly, "names of hosts"));
        }
        points.add_directory()?;
        for home in &sandbox.homes {
            if points.all.iter().any(|point| point.path == *home && point.is_named() && !point.shows_the_host()) {
                continue;
            }
            // Of what is above it, or by its own flag, it is as much seen.
            let shown = points.deepest(home).filter(|point| point.shows_the_host()).map(|point| point.access);
            let shown = shown.or(sandbox.home_access);
            points.all.retain(|point| point.path != *home);
            match shown {
                None => points.all.push(MountPoint::new(home.clone(), Access::Memory, "your home")),
                Some(access) => points.split(home, home, access)?,
            }
        }
        for path in &sandbox.aliases {
            // Shown again by a path where nobody looks for it.
            if !points.has(path) && is_directory(path)? {
                points.all.push(MountPoint::new(path.clone(), Access::Hidden, "your home"));
            }
        }
        points.hide_secrets();
        if !sandbox.has_layer {
            points.pin();
        }
        // The last that is pushed for a path would cover it, and what is deeper must come later. The sort is stable.
        points.all.sort_by_key(|point| depth(&point.path));
        Ok((points.all, points.notes))
    }

    fn has(&self, path: &Path) -> bool {
        self.all.iter().any(|point| point.path == path)
    }

    /// The deepest mount point that a path is in.
    fn deepest(&self, path: &Path) -> Option<&MountPoint> {
        self.all.iter().filter(|point| path.starts_with(&point.path)).max_by_key(|point| depth(&point.path))
    }

    fn add_named(&mut self) -> Result<()> {
        for (found, access) in &self.sandbox.paths {
            let (path, access) = (&found.path, *access);
            if matches!(access, Access::Writable | Access::ReadOnly) && is_in_every_sandbox(path) {
                continue;
            }
            refuse_special(path, access)?;
            if self.sandbox.has_layer && access == Access::Writable && !path.is_dir() {
                return Err(Error::new(format!("--layer, and --rw {}", path.display()))
                    .because("a layer lies over directories, and what is written to the file would be the host's")
                    .remedy("name the directory that it is in, or leave one of them out"));
            }
            match self.all.iter().find(|point| point.path == *path) {
                Some(other) if other.access != access => {
                    let (first, second) = (other.reason, access.flag());
                    return Err(Error::new(format!("{first} {0} and {second} {0}", path.display()))
                        .because("they contradict each other")
                        .remedy("leave one of them out"));
                }
                Some(_) => {}
                None => self.all.push(MountPoint {
                    inode: Some(found.inode),
                    ..MountPoint::new(path.clone(), access, access.flag())
                }),
            }
        }
        Ok(())
    }

    /// The directory that the command begins in, which it may write to, unless that would share what is private.
    fn add_directory(&mut self) -> Result<()> {
        let Found { path: own, inode } = self.sandbox.directory.clone();
        let hide = |path: &Path, by: &str| {
            Err(Error::new(format!("the current directory, {}, is hidden", own.display()))
                .because(format!("{by} {}", path.display()))
                .remedy("give --rw . if the command is to have it, or go elsewhere"))
        };
        let named = self.all.iter().filter(|point| point.is_named() && own.starts_with(&point.path));
        let named = named.max_by_key(|point| depth(&point.path));
        if named.is_some_and(|point| point.path == own) {
            return Ok(());
        }
        if let Some(point) = named.filter(|point| point.access == Access::Hidden) {
            return hide(&point.path, "--hide says so of");
        }
        let secret = self.secrets().iter().filter(|secret| own.starts_with(secret)).max_by_key(|secret| depth(secret));
        if let Some(secret) = secret.filter(|secret| named.is_none_or(|named| depth(&named.path) < depth(secret))) {
            return hide(secret, "keys or passwords are kept, as a rule, in");
        }
        let homes = &self.sandbox.homes;
        let is_private = OWN.iter().any(|(private, _)| own == Path::new(private));
        if is_private || homes.contains(&own) {
            if is_private || self.sandbox.home_access.is_none() {
                let remedy = match is_private {
                    true => "go to a directory in it, or give --rw .",
                    false => "go to a directory in it, or give --share-home (or --share-home=ro)",
                };
                let here =
                    format!("in the sandbox, the current directory, {}, is an empty one in memory", own.display());
                let because = "it is private there, as your home and directories for temporary files are";
                self.notes.push(Error::new(here).because(because).remedy(remedy));
            }
            return Ok(());
        }
        if homes.iter().any(|home| home.starts_with(&own)) {
            self.notes.push(
                Error::new(format!("the current directory, {}, is read-only in the sandbox", own.display()))
                    .because("your home is below it")
                    .remedy("go to a directory of your own, or give --rw DIR"),
            );
            return Ok(());
        }
        if own == Path::new("/") || is_special(&own) {
            return Ok(());
        }
        self.say_what_is_above(&own);
        self.all
            .push(MountPoint { inode: Some(inode), ..MountPoint::new(own, Access::Writable, "the current directory") });
        Ok(())
    }

    /// A repository begins above the current directory, and is not seen.
    fn say_what_is_above(&mut self, own: &Path) {
        let is_top = |directory: &&Path| directory.join(".git").exists();
        let Some(top) = own.ancestors().find(is_top).filter(|top| *top != own) else { return };
        if !self.deepest(top).is_some_and(MountPoint::shows_the_host)
            && self.sandbox.homes.iter().any(|home| top.starts_with(home))
        {
            self.notes.push(
                Error::new(format!("the repository that this directory is in begins at {}", top.display()))
                    .because("that is in your home, and not seen in the sandbox")
                    .remedy(format!("give --rw {0}, or --ro {0}, or go there", top.display())),
            );
        }
    }

    /// Shows a home entry by entry, in one in memory: what is secret is not there, also if it comes later or is replaced on the host, as a
    /// mount over it would go then.
    fn split(&mut self, home: &Path, directory: &Path, access: Access) -> Result<()> {
        if self.sandbox.has_layer && access == Access::Writable {
            return Err(Error::new("--layer, and your home is writable")
                .because("it is shown entry by entry, and files in it would be the host's")
                .remedy("give --share-home=ro, or leave the layer out"));
        }
        let failed = |error: std::io::Error| Error::from_io(directory.display(), &error);
        self.all.push(MountPoint::new(directory.to_owned(), Access::Memory, "your home"));
        for entry in std::fs::read_dir(directory).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            let Ok(name) = path.strip_prefix(home) else { continue };
            if self.has(&path) || SECRETS.iter().any(|secret| name == Path::new(secret)) {
                continue;
            }
            let Some(found) = found(path.symlink_metadata()).map_err(failed)? else { continue };
            let kind = found.file_type();
            if kind.is_dir() && SECRETS.iter().any(|secret| Path::new(secret).starts_with(name)) {
                self.split(home, &path, access)?;
            } else if kind.is_dir() || kind.is_file() || self.is_harmless(&path) {
                self.all.push(MountPoint::new(path, access, "your home"));
            }
        }
        Ok(())
    }

    /// A link to what is no secret.
    fn is_harmless(&self, path: &Path) -> bool {
        let secrets = self.secrets();
        path.is_symlink() && path.canonicalize().is_ok_and(|to| !secrets.iter().any(|secret| to.starts_with(secret)))
    }

    /// Where secrets are by now: what cannot be looked at cannot be read either.
    fn secrets(&self) -> &[PathBuf] {
        self.secrets.get_or_init(|| self.sandbox.homes.iter().flat_map(|home| secrets::find(home)).collect())
    }

    /// Hides those that something else shows, such as the current directory, or that lie elsewhere and are linked to.
    fn hide_secrets(&mut self) {
        for path in self.secrets().to_vec() {
            let is_shown = match self.deepest(&path) {
                Some(point) => point.shows_the_host(),
                None => !is_special(&path),
            };
            if is_shown && !self.has(&path) {
                self.all.push(MountPoint::new(path, Access::Hidden, "secrets"));
            }
        }
    }

    /// Makes each directory between a writable mount point and one in it that is not a mount of its own: renamed, it would take what is below along,
    /// and leave room for another.
    fn pin(&mut self) {
        let mut pinned: Vec<PathBuf> = Vec::new();
        for inner in self.all.iter().filter(|point| point.access != Access::Writable) {
            let outer = self.all.iter().filter(|point| point.path != inner.path && inner.path.starts_with(&point.path));
            let Some(outer) = outer.max_by_key(|point| depth(&point.path)) else { continue };
            if outer.access != Access::Writable {
                continue;
            }
            let between = inner.path.ancestors().skip(1).take_while(|above| *above != outer.path);
            pinned.extend(between.filter(|above| !self.has(above)).map(Path::to_owned));
        }
        pinned.sort();
        pinned.dedup();
        self.all.extend(pinned.into_iter().map(|path| MountPoint::new(path, Access::Writable, "what is in it")));
    }
}

impl Sandbox {
    /// The config, which could have been read from a file.
    pub fn write(&self, host: &Host) -> Result<Written> {
        let mut config = default::config(Kind::Rootless, host)?;
        // It is covered by the host's root at once: any directory is as good.
        config["root"] = json!({ "path": "/usr", "readonly": true });
        let process = &mut config["process"];
        if creds::umask() != 0o022 {
            process["user"]["umask"] = json!(creds::umask());
        }
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
            let root = json!({ "destination": "/", "type": "none", "source": "/", "options": ["rbind", "rnosuid", "rnodev", "rro"] });
            mounts.insert(0, root);
            for mount in mounts.iter_mut().filter(|mount| mount["destination"] == "/dev/shm") {
                // As much as on the host.
                if let Some(options) = mount["options"].as_array_mut() {
                    options.retain(|option| option.as_str().is_none_or(|option| !option.starts_with("size=")));
                }
            }
        }
        let (points, mut notes) = MountPoints::of(self)?;
        let mut writable = Vec::new();
        for point in points {
            if point.access == Access::Writable && point.path.is_dir() {
                writable.push(point.path.clone());
            }
            push_mount(&mut config, point.mount()?);
        }
        self.say_what_root_lacks(host, &mut notes);
        self.set_environment(&mut config, host)?;
        let mut edits = self.edits.clone();
        edits.cwd = Some(text_of(&self.directory.path)?);
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

    /// Root without capabilities may write to what is root's alone.
    fn say_what_root_lacks(&self, host: &Host, notes: &mut Vec<Error>) {
        let owner = self.directory.path.metadata().map_or(host.uid, |metadata| metadata.uid());
        if host.uid == 0 && owner != 0 {
            notes.push(
                Error::new(format!("the current directory is that of uid {owner}, and cannot be written to"))
                    .because("you are root, who has no capabilities in a sandbox, and sees what only root may read")
                    .remedy("call it as that user, without sudo"),
            );
        }
    }

    fn set_environment(&self, config: &mut Value, host: &Host) -> Result<()> {
        // As systemd's manuals have it, by which programs and people see where they are.
        set_variable(config, "container=rootlet")?;
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

/// File systems of the kernel's, of which a sandbox has its own.
const SPECIAL: [&str; 3] = ["/proc", "/sys", "/dev"];

/// Whether it is the kernel's, and nothing that holds files.
pub fn is_special(path: &Path) -> bool {
    SPECIAL.iter().any(|special| path.starts_with(special))
}

fn refuse_special(path: &Path, access: Access) -> Result<()> {
    let is_device = path.starts_with("/dev") && path != Path::new("/dev");
    if path == Path::new("/") || (is_special(path) && !is_device) {
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
