//! `linux.netDevices`: network devices of the caller that move into the container.

use super::{Planner, Property, Scope};
use crate::capability::CAP_NET_ADMIN;
use crate::error::Result;
use crate::plan::Phase;
use crate::plan::step::NamespaceStep;

pub const PROPERTY: Property =
    Property { paths: &["linux.netDevices"], phase: Phase::Hooked, scope: Scope::Create, plan };

/// IFNAMSIZ, with its NUL.
const LONGEST: usize = 16;

fn plan(planner: &mut Planner) -> Result<()> {
    let Some(devices) = planner.spec.linux().net_devices.as_ref().filter(|devices| !devices.is_empty()) else {
        return Ok(());
    };
    if planner.spec.namespace("network").is_none() {
        return Err(planner
            .error("given without a network namespace")
            .because("the devices have nowhere to go")
            .remedy("add {\"type\": \"network\"} to linux.namespaces"));
    }
    if !planner.host.may(CAP_NET_ADMIN) || planner.host.is_ordinary_user() {
        return Err(planner
            .error("an ordinary user cannot move network devices")
            .because("they belong to the host's network namespace, and CAP_NET_ADMIN is needed there")
            .remedy("run as root, or take linux.netDevices out"));
    }
    for (name, device) in devices {
        let new_name = device.name.as_deref().filter(|name| !name.is_empty()).unwrap_or(name);
        for name in [name, new_name] {
            let valid = (1..LONGEST).contains(&name.len())
                && !matches!(name, "." | "..")
                && !name.bytes().any(|byte| matches!(byte, b'/' | b':') || byte.is_ascii_whitespace());
            if !valid {
                let planned = Err(planner
                    .error(format!("{name:?} is not a name of a network device"))
                    .remedy("write at most 15 characters without blanks, / and :"));
                planner.note(planned)?;
            }
        }
        let step = NamespaceStep::MoveDevice { name: planner.c_string(name)?, new_name: planner.c_string(new_name)? };
        planner.step(step);
    }
    Ok(())
}
