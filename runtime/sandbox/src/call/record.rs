//! What the host knows of a call from outside, even of one that was cut off.

use crate::host::output::GuestOutput;
use portcullis_auth::Usage;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Notes of one kind that are kept of one call.
const MAX_NOTES: usize = 8;

/// Shared between a call and the caller that waits for it.
#[derive(Clone, Default)]
pub(crate) struct CallRecord(Arc<RecordState>);

#[derive(Default)]
struct RecordState {
    output: GuestOutput,
    memory: AtomicUsize,
    held_up_micros: AtomicU64,
    ran_micros: AtomicU64,
    notes: Mutex<HostNotes>,
}

/// What the host has to say of a call.
#[derive(Clone, Default)]
pub(crate) struct HostNotes {
    /// What the host refused it, in words.
    pub(crate) refusals: Vec<String>,
    /// Settings that it looked up and does not have.
    pub(crate) missed: Vec<String>,
}

impl CallRecord {
    /// What the guest printed.
    pub(crate) fn output(&self) -> &GuestOutput {
        &self.0.output
    }

    /// Bytes of memory that the guest has, all memories together.
    pub(crate) fn memory(&self) -> &AtomicUsize {
        &self.0.memory
    }

    /// Adds time in which the guest could have run, but another provider or program had the
    /// processor.
    pub(crate) fn held_up(&self, by_others: Duration) {
        let micros = u64::try_from(by_others.as_micros()).unwrap_or(u64::MAX);
        self.0.held_up_micros.fetch_add(micros, Ordering::Relaxed);
    }

    /// Adds time in which the guest ran.
    pub(crate) fn ran(&self, cpu: Duration) {
        let micros = u64::try_from(cpu.as_micros()).unwrap_or(u64::MAX);
        self.0.ran_micros.fetch_add(micros, Ordering::Relaxed);
    }

    /// Processor time that the guest has had on the guests' threads.
    pub(crate) fn time_it_ran(&self) -> Duration {
        Duration::from_micros(self.0.ran_micros.load(Ordering::Relaxed))
    }

    /// How long others had the processor while the guest could have run.
    pub(crate) fn time_held_up(&self) -> Duration {
        Duration::from_micros(self.0.held_up_micros.load(Ordering::Relaxed))
    }

    /// The host did not do what the guest asked for: this is kept, and stands in the call's log
    /// field.
    pub(crate) fn refuse(&self, what: &str) {
        self.output().note(&format!("host: {what}"));
        self.note(|notes| &mut notes.refusals, what);
    }

    /// Records that the guest looked up a setting that it does not have.
    pub(crate) fn miss(&self, setting: &str) {
        self.note(|notes| &mut notes.missed, setting);
    }

    fn note(&self, kind: impl Fn(&mut HostNotes) -> &mut Vec<String>, note: &str) {
        let mut notes = self.0.notes.lock().unwrap_or_else(PoisonError::into_inner);
        let known = kind(&mut notes);
        if known.len() < MAX_NOTES && !known.iter().any(|known| known == note) {
            known.push(note.to_owned());
        }
    }

    pub(crate) fn notes(&self) -> HostNotes {
        self.0
            .notes
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    pub(crate) fn usage(&self, elapsed: Duration) -> Usage {
        Usage {
            memory_bytes: self.memory().load(Ordering::Relaxed),
            elapsed,
        }
    }
}
