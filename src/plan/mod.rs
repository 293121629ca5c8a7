//! The plan: everything that creating a container will do, as data.
//!
//! A plan can be printed, compared and blamed. Whoever runs it, in the parent or in the child, follows it in order.

pub mod circumstances;
pub mod hint;
pub mod print;
pub mod probe;
mod slots;
pub mod step;
pub mod unit_property;
mod words;

use crate::error::{Error, Result, printable};
use crate::network::{Helper, Port};
use crate::sys::{self, Errno};
use serde::{Deserialize, Serialize};
use std::ffi::{CString, OsStr};
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use unit_property::UnitProperty;

pub use slots::Slots;
pub use step::Step;
use step::{MountStep, NamespaceStep, PrivilegeStep};

/// When, and by whom, a step is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// By the parent, before the container's process exists.
    Host,
    /// By the new process, before it is in any namespace that it joins.
    Outside,
    /// By the parent, when the container's process exists and waits.
    Born,
    /// By the container's process, with the host's files in sight.
    Inside,
    /// By the parent, when its hooks have been run and the container's process waits.
    Hooked,
    /// By the container's process, from the moment that it enters its root.
    Jailed,
    /// By the container's process, when it holds nothing any more that leads outside.
    Bare,
    /// By the container's process, after `start`.
    Last,
}

impl Phase {
    /// Who acts: the process that makes the container, or the one that becomes it.
    pub fn actor(self) -> &'static str {
        match self {
            Phase::Host | Phase::Born | Phase::Hooked => "parent",
            Phase::Outside | Phase::Inside | Phase::Jailed | Phase::Bare | Phase::Last => "child",
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Phase::Host => "host",
            Phase::Outside => "outside",
            Phase::Born => "born",
            Phase::Inside => "inside",
            Phase::Hooked => "hooked",
            Phase::Jailed => "jailed",
            Phase::Bare => "bare",
            Phase::Last => "last",
        })
    }
}

/// The property that a step comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// Its path in config.json, such as `mounts`.
    pub property: &'static str,
    /// Which element, if the property is a list.
    pub index: Option<usize>,
}

impl fmt::Display for Origin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.index {
            Some(index) => write!(formatter, "{}[{index}]", self.property),
            None => formatter.write_str(self.property),
        }
    }
}

/// One step, with its time and its reason.
#[derive(Debug, PartialEq)]
pub struct Entry {
    /// When it is run.
    pub phase: Phase,
    /// Why.
    pub origin: Origin,
    /// The verb and its data.
    pub step: Step,
    /// Errors that are noted and survived.
    pub tolerate: &'static [Errno],
}

impl Entry {
    /// The step, if it is about the container's files.
    pub fn mount_step(&self) -> Option<&MountStep> {
        match &self.step {
            Step::Mount(step) => Some(step),
            _ => None,
        }
    }

    fn installs_filter(&self) -> bool {
        matches!(self.step, Step::Privilege(PrivilegeStep::InstallFilter { .. }))
    }
}

/// A namespace to join before the process is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Join {
    /// A namespace by its file, such as `/proc/PID/ns/net`.
    File {
        /// CLONE_NEW*.
        kind: i32,
        /// Such as /proc/1/ns/net.
        path: CString,
        /// Which element of `linux.namespaces`.
        index: usize,
    },
    /// Those of a container that runs, all at once (setns(2) of a pidfd, Linux 5.8).
    Container {
        /// CLONE_NEW*, more than one.
        kinds: i32,
    },
}

impl Join {
    /// CLONE_NEW*.
    pub fn kinds(&self) -> i32 {
        match self {
            Join::File { kind, .. } => *kind,
            Join::Container { kinds } => *kinds,
        }
    }
}

/// Something that the config asks for and that is done otherwise, because of who the caller is or what the host allows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// The property by its path in config.json.
    pub property: String,
    /// What is done instead of what was asked for.
    pub done: String,
    /// Why.
    pub reason: String,
}

