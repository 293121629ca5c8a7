//! What lives next to a container: processes that are started for it, and sockets by which others hear of it.

pub mod console;
pub mod fuse;
pub mod hooks;
pub mod listener;
pub mod notify;
pub mod publish;
