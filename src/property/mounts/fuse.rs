//! `mounts` of type `fuse.PROGRAM`: the container mounts, and PROGRAM serves it from outside.
//!
//! /dev/fuse is opened and mounted by the container's process, so that the file system belongs to its user namespace.
//! PROGRAM runs in that user namespace too (ids are the container's), but with the caller's files and processes: nobody
//! in the container can see or trace it. It ends when the mount is gone, and so with the container, however that ends.

use super::key;
use super::options::{Options, attributes_of, superblock_keys};
use crate::error::Result;
use crate::plan::step::MountStep;
use crate::plan::step::trees::{FuseMount, Server};
use crate::property::{Planner, id_mappings, reach};
use crate::spec::Mount;
use crate::sys::mount::{MS_PRIVATE, MS_SLAVE};
use crate::sys::program::Strings;
use std::ffi::CString;
use std::path::PathBuf;

/// Where PROGRAM finds the opened /dev/fuse; libfuse takes `/dev/fd/N` for a mount point (fuse(8), since 3.3).
pub const MOUNT_POINT: &str = "/dev/fd/3";

/// Options for the kernel (Documentation/filesystems/fuse.rst), and not for PROGRAM.
const KERNEL: [&str; 4] = ["allow_other", "default_permissions", "max_read", "blksize"];

pub fn plan(planner: &mut Planner, mount: &Mount, program: &str, target: CString, options: &Options) -> Result<()> {
    reach::check(planner, "a fuse mount", "the program that serves it")?;
    // A program of the host's runs with arguments from the config, as hooks do: the caller has to say that it may.
    let is_it = |named: &&PathBuf| named.file_name().is_some_and(|name| name == program);
    let Some(named) = planner.request.fuse.iter().find(is_it) else {
        return Err(planner
            .error(format!("a fuse file system, and {program:?} is not a program that you let serve one"))
            .because("it runs on the host, with your rights and with arguments from the config")
            .remedy(format!("if you trust this config, call rootlet with --fuse {program} before the command")));
    };
    let is_path = named.components().count() > 1;
    let found = if is_path { Some(planner.host.canonical(named)?) } else { planner.host.find_program(program) };
    let Some(path) = found else {
        return Err(planner
            .error(format!("the program {program:?} is missing on this host"))
            .because("it would serve the file system, and none of the directories of PATH has it")
            .remedy(format!("install it (Debian: apt install {program}), or correct the type of the mount")));
    };
    let is_kernels = |option: &&String| KERNEL.contains(&option.split('=').next().unwrap_or_default());
    let (for_kernel, for_program): (Vec<_>, Vec<_>) = options.data.iter().partition(is_kernels);
    let subtype = format!("subtype={program}");
    let mut for_kernel: Vec<&str> = for_kernel.into_iter().map(String::as_str).collect();
    for option in ["rootmode=40000", "user_id=0", "group_id=0", "allow_other", "default_permissions", &subtype] {
        // All users of the container may come, and the kernel asks the modes.
        if !for_kernel.contains(&option) {
            for_kernel.push(option);
        }
    }

    let source = mount.source.as_deref().filter(|source| !matches!(*source, "" | "none"));
    let source = source.map(|source| {
        // A path of the bundle, or what the program makes of it (`user@host:/directory`).
        let path = planner.request.bundle.join(source);
        if path.exists() { path.to_string_lossy().into_owned() } else { source.to_owned() }
    });
    if let Some(flag) = source.iter().chain(for_program.iter().copied()).find(|argument| argument.starts_with('-')) {
        return Err(planner
            .error(format!("{flag:?} begins with -"))
            .because("the program that serves the file system would take it for a flag")
            .remedy("correct source and options; of a file in the bundle, write ./ before its name"));
    }
    let options_argument = for_program.iter().map(|option| option.as_str()).collect::<Vec<_>>().join(",");
    let mut arguments = vec![program.to_owned()];
    arguments.extend(source);
    arguments.push(MOUNT_POINT.to_owned());
    if !options_argument.is_empty() {
        arguments.extend(["-o".to_owned(), options_argument]);
    }
    let arguments: Vec<_> = arguments.iter().map(|argument| planner.c_string(argument)).collect::<Result<_>>()?;
    let server = Server {
        path: planner.c_string(&path)?,
        arguments: Strings::new(arguments),
        ids: id_mappings::sets_up_as(planner),
        drops_groups: id_mappings::may_set_groups(planner),
    };
    if let Some(propagation) = options.propagation.iter().find(|flags| **flags & (MS_PRIVATE | MS_SLAVE) == 0) {
        return Err(planner
            .error(format!("a fuse file system with propagation {propagation:#x}"))
            .because("nothing of it would reach the host")
            .remedy("take shared or unbindable out of the options"));
    }
    let flags = options.flags_of_new();
    let source = planner.c_string(mount.source.as_deref().unwrap_or(program))?;
    let options = superblock_keys(flags).into_iter().chain(for_kernel);
    let options = options.map(|option| key(planner, option)).collect::<Result<_>>()?;
    let mounted = FuseMount { source, target: target.clone(), options, set: attributes_of(flags), server };
    planner.step(MountStep::MountFuse(Box::new(mounted)));
    planner.step(MountStep::AwaitFuse { target });
    Ok(())
}
