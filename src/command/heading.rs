//! Headings of `--help`: what matters to most stands above, without one.

/// Limits.
pub const LIMITS: &str = "Limits";
/// Who the program is, and what it may do.
pub const PRIVILEGES: &str = "Privileges";
/// The network.
pub const NETWORK: &str = "Network";
/// What is told, and written down.
pub const SEEING: &str = "Seeing what happens";
/// What people do not write by hand.
pub const ENGINES: &str = "For engines and services";
