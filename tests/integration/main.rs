//! Tests that drive the built binary, as a person or an engine would.

#![allow(clippy::unwrap_used)] // a test that cannot go on has failed

mod annotations;
mod attacks;
mod bad_input;
mod bubblewrap;
mod callers;
mod cgroup_owners;
mod cgroup_places;
mod cgroups;
mod check;
mod checkpoints;
mod concurrency;
mod container;
mod costs;
mod doctor;
mod engines;
mod exec;
mod fake_root;
#[cfg(target_arch = "x86_64")]
mod faults;
mod hooks;
mod images;
mod layers;
mod lifecycle;
#[cfg(target_arch = "x86_64")]
mod meanwhile;
mod mounts;
mod network;
mod package;
mod plan;
mod policies;
mod process;
mod real_roots;
mod run_flags;
mod sandbox;
mod sandbox_command;
#[cfg(target_arch = "x86_64")]
mod scenes;
mod scopes;
mod seccomp;
mod security;
mod seeing;
mod spec;
mod spec_flags;
mod streams;
mod terminal;
#[cfg(target_arch = "x86_64")]
mod tracer;
mod units;
mod unpack;
mod user_namespaces;

#[cfg(not(target_arch = "x86_64"))]
#[test]
fn faults_of_system_calls_and_what_happens_meanwhile() {
    sandbox::skip("the tracer writes the registers of x86_64 alone");
}
