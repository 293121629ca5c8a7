//! `hostname`.

use super::{Planner, Property, Scope};
use crate::error::Result;
use crate::plan::Phase;
use crate::plan::step::NamespaceStep;
use std::ffi::CString;

pub const PROPERTY: Property = Property { paths: &["hostname"], phase: Phase::Jailed, scope: Scope::Create, plan };

fn plan(planner: &mut Planner) -> Result<()> {
    let spec = planner.spec;
    if let Some(name) = name(planner, spec.hostname.as_deref())? {
        planner.step(NamespaceStep::SetHostname { name });
    }
    Ok(())
}

/// A name of the UTS namespace, which must be the container's own.
pub fn name(planner: &Planner, name: Option<&str>) -> Result<Option<CString>> {
    let Some(name) = name.filter(|name| !name.is_empty()) else { return Ok(None) };
    if planner.spec.namespace("uts").is_none() {
        return Err(planner
            .error("given without a uts namespace")
            .because("without one, it would be the host's name that changes")
            .remedy("add {\"type\": \"uts\"} to linux.namespaces"));
    }
    if name.len() > 64 {
        return Err(planner.error(format!("{} characters", name.len())).because("the kernel takes at most 64"));
    }
    planner.c_string(name).map(Some)
}
