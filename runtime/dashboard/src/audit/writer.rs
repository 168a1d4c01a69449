use super::files::{AUDIT_FILE, Files};
use super::tail::Tail;
use super::thinning::Thinning;
use super::{Record, Rotation};
use serde_json::Value;
use std::io;
use std::num::NonZeroU32;
use std::path::Path;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError, SyncSender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use tokio::sync::broadcast;

/// Lines that may wait for the disk. More are dropped and counted, so that no request waits.
const QUEUE: usize = 16_384;
/// Of the queue, what is kept free for important lines: the others cannot take their places.
const RESERVED: usize = QUEUE / 2;
/// From the first line that waits until it is written, with all that came meanwhile: on a busy
/// dashboard the writer is woken once for many lines, and not by each.
const GATHERING: Duration = Duration::from_millis(2);
/// Lines of one cause at once.
pub(super) const BURST: NonZeroU32 = NonZeroU32::new(1_000).expect("a constant that is not zero");
/// Between two lines of one cause after the burst.
const PERIOD: Duration = Duration::from_secs(1);

/// The time between two looks at what was left out: the end of a flood is in the log soon after it.
const LEFT_OUT_INTERVAL: Duration = Duration::from_secs(5);

/// Writes the audit log on a thread of its own.
#[derive(Clone)]
pub struct AuditLog {
    shared: Arc<WriterShared>,
}

struct WriterShared {
    tail: Arc<Tail>,
    queue: SyncSender<WriterMessage>,
    writer: Mutex<Option<JoinHandle<()>>>,
    /// Lines in the queue.
    waiting: Arc<AtomicUsize>,
    dropped: Arc<AtomicU64>,
    thinning: Arc<Thinning>,
}

enum WriterMessage {
    Line(Record),
    /// A record was left out: the writer must count it later, also if no other line comes.
    LeftOut,
    /// No more lines are wanted.
    End,
}

impl AuditLog {
    /// The log of this home.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub fn start(home: &Path) -> io::Result<Self> {
        Self::start_with(home, Rotation::default())
    }

    /// The log of this home, with other sizes of its files.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub fn start_with(home: &Path, rotation: Rotation) -> io::Result<Self> {
        let (queue, inbox) = mpsc::sync_channel(QUEUE);
        let waiting = Arc::new(AtomicUsize::new(0));
        let dropped = Arc::new(AtomicU64::new(0));
        let tail = Arc::new(Tail::after(&home.join(AUDIT_FILE)));
        let inbox = Inbox {
            messages: inbox,
            waiting: waiting.clone(),
            has_ended: false,
        };
        let files = Files::of(home, rotation);
        let thinning = Arc::new(Thinning::new(BURST, PERIOD));
        let (lost, shown, thinned) = (dropped.clone(), tail.clone(), thinning.clone());
        let writer = thread::Builder::new()
            .name("audit".into())
            .spawn(move || write_all(inbox, files, &thinned, &lost, &shown))?;
        let writer = Mutex::new(Some(writer));
        let shared = WriterShared {
            tail,
            queue,
            writer,
            waiting,
            dropped,
            thinning,
        };

        Ok(Self {
            shared: Arc::new(shared),
        })
    }

    /// Hands a record to the writer, and never waits. Of a flood, most records are left out and
    /// counted.
    pub fn write(&self, record: Record) {
        // Before the queue: a flood must not fill it.
        let record = match self.shared.thinning.pass(record) {
            Ok(record) => record,
            Err(held) => {
                // A writer whose queue is full wakes by itself.
                if held.is_first {
                    let _ = self.shared.queue.try_send(WriterMessage::LeftOut);
                }
                return;
            }
        };
        if !self.queue(record) {
            let dropped = self.shared.dropped.fetch_add(1, Ordering::Relaxed) + 1;
            if dropped.is_power_of_two() {
                tracing::warn!(dropped, "audit lines dropped: the log cannot keep up");
            }
        }
    }

    /// Returns whether there was a place for the record.
    fn queue(&self, record: Record) -> bool {
        let WriterShared { queue, waiting, .. } = &*self.shared;
        let places = if record.event().is_important() {
            QUEUE
        } else {
            QUEUE - RESERVED
        };
        // Before it is sent: the writer must not take off a line that was not counted yet.
        let has_place = waiting.fetch_add(1, Ordering::Relaxed) < places;

        let is_queued = has_place && queue.try_send(WriterMessage::Line(record)).is_ok();
        if !is_queued {
            waiting.fetch_sub(1, Ordering::Relaxed);
        }

        is_queued
    }

    /// Returns the last records, the oldest first, as they were written: those of this process, and
    /// before them what the log ended with at the start. Tickets of web sockets are left out.
    pub fn tail(&self) -> Vec<Value> {
        self.shared.tail.last()
    }

    /// Subscribes to the records that are written from now on, without tickets of web sockets.
    pub fn follow(&self) -> broadcast::Receiver<Arc<Value>> {
        self.shared.tail.follow()
    }

    /// Lines that were dropped since the start.
    pub fn dropped(&self) -> u64 {
        self.shared.dropped.load(Ordering::Relaxed)
    }

    /// Writes what is queued and ends. Blocks: call it when no more requests come.
    pub fn close(&self) {
        // Fails if the writer has ended: then there is nothing to wait for.
        let _ = self.shared.queue.send(WriterMessage::End);
        let writer = self
            .shared
            .writer
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if writer.is_some_and(|writer| writer.join().is_err()) {
            tracing::error!("the audit writer had panicked");
        }
    }
}

