//! The allocator: a short life needs no `free`.
//!
//! A command allocates some hundred kilobytes and ends; musl's allocator asks the kernel for each of them (46 system
//! calls of a start). So memory comes from one piece of the binary's own, front to back, and only what does not fit
//! comes from the system. It is also the proof that the child does not allocate: in debug builds, the first allocation
//! after [`forbid`] ends the process.

use core::cell::UnsafeCell;
use core::ptr::null_mut;
use core::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};
use std::alloc::{GlobalAlloc, Layout, System};

const SIZE: usize = 1 << 20;

unsafe extern "C" {
    /// environ(7).
    static environ: *const *mut libc::c_char;
}

/// The table of the environment's strings.
pub fn environment() -> *const *mut libc::c_char {
    // SAFETY: rootlet changes no variable, so the table is as the kernel has made it.
    unsafe { environ }
}

/// The arguments of this process: where they lie, and how many bytes they are, or 0 if that is not known.
static ARGUMENTS: (AtomicPtr<u8>, AtomicUsize) = (AtomicPtr::new(null_mut()), AtomicUsize::new(0));

/// Notes where the kernel has put the arguments: one behind the other, with a NUL each, in front of the environment, or if that
/// is empty of the program's path (execve in the kernel, and getauxval(3)). `texts`: what they are.
pub fn note_arguments<'a>(texts: impl DoubleEndedIterator<Item = &'a [u8]>) {
    let first = environment();
    // SAFETY: the table ends with a null pointer; getauxval only reads the auxiliary vector.
    let end = unsafe {
        match first.is_null() || (*first).is_null() {
            true => libc::getauxval(libc::AT_EXECFN) as *mut u8,
            false => (*first).cast::<u8>(),
        }
    };
    let mut start = end;
    for text in texts.rev() {
        start = start.wrapping_sub(text.len() + 1);
        let is_there = |(offset, byte): (usize, &u8)| {
            // SAFETY: from its end backwards, it is looked at as far as it is what the kernel has put there.
            unsafe { start.wrapping_add(offset).read() == *byte }
        };
        if end.is_null() || !text.iter().enumerate().rev().all(is_there) {
            return;
        }
    }
    ARGUMENTS.0.store(start, Ordering::Relaxed);
    ARGUMENTS.1.store(end.addr() - start.addr(), Ordering::Relaxed);
}

/// What stands in the place of the arguments.
const NAME: &[u8] = b"rootlet\0";

/// Overwrites the environment and the arguments that this process was started with: /proc/PID/environ and cmdline show them to
/// whoever may look, and they have the caller's secrets.
pub fn wipe_traces() {
    let mut variable = environment();
    // SAFETY: the bytes that `note_arguments` has found. Of the environment, the table ends with a null pointer. Each string is
    // writable, ends with a NUL, and is looked at by no other thread.
    unsafe {
        let (start, length) = (ARGUMENTS.0.load(Ordering::Relaxed), ARGUMENTS.1.load(Ordering::Relaxed));
        if length > 0 {
            core::ptr::write_bytes(start, 0, length);
        }
        if length > NAME.len() {
            core::ptr::copy_nonoverlapping(NAME.as_ptr(), start, NAME.len());
            // A last byte that is none of the end: the kernel then shows the first string alone, and not how long all was
            // (setproctitle(3); get_mm_cmdline in fs/proc/base.c).
            start.add(length - 1).write(b' ');
        }
        while !variable.is_null() && !(*variable).is_null() {
            core::ptr::write_bytes(*variable, 0, libc::strlen(*variable));
            variable = variable.add(1);
        }
    }
}

/// Bytes of a page.
pub fn page_size() -> u64 {
    // SAFETY: sysconf takes a number.
    unsafe { libc::sysconf(libc::_SC_PAGESIZE) as u64 }
}

/// Pages of it that nobody touches cost nothing.
#[repr(align(4096))]
struct Piece(UnsafeCell<[u8; SIZE]>);

// SAFETY: bytes are handed out once each, by the atomic `Arena::used`, so no two threads share any.
unsafe impl Sync for Piece {}

static PIECE: Piece = Piece(UnsafeCell::new([0; SIZE]));

struct Arena {
    used: AtomicUsize,
    /// Where the stack of who may not allocate begins, or 0.
    forbidden: AtomicUsize,
}

