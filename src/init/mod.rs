//! The process that becomes the container, from its clone to its execve.

mod child;
mod handshake;
mod join;
pub mod seal;
mod spawn;

pub use handshake::Message;
pub use spawn::{Equipment, Init, spawn};
