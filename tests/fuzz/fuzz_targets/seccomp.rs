#![no_main]

#[path = "../targets.rs"]
#[allow(dead_code)] // each program has one of the targets
mod targets;

libfuzzer_sys::fuzz_target!(|data: &[u8]| targets::models::seccomp(data));
