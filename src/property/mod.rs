//! One file per property of config.json, and the order in which they happen.
//!
//! To add a property: write `property/NAME.rs` with its `PROPERTY`, `plan` and tests, and add its row to [`ORDER`].

use crate::error::{Error, Result};
use crate::host::Host;
use crate::plan::{self, Decision, Entry, Origin, Phase, Plan, Step};
use crate::spec::Spec;
use crate::sys::Errno;
use std::ffi::CString;
use std::path::PathBuf;

mod apparmor;
mod args;
mod capabilities;
mod cgroup;
mod cwd;
mod devices;
mod domainname;
mod hooks;
mod hostname;
mod id_mappings;
mod io_priority;
mod keyring;
mod masked_paths;
mod mount_options;
mod mounts;
mod namespaces;
mod no_new_privileges;
mod oom_score_adj;
mod personality;
mod propagation;
mod readonly_paths;
mod refused;
mod rlimits;
mod root;
mod scheduler;
mod session;
mod sysctl;
mod terminal;
mod time_offsets;
mod user;

/// A property of config.json and how it becomes steps.
pub struct Property {
    /// Its path in config.json.
    pub path: &'static str,
    /// When its steps are run, unless it says otherwise.
    pub phase: Phase,
    /// Reads the config and writes steps.
    pub plan: fn(&mut Planner) -> Result<()>,
}

/// The container's biography. Phases never run backwards.
pub const ORDER: &[Property] = &[
    refused::PROPERTY,
    cgroup::RESOURCES,
    cgroup::PATH,
    namespaces::PROPERTY,
    id_mappings::PROPERTY,
    oom_score_adj::PROPERTY,
    time_offsets::PROPERTY,
    keyring::PROPERTY,
    propagation::PROPERTY,
    root::PROPERTY,
    mounts::PROPERTY,
    devices::PROPERTY,
    namespaces::LOOPBACK,
    terminal::PROPERTY,
    hooks::RUNTIME,
    hooks::CREATE_CONTAINER,
    root::ENTER,
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
    session::PROPERTY,
    apparmor::APPARMOR,
    apparmor::SELINUX,
    no_new_privileges::PROPERTY,
    cwd::PROPERTY,
    rlimits::PROPERTY,
    user::PROPERTY,
    capabilities::PROPERTY,
    args::FIND,
    hooks::START_CONTAINER,
    args::PROPERTY,
];

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
    /// Descriptors above 2 that the program inherits.
    pub preserved_descriptors: u32,
    /// Additions to process.env, such as LISTEN_FDS.
    pub environment: Vec<String>,
    /// `--strict`: every decision is an error.
    pub strict: bool,
    /// `--limits try`: a limit that cannot be enforced is a decision and not an error.
    pub try_limits: bool,
}

/// Compiles a config for a host. Pure: the same three give the same plan.
pub fn compile(spec: &Spec, request: &Request, host: &Host) -> Result<Plan> {
    let mut planner = Planner {
        spec,
        request,
        host,
        plan: Plan::default(),
        current: Origin { property: "", index: None },
        phase: Phase::Born,
    };
    for property in ORDER {
        planner.current = Origin { property: property.path, index: None };
        planner.phase = property.phase;
        (property.plan)(&mut planner)?;
    }
    planner.plan.entries.sort_by_key(|entry| entry.phase);
    Ok(planner.plan)
}

/// What a property reads, and where it writes.
pub struct Planner<'a> {
    /// The config.
    pub spec: &'a Spec,
    /// The command line.
    pub request: &'a Request,
    /// The host.
    pub host: &'a Host,
    /// The plan so far.
    pub plan: Plan,
    current: Origin,
    phase: Phase,
}

impl Planner<'_> {
    /// Names the element that the next steps and errors are about.
    fn at(&mut self, index: usize) {
        self.current.index = Some(index);
    }

    /// Adds a step at the property's phase.
    fn step(&mut self, step: Step) {
        self.step_in(self.phase, step);
    }

    /// Adds a step at another phase.
    fn step_in(&mut self, phase: Phase, step: Step) {
        self.plan.entries.push(Entry { phase, origin: self.current.clone(), step, tolerate: &[] });
    }

    /// Adds a step whose failure with one of these errors is only noted, unless `--strict`.
    fn step_tolerating(&mut self, step: Step, errors: &'static [Errno]) {
        let tolerate = if self.request.strict { &[] } else { errors };
        self.plan.entries.push(Entry { phase: self.phase, origin: self.current.clone(), step, tolerate });
    }

    /// An error in the current property.
    fn error(&self, message: impl Into<String>) -> Error {
        Error::in_config(self.current.to_string(), message)
    }

    /// Text of the current property, for the kernel.
    fn c_string(&self, text: &str) -> Result<CString> {
        plan::c_string(&self.current.to_string(), text)
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
