//! `process.noNewPrivileges`.

use super::{Planner, Property, Scope};
use crate::error::Result;
use crate::plan::Phase;
use crate::plan::step::PrivilegeStep;

pub const PROPERTY: Property =
    Property { paths: &["process.noNewPrivileges"], phase: Phase::Jailed, scope: Scope::Both, plan };

fn plan(planner: &mut Planner) -> Result<()> {
    if planner.spec.process().no_new_privileges {
        planner.step(PrivilegeStep::SetNoNewPrivileges);
    }
    Ok(())
}
