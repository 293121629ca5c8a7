//! Tests that drive the built binary, as a person or an engine would.

#![allow(clippy::unwrap_used)] // a test that cannot go on has failed

mod annotations;
mod attacks;
mod bad_input;
mod callers;
mod cgroup_places;
mod cgroups;
mod check;
mod checkpoints;
mod concurrency;
mod container;
mod engines;
mod exec;
mod faults;
mod hooks;
mod lifecycle;
mod meanwhile;
mod mounts;
mod package;
mod plan;
mod policies;
mod process;
mod real_roots;
mod sandbox;
mod scenes;
mod scopes;
mod seccomp;
mod security;
mod spec;
mod spec_flags;
mod streams;
mod terminal;
mod tracer;
mod units;
mod user_namespaces;
