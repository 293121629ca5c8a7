//! `process.args` and `process.env`: the program itself.

use super::{Planner, Property, Scope, annotations};
use crate::error::{Error, Result};
use crate::plan::Phase;
use crate::plan::step::ProgramStep;
use crate::sys::program::Strings;
use std::collections::BTreeSet;
use std::ffi::{CString, OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

pub const HOME: Property =
    Property { paths: &["process.env"], phase: Phase::Jailed, scope: Scope::Both, plan: plan_home };
/// The program is looked for at create, so that a wrong name is known before `start`.
pub const FIND: Property =
    Property { paths: &["process.args"], phase: Phase::Bare, scope: Scope::Both, plan: plan_find };
pub const RESET: Property =
    Property { paths: &["process.args"], phase: Phase::Last, scope: Scope::Both, plan: plan_reset };
pub const PROPERTY: Property =
    Property { paths: &["process.args", "process.env"], phase: Phase::Last, scope: Scope::Both, plan };

fn plan_find(planner: &mut Planner) -> Result<()> {
    if planner.lacks_process() {
        return Ok(());
    }
    let Some(name) = arguments(planner).next() else {
        return Err(planner.error("missing or empty").remedy("add \"args\": [\"sh\"] to process"));
    };
    if name.is_empty() {
        return Err(planner
            .error("exec: \"\": executable file not found in $PATH")
            .because("the program has no name")
            .remedy("write a name or a path first in process.args"));
    }
    let step = ProgramStep::FindExecutable { name: planner.c_string(name)?, candidates: candidates(planner, name)? };
    planner.step(step);
    Ok(())
}

fn plan_home(planner: &mut Planner) -> Result<()> {
    planner.plan.preserved_descriptors = planner.request.preserved_descriptors;
    planner.plan.is_held = planner.request.is_held;
    if value(planner, b"HOME=").is_none_or(<[u8]>::is_empty) {
        planner.step(ProgramStep::FindHome { uid: planner.spec.process().user.uid });
    }
    Ok(())
}

/// What is said where nothing can be started.
pub fn without_process() -> Error {
    Error::in_config("process", "missing").because("the config does not say what is to be started")
}

/// The program and its arguments.
fn arguments<'a>(planner: &'a Planner) -> Box<dyn Iterator<Item = &'a OsStr> + 'a> {
    match planner.request.arguments.as_slice() {
        [] => Box::new(planner.spec.process().args.iter().map(OsStr::new)),
        given => Box::new(given.iter().map(OsString::as_os_str)),
    }
}

/// The variables of the environment, as they were given.
fn variables<'a>(planner: &'a Planner) -> impl DoubleEndedIterator<Item = &'a OsStr> {
    let own = planner.spec.process().env.iter().map(OsStr::new);
    own.chain(planner.request.environment.iter().map(OsString::as_os_str))
}

/// What follows `NAME=` where that is said last.
fn value<'a>(planner: &'a Planner, name: &[u8]) -> Option<&'a [u8]> {
    variables(planner).rev().find_map(|variable| variable.as_bytes().strip_prefix(name))
}

/// Where the program may be: its path as it is, or its name in the directories of PATH.
fn candidates(planner: &Planner, name: &OsStr) -> Result<Box<[CString]>> {
    if name.as_bytes().contains(&b'/') {
        return Ok(Box::new([planner.c_string(name)?]));
    }
    let directories =
        value(planner, b"PATH=").unwrap_or(b"/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    let candidate = |directory: &[u8]| {
        let directory = if directory.is_empty() { b"." } else { directory };
        planner.c_string(OsStr::from_bytes(&[directory, b"/", name.as_bytes()].concat()))
    };
    directories.split(|byte| *byte == b':').map(candidate).collect()
}

fn plan_reset(planner: &mut Planner) -> Result<()> {
    planner.step(ProgramStep::ResetSignals);
    Ok(())
}

fn plan(planner: &mut Planner) -> Result<()> {
    let mut words: Vec<CString> = arguments(planner).map(|text| planner.c_string(text)).collect::<Result<_>>()?;
    if let (Some(name), Some(first)) = (annotations::find(planner.spec, annotations::ARGUMENT_0), words.first_mut())
        && planner.entered.is_none()
    {
        *first = planner.c_string(name)?;
    }
    planner.current.property = "process.env";
    let (mut environment, mut names) = (Vec::new(), BTreeSet::new());
    // The last of two is meant, as in runc; getenv(3) would find the first.
    let mut nameless = Vec::new();
    for variable in variables(planner).rev() {
        let name = variable.as_bytes().split(|byte| *byte == b'=').next().unwrap_or_default();
        if name.is_empty() || name.len() == variable.len() {
            nameless
                .push(planner.error(format!("{variable:?} is not NAME=VALUE")).remedy("write a name, = and a value"));
        }
        if names.insert(name) && variable != "HOME=" {
            environment.push(planner.c_string(variable)?);
        }
    }
    nameless.into_iter().try_for_each(|error| planner.note(Err(error)))?;
    environment.reverse();
    planner.current.property = PROPERTY.path();
    let candidates = candidates(planner, arguments(planner).next().unwrap_or_default())?;
    planner.step(ProgramStep::Execute {
        candidates,
        arguments: Strings::new(words),
        environment: Strings::new(environment),
    });
    Ok(())
}
