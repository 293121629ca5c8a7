//! The first process of a pid namespace, where the program is not it: it reaps what nobody waits for, passes signals on, and ends as
//! the program does. The kernel lets nothing but SIGKILL end a first process that does not expect it (pid_namespaces(7)), so that a
//! program in its place hears neither `kill $$` nor what its user types.

use crate::sys::process::{self, Cloned, Process};
use crate::sys::{Result, creds, exit_now, fd, signal};
use std::os::fd::AsFd;

/// What `ps` shows.
const NAME: &std::ffi::CStr = c"rootlet-init";

/// Returns in a child; the caller's process stays.
pub(super) fn leave() -> Result<()> {
    // Whatever comes from now on waits for whom it is meant.
    signal::block_all()?;
    match process::clone(0, false, None)? {
        Cloned::Child => Ok(()),
        Cloned::Parent(program) => stay(&program),
    }
}

fn stay(program: &Process) -> ! {
    let _ = creds::set_name(NAME);
    // Whoever waits for the end of the program's output must not wait for this process.
    let _ = fd::close_all_but(0, || [&program.pidfd].into_iter().map(std::os::fd::AsRawFd::as_raw_fd));
    loop {
        match signal::next_sent() {
            (signal::SIGCHLD, _) => {
                while let Ok(Some((reaped, ended))) = process::reap_any() {
                    if reaped == program.pid {
                        exit_now(ended.code());
                    }
                }
            }
            // A terminal sends to all of its foreground's processes, and so to the program, too.
            (_, false) => {}
            (signal, true) => drop(process::send_signal(program.pidfd.as_fd(), signal)),
        }
    }
}
