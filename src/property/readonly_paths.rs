//! `linux.readonlyPaths`.

use super::{Planner, Property, Scope};
use crate::error::Result;
use crate::plan::{Phase, Step};

pub const PROPERTY: Property =
    Property { paths: &["linux.readonlyPaths"], phase: Phase::Jailed, scope: Scope::Create, plan };

fn plan(planner: &mut Planner) -> Result<()> {
    planner.each(&planner.spec.linux().readonly_paths, |planner, path| {
        let path = absolute(planner, path)?;
        planner.step(Step::MakeReadonly { path });
        Ok(())
    })
}

/// An absolute path in the container.
pub fn absolute(planner: &Planner, path: &str) -> Result<std::ffi::CString> {
    if !path.starts_with('/') {
        return Err(planner.error(format!("{path:?} is not an absolute path")).remedy("start it with /"));
    }
    planner.c_string(path)
}
