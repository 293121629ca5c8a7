//! Trying something for real, in a child that leaves nothing: what it does to its namespaces is gone with it.

use crate::sys::process::{self, Cloned};
use crate::sys::{self, Call, Errno, creds, exit_now, fd};
use std::ffi::CStr;
use std::os::fd::AsFd;

/// How a trial went.
pub type Tried = sys::Result<()>;

/// One thing to try.
pub type Trial<'a> = &'a dyn Fn() -> Tried;

/// Makes a child in new namespaces, which tries one thing after the other. `Err`: it could not be made.
pub fn run(namespaces: i32, trials: &[Trial]) -> sys::Result<Vec<Tried>> {
    let (results, theirs) = fd::pipe()?;
    match process::clone(namespaces, false, None)? {
        Cloned::Child => {
            let _ = creds::die_with_parent(true);
            for trial in trials {
                let message = match trial() {
                    Ok(()) => [0; 5],
                    Err(sys::Error { call, errno }) => {
                        let [b0, b1, b2, b3] = (errno as i32).to_ne_bytes();
                        [call as u8, b0, b1, b2, b3]
                    }
                };
                if fd::write_all(theirs.as_fd(), &message).is_err() {
                    break;
                }
            }
            exit_now(0)
        }
        Cloned::Parent(child) => {
            drop(theirs);
            let mut tried = Vec::new();
            let mut message = [0; 5];
            while tried.len() < trials.len() && read_whole(&results, &mut message) {
                let [call, b0, b1, b2, b3] = message;
                let errno = i32::from_ne_bytes([b0, b1, b2, b3]);
                let call = Call::from_number(call).unwrap_or(Call::Wait);
                tried.push(if errno == 0 { Ok(()) } else { Err(sys::Error::new(call, Errno::from_raw(errno))) });
            }
            child.end();
            // What ended it ended what it was trying.
            tried.resize_with(trials.len(), || Err(sys::Error::new(Call::Wait, Errno::ECHILD)));
            Ok(tried)
        }
    }
}

fn read_whole(results: &std::os::fd::OwnedFd, message: &mut [u8; 5]) -> bool {
    let mut filled = 0;
    while let Some(rest) = message.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match fd::read(results.as_fd(), rest) {
            Ok(0) | Err(_) => return false,
            Ok(length) => filled += length,
        }
    }
    true
}

/// Maps the caller's ids to root of the child's user namespace, as rootlet does: one id, written by oneself.
pub fn map_ids(uid: u32, gid: u32) -> impl Fn() -> Tried {
    let (uids, gids) = (format!("0 {uid} 1\n"), format!("0 {gid} 1\n"));
    move || {
        write(c"/proc/self/setgroups", b"deny")?;
        write(c"/proc/self/uid_map", uids.as_bytes())?;
        write(c"/proc/self/gid_map", gids.as_bytes())
    }
}

/// Writes to a file that is there.
pub fn write(path: &CStr, text: &[u8]) -> Tried {
    let file = fd::open(path, fd::O_WRONLY, 0)?;
    fd::write(file.as_fd(), text).map(drop)
}
