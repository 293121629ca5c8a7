//! One file per property of config.json, and the order in which they happen.
//!
//! To add a property: write `property/NAME.rs` with its `PROPERTY`, `plan` and tests, and add its row to [`ORDER`].

pub use crate::cgroup::placement::CgroupManager;
use crate::error::{Error, Result};
use crate::host::Host;
use crate::plan::{self, Decision, Entry, Origin, Phase, Plan, Step};
use crate::spec::{Resources, Spec};
use crate::sys::Errno;
use std::ffi::{CString, OsStr, OsString};
use std::path::{Path, PathBuf};

pub mod annotations;
mod apparmor;
mod args;
mod capabilities;
mod cgroup;
pub mod check;
mod cwd;
mod delegation;
mod devices;
mod domainname;
mod exec_cpu_affinity;
pub mod features;
mod fuse;
mod hooks;
mod hostname;
mod id_mappings;
mod intel_rdt;
mod io_priority;
mod keyring;
mod mapped;
mod masked_paths;
mod memory_policy;
mod mount_options;
mod mounts;
mod namespaces;
mod net_devices;
mod no_new_privileges;
mod notify_socket;
mod number_list;
mod oom_score_adj;
mod overlay;
mod personality;
mod platforms;
mod propagation;
mod readonly_paths;
mod rlimits;
mod root;
mod scheduler;
mod seccomp;
mod selinux;
mod session;
mod sysctl;
mod terminal;
mod time_offsets;
mod user;

pub use args::without_process;
pub use notify_socket::VARIABLE as NOTIFY_VARIABLE;

/// Whose business a property is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// The container's, when it is created.
    Create,
    /// A process's that is added by `exec`.
    Exec,
    /// Both.
    Both,
}

/// A property of config.json and how it becomes steps.
pub struct Property {
    /// Its paths in config.json. Errors name the first; whatever lies below one of them is this property's business.
    pub paths: &'static [&'static str],
    /// When its steps are run, unless it says otherwise.
    pub phase: Phase,
    /// Whether `exec` has it, too.
    pub scope: Scope,
    /// Reads the config and writes steps.
    pub plan: fn(&mut Planner) -> Result<()>,
}

/// The container's biography. Phases never run backwards.
pub const ORDER: &[Property] = &[
    annotations::PROPERTY,
    platforms::PROPERTY,
    intel_rdt::PROPERTY,
    cgroup::RESOURCES,
    cgroup::PATH,
    delegation::PROPERTY,
    root::PROC,
    oom_score_adj::PROPERTY,
    exec_cpu_affinity::PROPERTY,
    namespaces::PROPERTY,
    // The file belongs to who makes it, and a change of ids takes that away.
    time_offsets::PROPERTY,
    id_mappings::PROPERTY,
    // When it has written what the kernel lets only a process write that may be traced.
    id_mappings::TRACING,
    keyring::PROPERTY,
    propagation::PROPERTY,
    root::PROPERTY,
    selinux::MOUNT_LABEL,
    mounts::PROPERTY,
    notify_socket::PROPERTY,
    devices::PROPERTY,
    namespaces::LOOPBACK,
    terminal::PROPERTY,
    hooks::RUNTIME,
    net_devices::PROPERTY,
    hooks::CREATE_CONTAINER,
    root::ENTER,
    cwd::MAKE,
    root::READONLY,
    mounts::READONLY,
    hostname::PROPERTY,
    domainname::PROPERTY,
    sysctl::PROPERTY,
    readonly_paths::PROPERTY,
    masked_paths::PROPERTY,
    personality::PROPERTY,
    scheduler::PROPERTY,
    io_priority::PROPERTY,
    memory_policy::PROPERTY,
    exec_cpu_affinity::LAST,
    session::PROPERTY,
    apparmor::PROPERTY,
    selinux::PROPERTY,
    no_new_privileges::PROPERTY,
    cwd::PROPERTY,
    rlimits::PROPERTY,
    // Needs the root, and the process is about to let go of it.
    args::HOME,
    // From here on it holds nothing that leads outside.
    seccomp::EARLY,
    user::PROPERTY,
    capabilities::PROPERTY,
    args::FIND,
    args::RESET,
    // Hooks of the image's are under it, as with the peers.
    seccomp::LATE,
    hooks::START_CONTAINER,
    args::PROPERTY,
];

/// What a row claims only to refuse it, or to say that it is ignored; and why.
pub const REFUSED: &[(&str, &str)] = &[
    ("linux.intelRdt", "rootlet does not drive resctrl"),
    ("process.commandLine", "for Windows"),
    ("process.user.username", "for Windows"),
    ("windows", "for another platform"),
    ("solaris", "for another platform"),
    ("zos", "for another platform"),
    ("freebsd", "for another platform"),
    ("vm", "for runtimes of virtual machines"),
];