fn write_all(
    mut inbox: Inbox,
    mut files: Files,
    thinning: &Thinning,
    lost: &AtomicU64,
    tail: &Tail,
) {
    let mut left_out_due: Option<Instant> = None;
    while !inbox.has_ended {
        let left_out = left_out_due.map(|due| due.saturating_duration_since(Instant::now()));
        let patience = [files.patience(), left_out].into_iter().flatten().min();
        let mut records = inbox.gather(patience);

        let is_due = left_out_due.is_some_and(|due| due <= Instant::now());
        if is_due || inbox.has_ended {
            left_out_due = None;
            let settled = thinning.settle(inbox.has_ended);
            records.extend(settled.into_iter().map(Record::redacted));
        }
        if thinning.owes() {
            left_out_due.get_or_insert(Instant::now() + LEFT_OUT_INTERVAL);
        }

        if !records.is_empty() {
            if !files.write(&records) {
                lost.fetch_add(records.len() as u64, Ordering::Relaxed);
            }
            tail.show(records);
        }
        files.keep_up();
    }
    files.close();
}

struct Inbox {
    messages: mpsc::Receiver<WriterMessage>,
    waiting: Arc<AtomicUsize>,
    has_ended: bool,
}

impl Inbox {
    /// Waits for a line, for `patience` at most, and takes what else there is a moment later.
    #[expect(
        clippy::disallowed_methods,
        reason = "waits for nothing: what comes meanwhile must not wake it"
    )]
    fn gather(&mut self, patience: Option<Duration>) -> Vec<Record> {
        let mut records = Vec::new();
        let first = match patience {
            Some(patience) => self.messages.recv_timeout(patience),
            None => self
                .messages
                .recv()
                .map_err(|_| RecvTimeoutError::Disconnected),
        };

        match first {
            Ok(message) => self.take(message, &mut records),
            Err(RecvTimeoutError::Timeout) => return records,
            // Without senders there is none left to end it.
            Err(RecvTimeoutError::Disconnected) => self.has_ended = true,
        }

        if !self.has_ended {
            thread::sleep(GATHERING);
        }
        for _ in 0..QUEUE {
            let Ok(message) = self.messages.try_recv() else {
                break;
            };
            self.take(message, &mut records);
        }
        records
    }

    fn take(&mut self, message: WriterMessage, records: &mut Vec<Record>) {
        match message {
            WriterMessage::Line(record) => {
                self.waiting.fetch_sub(1, Ordering::Relaxed);
                records.push(record.redacted());
            }
            WriterMessage::LeftOut => {}
            WriterMessage::End => self.has_ended = true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{EventName, IMPORTANT_FILE};
    use super::*;

    #[test]
    fn every_record_is_a_line_of_json() {
        let home = tempfile::tempdir().unwrap();
        let log = AuditLog::start(home.path()).unwrap();
        log.write(
            Record::now(EventName::DrainBegin)
                .with("principal", "nas")
                .with("secret", "canary"),
        );
        log.write(Record::now(EventName::DrainCancel));
        log.close();
        let text = std::fs::read_to_string(home.path().join(AUDIT_FILE)).unwrap();
        let lines: Vec<Value> = text
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        let events: Vec<_> = lines
            .iter()
            .filter_map(|line| line["event"].as_str())
            .collect();
        assert_eq!(
            events,
            ["chain_started", "drain_begin", "drain_cancel", "checkpoint"]
        );
        assert_eq!(lines[1]["principal"], "nas");
        assert!(lines.iter().all(|line| {
            line["ts"]
                .as_str()
                .unwrap()
                .parse::<jiff::Timestamp>()
                .is_ok()
        }));
        assert!(!text.contains("canary"));
        let important = std::fs::read_to_string(home.path().join(IMPORTANT_FILE)).unwrap();
        assert_eq!(important.lines().count(), 4);
    }

    #[test]
    fn strangers_cannot_wash_the_log_away() {
        let home = tempfile::tempdir().unwrap();
        let log = AuditLog::start(home.path()).unwrap();
        for _ in 0..3_000 {
            log.write(Record::now(EventName::LoginFailure));
        }
        log.close();
        let text = std::fs::read_to_string(home.path().join(AUDIT_FILE)).unwrap();
        let lines = text.lines().count();
        assert!((1_000..1_500).contains(&lines), "{lines}");
    }

    /// Refused sign-ins that the log accounts for, by a line or by `left_out`.
    fn accounted(home: &Path, file: &str) -> u64 {
        let text = std::fs::read_to_string(home.join(file)).unwrap_or_default();
        text.lines()
            // The last line may not be written to its end yet.
            .filter_map(|line| serde_json::from_str::<Value>(line).ok())
            .filter(|line| line["event"] == "login_failure")
            .map(|line| 1 + line["left_out"].as_u64().unwrap_or_default())
            .sum()
    }

    #[test]
    fn clean_end_accounts_for_every_record_of_a_flood() {
        let home = tempfile::tempdir().unwrap();
        let log = AuditLog::start(home.path()).unwrap();
        for _ in 0..3_000 {
            log.write(Record::now(EventName::LoginFailure));
        }
        log.close();
        assert_eq!(accounted(home.path(), AUDIT_FILE), 3_000);
        assert_eq!(accounted(home.path(), IMPORTANT_FILE), 3_000);
    }

    #[test]
    fn end_of_a_flood_is_written_without_another_record() {
        let home = tempfile::tempdir().unwrap();
        let log = AuditLog::start(home.path()).unwrap();
        for _ in 0..3_000 {
            log.write(Record::now(EventName::LoginFailure));
        }
        let deadline = Instant::now() + 6 * LEFT_OUT_INTERVAL;
        while accounted(home.path(), AUDIT_FILE) < 3_000 {
            assert!(Instant::now() < deadline, "the flood is not accounted for");
            thread::yield_now();
        }
        log.close();
        assert_eq!(accounted(home.path(), AUDIT_FILE), 3_000);
    }

    #[test]
    fn log_that_cannot_be_written_fails_nobody() {
        let home = tempfile::tempdir().unwrap();
        std::fs::write(home.path().join("logs"), "in the way").unwrap();
        let log = AuditLog::start(home.path()).unwrap();
        log.write(Record::now(EventName::DrainBegin));
        log.close();
        assert_eq!(log.dropped(), 1, "what could not be written is counted");
        log.write(Record::now(EventName::DrainBegin));
        assert_eq!(log.dropped(), 2);
    }
}
