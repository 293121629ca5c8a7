//! `annotations`, org.rootlet.init: a first process of the pid namespace that reaps, and the program as its child.

use super::{Planner, Property, Scope, annotations};
use crate::error::{Error, Result};
use crate::plan::Phase;
use crate::plan::step::ProgramStep;
use crate::plan::step::reaper::MOST_LOCKS;

pub const PROPERTY: Property = Property { paths: &["annotations"], phase: Phase::Last, scope: Scope::Create, plan };

fn plan(planner: &mut Planner) -> Result<()> {
    let wrong = |what: String| Error::in_config("annotations", format!("{}: {what}", annotations::INIT));
    match annotations::find(planner.spec, annotations::INIT) {
        None | Some("false") => Ok(()),
        Some("true") if planner.spec.has_new_namespace("pid") => {
            let locks =
                annotations::find(planner.spec, annotations::LOCKS).into_iter().flat_map(|text| text.split(':'));
            let locks: Box<[_]> = locks.map(|path| planner.c_string(path)).collect::<Result<_>>()?;
            if locks.len() > MOST_LOCKS {
                return Err(wrong(format!("{} files are to be locked, and at most {MOST_LOCKS} can be", locks.len())));
            }
            planner.step(ProgramStep::LeaveInit { locks });
            Ok(())
        }
        Some("true") => Err(wrong("the container has no pid namespace of its own".to_owned())
            .because("without one, its processes are reaped by the host's init, and do not end with the program")
            .remedy("add {\"type\": \"pid\"} to linux.namespaces, or leave the annotation out")),
        Some(other) => Err(wrong(format!("{other:?}")).remedy("write \"true\" or \"false\"")),
    }
}
