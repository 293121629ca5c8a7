//! The caller's own limits.

use super::{Finding, Need};
use crate::host::Host;
use crate::sys::sched;

const RLIMIT_NPROC: u32 = 6;
const RLIMIT_NOFILE: u32 = 7;

/// What a start has open at most, and what it adds to the caller's processes, with room for the program.
const LEAST: [(u32, &str, u64, &str); 2] =
    [(RLIMIT_NOFILE, "open files", 64, "ulimit -n 1024"), (RLIMIT_NPROC, "processes", 64, "ulimit -u 4096")];

/// Without so many open files, no container starts.
const FEWEST: u64 = 10;

pub fn probe(_: &Host) -> Vec<Finding> {
    let judge = |(resource, subject, least, mend): (u32, &'static str, u64, &str)| {
        let Ok(limit) = sched::limit(resource) else {
            return Finding::limited(subject, Need::Nothing, "the limit could not be asked for", "it may be too low");
        };
        match limit.soft {
            u64::MAX => Finding::ok(subject, Need::Nothing, "not limited"),
            soft if resource == RLIMIT_NOFILE && soft < FEWEST => {
                Finding::missing(subject, Need::All, format!("at most {soft}"), "no container can be made").mended(mend)
            }
            soft if soft >= least => Finding::ok(subject, Need::Nothing, format!("at most {soft}")),
            soft => Finding::limited(subject, Need::Nothing, format!("at most {soft}"), "a container may not start")
                .mended(format!("{mend}, and see /etc/security/limits.conf")),
        }
    };
    LEAST.into_iter().map(judge).collect()
}
