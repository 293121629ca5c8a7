//! The process that becomes the container, from its clone to its execve.

mod child;
mod handshake;
mod helper;
mod join;

pub mod seal;
mod spawn;

pub use child::Beginning;
pub use handshake::Message;
pub use helper::Birthplace;
pub use join::Entrance;
pub use spawn::{Equipment, Handle, prepare, spawn};

use crate::sys::program::Strings;
use std::ffi::CString;
use std::os::unix::ffi::OsStringExt;

/// The caller's environment, for execve(2).
pub fn environment() -> Strings {
    let variable = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
        CString::new([name.into_vec(), value.into_vec()].join(&b'=')).ok()
    };
    Strings::new(std::env::vars_os().filter_map(variable).collect())
}
