//! NOTIFY_SOCKET of the caller: where the program says that it is ready (sd_notify(3)), by the path that runc gives it.

use super::mounts::options;
use super::{Planner, Property, Scope};
use crate::error::Result;
use crate::plan::Phase;
use crate::plan::step::MountStep;
use crate::plan::step::trees::Bind;

pub const PROPERTY: Property = Property { paths: &["mounts"], phase: Phase::Inside, scope: Scope::Create, plan };

/// The variable by which the program finds the socket where it says that it is ready (sd_notify(3)).
pub const VARIABLE: &str = "NOTIFY_SOCKET=/run/notify/notify.sock";

fn plan(planner: &mut Planner) -> Result<()> {
    let Some(directory) = &planner.request.notify else { return Ok(()) };
    let source = planner.c_string(directory)?;
    let target = planner.c_string("/run/notify")?;
    let options = ["ro", "nosuid", "nodev", "noexec"].map(str::to_owned).to_vec();
    let attributes = options::parse(&options).attributes();
    planner.step(MountStep::Bind(Bind { source, target, attributes, ..Bind::default() }));
    Ok(())
}
