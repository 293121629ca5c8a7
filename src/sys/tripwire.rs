//! Proof that the child does not allocate: in debug builds, the first allocation after [`arm`] ends the process.

#[cfg(debug_assertions)]
mod armed {
    use core::sync::atomic::{AtomicBool, Ordering};
    use std::alloc::{GlobalAlloc, Layout, System};

    static ARMED: AtomicBool = AtomicBool::new(false);

    struct Tripwire;

    fn trip() {
        if ARMED.load(Ordering::Relaxed) {
            let text = b"rootlet: the child allocated\n";
            // SAFETY: the pointer and length are those of `text`.
            unsafe { libc::write(2, text.as_ptr().cast(), text.len()) };
            super::super::process::exit_now(134);
        }
    }

    // SAFETY: every call is passed on to the system's allocator.
    unsafe impl GlobalAlloc for Tripwire {
        unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
            trip();
            // SAFETY: the caller keeps the contract of `alloc`.
            unsafe { System.alloc(layout) }
        }

        unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
            trip();
            // SAFETY: the caller keeps the contract of `dealloc`.
            unsafe { System.dealloc(pointer, layout) }
        }
    }

    #[global_allocator]
    static ALLOCATOR: Tripwire = Tripwire;

    pub(super) fn arm() {
        ARMED.store(true, Ordering::Relaxed);
    }
}

/// From here on, this process may not allocate.
pub fn arm() {
    #[cfg(debug_assertions)]
    armed::arm();
}
