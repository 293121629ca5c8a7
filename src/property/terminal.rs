//! `process.terminal` and `process.consoleSize`.

use super::{Planner, Property, Scope, user};
use crate::error::Result;
use crate::plan::Phase;
use crate::plan::step::MountStep;
use crate::sys::tty::Size;

pub const PROPERTY: Property =
    Property { paths: &["process.terminal", "process.consoleSize"], phase: Phase::Inside, scope: Scope::Both, plan };

fn plan(planner: &mut Planner) -> Result<()> {
    let process = planner.spec.process();
    if !process.terminal {
        return Ok(());
    }
    planner.plan.has_terminal = true;
    let size = process.console_size.as_ref().filter(|size| size.height != 0 || size.width != 0);
    let size = size.map(|size| Size { rows: size.height, columns: size.width });
    let is_console = planner.entered.is_none();
    planner.step(MountStep::OpenTerminal { size, owner: user::owner(planner), is_console });
    Ok(())
}
