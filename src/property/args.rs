//! `process.args` and `process.env`: the program itself.

use super::{Planner, Property, Scope};
use crate::error::Result;
use crate::plan::{Phase, Step};
use crate::sys::process::Strings;
use std::collections::BTreeSet;
use std::ffi::CString;

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
    let process = planner.spec.process();
    let Some(name) = process.args.first() else {
        return Err(planner.error("missing or empty").remedy("add \"args\": [\"sh\"] to process"));
    };
    if name.is_empty() {
        return Err(planner
            .error("exec: \"\": executable file not found in $PATH")
            .because("the program has no name")
            .remedy("write a name or a path first in process.args"));
    }
    let step = Step::FindExecutable { name: planner.c_string(name)?, candidates: candidates(planner, name)? };
    planner.step(step);
    Ok(())
}

fn plan_home(planner: &mut Planner) -> Result<()> {
    planner.plan.preserved_descriptors = planner.request.preserved_descriptors;
    let process = planner.spec.process();
    if process.env.iter().rev().find_map(|variable| variable.strip_prefix("HOME=")).is_none_or(str::is_empty) {
        planner.step(Step::FindHome { uid: process.user.uid });
    }
    Ok(())
}

/// Where the program may be: its path as it is, or its name in the directories of PATH.
fn candidates(planner: &Planner, name: &str) -> Result<Box<[CString]>> {
    if name.contains('/') {
        return Ok(Box::new([planner.c_string(name)?]));
    }
    let path = planner.spec.process().env.iter().rev().find_map(|variable| variable.strip_prefix("PATH="));
    let directories = path.unwrap_or("/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    let place =
        |directory: &str| planner.c_string(&format!("{}/{name}", if directory.is_empty() { "." } else { directory }));
    directories.split(':').map(place).collect()
}

fn plan_reset(planner: &mut Planner) -> Result<()> {
    planner.step(Step::ResetSignals);
    Ok(())
}

fn plan(planner: &mut Planner) -> Result<()> {
    let process = planner.spec.process();
    let arguments = process.args.iter().map(|text| planner.c_string(text)).collect::<Result<_>>()?;
    planner.current.property = "process.env";
    let (mut environment, mut names) = (Vec::new(), BTreeSet::new());
    // The last of two is meant, as in runc; getenv(3) would find the first.
    for variable in process.env.iter().chain(&planner.request.environment).rev() {
        let (name, value) = variable.split_once('=').unwrap_or_default();
        if name.is_empty() {
            let planned =
                Err(planner.error(format!("{variable:?} is not NAME=VALUE")).remedy("write a name, = and a value"));
            planner.settle(planned)?;
        }
        if names.insert(name) && (name, value) != ("HOME", "") {
            environment.push(planner.c_string(variable)?);
        }
    }
    environment.reverse();
    planner.current.property = PROPERTY.path();
    let name = process.args.first().map_or("", String::as_str);
    let candidates = candidates(planner, name)?;
    planner.step(Step::Execute {
        candidates,
        arguments: Strings::new(arguments),
        environment: Strings::new(environment),
    });
    Ok(())
}