/// The row of ORDER whose business a path is.
pub fn claim(path: &str) -> Option<&'static Property> {
    let is_below =
        |known: &&str| path.strip_prefix(*known).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']));
    let claims = ORDER.iter().filter_map(|row| {
        Some((row.paths.iter().filter(|known| is_below(known)).map(|known| known.len()).max()?, row))
    });
    claims.max_by_key(|(length, _)| *length).map(|(_, row)| row)
}

impl Property {
    /// What errors call it.
    pub const fn path(&self) -> &'static str {
        match self.paths {
            [first, ..] => first,
            [] => "",
        }
    }
}

/// What the command line said.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Request {
    /// The container's name.
    pub id: String,
    /// Absolute path of the bundle.
    pub bundle: PathBuf,
    /// `--no-pivot`.
    pub no_pivot: bool,
    /// `--no-new-keyring`.
    pub no_new_keyring: bool,
    /// How many descriptors from 3 on the program inherits, as far as they are open, and not close-on-exec.
    pub preserved_descriptors: u32,
    /// The program and its arguments, in the place of process.args.
    pub arguments: Vec<OsString>,
    /// Additions to process.env, such as LISTEN_FDS.
    pub environment: Vec<OsString>,
    /// The directory with the socket of sd_notify(3), if the caller has one to pass its words on to.
    pub notify: Option<PathBuf>,
    /// `--systemd-cgroup` and `--cgroup-manager`.
    pub cgroup_manager: CgroupManager,
    /// `--strict`: every decision is an error, and so is whatever would be ignored.
    pub strict: bool,
    /// `--fuse`: programs of the host's that may serve file systems, by name or path.
    pub fuse: Vec<PathBuf>,
    /// `--limits try`: a limit that cannot be enforced is a decision and not an error.
    pub try_limits: bool,
}

/// Compiles a config for a host. Pure: the same three give the same plan.
pub fn compile(spec: &Spec, request: &Request, host: &Host) -> Result<Plan> {
    compile_for(None, spec, request, host)
}

/// Compiles `process` of a config for a container that runs in these namespaces (CLONE_NEW*).
pub fn compile_exec(namespaces: i32, spec: &Spec, request: &Request, host: &Host) -> Result<Plan> {
    compile_for(Some(namespaces), spec, request, host)
}

fn compile_for(entered: Option<i32>, spec: &Spec, request: &Request, host: &Host) -> Result<Plan> {
    let mut planner = Planner { entered, ..Planner::new(spec, request, host) };
    planner.follow_order()?;
    // A property may have a step at another time than its own.
    if !planner.plan.entries.is_sorted_by_key(|entry| entry.phase) {
        planner.plan.entries.sort_by_key(|entry| entry.phase);
    }
    Ok(planner.plan)
}

/// Adds what was found while the config was read. Under `--strict`, what would be ignored is an error.
pub fn heed(plan: &mut Plan, found: impl Iterator<Item = Error>, request: &Request) -> Result<()> {
    plan.warnings.extend(found);
    match plan.warnings.first().filter(|_| request.strict) {
        Some(warning) => Err(warning.clone().because("it cannot be followed to the letter, and --strict is given")),
        None => Ok(()),
    }
}

/// What mends a config without a process.
pub const ADD_PROCESS: &str = "add \"process\"; see `rootlet spec`";

/// All that is wrong with a config on a host, and what would be done as far as it is right.
pub fn check_all(spec: &Spec, request: &Request, host: &Host) -> (Vec<Error>, Plan) {
    let mut planner = Planner { problems: Some(Vec::new()), ..Planner::new(spec, request, host) };
    let unexpected = planner.follow_order().err();
    let missing = planner.lacks_process().then(|| without_process().remedy(ADD_PROCESS));
    (planner.problems.into_iter().flatten().chain(unexpected).chain(missing).collect(), planner.plan)
}

/// Refuses wrong values of `linux.resources` that come from elsewhere than config.json.
pub fn check_resources(resources: &Resources) -> Result<()> {
    let (spec, request, host) = (Spec::default(), Request::default(), Host::default());
    cgroup::check(&mut Planner::new(&spec, &request, &host), resources)
}

/// What a property reads, and where it writes.
pub struct Planner<'a> {
    /// The config.
    pub spec: &'a Spec,
    /// The command line.
    pub request: &'a Request,
    /// The host.
    pub host: &'a Host,
    /// The namespaces (CLONE_NEW*) of the container that `exec` enters.
    pub entered: Option<i32>,
    /// The plan so far.
    pub plan: Plan,
    /// Whether device nodes in the root are dead, as no program decides who may use them.
    shuts_devices: bool,
    /// And those in what is bound.
    shuts_devices_of_binds: bool,
    /// What is wrong, if all of it is wanted and not only the first.
    problems: Option<Vec<Error>>,
    current: Origin,
    phase: Phase,
}

