//! The last records, for the live page: at first those that the log ends with, then those of this
//! process.
//!
//! Tickets of web sockets are left out: an open page makes one whenever it connects, and would fill
//! its own list with them.

use super::file_end::file_end;
use super::{EventName, Record};
use serde_json::Value;
use std::collections::VecDeque;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::broadcast;

/// Records that are kept to be shown, and that a slow watcher may be behind.
const KEPT: usize = 200;
/// Read from the end of the log at the start: more than [`KEPT`] lines of a usual length.
const END_BYTES: u64 = 256 * 1024;
/// What proves the place of a line in the file. It means nothing without the file.
const PROOF: [&str; 3] = ["seq", "mac", "chain"];

pub(super) struct Tail {
    /// The lines that the log had before this process, the oldest first.
    before: Vec<Value>,
    last: Mutex<VecDeque<Record>>,
    followers: broadcast::Sender<Arc<Value>>,
}

impl Tail {
    /// Starts with the end of the log. A log that cannot be read, or not yet, has none.
    pub(super) fn after(log: &Path) -> Self {
        let before = file_end(log, END_BYTES)
            .map(|end| lines_of(&end))
            .unwrap_or_default();
        Self {
            before,
            last: Mutex::default(),
            followers: broadcast::channel(KEPT).0,
        }
    }

    pub(super) fn show(&self, records: Vec<Record>) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        for record in records
            .into_iter()
            .filter(|record| record.event() != EventName::WsTicketMinted)
        {
            // Most of the time there is no subscriber.
            if self.followers.receiver_count() > 0 {
                let _ = self.followers.send(Arc::new(record.to_value()));
            }
            if last.len() == KEPT {
                last.pop_front();
            }
            last.push_back(record);
        }
    }

    pub(super) fn last(&self) -> Vec<Value> {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let missing = KEPT - last.len();
        let before = self
            .before
            .iter()
            .skip(self.before.len().saturating_sub(missing))
            .cloned();
        before.chain(last.iter().map(Record::to_value)).collect()
    }

    pub(super) fn follow(&self) -> broadcast::Receiver<Arc<Value>> {
        self.followers.subscribe()
    }
}

/// The last records of the end of a file. What is no record is left out, as is the line that the
/// end begins in.
fn lines_of(end: &[u8]) -> Vec<Value> {
    let text = String::from_utf8_lossy(end);
    let mut records: Vec<_> = text
        .lines()
        .rev()
        .filter_map(record_of)
        .take(KEPT)
        .collect();
    records.reverse();
    records
}

fn record_of(line: &str) -> Option<Value> {
    let mut record: Value = serde_json::from_str(line).ok()?;
    let event = record["event"]
        .as_str()
        .filter(|_| record["ts"].is_string())?;
    if event == WS_TICKET_MINTED || !EventName::is_known(event) {
        return None;
    }
    let fields = record.as_object_mut()?;
    fields.retain(|name, _| !PROOF.contains(&name.as_str()));
    Some(record)
}

/// The name of [`EventName::WsTicketMinted`] in the log.
const WS_TICKET_MINTED: &str = "ws_ticket_minted";

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn events(tail: &Tail) -> Vec<String> {
        tail.last()
            .iter()
            .filter_map(|record| record["event"].as_str())
            .map(str::to_owned)
            .collect()
    }

    #[test]
    fn tail_begins_with_the_end_of_the_log() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        let lines = [
            r#"begun somewhere","ts":"T"}"#,
            r#"{"ts":"T1","event":"drain_begin","principal":"ci","seq":7,"mac":"cd","chain":"ab"}"#,
            r#"{"ts":"T2","event":"ws_ticket_minted"}"#,
            r#"{"ts":"T3","event":"made_up"}"#,
            r#"{"event":"logout"}"#,
            "[1]",
            r#"{"ts":"T4","event":"drain_cancel"}"#,
        ];
        fs::write(&log, lines.join("\n")).unwrap();
        let tail = Tail::after(&log);
        assert_eq!(events(&tail), ["drain_begin", "drain_cancel"]);
        assert_eq!(
            tail.last()[0],
            serde_json::json!({"ts": "T1", "event": "drain_begin", "principal": "ci"})
        );
        tail.show(vec![
            Record::now(EventName::Logout),
            Record::now(EventName::WsTicketMinted),
        ]);
        assert_eq!(events(&tail), ["drain_begin", "drain_cancel", "logout"]);
        assert!(Tail::after(&folder.path().join("none")).last().is_empty());
    }

    #[test]
    fn tail_has_a_bounded_number_of_records() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        fs::write(
            &log,
            "{\"ts\":\"T\",\"event\":\"logout\"}\n".repeat(3 * KEPT),
        )
        .unwrap();
        let tail = Tail::after(&log);
        assert_eq!(tail.last().len(), KEPT);
        tail.show(vec![Record::now(EventName::DrainBegin)]);
        assert_eq!(
            (tail.last().len(), events(&tail)[KEPT - 1].as_str()),
            (KEPT, "drain_begin")
        );
        tail.show(vec![Record::now(EventName::DrainBegin); 2 * KEPT]);
        assert_eq!(tail.last().len(), KEPT);
        assert!(events(&tail).iter().all(|event| event == "drain_begin"));
    }

    #[test]
    fn ticket_has_the_name_that_the_log_gives_it() {
        let record = Record::now(EventName::WsTicketMinted).to_value();
        assert_eq!(record["event"], WS_TICKET_MINTED);
    }
}
