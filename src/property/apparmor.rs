//! `process.apparmorProfile` and `process.selinuxLabel`: an error where the security module is off.

use super::{Planner, Property};
use crate::error::Result;
use crate::plan::Phase;

pub const APPARMOR: Property = Property { path: "process.apparmorProfile", phase: Phase::Jailed, plan: plan_apparmor };
pub const SELINUX: Property = Property { path: "process.selinuxLabel", phase: Phase::Jailed, plan: plan_selinux };

fn plan_apparmor(planner: &mut Planner) -> Result<()> {
    let spec = planner.spec;
    refuse(planner, spec.process().apparmor_profile.as_deref().filter(|profile| *profile != "unconfined"))
}

fn plan_selinux(planner: &mut Planner) -> Result<()> {
    let spec = planner.spec;
    refuse(planner, spec.process().selinux_label.as_deref())
}

fn refuse(planner: &Planner, asked: Option<&str>) -> Result<()> {
    match asked {
        None | Some("") => Ok(()),
        Some(_) => Err(planner
            .error("not supported by this version of rootlet")
            .because("a restriction that is not enforced must not seem to be")
            .remedy("take it out of config.json")),
    }
}
