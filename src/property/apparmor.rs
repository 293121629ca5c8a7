//! `process.apparmorProfile`: an error where AppArmor is off.

use super::{Planner, Property, Scope};
use crate::error::Result;
use crate::plan::Phase;
use crate::plan::step::PrivilegeStep;

pub const PROPERTY: Property =
    Property { paths: &["process.apparmorProfile"], phase: Phase::Jailed, scope: Scope::Both, plan };

fn plan(planner: &mut Planner) -> Result<()> {
    let Some(profile) = planner.spec.process().apparmor_profile.as_deref().filter(|profile| !profile.is_empty()) else {
        return Ok(());
    };
    if !planner.host.has_apparmor()? {
        // Without AppArmor, everybody is unconfined.
        return if profile == "unconfined" { Ok(()) } else { Err(refuse(planner, "AppArmor")) };
    }
    // The file of AppArmor alone (Linux 5.8): attr/exec may belong to another security module.
    let value = planner.c_string(format!("exec {profile}"))?;
    planner.step(PrivilegeStep::SetLabel { path: c"../attr/apparmor/exec".into(), value });
    Ok(())
}

/// A restriction that would not be enforced.
pub fn refuse(planner: &Planner, module: &str) -> crate::error::Error {
    planner
        .error(format!("{module} is not on"))
        .because("a restriction that is not enforced must not seem to be")
        .remedy("leave it out, or boot with that security module")
}