/// The command line's own: whoever embeds the library has an allocator.
#[cfg_attr(feature = "cli", global_allocator)]
static ARENA: Arena = Arena { used: AtomicUsize::new(0), forbidden: AtomicUsize::new(0) };

impl Arena {
    fn trip(&self) {
        if !cfg!(debug_assertions) {
            return;
        }
        let (here, forbidden) = (0u8, self.forbidden.load(Ordering::Relaxed));
        if forbidden != 0 && forbidden.wrapping_sub((&raw const here).addr()) < STACK {
            let text = b"rootlet: the child allocated\n";
            // SAFETY: the pointer and length are those of `text`.
            unsafe { libc::write(2, text.as_ptr().cast(), text.len()) };
            super::exit_now(134);
        }
    }

    /// The offset of `pointer` in the piece, if it came from there.
    fn offset(pointer: *mut u8) -> Option<usize> {
        let offset = pointer.addr().wrapping_sub(PIECE.0.get().addr());
        (offset < SIZE).then_some(offset)
    }

    /// Moves the end of what is used, if nobody else has moved it.
    fn move_end(&self, from: usize, to: usize) -> bool {
        // Who gets what another thread has given back must see that it no longer writes there.
        to <= SIZE && self.used.compare_exchange(from, to, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }

    fn take(&self, layout: Layout) -> *mut u8 {
        loop {
            let used = self.used.load(Ordering::Acquire);
            let start = used.next_multiple_of(layout.align());
            let Some(end) = start.checked_add(layout.size()).filter(|end| *end <= SIZE && layout.align() <= 4096)
            else {
                return null_mut();
            };
            if self.move_end(used, end) {
                return PIECE.0.get().cast::<u8>().wrapping_add(start);
            }
        }
    }
}

// SAFETY: each block is inside the piece, aligned, of the asked size, and given to one owner; or it is the system's.
unsafe impl GlobalAlloc for Arena {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        self.trip();
        match self.take(layout) {
            // SAFETY: the caller keeps the contract of `alloc`.
            pointer if pointer.is_null() => unsafe { System.alloc(layout) },
            pointer => pointer,
        }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        self.trip();
        match Arena::offset(pointer) {
            // The last block can be used again; others stay where they are to the end.
            Some(start) => drop(self.move_end(start + layout.size(), start)),
            // SAFETY: the caller keeps the contract of `dealloc`, and the block came from the system.
            None => unsafe { System.dealloc(pointer, layout) },
        }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        self.trip();
        let Some(start) = Arena::offset(pointer) else {
            // SAFETY: the caller keeps the contract of `realloc`, and the block came from the system.
            return unsafe { System.realloc(pointer, layout, size) };
        };
        if start.checked_add(size).is_some_and(|end| self.move_end(start + layout.size(), end)) {
            return pointer;
        }
        // SAFETY: the size fits, as the caller promises; the old block has `layout.size()` bytes, the new one is another.
        unsafe {
            let new = self.alloc(Layout::from_size_align_unchecked(size, layout.align()));
            if !new.is_null() {
                new.copy_from_nonoverlapping(pointer, layout.size().min(size));
            }
            new
        }
    }
}

/// Has the kernel make the memory at once that a command will touch: a fault for each page costs a multiple (Linux 5.14; before, that
/// is what happens).
pub fn populate(heap: usize, used_stack: usize) {
    let stack = [0u8; 1];
    let top = (stack.as_ptr().addr() & !0xfff) + 0x1000;
    // SAFETY: the pages are this process's own, and what is in them stays as it is; those of the stack that it has not yet are refused.
    unsafe {
        libc::madvise(PIECE.0.get().cast(), heap.min(SIZE), libc::MADV_POPULATE_WRITE);
        libc::madvise(top.saturating_sub(used_stack) as *mut libc::c_void, used_stack, libc::MADV_POPULATE_WRITE);
    }
}

/// A stack is not larger, downwards from where it is left to no more; others are elsewhere.
const STACK: usize = 7 << 20;

/// From here on, who runs on this stack may not allocate.
pub fn forbid() {
    let here = [0u8; 256];
    ARENA.forbidden.store((&raw const here).addr() + here.len(), Ordering::Relaxed);
}

/// Nobody runs there any more.
pub fn allow() {
    ARENA.forbidden.store(0, Ordering::Relaxed);
}
