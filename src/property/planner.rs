//! What a property has at hand while it writes its steps.

use super::Request;
use crate::error::{Error, Result};
use crate::host::Host;
use crate::plan::{self, Decision, Entry, Origin, Phase, Plan, Step};
use crate::spec::Spec;
use crate::sys::Errno;
use std::ffi::{CString, OsStr};
use std::path::Path;

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
    pub(super) shuts_devices: bool,
    /// And those in what is bound.
    pub(super) shuts_devices_of_binds: bool,
    /// What is wrong, if all of it is wanted and not only the first.
    pub(super) problems: Option<Vec<Error>>,
    pub(super) current: Origin,
    pub(super) phase: Phase,
}

impl<'a> Planner<'a> {
    pub(super) fn new(spec: &'a Spec, request: &'a Request, host: &'a Host) -> Planner<'a> {
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

    /// Ends the planning with an error, or notes it and goes on.
    pub(super) fn note(&mut self, result: Result<()>) -> Result<()> {
        match (result, &mut self.problems) {
            (Err(error), Some(problems)) => {
                problems.push(error);
                Ok(())
            }
            (result, _) => result,
        }
    }

    /// Plans each element of a list. Errors name it.
    pub(super) fn each<T>(
        &mut self,
        items: &'a [T],
        mut plan: impl FnMut(&mut Planner<'a>, &'a T) -> Result<()>,
    ) -> Result<()> {
        for (index, item) in items.iter().enumerate() {
            self.current.index = Some(index);
            let planned = plan(self, item);
            self.note(planned)?;
        }
        self.current.index = None;
        Ok(())
    }
}

impl Planner<'_> {
    /// Adds a step at the property's phase.
    pub(super) fn step(&mut self, step: impl Into<Step>) {
        self.step_in(self.phase, step);
    }

    /// Adds a step at another phase.
    pub(super) fn step_in(&mut self, phase: Phase, step: impl Into<Step>) {
        let step = step.into();
        self.plan.entries.push(Entry { phase, origin: self.current.clone(), step, tolerate: &[] });
    }

    /// Adds a step whose failure with one of these errors is only noted, unless `--strict`.
    pub(super) fn step_tolerating(&mut self, step: impl Into<Step>, errors: &'static [Errno]) {
        let step = step.into();
        let tolerate = if self.request.strict { &[] } else { errors };
        self.plan.entries.push(Entry { phase: self.phase, origin: self.current.clone(), step, tolerate });
    }

    /// An error in the current property.
    pub(super) fn error(&self, message: impl Into<String>) -> Error {
        Error::in_config(self.current.to_string(), message)
    }

    /// Text of the current property, for the kernel, byte for byte.
    pub(super) fn c_string(&self, text: impl AsRef<OsStr>) -> Result<CString> {
        plan::c_string(|| self.current.to_string(), text.as_ref())
    }

    /// Refuses -1, which says to the kernel that an id stays as it is: a program would be root that was not to be.
    pub(super) fn check_id(&self, name: &str, id: u32) -> Result<()> {
        match id {
            u32::MAX => Err(self
                .error(format!("{name} {id} is not an id"))
                .because("to the kernel it is -1, which changes nothing")
                .remedy("write a number from 0 to 4294967294")),
            _ => Ok(()),
        }
    }

    /// Whether device nodes in a bind of that path are to be dead: no program decides who may use them.
    pub(super) fn shuts_devices_of(&self, source: &Path) -> Result<bool> {
        let is_image = self.shuts_devices && source.starts_with(&self.request.bundle);
        if !self.shuts_devices_of_binds && !is_image {
            return Ok(false);
        }
        // What is below /dev is a device because the config says so.
        Ok(!source.starts_with("/dev") && !self.host.is_device(source)?)
    }

    /// Records that something is done otherwise than asked; an error under `--strict`.
    pub(super) fn decide(&mut self, done: impl Into<String>, reason: impl Into<String>) -> Result<()> {
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
    pub(super) fn lacks_process(&self) -> bool {
        self.spec.process.is_none() && self.request.arguments.is_empty()
    }

    /// True if the container gets a user namespace of its own, asked for or not.
    pub(super) fn has_new_user_namespace(&self) -> bool {
        self.spec.has_new_namespace("user") || (self.spec.namespace("user").is_none() && self.host.is_ordinary_user())
    }

    /// True if the container is in another user namespace than the caller.
    pub(super) fn has_other_user_namespace(&self) -> bool {
        self.has_new_user_namespace() || self.spec.namespace("user").is_some()
    }
}
