//! `annotations`, org.rootlet.landlock: rules of Landlock behind the mounts.

use super::{Planner, Property, Scope, annotations};
use crate::error::{Error, Result};
use crate::plan::Phase;
use crate::plan::step::PrivilegeStep;
use crate::sys::landlock;
use serde::Deserialize;
use std::ffi::CString;

/// In the root, and before a filter that may forbid it.
pub const PROPERTY: Property = Property { paths: &["annotations"], phase: Phase::Bare, scope: Scope::Both, plan };

/// What is allowed, by path; all else is not. Nor may processes outside be signalled, or reached by abstract sockets (version 6).
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Rules {
    /// To read and to execute.
    #[serde(default)]
    read: Vec<String>,
    /// All.
    #[serde(default)]
    write: Vec<String>,
}

fn plan(planner: &mut Planner) -> Result<()> {
    let Some(text) = annotations::find(planner.spec, annotations::LANDLOCK) else { return Ok(()) };
    let wrong = |what: &str| Error::in_config("annotations", format!("{}: {what}", annotations::LANDLOCK));
    let rules: Rules = serde_json::from_str(text).map_err(|error| {
        wrong(&error.to_string()).remedy(r#"write such as {"read": ["/"], "write": ["/work", "/tmp", "/dev"]}"#)
    })?;
    if !planner.spec.process().no_new_privileges {
        return Err(wrong("process.noNewPrivileges is false")
            .because("without it, Landlock wants CAP_SYS_ADMIN, which the program has not by then")
            .remedy("set process.noNewPrivileges to true"));
    }
    let version = planner.host.landlock()?.ok_or_else(|| {
        wrong("this kernel has no Landlock")
            .because(
                "it is older than Linux 5.13, was built or booted without (lsm=), or a filter around rootlet hides it",
            )
            .remedy("boot with lsm=landlock,... where the kernel has it, or leave Landlock out")
    })?;
    if version < 6 {
        planner.decide(
            "signals and abstract sockets are not forbidden by Landlock",
            format!("this kernel has its version {version}, and that came with 6"),
        )?;
    }
    let paths = |planner: &Planner, paths: &[String], rights: u64| {
        paths.iter().map(|path| Ok((planner.c_string(path)?, rights))).collect::<Result<Vec<(CString, u64)>>>()
    };
    let mut allowed = paths(planner, &rules.read, landlock::READ)?;
    allowed.extend(paths(planner, &rules.write, landlock::all(version))?);
    planner.step(PrivilegeStep::Restrict { version, allowed: allowed.into_boxed_slice() });
    Ok(())
}