impl fmt::Display for Decision {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}, because {}", self.property, self.done, self.reason)
    }
}

/// The agent that gets the listener of a system call filter (config-linux.md, seccomp).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listener {
    /// Path of the agent's socket.
    pub path: PathBuf,
    /// What it is told besides the state.
    pub metadata: String,
}

/// The way out of the container's network namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Network {
    /// The program that passes packets on.
    pub helper: Helper,
    /// Path of that program on the host.
    pub program: PathBuf,
    /// Ports of the host that lead to ports of the container.
    pub ports: Vec<Port>,
}

/// Who fakes root, in the container's user namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Supervisor {
    /// Its user: the container's root.
    pub uid: u32,
    /// Group id, in the container.
    pub gid: u32,
    /// Whether the caller's supplementary groups are dropped.
    pub drops_groups: bool,
    /// Whom the first process takes itself for, if that is nobody who is mapped.
    pub told: Option<Told>,
}

/// A user who is not there.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // as in config.json
pub struct Told {
    pub uid: u32,
    pub gid: u32,
    pub groups: Vec<u32>,
}

/// The container's cgroup.
#[derive(Clone, Debug, PartialEq)]
pub struct Cgroup {
    /// Where the cgroup is, if there is one.
    pub place: Place,
    /// Why there.
    pub reason: String,
    /// Controllers that it must have.
    pub controllers: Vec<String>,
    /// Controllers that it may have besides.
    pub optional_controllers: Vec<String>,
    /// What is written, in this order.
    pub settings: Vec<Setting>,
    /// Which devices may be used: a program for BPF_CGROUP_DEVICE.
    pub devices: Option<Vec<u64>>,
    /// Whose its own files are, by uid and gid, if not the caller's: the container divides it (cgroups(7), delegation).
    pub owner: Option<(u32, u32)>,
    /// A cgroup below it, where the container's processes go once their cgroup namespace begins at it.
    pub leaf: Option<String>,
    /// Whether the settings would keep the process from being born.
    pub is_set_late: bool,
    /// Whether a setting that the kernel refuses is a decision (`--limits try`).
    pub may_lack_limits: bool,
}

/// Where a cgroup is.
#[derive(Clone, Debug, PartialEq)]
pub enum Place {
    /// Nowhere: the container stays in its maker's.
    None,
    /// A directory that rootlet makes in a cgroup of the caller's own.
    Directory {
        /// It exists, and nothing above it is touched.
        base: PathBuf,
        /// The cgroup itself.
        path: PathBuf,
        /// Whether another name would do, where this one is taken.
        is_proposal: bool,
    },
    /// A scope that systemd makes.
    Scope {
        /// The bus by which systemd is reached.
        bus: Bus,
        /// The scope's slice.
        slice: String,
        /// The scope's name.
        name: String,
        /// The cgroup below it that is rootlet's to set.
        subgroup: String,
        /// What annotations of the config say of the scope.
        properties: Vec<UnitProperty>,
        /// Whether another name would do, where this one is taken.
        is_proposal: bool,
    },
}

/// A D-Bus of a systemd.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bus {
    /// Path of the socket that the filter's listener is sent to.
    pub path: PathBuf,
    /// The user's, or the system's.
    pub is_user: bool,
}

/// A value of a cgroup's file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Setting {
    /// Where it comes from in config.json.
    pub property: &'static str,
    /// Such as `memory.max`.
    pub file: String,
    /// What is written to the file.
    pub value: String,
    /// It is left out where there is no such file: it lifts a limit, or another setting is enough.
    pub is_optional: bool,
    /// What is written where there is no such file.
    pub instead: Option<Box<Setting>>,
}

impl Setting {
    /// A setting that must be written, or the container is not made.
    pub fn new(property: &'static str, file: impl Into<String>, value: impl Into<String>) -> Setting {
        Setting { property, file: file.into(), value: value.into(), ..Setting::default() }
    }

