//! What is for other platforms: `windows`, `solaris`, `zos`, `freebsd`, `vm`, and fields of `process` for Windows.

use super::{Planner, Property, Scope};
use crate::error::{Error, Result};
use crate::plan::Phase;

pub const PROPERTY: Property = Property {
    paths: &["windows", "solaris", "zos", "freebsd", "vm", "process.commandLine"],
    phase: Phase::Host,
    scope: Scope::Create,
    plan,
};

fn plan(planner: &mut Planner) -> Result<()> {
    let spec = planner.spec;
    let others = [
        ("windows", &spec.windows),
        ("solaris", &spec.solaris),
        ("zos", &spec.zos),
        ("freebsd", &spec.freebsd),
        ("vm", &spec.vm),
        ("process.commandLine", &spec.process().command_line),
    ];
    for (path, value) in others {
        let is_empty = match value {
            None | Some(serde_json::Value::Null) => true,
            Some(serde_json::Value::Object(fields)) => fields.is_empty(),
            Some(_) => false,
        };
        if !is_empty {
            planner.plan.warnings.push(Error::in_config(path, "for another platform, ignored"));
        }
    }
    Ok(())
}
