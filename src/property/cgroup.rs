//! `linux.resources` and `linux.cgroupsPath`: a limit is enforced, or it is an error that says why not.

use super::{Planner, Property};
use crate::error::Result;
use crate::plan::Phase;
use serde_json::Value;

pub const RESOURCES: Property = Property { path: "linux.resources", phase: Phase::Inside, plan: plan_resources };
pub const PATH: Property = Property { path: "linux.cgroupsPath", phase: Phase::Inside, plan: plan_path };

fn plan_resources(planner: &mut Planner) -> Result<()> {
    let Some(Value::Object(resources)) = &planner.spec.linux().resources else { return Ok(()) };
    let limits: Vec<&str> = resources
        .iter()
        .filter(|(key, value)| key.as_str() != "devices" && limits_something(value))
        .map(|(key, _)| key.as_str())
        .collect();
    if !limits.is_empty() {
        let names = limits.join(", ");
        let reason = "this version of rootlet makes no cgroup, and only a cgroup enforces it";
        if !planner.request.try_limits {
            return Err(planner
                .error(format!("{names}: cannot be enforced"))
                .because(reason)
                .remedy("give `--limits try` to start without, or take it out of linux.resources"));
        }
        planner.decide(format!("{names}: not enforced"), reason)?;
    }
    if let Some(Value::Array(rules)) = resources.get("devices").filter(|rules| **rules != Value::Array(Vec::new())) {
        let denies = rules.iter().any(|rule| rule.get("allow") != Some(&Value::Bool(true)));
        if denies && !planner.has_other_user_namespace() {
            planner.decide(
                "device rules are not enforced",
                "this version of rootlet makes no cgroup; nodes can be made only with CAP_MKNOD",
            )?;
        } else if denies {
            planner.decide(
                "device rules are left out",
                "no device node can be made in a user namespace, so there is nothing to deny",
            )?;
        }
    }
    Ok(())
}

/// False for what asks for nothing: null, empty, -1 ("unlimited").
fn limits_something(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Number(number) => number.as_i64() != Some(-1),
        Value::Array(items) => !items.is_empty(),
        Value::Object(fields) => {
            fields.iter().any(|(key, value)| key != "checkBeforeUpdate" && limits_something(value))
        }
        Value::Bool(value) => *value,
        Value::String(text) => !text.is_empty(),
    }
}

fn plan_path(planner: &mut Planner) -> Result<()> {
    match planner.spec.linux().cgroups_path.as_deref() {
        None | Some("") => Ok(()),
        Some(_) => {
            planner.decide("the container stays in the caller's cgroup", "this version of rootlet makes no cgroup")
        }
    }
}
