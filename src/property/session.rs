//! Standard streams and a session for the container, as runc makes them: its program is the leader, and a caller's terminal is out of reach
//! (TIOCSTI, CVE-2017-5226).

use super::{Planner, Property, Scope, id_mappings, user};
use crate::error::Result;
use crate::plan::Phase;
use crate::plan::step::ProgramStep;

pub const PROPERTY: Property =
    Property { paths: &["process.terminal"], phase: Phase::Jailed, scope: Scope::Both, plan };

fn plan(planner: &mut Planner) -> Result<()> {
    let keeps_error = planner.spec.process().terminal && planner.request.keeps_error;
    if !planner.spec.process().terminal || keeps_error {
        // The host's root is nobody there, and so nobody can change what is the host's.
        let may_stay = planner.host.is_ordinary_user()
            || planner.request.is_sandbox
            || (planner.has_other_user_namespace() && !id_mappings::maps_the_hosts_root(planner));
        planner.step(ProgramStep::ReopenNull { may_stay });
        // As the peers do for root's containers. An ordinary user's own files would be a subordinate id's.
        let uid = user::owner(planner);
        if uid != 0 && !planner.host.is_ordinary_user() {
            planner.step(ProgramStep::GiveStreams { uid });
        }
    }
    planner.step(ProgramStep::StartSession { keeps_error });
    Ok(())
}
