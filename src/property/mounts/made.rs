//! `mounts` of types that are rootlet's own: what is no mount, but made in the order of the mounts.

use super::options::Options;
use crate::error::Result;
use crate::plan::step::MountStep;
use crate::property::Planner;
use crate::spec::Mount;
use std::ffi::CString;

/// In front of the names of the types.
pub const PREFIX: &str = "rootlet.";

/// `symlink` (to its source), `directory`, `file` (a copy of its source), `mode` (of what is there); with an option `mode=`.
pub fn plan(planner: &mut Planner, mount: &Mount, kind: &str, path: CString, options: &Options) -> Result<()> {
    let mode = options.data.iter().find_map(|option| option.strip_prefix("mode="));
    let mode = mode.map(|text| {
        u32::from_str_radix(text, 8).ok().filter(|mode| *mode <= 0o7777).ok_or_else(|| {
            planner.error(format!("mode {text:?}")).remedy("write it as chmod(1) has it in numbers, such as mode=0644")
        })
    });
    let mode = mode.transpose()?;
    let source = mount.source.as_deref().filter(|source| !source.is_empty());
    let needed = |planner: &Planner| {
        source.map(str::to_owned).ok_or_else(|| planner.error("source is missing").remedy("add \"source\""))
    };
    let step = match kind {
        "symlink" => {
            let to = needed(planner)?;
            MountStep::Symlink { path, to: planner.c_string(to)?, optional: false }
        }
        "directory" => MountStep::MakeDirectory { path, mode },
        "file" => {
            let source = planner.request.bundle.join(needed(planner)?);
            MountStep::CopyFile { source: planner.c_string(&source)?, path, mode: mode.unwrap_or(0o666) }
        }
        "mode" => MountStep::SetMode { path, mode: mode.unwrap_or(0o755) },
        other => {
            return Err(planner
                .error(format!("{PREFIX}{other} is no type of rootlet's"))
                .remedy("write symlink, directory, file or mode behind it"));
        }
    };
    planner.step(step);
    Ok(())
}
