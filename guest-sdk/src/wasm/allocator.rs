//! The allocator of components without the standard library's imports (`wasm32-unknown-unknown`): it never gives
//! memory back, since the instance ends with the call. What most calls need stands in the component's own memory from
//! the start: the target's usual allocator asks the host for more in every call, which costs more than the call.

use core::alloc::{GlobalAlloc, Layout};
use core::arch::wasm32::memory_grow;
use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicUsize, Ordering};

/// There from the start, and untouched until it is used.
const FIRST: usize = 128 * 1024;
/// The unit in which memory grows.
const PAGE: usize = 64 * 1024;

#[global_allocator]
static ALLOCATOR: Bump = Bump { next: AtomicUsize::new(0), end: AtomicUsize::new(0) };

#[repr(align(16))]
struct Arena(UnsafeCell<[u8; FIRST]>);

#[expect(unsafe_code, reason = "an allocator")]
// SAFETY: a component has one thread.
unsafe impl Sync for Arena {}

static ARENA: Arena = Arena(UnsafeCell::new([0; FIRST]));

/// What is free, from and to. Atomics cost nothing where there is one thread.
struct Bump {
    next: AtomicUsize,
    end: AtomicUsize,
}

impl Bump {
    /// The next bytes so aligned, if there are as many.
    fn take(&self, layout: Layout) -> Option<usize> {
        let start = self.next.load(Ordering::Relaxed).checked_next_multiple_of(layout.align())?;
        let next = start.checked_add(layout.size())?;
        (start > 0 && next <= self.end.load(Ordering::Relaxed)).then(|| {
            self.next.store(next, Ordering::Relaxed);
            start
        })
    }

    /// Puts so much at its disposal: first what is there anyway.
    fn refill(&self, layout: Layout) -> Option<()> {
        let wanted = layout.size().checked_add(layout.align())?;
        let (start, len) = if self.end.load(Ordering::Relaxed) == 0 && wanted <= FIRST {
            (ARENA.0.get() as usize, FIRST)
        } else {
            let pages = wanted.div_ceil(PAGE);
            let before = memory_grow::<0>(pages);
            let start = before.checked_mul(PAGE).filter(|_| before != usize::MAX)?;
            (start, pages * PAGE)
        };
        // What grew behind the last of what is free goes on from there.
        if start != self.end.load(Ordering::Relaxed) {
            self.next.store(start, Ordering::Relaxed);
        }
        self.end.store(start.checked_add(len)?, Ordering::Relaxed);
        Some(())
    }

    /// Was this given out last, so that it may end elsewhere?
    fn is_last(&self, block: usize, len: usize) -> bool {
        block.checked_add(len) == Some(self.next.load(Ordering::Relaxed))
    }
}

#[expect(unsafe_code, reason = "an allocator")]
// SAFETY: what is given out lies between `next` and `end`, and `next` then lies behind it: blocks never overlap.
unsafe impl GlobalAlloc for Bump {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let taken = self.take(layout).or_else(|| self.refill(layout).and_then(|()| self.take(layout)));
        taken.map_or(core::ptr::null_mut(), |start| start as *mut u8)
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        if self.is_last(block as usize, layout.size()) {
            self.next.store(block as usize, Ordering::Relaxed);
        }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, len: usize) -> *mut u8 {
        let start = block as usize;
        let fits = start.checked_add(len).is_some_and(|end| end <= self.end.load(Ordering::Relaxed));
        if self.is_last(start, layout.size()) && fits {
            self.next.store(start + len, Ordering::Relaxed);
            return block;
        }
        if len <= layout.size() {
            return block;
        }
        // SAFETY: the caller keeps to the contract of `realloc`: `len` is not zero, and fits with this alignment.
        let other = unsafe { self.alloc(Layout::from_size_align_unchecked(len, layout.align())) };
        if !other.is_null() {
            // SAFETY: both are at least as long as the old block, and do not overlap.
            unsafe { core::ptr::copy_nonoverlapping(block, other, layout.size()) };
        }
        other
    }
}
