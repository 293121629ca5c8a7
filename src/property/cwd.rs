//! `process.cwd`.

use super::{Planner, Property, Scope};
use crate::error::Result;
use crate::plan::Phase;
use crate::plan::step::ProgramStep;

/// As long as the root can be written to: a directory that is missing is made, as by runc and crun.
pub const MAKE: Property =
    Property { paths: &["process.cwd"], phase: Phase::Jailed, scope: Scope::Create, plan: plan_make };
pub const PROPERTY: Property = Property { paths: &["process.cwd"], phase: Phase::Jailed, scope: Scope::Both, plan };

fn plan_make(planner: &mut Planner) -> Result<()> {
    let cwd = &planner.spec.process().cwd;
    // What is wrong with it is said when it is entered.
    if cwd.len() > 1 && cwd.starts_with('/') && !planner.request.is_sandbox {
        let path = planner.c_string(cwd)?;
        planner.step(ProgramStep::MakeDirectory { path });
    }
    Ok(())
}

fn plan(planner: &mut Planner) -> Result<()> {
    let cwd = &planner.spec.process().cwd;
    if planner.lacks_process() {
        return Ok(());
    }
    if !cwd.starts_with('/') {
        let message = if cwd.is_empty() { "missing".to_owned() } else { format!("{cwd:?} is not an absolute path") };
        return Err(planner.error(message).remedy("write a path in the container, such as \"/\""));
    }
    let path = planner.c_string(cwd)?;
    planner.step(ProgramStep::Chdir { path });
    Ok(())
}
