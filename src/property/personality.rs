//! `linux.personality`.

use super::{Planner, Property, Scope};
use crate::error::Result;
use crate::plan::Phase;
use crate::plan::step::ResourceStep;

pub const PROPERTY: Property =
    Property { paths: &["linux.personality"], phase: Phase::Jailed, scope: Scope::Both, plan };

fn plan(planner: &mut Planner) -> Result<()> {
    let Some(personality) = &planner.spec.linux().personality else { return Ok(()) };
    // personality(2): PER_LINUX and PER_LINUX32.
    let domain = match personality.domain.as_str() {
        "LINUX" => 0,
        "LINUX32" => 8,
        other => return Err(planner.error(format!("domain {other:?}")).remedy("write \"LINUX\" or \"LINUX32\"")),
    };
    if let Some(flag) = personality.flags.first() {
        return Err(planner
            .error(format!("flag {flag:?}"))
            .because("the specification defines none")
            .remedy("leave flags out"));
    }
    planner.step(ResourceStep::SetPersonality { domain });
    Ok(())
}
