//! The record of each turn: its state, and for ten minutes after its end its output.
//!
//! **Invariant:** at most [`MAX_ENDED`] ended turns are kept, each for [`KEPT_FOR`]; the output
//! that is kept is at most [`MAX_TURN_BYTES`] per turn and [`MAX_BYTES`] in all.

use super::turn_end::TurnEnd;
use super::turns::TurnId;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::oneshot;

const MAX_ENDED: usize = 64;
const MAX_TURN_BYTES: usize = 1024 * 1024;
const MAX_BYTES: usize = 16 * 1024 * 1024;
const KEPT_FOR: SignedDuration = SignedDuration::from_secs(600);

/// The turns of one gateway, running and ended.
#[derive(Clone, Debug, Default)]
pub(super) struct TurnRecords(Arc<Mutex<StoredTurns>>);

impl TurnRecords {
    /// Opens the record of a turn that starts. The receiver gets the request to end the turn.
    pub(super) fn begin(
        &self,
        id: TurnId,
        session: &str,
        since: Timestamp,
    ) -> (TurnRecord, oneshot::Receiver<()>) {
        let (stop, stopped) = oneshot::channel();
        let record = StoredTurn {
            session: session.to_owned(),
            since,
            output: Vec::new(),
            is_truncated: false,
            stop: Some(stop),
            end: None,
        };

        self.lock().turns.insert(id, record);
        (
            TurnRecord {
                id,
                records: self.clone(),
            },
            stopped,
        )
    }

    /// Describes a turn that runs, or ended less than [`KEPT_FOR`] ago.
    pub(super) fn describe(&self, id: TurnId) -> Option<Value> {
        let now = Timestamp::now();
        let mut records = self.lock();
        records.forget_expired(now);
        records
            .turns
            .get(&id)
            .map(|record| record.describe(id, now))
    }

    /// Asks for the end of a turn; false when it does not run.
    pub(super) fn stop(&self, id: TurnId) -> bool {
        let mut records = self.lock();
        let Some(record) = records
            .turns
            .get_mut(&id)
            .filter(|record| record.end.is_none())
        else {
            return false;
        };

        if let Some(stop) = record.stop.take() {
            // Without a receiver the turn is ending already.
            let _ = stop.send(());
        }

        true
    }

    fn lock(&self) -> MutexGuard<'_, StoredTurns> {
        // No code under this lock panics between two changes, so the records are consistent after a
        // panic elsewhere.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The record of one turn, for the task that runs it.
pub(super) struct TurnRecord {
    id: TurnId,
    records: TurnRecords,
}

impl TurnRecord {
    /// Keeps output, as far as the bounds allow.
    pub(super) fn keep(&self, bytes: &[u8]) {
        self.records.lock().keep(self.id, bytes);
    }

    /// Notes the end of the turn.
    pub(super) fn end(&self, end: TurnEnd) {
        self.records.lock().end(self.id, end, Timestamp::now());
    }
}

#[derive(Debug, Default)]
struct StoredTurns {
    turns: BTreeMap<TurnId, StoredTurn>,
    /// The turns that ended, the first to end first.
    ended: VecDeque<TurnId>,
    /// Bytes of output of all turns.
    bytes: usize,
}

#[derive(Debug)]
struct StoredTurn {
    session: String,
    since: Timestamp,
    output: Vec<u8>,
    is_truncated: bool,
    /// Taken by the first request to end the turn.
    stop: Option<oneshot::Sender<()>>,
    end: Option<(Timestamp, TurnEnd)>,
}

impl StoredTurns {
    fn keep(&mut self, id: TurnId, bytes: &[u8]) {
        let Some(record) = self.turns.get(&id) else {
            return;
        };
        let wanted = bytes.len().min(MAX_TURN_BYTES - record.output.len());
        while self.bytes + wanted > MAX_BYTES && self.forget_oldest() {}
        let kept = wanted.min(MAX_BYTES - self.bytes);
        self.bytes += kept;
        if let Some(record) = self.turns.get_mut(&id) {
            record.output.extend_from_slice(&bytes[..kept]);
            record.is_truncated |= kept < bytes.len();
        }
    }

