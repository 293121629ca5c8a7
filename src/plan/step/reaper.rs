//! The first process of a pid namespace, where the program is not it: it reaps what nobody waits for, passes signals on, and ends as
//! the program does. The kernel lets nothing but SIGKILL end a first process that does not expect it (pid_namespaces(7)), so that a
//! program in its place hears neither `kill $$` nor what its user types.

use crate::sys::process::{self, Cloned, Process};
use crate::sys::{Result, creds, exit_now, fd, signal, tty};
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, AsRawFd, IntoRawFd, RawFd};

/// What `ps` shows.
const NAME: &CStr = c"rootlet-init";

/// How many files it can have locked.
pub const MOST_LOCKS: usize = 16;

/// Returns in a child; the caller's process stays, with shared locks on files.
pub(super) fn leave(locks: &[CString]) -> Result<()> {
    let mut locked = [-1; MOST_LOCKS];
    for (path, kept) in locks.iter().zip(&mut locked) {
        let file = fd::open(path, fd::O_RDONLY | fd::O_NONBLOCK, 0)?;
        fd::lock_for_reading(file.as_fd())?;
        // It is this process's to its end; the program's copy is closed by its execve.
        *kept = file.into_raw_fd();
    }
    // Whatever comes from now on waits for whom it is meant.
    signal::block_all()?;
    match process::clone(0, false, None)? {
        Cloned::Child => {
            // What a terminal's user types is for the program and its children alone.
            process::lead_group()?;
            signal::set_blocked(&[signal::SIGTTOU], true)?;
            tty::put_in_foreground(fd::borrow(0))
        }
        Cloned::Parent(program) => stay(&program, locked),
    }
}

fn stay(program: &Process, locked: [RawFd; MOST_LOCKS]) -> ! {
    let _ = creds::set_name(NAME);
    // Whoever waits for the end of the program's output must not wait for this process.
    let _ = fd::close_all_but(0, || locked.into_iter().chain([program.pidfd.as_raw_fd()]));
    loop {
        match signal::next_sent() {
            (signal::SIGCHLD, _) => {
                while let Ok(Some((reaped, ended))) = process::reap_any() {
                    if reaped == program.pid {
                        exit_now(ended.code());
                    }
                }
                // Nobody is there who could let it go on again, as a shell's `fg` does.
                if process::take_stop(program.pid) == Some(signal::SIGTSTP) {
                    let _ = process::kill_group(program.pid, signal::SIGCONT);
                }
            }
            // When a terminal is gone, the session's leader alone hears of it.
            (signal::SIGHUP, _) => drop(process::kill_group(program.pid, signal::SIGHUP)),
            // What is typed at one goes to all of its foreground's processes, and so to the program, too.
            (_, false) => {}
            // As from a terminal: a shell waits for its children, and ends when they have heard of it.
            (signal @ (signal::SIGINT | signal::SIGQUIT), true) => drop(process::kill_group(program.pid, signal)),
            (signal, true) => drop(process::send_signal(program.pidfd.as_fd(), signal)),
        }
    }
}
