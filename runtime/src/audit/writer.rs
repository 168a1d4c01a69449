use super::Record;
use super::rotating_file::RotatingFile;
use super::tail::Tail;
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use serde_json::Value;
use std::io;
use std::num::NonZeroU32;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, SyncSender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use tokio::sync::broadcast;

/// The log's path in the home.
pub const AUDIT_FILE: &str = "logs/dashboard-auth.log";

/// Lines that may wait for the disk. More are dropped and counted, so that no request waits.
const QUEUE: usize = 8192;
/// From the first line that waits until it is written, with all that came meanwhile: on a busy dashboard the writer is
/// woken once for many lines, and not by each.
const GATHERING: Duration = Duration::from_millis(2);
const MAX_FILE_BYTES: u64 = 10 * 1024 * 1024;
const KEPT_FILES: u32 = 5;
/// Lines about strangers.
const STRANGERS_A_SECOND: NonZeroU32 = NonZeroU32::new(20).expect("a constant that is not zero");
const STRANGERS_AT_ONCE: NonZeroU32 = NonZeroU32::new(1_000).expect("a constant that is not zero");

/// Writes the audit log on a thread of its own.
#[derive(Clone)]
pub struct AuditLog {
    shared: Arc<Shared>,
}

struct Shared {
    tail: Arc<Tail>,
    queue: SyncSender<Message>,
    writer: Mutex<Option<JoinHandle<()>>>,
    dropped: Arc<AtomicU64>,
    strangers: DefaultDirectRateLimiter,
    untold: AtomicU64,
}

enum Message {
    Line(Record),
    /// No more lines are wanted.
    End,
}

impl AuditLog {
    /// The log of this home.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub fn start(home: &Path) -> io::Result<Self> {
        let (queue, inbox) = mpsc::sync_channel(QUEUE);
        let file = RotatingFile::new(home.join(AUDIT_FILE), MAX_FILE_BYTES, KEPT_FILES);
        let path = home.join(AUDIT_FILE);
        let dropped = Arc::new(AtomicU64::new(0));
        let lost = dropped.clone();
        let tail = Arc::new(Tail::new());
        let shown = tail.clone();
        let writer = thread::Builder::new()
            .name("audit".into())
            .spawn(move || write_all(&inbox, file, &path, &lost, &shown))?;
        let writer = Mutex::new(Some(writer));
        let strangers =
            RateLimiter::direct(Quota::per_second(STRANGERS_A_SECOND).allow_burst(STRANGERS_AT_ONCE));
        let shared = Shared { tail, queue, writer, dropped, strangers, untold: AtomicU64::new(0) };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Hands a record to the writer, and never waits.
    pub fn write(&self, record: Record) {
        if self.shared.queue.try_send(Message::Line(record)).is_err() {
            let dropped = self.shared.dropped.fetch_add(1, Ordering::Relaxed) + 1;
            if dropped.is_power_of_two() {
                tracing::warn!(dropped, "audit lines dropped: the log cannot keep up");
            }
        }
    }

    /// The last records of this process, the oldest first, as they were written.
    pub fn tail(&self) -> Vec<Value> {
        self.shared.tail.last()
    }

    /// Those that are written from now on.
    pub fn follow(&self) -> broadcast::Receiver<Arc<Value>> {
        self.shared.tail.follow()
    }

    /// The same for what a stranger did, who can do it as often as they like: beyond a burst, so many a second, and the
    /// next line says how many went untold. They must not wash away what the log is for.
    pub fn write_of_stranger(&self, record: Record) {
        match self.shared.strangers.check() {
            Ok(()) => {
                let untold = self.shared.untold.swap(0, Ordering::Relaxed);
                self.write(if untold > 0 { record.with("untold", untold) } else { record });
            }
            Err(_) => {
                self.shared.untold.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// Lines that were dropped since the start.
    pub fn dropped(&self) -> u64 {
        self.shared.dropped.load(Ordering::Relaxed)
    }

    /// Writes what is queued and ends. Blocks: call it when no more requests come.
    pub fn close(&self) {
        // Fails if the writer has ended: then there is nothing to wait for.
        let _ = self.shared.queue.send(Message::End);
        let writer = self.shared.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if writer.is_some_and(|writer| writer.join().is_err()) {
            tracing::error!("the audit writer had panicked");
        }
    }
}

fn write_all(
    inbox: &mpsc::Receiver<Message>,
    mut file: RotatingFile,
    path: &Path,
    lost: &AtomicU64,
    tail: &Tail,
) {
    let mut failing = false;
    let mut lines = Vec::new();
    let mut has_ended = false;
    while !has_ended {
        let records = gather(inbox, &mut has_ended);
        if records.is_empty() {
            continue;
        }
        lines.clear();
        records.iter().for_each(|record| write_line(&mut lines, record));
        let written = file.append(&lines);
        if written.is_err() {
            lost.fetch_add(records.len() as u64, Ordering::Relaxed);
        }
        tail.show(records);
        match written {
            Ok(()) => failing = false,
            Err(error) if !failing => {
                tracing::warn!(path = %path.display(), %error, "the audit log cannot be written");
                failing = true;
            }
            Err(_) => {}
        }
    }
}

/// Waits for a line, and takes what else there is a moment later.
#[expect(clippy::disallowed_methods, reason = "waits for nothing: what comes meanwhile must not wake it")]
fn gather(inbox: &mpsc::Receiver<Message>, has_ended: &mut bool) -> Vec<Record> {
    let mut records = Vec::new();
    let mut take = |message| match message {
        Message::Line(record) => records.push(record.redacted()),
        Message::End => *has_ended = true,
    };
    // Without senders there is nobody left to end it.
    take(inbox.recv().unwrap_or(Message::End));
    thread::sleep(GATHERING);
    inbox.try_iter().take(QUEUE).for_each(take);
    records
}

fn write_line(lines: &mut Vec<u8>, record: &Record) {
    // Text keys and plain values always serialise, and a vector always takes them.
    let _ = serde_json::to_writer(&mut *lines, record);
    lines.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::super::EventName;
    use super::*;

    #[test]
    fn every_record_is_a_line_of_json() {
        let home = tempfile::tempdir().unwrap();
        let log = AuditLog::start(home.path()).unwrap();
        log.write(Record::now(EventName::DrainBegin).with("principal", "nas").with("secret", "canary"));
        log.write(Record::now(EventName::DrainCancel));
        log.close();
        let text = std::fs::read_to_string(home.path().join(AUDIT_FILE)).unwrap();
        let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len(), 2);
        assert_eq!(lines[0]["event"], "drain_begin");
        assert_eq!(lines[0]["principal"], "nas");
        assert!(lines[0]["ts"].as_str().unwrap().parse::<jiff::Timestamp>().is_ok());
        assert!(!text.contains("canary"));
    }

    #[test]
    fn strangers_cannot_wash_the_log_away() {
        let home = tempfile::tempdir().unwrap();
        let log = AuditLog::start(home.path()).unwrap();
        for _ in 0..3_000 {
            log.write_of_stranger(Record::now(EventName::LoginFailure));
        }
        log.close();
        let text = std::fs::read_to_string(home.path().join(AUDIT_FILE)).unwrap();
        let lines = text.lines().count();
        assert!((1_000..1_500).contains(&lines), "{lines}");
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