    fn end(&mut self, id: TurnId, end: TurnEnd, now: Timestamp) {
        self.forget_expired(now);
        let Some(record) = self.turns.get_mut(&id) else {
            return;
        };
        record.end = Some((now, end));
        record.stop = None;
        record.output.shrink_to_fit();
        self.ended.push_back(id);
        while self.ended.len() > MAX_ENDED && self.forget_oldest() {}
    }

    fn forget_expired(&mut self, now: Timestamp) {
        while self
            .oldest_end()
            .is_some_and(|end| now.duration_since(end) >= KEPT_FOR)
        {
            self.forget_oldest();
        }
    }

    fn oldest_end(&self) -> Option<Timestamp> {
        let oldest = self.turns.get(self.ended.front()?)?;
        oldest.end.as_ref().map(|(at, _)| *at)
    }

    /// Forgets the turn that ended first; false when none has ended.
    fn forget_oldest(&mut self) -> bool {
        let Some(id) = self.ended.pop_front() else {
            return false;
        };
        if let Some(record) = self.turns.remove(&id) {
            self.bytes -= record.output.len();
        }
        true
    }
}

impl StoredTurn {
    fn describe(&self, id: TurnId, now: Timestamp) -> Value {
        let (until, end) = match &self.end {
            Some((at, end)) => (*at, Some(end)),
            None => (now, None),
        };

        let mut turn = json!({
            "id": id,
            "session": self.session,
            "state": if end.is_some() { "ended" } else { "running" },
            "since": self.since,
            "seconds": until.duration_since(self.since).as_secs(),
            "exit_code": end.and_then(TurnEnd::exit_code),
            "error": end.and_then(TurnEnd::error),
        });

        if end.is_some() {
            turn["output"] = String::from_utf8_lossy(&self.output).into();
            turn["output_truncated"] = self.is_truncated.into();
        }
        turn
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(records: &TurnRecords, id: TurnId, output: &[u8]) {
        let (record, _) = records.begin(id, "s", Timestamp::now());
        record.keep(output);
        record.end(TurnEnd::Exited(0));
    }

    #[test]
    fn output_of_a_turn_is_kept_after_its_end() {
        let records = TurnRecords::default();
        let (record, mut stopped) = records.begin(1, "s", Timestamp::now());
        record.keep(b"one ");
        record.keep(b"two");
        let running = records.describe(1).unwrap();
        assert_eq!(
            (&running["state"], running.get("output")),
            (&json!("running"), None)
        );
        assert!(
            records.stop(1) && records.stop(1),
            "a second request is no mistake"
        );
        assert!(stopped.try_recv().is_ok());
        record.end(TurnEnd::Stopped);
        let turn = records.describe(1).unwrap();
        assert_eq!(
            (&turn["state"], &turn["output"]),
            (&json!("ended"), &json!("one two"))
        );
        assert_eq!(
            (&turn["exit_code"], &turn["output_truncated"]),
            (&Value::Null, &json!(false))
        );
        assert_eq!(turn["error"], "the turn was ended by a request");
        assert!(!records.stop(1) && !records.stop(2));
    }

    #[test]
    fn output_is_bounded_per_turn_and_in_all() {
        let records = TurnRecords::default();
        let running = records.begin(1_000, "s", Timestamp::now());
        for id in 0..40 {
            ended(&records, id, &vec![b'x'; MAX_TURN_BYTES + 1]);
        }
        let held = records.lock().bytes;
        assert!(held <= MAX_BYTES, "{held}");
        assert!(records.describe(0).is_none(), "the oldest is forgotten");
        let last = records.describe(39).unwrap();
        assert_eq!(last["output_truncated"], true);
        assert_eq!(last["output"].as_str().map(str::len), Some(MAX_TURN_BYTES));
        assert_eq!(records.describe(1_000).unwrap()["state"], "running");
        drop(running);
    }

    #[test]
    fn number_and_age_of_ended_turns_are_bounded() {
        let records = TurnRecords::default();
        (0..1_000).for_each(|id| ended(&records, id, b"x"));
        assert_eq!(records.lock().turns.len(), MAX_ENDED);
        let later = Timestamp::now().checked_add(KEPT_FOR).unwrap();
        records.lock().forget_expired(later);
        let emptied = records.lock();
        assert_eq!(
            (emptied.turns.len(), emptied.ended.len(), emptied.bytes),
            (0, 0, 0)
        );
    }
}
