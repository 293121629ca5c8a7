//! The state of a container on disk, and what it says.

pub mod directory;
pub mod identity;
pub mod states;

use super::cgroup::{Record, remove_announced};
use crate::error::{Error, Result, found};
use crate::log::Log;
use crate::plan::{Decision, Listener};
use crate::spec::{self, Hooks, Map, Spec};
use crate::sys::{self, Call, Errno, creds, fd};
use directory::{ANNOUNCED, CONFIG, Directory, START, STATE};
use identity::Identity;
use serde::{Deserialize, Serialize};
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

/// A state is not read further than that.
const LARGEST: u64 = 64 << 20;

/// What rootlet keeps of a container between its commands: `state.json` in the container's directory.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct State {
    /// `ociVersion` of config.json.
    pub oci_version: String,
    /// The container's name.
    pub id: String,
    /// Its first process, in the pid namespace of who created it.
    pub pid: i32,
    /// Which process that is, although pids are reused.
    pub identity: Identity,
    /// The inode of the pid namespace in which it has that pid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pids: Option<u64>,
    /// Absolute path.
    #[serde(with = "path")]
    pub bundle: PathBuf,
    /// Absolute path.
    #[serde(with = "path")]
    pub rootfs: PathBuf,
    /// RFC 3339 with nanoseconds, UTC.
    pub created: String,
    /// `annotations` of config.json.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub annotations: Map,
    /// The user who created it.
    pub owner: u32,
    /// Hooks that are still to be run, by `start` and `delete`.
    #[serde(default)]
    pub hooks: Option<Hooks>,
    /// All namespaces that are not its maker's, as config.json names them.
    #[serde(default)]
    pub namespaces: Vec<String>,
    /// Whether it keeps its maker's session keyring.
    #[serde(default)]
    pub no_new_keyring: bool,
    /// Whether the host's mounts lie below its root (`--no-pivot`).
    #[serde(default)]
    pub no_pivot: bool,
    /// Whether it has a pid namespace of its own, so that its processes end with its first one.
    pub has_own_pids: bool,
    /// Whether it ends with the foreground `run` that made it, which deletes it.
    pub is_attached: bool,
    /// What is done otherwise than the config asks.
    #[serde(default)]
    pub decisions: Vec<Decision>,
    /// Whether a system call filter is in force before the program begins.
    #[serde(default)]
    pub is_filtered: bool,
    /// Whether its config names nothing to be started.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub has_no_program: bool,
    /// Whether its program is a child of its first process.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub has_init: bool,
    /// Who answers for filtered system calls.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listener: Option<Listener>,
    /// Its cgroup; without one, its processes are found by its pid namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cgroup: Option<Record>,
    /// The inode of its pid namespace, where nobody may look that up while it waits for its start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid_namespace: Option<u32>,
    /// Whether its maker is still at it: its first process may be in the host's root.
    #[serde(default)]
    pub is_creating: bool,
    /// Whether `pause` has stopped its processes one by one, for want of a cgroup.
    #[serde(default)]
    pub is_suspended: bool,
    /// Whether its foreground run has run its hooks, and only waits for the end; where it has none, it does once it is created.
    #[serde(default)]
    pub is_followed: bool,
    /// What each step after `start` is called in a message, by its index in the plan.
    #[serde(default)]
    pub last_steps: Vec<(u32, String)>,
}

impl State {
    /// The pidfd of the first process, if that still runs.
    pub fn process(&self) -> Result<Option<OwnedFd>> {
        let process = self.identity.open(self.pid)?;
        if process.is_some() || self.pids.is_none() || !self.identity.is_of_this_boot()? {
            return Ok(process);
        }
        match identity::pid_namespace()? == self.pids {
            true => Ok(None),
            false => Err(Error::new(format!("whether container {:?} runs cannot be seen from here", self.id))
                .because("it was created in another pid namespace, which has other pids")
                .remedy(format!(
                    "run this where it was created; if that is gone, `rootlet delete --force {}`",
                    self.id
                ))),
        }
    }
}