    /// The controller that has the file; `cgroup.*` are always there.
    pub fn controller(&self) -> Option<&str> {
        self.file.split('.').next().filter(|name| *name != "cgroup")
    }
}

/// What a child names as the failed step when it could not join a namespace: this, and which of [`Plan::joins`].
pub const FIRST_JOIN: u32 = 1 << 31;

/// The number that a child names as the failed step when it could not hand its terminal over.
pub const CONSOLE: u32 = 1 << 30;

/// A compiled config.
#[derive(Debug, Default, PartialEq)]
pub struct Plan {
    /// CLONE_NEW* flags of the container's process.
    pub namespaces: i32,
    /// Namespaces to join first.
    pub joins: Vec<Join>,
    /// All steps, by phase.
    pub entries: Vec<Entry>,
    /// What is done otherwise than asked.
    pub decisions: Vec<Decision>,
    /// What the user should know, such as keys that the specification does not have.
    pub warnings: Vec<Error>,
    /// Whether the parent opens what is bound: the child has other ids, and fewer privileges than the caller.
    pub opens_sources: bool,
    /// Whether hooks of the parent run between Inside and Jailed.
    pub has_runtime_hooks: bool,
    /// Who answers for system calls that are to be asked about.
    pub listener: Option<Listener>,
    /// Whose resolv.conf(5) the container gets, if it has a way out of its own.
    pub resolver: Option<Helper>,
    /// Whom the program takes itself for, if root is faked and that user is not mapped.
    pub told: Option<Told>,
    /// Whether a process that waits for its start ends with its maker.
    pub is_held: bool,
    /// Whether the system calls that are used are written down.
    pub is_audited: bool,
    /// Who answers instead, if root is faked.
    pub fake_root: Option<Supervisor>,
    /// Descriptors above 2 that the program inherits. All others are closed before the Bare steps.
    pub preserved_descriptors: u32,
    /// Whether the process gets a terminal.
    pub has_terminal: bool,
    /// The container's cgroup; `None` in the plan of `exec`.
    pub cgroup: Option<Cgroup>,
}

impl Plan {
    /// True if the child has to wait for steps of the parent after it was born.
    pub fn waits_when_born(&self) -> bool {
        self.entries.iter().any(|entry| entry.phase == Phase::Born)
            || self
                .cgroup
                .as_ref()
                .is_some_and(|cgroup| cgroup.is_set_late || matches!(cgroup.place, Place::Scope { .. }))
    }

    /// The maps of the container's own user namespace, of uids and of gids.
    pub fn id_maps(&self) -> Option<(&[u8], &[u8])> {
        self.entries.iter().find_map(|entry| match &entry.step {
            Step::Namespace(NamespaceStep::MapIds { uid_map, gid_map, .. }) => Some((&uid_map[..], &gid_map[..])),
            _ => None,
        })
    }

    /// All namespaces that are not the caller's: CLONE_NEW*.
    pub fn all_namespaces(&self) -> i32 {
        let unshared = self.entries.iter().map(|entry| match entry.step {
            Step::Namespace(NamespaceStep::SetTimeOffsets { .. }) => sys::namespace::CLONE_NEWTIME,
            Step::Namespace(NamespaceStep::Unshare { kinds }) => kinds,
            _ => 0,
        });
        unshared.chain(self.joins.iter().map(Join::kinds)).fold(self.namespaces, |all, kinds| all | kinds)
    }

    /// True if there is a system call filter.
    pub fn is_filtered(&self) -> bool {
        self.entries.iter().any(Entry::installs_filter)
    }

    /// True if a system call filter is in force while the child still has to become its program.
    pub fn is_filtered_early(&self) -> bool {
        self.entries.iter().any(|entry| entry.phase == Phase::Bare && entry.installs_filter())
    }

    /// True if the parent opens what this step shows of the host's.
    pub fn opens_source_of(&self, step: &Step) -> bool {
        match step {
            Step::Mount(MountStep::Attach(_)) => true,
            Step::Mount(step) => self.opens_sources && step.source().is_some(),
            _ => false,
        }
    }

