//! The session keyring: one of the container's own, as runc makes it.

use super::{Planner, Property, Scope};
use crate::error::Result;
use crate::plan::Phase;
use crate::plan::step::PrivilegeStep;
use crate::sys::Errno;

pub const PROPERTY: Property =
    Property { paths: &["process (session keyring)"], phase: Phase::Inside, scope: Scope::Both, plan };

fn plan(planner: &mut Planner) -> Result<()> {
    if planner.request.no_new_keyring {
        return Ok(());
    }
    // ENOSYS: a kernel without keys. EPERM, EACCES: seccomp of an outer container. EDQUOT: 200 keys of an ordinary user.
    planner
        .step_tolerating(PrivilegeStep::JoinNewKeyring, &[Errno::ENOSYS, Errno::EPERM, Errno::EACCES, Errno::EDQUOT]);
    Ok(())
}