/// A container of a root of states: its name, its directory and what is known of it.
#[derive(Clone, Debug)]
pub struct Container {
    /// Id of the container.
    pub id: String,
    /// Directory of the state.
    pub directory: Directory,
    /// `None`: its maker has not written it yet, or was killed before, or it is damaged.
    pub state: Option<State>,
    /// Why there is a state that cannot be read.
    pub damage: Option<Error>,
    /// Whether its program waits for `start`.
    is_waiting: bool,
    /// Whether its maker had it when it was looked for, and had not written its state yet.
    is_being_made: bool,
}

impl Container {
    /// A container that the caller has just made.
    pub fn new(directory: Directory, state: State, is_waiting: bool) -> Container {
        let id = state.id.clone();
        Container { id, directory, state: Some(state), damage: None, is_waiting, is_being_made: false }
    }

    /// A container whose maker is at it, or was killed before there was a state.
    pub fn without_state(id: &str, directory: Directory, is_being_made: bool) -> Container {
        Container { id: id.to_owned(), directory, state: None, damage: None, is_waiting: false, is_being_made }
    }

    /// A container whose state somebody has removed.
    pub fn robbed(id: &str, directory: Directory) -> Container {
        let mut container = Container::without_state(id, directory, false);
        let message = format!("{}/state.json is missing", container.directory.path().display());
        container.damage = Some(Error::new(message).because("somebody has removed it").remedy(remedy_of_damage(id)));
        container
    }

    /// Reads the state of the container that has this directory.
    pub fn load(id: &str, directory: Directory, state: OwnedFd, is_waiting: bool) -> Result<Container> {
        let failed = |error: std::io::Error| Error::from_io(format!("cannot read the state of {id:?}"), &error);
        let mut container = Container { is_waiting, ..Container::without_state(id, directory, false) };
        let mut file = std::fs::File::from(state);
        // Most fit into this, and `list` reads many.
        let (mut usual, mut long) = ([0; 4096], Vec::new());
        let length = file.read(&mut usual).map_err(failed)?;
        let mut text = usual.get(..length).unwrap_or_default();
        if length == usual.len() {
            long.extend_from_slice(&usual);
            file.take(LARGEST).read_to_end(&mut long).map_err(failed)?;
            text = &long;
        }
        // As one text it is looked at once, and not string by string.
        let parsed = std::str::from_utf8(text).map_err(serde::de::Error::custom).and_then(serde_json::from_str);
        match parsed {
            Ok(State { id: own, .. }) if own != id => {
                let message = format!("{}/state.json is that of {own:?}", container.directory.path().display());
                let because = "somebody has renamed its directory, or put another in its place";
                container.damage = Some(Error::new(message).because(because).remedy("give it its name back"));
            }
            Ok(state) => container.state = Some(state),
            Err::<_, serde_json::Error>(error) => {
                let message = format!("{}/state.json is damaged: {error}", container.directory.path().display());
                container.damage = Some(Error::new(message).remedy(remedy_of_damage(id)));
            }
        }
        Ok(container)
    }

    /// An error if its state cannot be read.
    pub fn undamaged(self) -> Result<Container> {
        match self.damage {
            Some(damage) => Err(damage),
            None => Ok(self),
        }
    }

    /// Reads the state again, as for whoever has its lock now.
    pub fn reload(&self) -> Result<Container> {
        let failed = |error| Error::from_call(format!("cannot read the state of {:?}", self.id), error);
        let directory = self.directory.clone();
        let flags = fd::O_RDONLY | fd::O_NONBLOCK | fd::O_NOCTTY;
        let Some(state) = found(directory.open_file(STATE, flags)).map_err(failed)? else {
            // It is written after the state, and removed before it.
            return Ok(match directory.has(CONFIG)? {
                true => Container::robbed(&self.id, directory),
                false => Container::without_state(&self.id, directory, false),
            });
        };
        if !fd::status(state.as_fd()).map_err(failed)?.is_regular() {
            return Err(failed(sys::Error::new(Call::Open, Errno::EINVAL)));
        }
        let is_waiting = directory.has(START)?;
        Container::load(&self.id, directory, state, is_waiting)
    }

