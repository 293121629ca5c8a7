//! `linux.intelRdt`: refused.

use super::{Planner, Property, Scope};
use crate::error::Result;
use crate::plan::Phase;

pub const PROPERTY: Property = Property { paths: &["linux.intelRdt"], phase: Phase::Host, scope: Scope::Create, plan };

fn plan(planner: &mut Planner) -> Result<()> {
    if planner.spec.linux().intel_rdt.is_none() {
        return Ok(());
    }
    let error = if planner.host.has_resctrl()? {
        planner.error("rootlet does not drive resctrl").because("no machine was at hand on which it could be tried")
    } else {
        planner
            .error("this host has no resctrl file system")
            .because("the processor or the kernel has no Resource Director Technology, or resctrl is not mounted")
    };
    Err(error.remedy("take it out of config.json"))
}
