//! An allocator that does not give memory back, since the instance ends with the call. Only the
//! newest block can grow, shrink and be freed.

use core::alloc::{GlobalAlloc, Layout};
use core::sync::atomic::{AtomicUsize, Ordering};

/// The unit in which memory grows, in bytes.
pub(crate) const PAGE: usize = 64 * 1024;

/// Where memory comes from.
pub(crate) trait Source {
    /// There from the start: its address and its length in bytes.
    fn first(&self) -> (usize, usize);

    /// Adds pages that no other code uses, and returns their address. Returns `None` if there is no
    /// more memory.
    fn grow(&self, pages: usize) -> Option<usize>;
}

/// What is free of a source, from and to. Atomics cost nothing where there is one thread.
pub(crate) struct Bump<S> {
    source: S,
    next: AtomicUsize,
    end: AtomicUsize,
}

impl<S: Source> Bump<S> {
    pub(crate) const fn over(source: S) -> Self {
        Self {
            source,
            next: AtomicUsize::new(0),
            end: AtomicUsize::new(0),
        }
    }

    /// The next bytes so aligned, if there are as many.
    fn take(&self, layout: Layout) -> Option<usize> {
        let start = self
            .next
            .load(Ordering::Relaxed)
            .checked_next_multiple_of(layout.align())?;
        let next = start.checked_add(layout.size())?;
        (start > 0 && next <= self.end.load(Ordering::Relaxed)).then(|| {
            self.next.store(next, Ordering::Relaxed);
            start
        })
    }

    /// Makes room for a layout: first from memory that is there from the start, then by growing.
    fn refill(&self, layout: Layout) -> Option<()> {
        let wanted = layout.size().checked_add(layout.align())?;
        let (first, len) = self.source.first();
        let (start, len) = if self.end.load(Ordering::Relaxed) == 0 && wanted <= len {
            (first, len)
        } else {
            let pages = wanted.div_ceil(PAGE);
            (self.source.grow(pages)?, pages * PAGE)
        };
        // Pages that follow the free range extend it.
        if start != self.end.load(Ordering::Relaxed) {
            self.next.store(start, Ordering::Relaxed);
        }

        self.end.store(start.checked_add(len)?, Ordering::Relaxed);
        Some(())
    }

    /// Returns whether this is the newest block, which can be resized in place.
    fn is_last(&self, block: usize, len: usize) -> bool {
        block.checked_add(len) == Some(self.next.load(Ordering::Relaxed))
    }
}

#[expect(unsafe_code, reason = "an allocator")]
// SAFETY: what is given out lies between `next` and `end`, and `next` then lies behind it: blocks
// never overlap.
unsafe impl<S: Source> GlobalAlloc for Bump<S> {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let taken = self
            .take(layout)
            .or_else(|| self.refill(layout).and_then(|()| self.take(layout)));
        taken.map_or(core::ptr::null_mut(), |start| start as *mut u8)
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        if self.is_last(block as usize, layout.size()) {
            self.next.store(block as usize, Ordering::Relaxed);
        }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, len: usize) -> *mut u8 {
        let start = block as usize;
        let fits = start
            .checked_add(len)
            .is_some_and(|end| end <= self.end.load(Ordering::Relaxed));
        if self.is_last(start, layout.size()) && fits {
            self.next.store(start + len, Ordering::Relaxed);
            return block;
        }

        if len <= layout.size() {
            return block;
        }

        // SAFETY: the caller keeps to the contract of `realloc`: `len` is not zero, and fits with
        // this alignment.
        let other = unsafe { self.alloc(Layout::from_size_align_unchecked(len, layout.align())) };
        if !other.is_null() {
            // SAFETY: both are at least as long as the old block, and do not overlap.
            unsafe { core::ptr::copy_nonoverlapping(block, other, layout.size()) };
        }

        other
    }
}

#[cfg(test)]
#[expect(unsafe_code, reason = "an allocator is asked and written to")]
mod tests {
    use super::*;
    use std::ops::Range;
    use std::sync::Mutex;

    const FIRST: usize = 4096;
    const PAGES: usize = 256;

    /// Memory of which each growth takes the next pages. Every third growth leaves a page out, as
    /// if other code had taken it.
    struct Memory {
        all: Box<[u128]>,
        pages: AtomicUsize,
        growths: AtomicUsize,
        others: Mutex<Vec<usize>>,
    }

    impl Memory {
        fn new() -> Self {
            let all = vec![0; (FIRST + PAGES * PAGE) / 16].into_boxed_slice();
            Self {
                all,
                pages: AtomicUsize::new(0),
                growths: AtomicUsize::new(0),
                others: Mutex::default(),
            }
        }

        fn range(&self) -> Range<usize> {
            let start = self.all.as_ptr().expose_provenance();
            start..start + FIRST + PAGES * PAGE
        }
    }

    impl Source for Memory {
        fn first(&self) -> (usize, usize) {
            (self.range().start, FIRST)
        }

