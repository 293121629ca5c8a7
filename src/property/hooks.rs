//! `hooks`: those that the container's process runs are steps; the others are run by whoever creates, starts or deletes.

use super::{Planner, Property, Scope};
use crate::error::{Error, Result};
use crate::plan::step::ProgramStep;
use crate::plan::step::programs::Program;
use crate::plan::{Phase, c_string};
use crate::spec::Hook;
use crate::sys::program::Strings;
use std::ffi::{CString, OsStr};

pub const RUNTIME: Property = Property {
    paths: &["hooks.createRuntime", "hooks.prestart", "hooks.poststart", "hooks.poststop"],
    phase: Phase::Inside,
    scope: Scope::Create,
    plan: plan_runtime,
};
pub const CREATE_CONTAINER: Property = Property {
    paths: &["hooks.createContainer"],
    phase: Phase::Jailed,
    scope: Scope::Create,
    plan: plan_create_container,
};
pub const START_CONTAINER: Property =
    Property { paths: &["hooks.startContainer"], phase: Phase::Last, scope: Scope::Create, plan: plan_start_container };

fn plan_runtime(planner: &mut Planner) -> Result<()> {
    let Some(hooks) = &planner.spec.hooks else { return Ok(()) };
    for (name, list) in hooks.lists() {
        for (index, hook) in list.iter().enumerate() {
            let checked = check(&format!("hooks.{name}[{index}]"), hook);
            planner.note(checked)?;
        }
    }
    planner.plan.has_runtime_hooks = !hooks.prestart.is_empty() || !hooks.create_runtime.is_empty();
    Ok(())
}

fn check(property: &str, hook: &Hook) -> Result<()> {
    if !hook.path.starts_with('/') {
        return Err(Error::in_config(property, format!("path {:?} is not absolute", hook.path))
            .remedy("write the whole path of the program"));
    }
    let texts = [&hook.path].into_iter().chain(&hook.args).chain(hook.env.iter().flatten());
    for text in texts {
        c_string(|| property.to_owned(), OsStr::new(text))?;
    }
    if hook.timeout.is_some_and(|timeout| timeout <= 0) {
        return Err(Error::in_config(property, "timeout is not above 0").remedy("leave it out to wait without end"));
    }
    Ok(())
}

fn plan_create_container(planner: &mut Planner) -> Result<()> {
    let Some(hooks) = &planner.spec.hooks else { return Ok(()) };
    // runtime-spec, hooks: the path resolves in the runtime's namespaces, and the runtime's environment is the default.
    plan_hooks(planner, &hooks.create_container, None, "creating")
}

fn plan_start_container(planner: &mut Planner) -> Result<()> {
    let Some(hooks) = &planner.spec.hooks else { return Ok(()) };
    plan_hooks(planner, &hooks.start_container, Some(&planner.spec.process().env), "created")
}

fn plan_hooks<'a>(
    planner: &mut Planner<'a>,
    hooks: &'a [Hook],
    environment: Option<&[String]>,
    status: &str,
) -> Result<()> {
    planner.each(hooks, |planner, hook| {
        let strings = |texts: &[String]| {
            texts.iter().map(|text| planner.c_string(text)).collect::<Result<Vec<CString>>>().map(Strings::new)
        };
        let path = planner.c_string(&hook.path)?;
        let arguments =
            if hook.args.is_empty() { strings(std::slice::from_ref(&hook.path))? } else { strings(&hook.args)? };
        // Of the program's environment, HOME may come from the image's passwd.
        let takes_home = hook.env.is_none() && environment.is_some();
        let environment = hook.env.as_deref().or(environment).map(strings).transpose()?;
        let timeout =
            hook.timeout.map_or(-1, |seconds| i32::try_from(seconds.saturating_mul(1000)).unwrap_or(i32::MAX));
        let input = state(planner, status)?;
        planner.step(ProgramStep::RunHook(Box::new(Program {
            path,
            arguments,
            environment,
            takes_home,
            timeout,
            input,
        })));
        Ok(())
    })
}

/// The state (runtime.md) around its pid, which is known only in the process.
fn state(planner: &Planner, status: &str) -> Result<(CString, CString)> {
    let text = |text: &str| serde_json::Value::from(text).to_string();
    let before = format!(
        "{{\"ociVersion\":{},\"id\":{},\"status\":\"{status}\",\"pid\":",
        text(&planner.spec.oci_version),
        text(&planner.request.id)
    );
    let bundle = text(&planner.request.bundle.to_string_lossy());
    let annotations = serde_json::to_string(&planner.spec.annotations.clone().unwrap_or_default())
        .unwrap_or_else(|_| "{}".to_owned());
    let after = format!(",\"bundle\":{bundle},\"annotations\":{annotations}}}");
    Ok((planner.c_string(&before)?, planner.c_string(&after)?))
}
