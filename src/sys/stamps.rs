//! When a child begins and ends its steps: a piece of memory that it shares with its maker. Without it, nothing is written.

use super::{Call, Error, Result};
use core::ptr;
use core::sync::atomic::{AtomicPtr, AtomicU64, AtomicUsize, Ordering};

static STAMPS: AtomicPtr<AtomicU64> = AtomicPtr::new(ptr::null_mut());
static COUNT: AtomicUsize = AtomicUsize::new(0);

/// Makes room for the steps of a plan. Whoever is cloned from now on writes there.
pub fn begin(steps: usize) -> Result<()> {
    let length = steps * 2 * size_of::<AtomicU64>();
    // SAFETY: a new mapping where the kernel chooses.
    let mapping = unsafe {
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        libc::mmap(ptr::null_mut(), length.max(1), protection, libc::MAP_SHARED | libc::MAP_ANONYMOUS, -1, 0)
    };
    if mapping == libc::MAP_FAILED {
        return Err(Error::last(Call::Fork));
    }
    COUNT.store(steps, Ordering::SeqCst);
    STAMPS.store(mapping.cast(), Ordering::SeqCst);
    Ok(())
}

/// CLOCK_MONOTONIC, in nanoseconds.
pub fn now() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: clock_gettime writes a timespec.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

fn cell(step: usize, is_end: bool) -> Option<&'static AtomicU64> {
    let stamps = STAMPS.load(Ordering::Relaxed);
    if stamps.is_null() || step >= COUNT.load(Ordering::Relaxed) {
        return None;
    }
    // SAFETY: the mapping of `begin` has two of them a step, is never unmapped, and any u64 is a valid one.
    Some(unsafe { &*stamps.add(step * 2 + usize::from(is_end)) })
}

/// A step begins, or ends, now.
pub fn stamp(step: usize, is_end: bool) {
    if let Some(cell) = cell(step, is_end) {
        cell.store(now(), Ordering::Relaxed);
    }
}

/// When a step began and ended; an end is 0 if it never came, as that of execve.
pub fn of(step: usize) -> Option<(u64, u64)> {
    let begin = cell(step, false)?.load(Ordering::Relaxed);
    (begin != 0).then(|| (begin, cell(step, true).map_or(0, |end| end.load(Ordering::Relaxed))))
}