    /// Whether it was created in another pid namespace.
    pub fn is_elsewhere(&self) -> Result<bool> {
        let (theirs, own) = (self.state()?.pids, identity::pid_namespace()?);
        Ok(theirs.zip(own).is_some_and(|(theirs, own)| theirs != own))
    }

    /// The state of a container that has one.
    pub fn state(&self) -> Result<&State> {
        self.state.as_ref().ok_or_else(|| match self.is_being_made {
            true => Error::new(format!("container {:?} is being created", self.id)).remedy("wait until it is created"),
            false => Error::new(format!("container {:?} was never completed", self.id))
                .because("its maker was killed while it was created")
                .remedy(format!("remove it with `rootlet delete {}`, or create it again", self.id)),
        })
    }

    /// What is to be said of a container that has ended, if it may have left processes that nobody finds.
    pub fn may_have_left(&self) -> Option<Error> {
        let state = self.state.as_ref().filter(|state| state.cgroup.is_none() && !state.has_own_pids)?;
        (!state.has_no_program).then(|| {
            Error::new("processes that the container has left, if there are any, live on")
                .because("it had neither a cgroup nor a pid namespace of its own, by which they could be found")
                .remedy("see `ps`; and add {\"type\": \"pid\"} to linux.namespaces")
        })
    }

    /// The user who created it. What is another's is not read at all.
    pub fn owner(&self) -> u32 {
        self.state.as_ref().map_or_else(creds::effective_uid, |state| state.owner)
    }

    /// Whether its maker had it when it was looked for, and had not written its state yet.
    pub fn is_being_made(&self) -> bool {
        self.is_being_made
    }

    /// Whether its program waited for `start` when this was read.
    pub fn is_waiting(&self) -> bool {
        self.is_waiting
    }

    /// The pidfd of the first process, if that still runs.
    pub fn pidfd(&self) -> Result<Option<OwnedFd>> {
        self.state()?.process()
    }

    /// The process by which the container is looked into: the first one, unless that is one that reaps and that nobody may look into.
    pub fn looked_into(&self) -> Result<i32> {
        let state = self.state()?;
        let child = if state.has_init { identity::first_child(state.pid)? } else { None };
        Ok(child.unwrap_or(state.pid))
    }

    /// Writes the state, and the config that `exec` will read.
    pub fn save(&self, config: &str) -> Result<()> {
        self.save_state()?;
        self.save_config(config)
    }

    fn save_state(&self) -> Result<()> {
        let text =
            serde_json::to_vec(&self.state).map_err(|error| Error::new(format!("state of {:?}: {error}", self.id)))?;
        self.directory.write(STATE, &text)
    }

    /// Changes the state, here and on disk.
    pub fn change(&mut self, change: impl FnOnce(&mut State)) -> Result<()> {
        if let Some(state) = &mut self.state {
            change(state);
        }
        self.save_state()
    }

    /// The container is created; what failed and was survived is a decision.
    pub fn complete(&mut self, tolerated: Vec<Decision>, pid_namespace: Option<u32>, log: &Log) -> Result<()> {
        tolerated.iter().for_each(|decision| log.debug(&decision.to_string()));
        self.change(|state| {
            state.is_creating = false;
            state.pid_namespace = pid_namespace;
            state.decisions.extend(tolerated);
        })
    }

    /// Replaces the config that `exec` and `update` read.
    pub fn save_config(&self, config: &str) -> Result<()> {
        self.directory.write(CONFIG, config.as_bytes())
    }

    /// The config that it was created with.
    pub fn config(&self) -> Result<Spec> {
        Ok(spec::load::parse(&self.config_text()?)?.spec)
    }

    /// The text of the container's config.json, as it was created.
    pub fn config_text(&self) -> Result<String> {
        let path = self.directory.path().join(CONFIG);
        let flags = fd::O_RDONLY | fd::O_NONBLOCK | fd::O_NOCTTY;
        let file = self.directory.open_file(CONFIG, flags).map_err(|error| match error.errno {
            Errno::ENOENT if self.directory.has(STATE).is_ok_and(|has| has) => {
                Error::new(format!("{} is missing", path.display()))
                    .because("somebody has removed it")
                    .remedy(format!("end the container with `rootlet delete --force {}`", self.id))
            }
            Errno::ENOENT => self.directory.gone(),
            _ => Error::from_call(path.display(), error),
        })?;
        spec::load::read_opened(file.into(), &path)
    }

