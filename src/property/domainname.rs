//! `domainname`.

use super::{Planner, Property, Scope, hostname};
use crate::error::Result;
use crate::plan::Phase;
use crate::plan::step::NamespaceStep;

pub const PROPERTY: Property = Property { paths: &["domainname"], phase: Phase::Jailed, scope: Scope::Create, plan };

fn plan(planner: &mut Planner) -> Result<()> {
    let spec = planner.spec;
    if let Some(name) = hostname::name(planner, spec.domainname.as_deref())? {
        planner.step(NamespaceStep::SetDomainname { name });
    }
    Ok(())
}
