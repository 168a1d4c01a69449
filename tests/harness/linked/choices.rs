//! Choices that bytes make.

use std::slice::Iter;

/// Reads choices from bytes. After the last byte every choice is the first one, so a text that is
/// made of choices ends if the first choice ends it.
pub(super) struct Choices<'a>(Iter<'a, u8>);

impl<'a> Choices<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes.iter())
    }

    /// Returns a number below `count`, which is not 0.
    pub(super) fn below(&mut self, count: usize) -> usize {
        self.0.next().map_or(0, |byte| usize::from(*byte) % count)
    }

    /// Returns true in one of `count` cases.
    pub(super) fn one_in(&mut self, count: usize) -> bool {
        self.below(count) == count - 1
    }

    /// Returns one of the items, if there are any.
    pub(super) fn of<'t, T>(&mut self, items: &'t [T]) -> Option<&'t T> {
        match items.len() {
            0 => None,
            count => items.get(self.below(count)),
        }
    }
}
