//! The allocator of components without the standard library's imports (`wasm32-unknown-unknown`).
//! What most calls need stands in the component's own memory from the start: the target's usual
//! allocator asks the host for more in every call, which costs more than the call.

use crate::bump::{Bump, PAGE, Source};
use core::arch::wasm32::memory_grow;
use core::cell::UnsafeCell;

/// There from the start, and untouched until it is used.
const FIRST: usize = 128 * 1024;

#[global_allocator]
static ALLOCATOR: Bump<LinearMemory> = Bump::over(LinearMemory);

#[repr(align(16))]
struct Arena(UnsafeCell<[u8; FIRST]>);

#[expect(unsafe_code, reason = "an allocator")]
// SAFETY: a component has one thread.
unsafe impl Sync for Arena {}

static ARENA: Arena = Arena(UnsafeCell::new([0; FIRST]));

struct LinearMemory;

impl Source for LinearMemory {
    fn first(&self) -> (usize, usize) {
        (ARENA.0.get() as usize, FIRST)
    }

    fn grow(&self, pages: usize) -> Option<usize> {
        let before = memory_grow::<0>(pages);
        before.checked_mul(PAGE).filter(|_| before != usize::MAX)
    }
}
