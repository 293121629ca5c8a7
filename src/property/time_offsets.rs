//! `linux.timeOffsets`, and the time namespace that they need.

use super::{Planner, Property, Scope};
use crate::error::Result;
use crate::plan::Phase;
use crate::plan::step::NamespaceStep;

pub const PROPERTY: Property =
    Property { paths: &["linux.timeOffsets"], phase: Phase::Inside, scope: Scope::Create, plan };

fn plan(planner: &mut Planner) -> Result<()> {
    let empty = Default::default();
    let offsets = planner.spec.linux().time_offsets.as_ref().unwrap_or(&empty);
    if !planner.spec.has_new_namespace("time") {
        return match offsets.is_empty() {
            true => Ok(()),
            false => Err(planner
                .error("given without a new time namespace")
                .remedy("add {\"type\": \"time\"} to linux.namespaces")),
        };
    }
    let mut text = String::new();
    for (clock, offset) in offsets {
        if !matches!(clock.as_str(), "monotonic" | "boottime") {
            return Err(planner
                .error(format!("{clock:?} is not a clock of a time namespace"))
                .remedy("write \"monotonic\" or \"boottime\""));
        }
        if offset.nanosecs >= 1_000_000_000 {
            return Err(planner.error(format!("{clock}.nanosecs {} is not below a second", offset.nanosecs)));
        }
        text.push_str(&format!("{clock} {} {}\n", offset.secs, offset.nanosecs));
    }
    planner.step(NamespaceStep::SetTimeOffsets { offsets: text.into_bytes().into_boxed_slice() });
    Ok(())
}
