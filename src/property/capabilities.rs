//! `process.capabilities`.

use super::{Planner, Property, Scope};
use crate::capability::{CAP_SYS_ADMIN, NAMES};
use crate::error::Result;
use crate::plan::Phase;
use crate::plan::step::PrivilegeStep;
use crate::spec::{Capabilities, List};

pub const PROPERTY: Property =
    Property { paths: &["process.capabilities"], phase: Phase::Bare, scope: Scope::Both, plan };

fn plan(planner: &mut Planner) -> Result<()> {
    // As in runc, a config without capabilities gives none.
    let none = Capabilities::default();
    let sets = planner.spec.process().capabilities.as_ref().unwrap_or(&none);
    let mut unknown = Vec::new();
    let mut mask = |names: &List<String>| names.iter().fold(0, |mask, name| mask | number(name, &mut unknown));
    let bounding = mask(&sets.bounding);
    let effective = mask(&sets.effective);
    let permitted = mask(&sets.permitted);
    let inheritable = mask(&sets.inheritable);
    let ambient = mask(&sets.ambient);
    unknown.sort();
    unknown.dedup();
    for name in unknown {
        // config.md: a capability that cannot be mapped to a kernel's is to be warned about.
        let mut warning = planner.error(format!("{name:?} is not a capability that rootlet knows, ignored"));
        if NAMES.contains(&name.as_str()) {
            warning = warning.remedy(format!("did you mean CAP_{name}?"));
        }
        planner.plan.warnings.push(warning);
    }
    if effective & !permitted != 0 {
        return Err(planner
            .error(format!("effective has {}, which permitted has not", names(effective & !permitted)))
            .because("capabilities(7): what is in force must be permitted")
            .remedy("add it to permitted"));
    }
    let (raised, lost) = (ambient & permitted & inheritable, ambient & !(permitted & inheritable));
    if lost != 0 {
        // Not a warning: buildah writes such a set for every step of a build.
        planner.decide(
            format!("ambient capabilities are left out: {}", names(lost)),
            "capabilities(7): ambient capabilities are permitted and inheritable ones, and these are not both",
        )?;
    }
    let ambient = raised;
    if planner.request.no_pivot && (bounding | effective | permitted) & 1 << CAP_SYS_ADMIN != 0 {
        return Err(planner
            .error("CAP_SYS_ADMIN, and --no-pivot")
            .because("the host's tree lies below the container's root, and who may unmount the root sees it")
            .remedy("take CAP_SYS_ADMIN out of all sets, or leave --no-pivot out"));
    }
    planner.step(PrivilegeStep::SetCapabilities { bounding, effective, permitted, inheritable, ambient });
    Ok(())
}

fn number(name: &str, unknown: &mut Vec<String>) -> u64 {
    match name.strip_prefix("CAP_").and_then(|name| NAMES.iter().position(|known| *known == name)) {
        Some(number) => 1 << number,
        None => {
            unknown.push(name.to_owned());
            0
        }
    }
}

fn names(mask: u64) -> String {
    let names: Vec<_> = NAMES
        .iter()
        .enumerate()
        .filter(|(number, _)| mask & 1 << number != 0)
        .map(|(_, name)| format!("CAP_{name}"))
        .collect();
    names.join(", ")
}