    /// Removes its cgroup and its directory. Whoever calls this has the lock.
    pub fn forget(&self) -> Result<()> {
        match &self.state {
            Some(state) => state.cgroup.as_ref().map_or(Ok(()), |cgroup| cgroup.remove(state.has_own_pids))?,
            None => remove_announced(self.directory.path())?,
        }
        let has_cgroup = self.state.as_ref().is_some_and(|state| state.cgroup.is_some());
        // Usually these are all there is.
        let usual = [CONFIG, STATE, ANNOUNCED];
        self.directory.clone().destroy(if has_cgroup { &usual } else { &usual[..2] })
    }

    /// The state as `rootlet state` and hooks show it.
    pub fn view(&self, status: &str) -> View<'_> {
        let empty = Path::new("");
        let state = self.state.as_ref();
        View {
            oci_version: state.map_or("1.0.2", |state| &state.oci_version),
            id: &self.id,
            pid: if status == "stopped" { 0 } else { state.map_or(0, |state| state.pid) },
            status: status.to_owned(),
            bundle: state.map_or(empty, |state| &state.bundle),
            rootfs: state.map_or(empty, |state| &state.rootfs),
            created: state.map_or("0001-01-01T00:00:00Z", |state| &state.created),
            annotations: state.and_then(|state| state.annotations.as_ref()),
            owner: String::new(),
        }
    }
}

fn remedy_of_damage(id: &str) -> String {
    format!("remove it with `rootlet delete --force {id}`, which ends no process: see `ps` for what may be left")
}

/// What is said of a container whose first process has ended.
pub fn not_running() -> Error {
    Error::new("container not running").remedy("see `rootlet list`")
}

/// What is said where a process has ended before it was its program, by which signal if that is known.
pub fn has_not_begun(signal: Option<i32>) -> Error {
    let by = signal.map(|signal| format!(", by signal {signal}")).unwrap_or_default();
    Error::new(format!("it has ended before its program began{by}"))
        .because("somebody has ended it, or a system call filter has")
        .remedy("see whether it is out of memory, and what linux.seccomp forbids")
}

/// runc's `state`, with its keys in its order.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct View<'a> {
    /// `ociVersion` of config.json.
    pub oci_version: &'a str,
    /// The container's name.
    pub id: &'a str,
    /// 0 when stopped.
    pub pid: i32,
    /// `creating`, `created`, `running` or `stopped`.
    pub status: String,
    /// Absolute path; what is not UTF-8 in it cannot be in JSON, and is a replacement character, as with runc.
    #[serde(serialize_with = "path::as_text")]
    pub bundle: &'a Path,
    /// Absolute path.
    #[serde(serialize_with = "path::as_text")]
    pub rootfs: &'a Path,
    /// RFC 3339.
    pub created: &'a str,
    /// `annotations` of config.json.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub annotations: Option<&'a std::collections::BTreeMap<String, String>>,
    /// The user's name, in `list` only.
    pub owner: String,
}

/// Paths need not be UTF-8, and JSON must be: such a one is kept as a list of bytes.
mod path {
    use serde::{Deserialize, Deserializer, Serializer};
    use std::ffi::OsString;
    use std::os::unix::ffi::{OsStrExt, OsStringExt};
    use std::path::{Path, PathBuf};

    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Kept {
        Text(String),
        Bytes(Vec<u8>),
    }

    pub fn serialize<S: Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
        match path.to_str() {
            Some(text) => serializer.serialize_str(text),
            None => serializer.collect_seq(path.as_os_str().as_bytes()),
        }
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<PathBuf, D::Error> {
        Ok(PathBuf::from(match Kept::deserialize(deserializer)? {
            Kept::Text(text) => OsString::from(text),
            Kept::Bytes(bytes) => OsString::from_vec(bytes),
        }))
    }

    pub fn as_text<S: Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&path.to_string_lossy())
    }
}
