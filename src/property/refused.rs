//! What this version does not do is refused, never dropped in silence.

use super::{Planner, Property};
use crate::error::{Error, Result};
use crate::plan::Phase;

pub const PROPERTY: Property = Property { path: "linux", phase: Phase::Inside, plan };

fn plan(planner: &mut Planner) -> Result<()> {
    let (spec, linux, process) = (planner.spec, planner.spec.linux(), planner.spec.process());
    let present = |value: &Option<serde_json::Value>| value.as_ref().is_some_and(|value| !is_empty(value));
    let refused = [
        ("linux.seccomp", present(&linux.seccomp)),
        ("linux.netDevices", present(&linux.net_devices)),
        ("linux.intelRdt", present(&linux.intel_rdt)),
        ("linux.memoryPolicy", present(&linux.memory_policy)),
        ("linux.mountLabel", linux.mount_label.as_ref().is_some_and(|label| !label.is_empty())),
        ("process.execCPUAffinity", present(&process.exec_cpu_affinity)),
    ];
    if let Some((path, _)) = refused.iter().find(|(_, present)| *present) {
        return Err(Error::in_config(*path, "not supported by this version of rootlet")
            .because("a property that is not enforced must not seem to be")
            .remedy("take it out of config.json"));
    }
    let other_platforms = [
        ("windows", &spec.windows),
        ("solaris", &spec.solaris),
        ("zos", &spec.zos),
        ("freebsd", &spec.freebsd),
        ("vm", &spec.vm),
    ];
    for (path, value) in other_platforms {
        if present(value) {
            planner.plan.warnings.push(format!("config.json: {path}: for another platform, ignored"));
        }
    }
    Ok(())
}

fn is_empty(value: &serde_json::Value) -> bool {
    match value {
        serde_json::Value::Null => true,
        serde_json::Value::Object(fields) => fields.is_empty(),
        _ => false,
    }
}
