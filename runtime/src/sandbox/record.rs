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
pub(super) struct CallRecord(Arc<Kept>);

#[derive(Default)]
struct Kept {
    output: Output,
    memory: AtomicUsize,
    notes: Mutex<Notes>,
}

/// What the host has to say of a call.
#[derive(Clone, Default)]
pub(super) struct Notes {
    /// What the host refused it, in words.
    pub(super) refusals: Vec<String>,
    /// Settings that it looked for in vain.
    pub(super) missed: Vec<String>,
}

impl CallRecord {
    /// What the guest printed.
    pub(super) fn output(&self) -> &Output {
        &self.0.output
    }

    /// Bytes of memory that the guest has, all memories together.
    pub(super) fn memory(&self) -> &AtomicUsize {
        &self.0.memory
    }

    /// The host did not do what the guest asked for: this is kept, and stands in the call's log field.
    pub(super) fn refuse(&self, what: &str) {
        self.output().note(&format!("host: {what}"));
        self.note(|notes| &mut notes.refusals, what);
    }

    /// The guest looked for a setting that it does not have.
    pub(super) fn miss(&self, setting: &str) {
        self.note(|notes| &mut notes.missed, setting);
    }

    fn note(&self, kind: impl Fn(&mut Notes) -> &mut Vec<String>, note: &str) {
        let mut notes = self.0.notes.lock().unwrap_or_else(PoisonError::into_inner);
        let known = kind(&mut notes);
        if known.len() < MAX_NOTES && !known.iter().any(|known| known == note) {
            known.push(note.to_owned());
        }
    }

    pub(super) fn notes(&self) -> Notes {
        self.0.notes.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn usage(&self, elapsed: Duration) -> Usage {
        Usage { memory_bytes: self.memory().load(Ordering::Relaxed), elapsed }
    }
}
