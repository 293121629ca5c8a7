//! What steps would find missing on the host, found without doing them: for `check`.

use super::step::MountStep;
use super::step::nodes::{HostNode, Node};
use super::{Join, Plan, Step};
use crate::error::Error;
use crate::sys::{self, Call, Errno};
use std::ffi::{CStr, OsStr};
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// The errors that the steps would end with, in the same words.
pub fn probe(plan: &Plan) -> Vec<Error> {
    let joins = plan.joins.iter().filter_map(|join| {
        let Join::File { path: file, index, .. } = join else { return None };
        let property = format!("linux.namespaces[{index}]");
        let error = fs::metadata(path(file)).err()?;
        let missing = Error::from_io(file.to_string_lossy(), &error);
        Some(Error { property, ..missing }.remedy("correct the path of the namespace"))
    });
    let steps = plan.entries.iter().enumerate().filter_map(|(number, entry)| {
        let error = look(&entry.step)?.err()?;
        let errno = error.raw_os_error().map_or(Errno::ENOTDIR, Errno::from_raw);
        Some(plan.blame(number, sys::Error::new(Call::Open, errno)))
    });
    joins.chain(steps).collect()
}

/// Looks for what a step takes from the host, if it takes something.
fn look(step: &Step) -> Option<io::Result<()>> {
    let Step::Mount(step) = step else { return None };
    Some(match step {
        MountStep::BindRoot { source, .. } => match fs::metadata(path(source)) {
            Ok(metadata) if !metadata.is_dir() => Err(io::Error::from(io::ErrorKind::NotADirectory)),
            found => found.map(drop),
        },
        MountStep::Bind(bind) if bind.source_itself => fs::symlink_metadata(path(&bind.source)).map(drop),
        MountStep::Bind(bind) => fs::metadata(path(&bind.source)).map(drop),
        MountStep::Attach(attach) => fs::metadata(path(&attach.mapped.source)).map(drop),
        MountStep::BindNode(HostNode { source, node: Node { mode, major, minor, .. }, .. }) => {
            use std::os::unix::fs::MetadataExt;
            let is_it = |metadata: &fs::Metadata| {
                const S_IFMT: u32 = 0o170_000;
                metadata.mode() & S_IFMT == *mode && metadata.rdev() == sys::fd::device_number(*major, *minor)
            };
            match fs::metadata(path(source)) {
                Ok(metadata) if !is_it(&metadata) => Err(io::Error::from_raw_os_error(Errno::ENODEV as i32)),
                found => found.map(drop),
            }
        }
        MountStep::MountFuse(_) => fs::OpenOptions::new().read(true).write(true).open("/dev/fuse").map(drop),
        _ => return None,
    })
}

fn path(text: &CStr) -> &Path {
    Path::new(OsStr::from_bytes(text.to_bytes()))
}
