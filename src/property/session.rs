//! Standard streams and a session for the container, as runc makes them: its program is the leader, and a caller's terminal is out of reach
//! (TIOCSTI, CVE-2017-5226).

use super::{Planner, Property, Scope};
use crate::error::Result;
use crate::plan::{Phase, Step};

pub const PROPERTY: Property =
    Property { paths: &["process.terminal"], phase: Phase::Jailed, scope: Scope::Both, plan };

fn plan(planner: &mut Planner) -> Result<()> {
    if !planner.spec.process().terminal {
        planner.step(Step::ReopenNull);
        // As the peers do for root's containers. An ordinary user's own files would be a subordinate id's.
        let uid = planner.spec.process().user.uid;
        if uid != 0 && !planner.host.is_ordinary_user() {
            planner.step(Step::GiveStreams { uid });
        }
    }
    planner.step(Step::StartSession);
    Ok(())
}
