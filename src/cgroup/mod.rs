//! Control groups, version 2: where a container's is, what is written to it, and who makes it.
//!
//! [`placement`] chooses by what is writable, [`settings`] and [`devices`] translate `linux.resources`, [`tree`] works on
//! directories, [`hold`] says whose they are, [`systemd`] asks for a scope, [`delegation`] is about what the container divides.
//! All of it is the parent's; a child is only born in what was made.

pub mod delegation;
pub mod devices;
pub mod hold;
pub mod placement;
pub mod settings;
pub mod stats;
pub mod systemd;
pub mod tree;

use std::time::Duration;

/// How long the kernel, or another rootlet, may take.
const PATIENCE: Duration = Duration::from_secs(10);
