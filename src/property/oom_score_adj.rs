//! `process.oomScoreAdj`.

use super::{Planner, Property, Scope};
use crate::capability::CAP_SYS_RESOURCE;
use crate::error::Result;
use crate::plan::Phase;
use crate::plan::step::ResourceStep;

pub const PROPERTY: Property =
    Property { paths: &["process.oomScoreAdj"], phase: Phase::Outside, scope: Scope::Both, plan };

fn plan(planner: &mut Planner) -> Result<()> {
    let Some(mut value) = planner.spec.process().oom_score_adj else { return Ok(()) };
    if !(-1000..=1000).contains(&value) {
        return Err(planner.error(format!("{value} is not from -1000 to 1000")));
    }
    let own = planner.host.oom_score_adj()?;
    if value < own && !planner.host.may(CAP_SYS_RESOURCE) {
        planner.decide(format!("it stays {own}"), "an ordinary user cannot lower it")?;
        value = own;
    }
    if value == own {
        return Ok(());
    }
    let step = ResourceStep::SetOomScoreAdj { value: planner.c_string(value.to_string())? };
    if value < own && planner.has_other_user_namespace() {
        planner.step_in(Phase::Born, step);
    } else {
        planner.step(step);
    }
    Ok(())
}