impl<'a> Planner<'a> {
    fn new(spec: &'a Spec, request: &'a Request, host: &'a Host) -> Planner<'a> {
        let current = Origin { property: "", index: None };
        // A mount is two or three steps; all else is some fifty.
        let plan = Plan { entries: Vec::with_capacity(64 + 3 * spec.mounts.len()), ..Plan::default() };
        Planner {
            spec,
            request,
            host,
            entered: None,
            plan,
            shuts_devices: false,
            shuts_devices_of_binds: false,
            problems: None,
            current,
            phase: Phase::Born,
        }
    }

    fn follow_order(&mut self) -> Result<()> {
        let other = if self.entered.is_some() { Scope::Create } else { Scope::Exec };
        for property in ORDER.iter().filter(|property| property.scope != other) {
            self.current = Origin { property: property.path(), index: None };
            self.phase = property.phase;
            let planned = (property.plan)(self);
            self.settle(planned)?;
        }
        Ok(())
    }

    /// Ends the planning with an error, or keeps the error and goes on.
    fn settle(&mut self, result: Result<()>) -> Result<()> {
        match (result, &mut self.problems) {
            (Err(error), Some(problems)) => {
                problems.push(error);
                Ok(())
            }
            (result, _) => result,
        }
    }

    /// Plans each element of a list. Errors name it.
    fn each<T>(&mut self, items: &'a [T], mut plan: impl FnMut(&mut Planner<'a>, &'a T) -> Result<()>) -> Result<()> {
        for (index, item) in items.iter().enumerate() {
            self.current.index = Some(index);
            let planned = plan(self, item);
            self.settle(planned)?;
        }
        self.current.index = None;
        Ok(())
    }
}

impl Planner<'_> {
    /// Adds a step at the property's phase.
    fn step(&mut self, step: impl Into<Step>) {
        self.step_in(self.phase, step);
    }

    /// Adds a step at another phase.
    fn step_in(&mut self, phase: Phase, step: impl Into<Step>) {
        let step = step.into();
        self.plan.entries.push(Entry { phase, origin: self.current.clone(), step, tolerate: &[] });
    }

    /// Adds a step whose failure with one of these errors is only noted, unless `--strict`.
    fn step_tolerating(&mut self, step: impl Into<Step>, errors: &'static [Errno]) {
        let step = step.into();
        let tolerate = if self.request.strict { &[] } else { errors };
        self.plan.entries.push(Entry { phase: self.phase, origin: self.current.clone(), step, tolerate });
    }

    /// An error in the current property.
    fn error(&self, message: impl Into<String>) -> Error {
        Error::in_config(self.current.to_string(), message)
    }

    /// Text of the current property, for the kernel, byte for byte.
    fn c_string(&self, text: impl AsRef<OsStr>) -> Result<CString> {
        plan::c_string(&self.current.to_string(), text.as_ref())
    }

    /// Refuses -1, which says to the kernel that an id stays as it is: a program would be root that was not to be.
    fn check_id(&self, name: &str, id: u32) -> Result<()> {
        match id {
            u32::MAX => Err(self
                .error(format!("{name} {id} is not an id"))
                .because("to the kernel it is -1, which changes nothing")
                .remedy("write a number from 0 to 4294967294")),
            _ => Ok(()),
        }
    }

    /// Whether device nodes in a bind of that path are to be dead: no program decides who may use them.
    fn shuts_devices_of(&self, source: &Path) -> Result<bool> {
        let is_image = self.shuts_devices && source.starts_with(&self.request.bundle);
        if !self.shuts_devices_of_binds && !is_image {
            return Ok(false);
        }
        // What is below /dev is a device because the config says so.
        Ok(!source.starts_with("/dev") && !self.host.is_device(source)?)
    }

    /// Records that something is done otherwise than asked; an error under `--strict`.
    fn decide(&mut self, done: impl Into<String>, reason: impl Into<String>) -> Result<()> {
        let decision = Decision { property: self.current.to_string(), done: done.into(), reason: reason.into() };
        if self.request.strict {
            return Err(self
                .error("cannot be done as asked, and --strict is given")
                .because(decision.reason)
                .remedy(format!("without --strict: {}", decision.done)));
        }
        self.plan.decisions.push(decision);
        Ok(())
    }

    /// True if there is nothing to start yet: config.md, process is required by `start` alone.
    fn lacks_process(&self) -> bool {
        self.spec.process.is_none() && self.request.arguments.is_empty()
    }

    /// True if the container gets a user namespace of its own, asked for or not.
    fn has_new_user_namespace(&self) -> bool {
        self.spec.has_new_namespace("user") || (self.spec.namespace("user").is_none() && self.host.is_ordinary_user())
    }

    /// True if the container is in another user namespace than the caller.
    fn has_other_user_namespace(&self) -> bool {
        self.has_new_user_namespace() || self.spec.namespace("user").is_some()
    }
}

#[cfg(test)]
mod tests;