        fn grow(&self, pages: usize) -> Option<usize> {
            let skipped = usize::from(self.growths.fetch_add(1, Ordering::Relaxed) % 3 == 2);
            let page = self.pages.fetch_add(pages + skipped, Ordering::Relaxed);
            let address = self.range().start + FIRST + page * PAGE;
            if skipped > 0 {
                self.others.lock().unwrap().push(address);
            }
            (page + skipped + pages <= PAGES).then_some(address + skipped * PAGE)
        }
    }

    /// A block that was given out, and what was written to all of it.
    struct Block {
        at: *mut u8,
        layout: Layout,
        mark: u8,
    }

    impl Block {
        fn write(at: *mut u8, layout: Layout, mark: u8) -> Self {
            assert!(!at.is_null());
            // SAFETY: it was just given out, so long.
            unsafe { at.write_bytes(mark, layout.size()) };
            Self { at, layout, mark }
        }

        fn check(&self, bump: &Bump<Memory>) {
            let (memory, start) = (bump.source.range(), self.at as usize);
            let end = start + self.layout.size();
            assert_eq!(start % self.layout.align(), 0, "{:?}", self.layout);
            assert!(memory.start <= start && end <= memory.end);
            assert!(
                bump.source
                    .others
                    .lock()
                    .unwrap()
                    .iter()
                    .all(|page| end <= *page || page + PAGE <= start)
            );
            self.check_content(self.layout.size());
        }

        fn check_content(&self, len: usize) {
            // SAFETY: it was given out, and all of it was written.
            let content = unsafe { std::slice::from_raw_parts(self.at, len) };
            assert!(
                content.iter().all(|byte| *byte == self.mark),
                "another block lies in {:?}",
                self.layout
            );
        }
    }

    /// Numbers that look like chance (Marsaglia's xorshift).
    struct Chance(u64);

    impl Chance {
        fn below(&mut self, limit: usize) -> usize {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            usize::try_from(self.0 >> 16).unwrap() % limit
        }

        fn len(&mut self) -> usize {
            1 + if self.below(20) == 0 {
                self.below(3 * PAGE)
            } else {
                self.below(2_000)
            }
        }
    }

    #[test]
    fn blocks_keep_what_is_written_to_them_whatever_becomes_of_others() {
        for seed in 1..=32 {
            let (bump, mut chance, mut blocks) =
                (Bump::over(Memory::new()), Chance(seed), Vec::<Block>::new());
            for mark in (1..=u8::MAX).cycle().take(600) {
                let which = chance.below(blocks.len().max(1));
                match chance.below(4) {
                    0 if !blocks.is_empty() => {
                        let block = blocks.swap_remove(which);
                        block.check(&bump);
                        // SAFETY: it came from there, and is not used again.
                        unsafe { bump.dealloc(block.at, block.layout) };
                    }
                    1 if !blocks.is_empty() => {
                        let block = blocks.swap_remove(which);
                        let len = chance.len();
                        // SAFETY: it came from there, and is not used again.
                        let at = unsafe { bump.realloc(block.at, block.layout, len) };
                        let kept = Block { at, ..block };
                        kept.check_content(len.min(block.layout.size()));
                        let layout = Layout::from_size_align(len, block.layout.align()).unwrap();
                        blocks.push(Block::write(at, layout, mark));
                    }
                    _ => {
                        let layout =
                            Layout::from_size_align(chance.len(), 1 << chance.below(8)).unwrap();
                        // SAFETY: its length is not zero.
                        blocks.push(Block::write(unsafe { bump.alloc(layout) }, layout, mark));
                    }
                }
            }
            blocks.iter().for_each(|block| block.check(&bump));
        }
    }

    #[test]
    fn what_is_not_there_is_not_given_out() {
        let bump = Bump::over(Memory::new());
        let large = Layout::from_size_align(PAGES * PAGE, 1).unwrap();
        let endless = Layout::from_size_align(isize::MAX.cast_unsigned(), 1).unwrap();
        let small = Layout::from_size_align(8, 8).unwrap();
        // SAFETY: no length is zero, and the block that is asked to grow is one that was given out.
        unsafe {
            assert!(bump.alloc(endless).is_null());
            let block = Block::write(bump.alloc(small), small, 7);
            assert!(bump.realloc(block.at, small, large.size()).is_null());
            block.check(&bump);
            Block::write(bump.alloc(small), small, 8).check(&bump);
            block.check(&bump);
        }
    }

    #[test]
    fn whatever_was_given_out_last_grows_and_goes_where_it_is() {
        let bump = Bump::over(Memory::new());
        let layout = Layout::from_size_align(100, 1).unwrap();
        // SAFETY: no length is zero, and every block was given out with the layout that is named.
        unsafe {
            let first = bump.alloc(layout);
            assert_eq!(bump.realloc(first, layout, 1_000), first);
            let grown = Layout::from_size_align(1_000, 1).unwrap();
            assert_eq!(bump.realloc(first, grown, 50), first);
            assert_eq!(bump.alloc(layout), first.add(50));
            bump.dealloc(first.add(50), layout);
            assert_eq!(bump.alloc(layout), first.add(50));
        }
    }
}