    /// True if the parent has something to do between Inside and Jailed.
    pub fn pauses(&self) -> bool {
        self.has_runtime_hooks
            || self.cgroup.as_ref().is_some_and(|cgroup| cgroup.leaf.is_some())
            || self.entries.iter().any(|entry| entry.phase == Phase::Hooked)
    }

    /// The processes beside the container, which end with it.
    pub fn beside(&self) -> Vec<String> {
        let answers = self.fake_root.as_ref().map(|supervisor| {
            let told = supervisor
                .told
                .as_ref()
                .map(|told| format!("; the program is told that it is {}:{}", told.uid, told.gid));
            let what = "fake root: who answers for owners and ids, and keeps those of files in user.rootlesscontainers";
            format!("{what}{}", told.unwrap_or_default())
        });
        let served = self.entries.iter().filter_map(|entry| match &entry.step {
            Step::Mount(MountStep::MountFuse(mount)) => {
                let (path, target) = (mount.server.path.to_string_lossy(), mount.target.to_string_lossy());
                Some(format!("{path}, which serves {target}"))
            }
            Step::Namespace(NamespaceStep::Connect(network)) => {
                Some(format!("{}, which passes packets on, and who ends it", network.program.display()))
            }
            _ => None,
        });
        served.chain(answers).collect()
    }

    /// The message for a step that failed.
    pub fn blame(&self, step: usize, error: sys::Error) -> Error {
        if step == CONSOLE as usize {
            return Error::from_call("--console-socket", error)
                .because("who listens there has closed the connection before it got the terminal")
                .remedy("see why it does, such as in its own log");
        }
        if let Some(join) = step.checked_sub(FIRST_JOIN as usize).and_then(|join| self.joins.get(join)) {
            return hint::explain_join(join, error);
        }
        match self.entries.get(step) {
            Some(entry) => {
                let is_filtered = self.entries.iter().take(step).any(Entry::installs_filter);
                hint::explain(entry, error, is_filtered)
            }
            None => Error::from_call("container", error),
        }
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(cgroup) = &self.cgroup {
            writeln!(formatter, "{cgroup}")?;
        }
        let names: Vec<_> = print::namespace_names(self.namespaces).collect();
        for join in &self.joins {
            let names: Vec<_> = print::namespace_names(join.kinds()).collect();
            match join {
                Join::File { path, .. } => {
                    writeln!(formatter, "join    {} namespace {}", names.join(" "), path.to_string_lossy())?;
                }
                Join::Container { .. } => writeln!(formatter, "join    {}", names.join(" "))?,
            }
        }
        writeln!(formatter, "clone   {}", names.join(" "))?;
        let last = self.preserved_descriptors.saturating_add(2);
        writeln!(
            formatter,
            "keep    descriptors 0 to {last}; the others are closed before the first step that is bare"
        )?;
        if self.opens_sources {
            writeln!(formatter, "open    what is bound with the caller's privileges")?;
        }
        for entry in &self.entries {
            let step = entry.step.to_string();
            let (actor, phase, origin) = (entry.phase.actor(), entry.phase.to_string(), entry.origin.to_string());
            writeln!(formatter, "{actor:6}  {phase:7} {origin:28} {}", printable(&step, false))?;
        }
        for process in self.beside() {
            writeln!(formatter, "beside  {}", printable(&process, false))?;
        }
        for decision in &self.decisions {
            writeln!(formatter, "decided {}", printable(&decision.to_string(), false))?;
        }
        for warning in &self.warnings {
            writeln!(formatter, "warning {}", printable(&warning.in_one_line(), false))?;
        }
        Ok(())
    }
}

/// A string for the kernel; one with a NUL byte is an error in the property.
pub fn c_string(property: impl FnOnce() -> String, text: &OsStr) -> Result<CString> {
    CString::new(text.as_bytes()).map_err(|_| {
        Error::in_config(property(), format!("{text:?} has a NUL character")).because("the kernel ends a string there")
    })
}
