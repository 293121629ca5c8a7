//! CVE-2019-5736: a container must get no writable handle on the runtime's own binary, which `/proc/self/exe` as its
//! program or interpreter would give. Where the binary's owner is mapped into the container, rootlet runs from a
//! sealed copy in memory; elsewhere the kernel refuses the write, and the copy (1 to 2 ms) is not paid for.

use crate::doctor::causes::{self, Proc};
use crate::error::{Error, Result};
use crate::host::Host;
use crate::spec::{IdMapping, Spec};
use crate::sys::program::{Strings, execute_fd};
use crate::sys::{self, Call, Errno, copy, creds, fd};
use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::MetadataExt;

/// Returns if the binary is out of the container's reach; else starts this program again from a sealed copy.
pub fn ensure(spec: &Spec, host: &Host) -> Result<()> {
    unless(|binary| !is_exposed(binary, spec, host))
}

/// The same before anything is read that is gone then, as from a pipe: out of reach of whatever the caller could ask for.
pub fn ensure_at_once(host: &Host) -> Result<()> {
    unless(|binary| host.is_ordinary_user() && is_others(binary.mode, binary.uid, host.uid))
}

/// The same before anything is done or said, for who is not root and has a binary of his own, which every config exposes.
pub fn ensure_own() -> Result<()> {
    let uid = creds::effective_uid();
    let is_own = || std::fs::metadata("/proc/self/exe").is_ok_and(|file| !is_others(file.mode(), file.uid(), uid));
    if uid != 0 && is_own() { unless(|_| false) } else { Ok(()) }
}

/// Whether nobody but its owner, who is not the caller, writes to a file.
fn is_others(mode: u32, owner: u32, caller: u32) -> bool {
    mode & 0o022 == 0 && owner != caller
}

fn unless(is_out_of_reach: impl Fn(fd::Status) -> bool) -> Result<()> {
    let system = |error| Error::from_call("/proc/self/exe", error);
    let open = |flags| {
        fd::open(c"/proc/self/exe", flags, 0).map_err(|error| match (causes::of_proc(), error.errno) {
            (Some(wrong @ (Proc::Missing | Proc::Stale)), _) => {
                let cause = wrong.cause();
                system(error).because(cause.because).remedy(cause.remedy)
            }
            (_, Errno::EACCES) => system(error)
                .because(
                    "the container could write to this binary, so it runs from a copy, for which it has to be readable",
                )
                .remedy("chmod a+r it"),
            _ => system(error),
        })
    };
    // It may be executable alone.
    if is_out_of_reach(fd::status(open(fd::O_PATH)?.as_fd()).map_err(system)?) {
        return Ok(());
    }
    let binary = open(fd::O_RDONLY)?;
    if fd::is_sealed(binary.as_fd()) {
        return Ok(());
    }
    let sealed = copy_sealed(&binary).map_err(system)?;
    let arguments = std::env::args_os().filter_map(|argument| CString::new(argument.into_vec()).ok()).collect();
    Err(system(execute_fd(sealed.as_fd(), &Strings::new(arguments), &super::environment())))
}

/// How often a copy is sealed.
const TRIES: usize = 20;

fn is_exposed(binary: fd::Status, spec: &Spec, host: &Host) -> bool {
    let linux = spec.linux();
    if spec.namespace("user").is_none() && !host.is_ordinary_user() {
        // The container's root is the host's.
        return true;
    }
    if spec.namespace("user").is_some_and(|namespace| !namespace.is_new()) {
        return true;
    }
    let reaches = |mappings: &[IdMapping], own: u32, id: u32| match mappings {
        [] => own == id,
        mappings => mappings.iter().any(|mapping| id >= mapping.host_id && id - mapping.host_id < mapping.size),
    };
    let world = binary.mode & 0o002 != 0;
    // Supplementary groups come along, and this bit is also the mask of an access control list.
    let group = binary.mode & 0o020 != 0;
    world || group || reaches(&linux.uid_mappings, host.uid, binary.uid)
}

fn copy_sealed(binary: &OwnedFd) -> sys::Result<OwnedFd> {
    let copy = fd::memory_file(c"rootlet")?;
    copy::contents(binary.as_fd(), copy.as_fd())?;
    for _ in 0..TRIES {
        match fd::seal(copy.as_fd()) {
            // The kernel waits some 75 ms for pages that others still look at; on a busy machine that was not enough, once in 5,000.
            Err(error) if error.errno == Errno::EBUSY => {}
            other => return other.map(|()| copy),
        }
    }
    Err(sys::Error::new(Call::Fcntl, Errno::EBUSY))
}
