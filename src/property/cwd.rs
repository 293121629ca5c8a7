//! `process.cwd`.

use super::{Planner, Property, Scope};
use crate::error::Result;
use crate::plan::{Phase, Step};

pub const PROPERTY: Property = Property { paths: &["process.cwd"], phase: Phase::Jailed, scope: Scope::Both, plan };

fn plan(planner: &mut Planner) -> Result<()> {
    let cwd = &planner.spec.process().cwd;
    if !cwd.starts_with('/') {
        let message = if cwd.is_empty() { "missing".to_owned() } else { format!("{cwd:?} is not an absolute path") };
        return Err(planner.error(message).remedy("write a path in the container, such as \"/\""));
    }
    let path = planner.c_string(cwd)?;
    planner.step(Step::Chdir { path });
    Ok(())
}
