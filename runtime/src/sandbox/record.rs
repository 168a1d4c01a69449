//! What can be told of a call from outside, even of one that was cut off.

use super::output::Output;
use crate::auth::Usage;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Notes of one kind that are kept of one call.
const MAX_NOTES: usize = 8;

/// Shared between a call and whoever waits for it.
#[derive(Clone, Default)]
pub(super) struct CallRecord {
    pub(super) output: Output,
    pub(super) memory: Arc<AtomicUsize>,
    refusals: Arc<Mutex<Vec<String>>>,
    missed: Arc<Mutex<Vec<String>>>,
}

impl CallRecord {
    /// The host did not do what the guest asked for: this is kept, and stands in the call's log field.
    pub(super) fn refuse(&self, what: &str) {
        self.output.note(&format!("host: {what}"));
        keep(&self.refusals, what);
    }

    /// The guest looked for a setting that it does not have.
    pub(super) fn miss(&self, setting: &str) {
        keep(&self.missed, setting);
    }

    pub(super) fn refusals(&self) -> Vec<String> {
        self.refusals.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn missed(&self) -> Vec<String> {
        self.missed.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn usage(&self, elapsed: Duration) -> Usage {
        Usage { memory_bytes: self.memory.load(Ordering::Relaxed), elapsed }
    }
}

fn keep(notes: &Mutex<Vec<String>>, note: &str) {
    let mut notes = notes.lock().unwrap_or_else(PoisonError::into_inner);
    if notes.len() < MAX_NOTES && !notes.iter().any(|known| known == note) {
        notes.push(note.to_owned());
    }
}
