use super::Record;
use super::rotating_file::RotatingFile;
use super::tail::Tail;
use super::thinning::Thinning;
use serde_json::Value;
use std::io;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, SyncSender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use tokio::sync::broadcast;

/// The log's path in the home.
pub const AUDIT_FILE: &str = "logs/dashboard-auth.log";
/// The path in the home of the file that holds the important lines once more.
pub const IMPORTANT_FILE: &str = "logs/dashboard-auth-important.log";

/// Lines that may wait for the disk. More are dropped and counted, so that no request waits.
const QUEUE: usize = 8192;
/// From the first line that waits until it is written, with all that came meanwhile: on a busy dashboard the writer is
/// woken once for many lines, and not by each.
const GATHERING: Duration = Duration::from_millis(2);
const MAX_FILE_BYTES: u64 = 10 * 1024 * 1024;
const KEPT_FILES: u32 = 5;
/// Lines of one cause at once.
const BURST: NonZeroU32 = NonZeroU32::new(1_000).expect("a constant that is not zero");
/// Between two lines of one cause after the burst.
const PERIOD: Duration = Duration::from_secs(1);
/// The same in the file of the important lines.
const IMPORTANT_PERIOD: Duration = Duration::from_secs(60);

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
    thinning: Thinning,
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
        let files = Files::of(home);
        let dropped = Arc::new(AtomicU64::new(0));
        let lost = dropped.clone();
        let tail = Arc::new(Tail::new());
        let shown = tail.clone();
        let writer = thread::Builder::new()
            .name("audit".into())
            .spawn(move || write_all(&inbox, files, &lost, &shown))?;
        let writer = Mutex::new(Some(writer));
        let thinning = Thinning::new(BURST, PERIOD);
        let shared = Shared { tail, queue, writer, dropped, thinning };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Hands a record to the writer, and never waits. Of a flood, most records are left out and counted.
    pub fn write(&self, record: Record) {
        // Before the queue: a flood must not fill it.
        let Some(record) = self.shared.thinning.pass(record) else { return };
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

fn write_all(inbox: &mpsc::Receiver<Message>, mut files: Files, lost: &AtomicU64, tail: &Tail) {
    let mut has_ended = false;
    while !has_ended {
        let records = gather(inbox, &mut has_ended);
        if records.is_empty() {
            continue;
        }
        if !files.write(&records) {
            lost.fetch_add(records.len() as u64, Ordering::Relaxed);
        }
        tail.show(records);
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

/// The two files of the log.
struct Files {
    all: Output,
    important: Output,
    /// For the second file, which has to last longer.
    thinning: Thinning,
}

impl Files {
    fn of(home: &Path) -> Self {
        Self {
            all: Output::new(home.join(AUDIT_FILE)),
            important: Output::new(home.join(IMPORTANT_FILE)),
            thinning: Thinning::new(BURST, IMPORTANT_PERIOD),
        }
    }

    /// Returns whether the records are in the file of all lines.
    fn write(&mut self, records: &[Record]) -> bool {
        let mut lines = Vec::new();
        let mut important = Vec::new();
        for record in records {
            write_line(&mut lines, record);
            if !record.event().is_important() {
                continue;
            }
            if let Some(record) = self.thinning.pass(record.clone()) {
                write_line(&mut important, &record);
            }
        }
        let is_written = self.all.append(&lines);
        if !important.is_empty() {
            self.important.append(&important);
        }
        is_written
    }
}

/// A file, and whether the last write to it failed.
struct Output {
    file: RotatingFile,
    path: PathBuf,
    is_failing: bool,
}

impl Output {
    fn new(path: PathBuf) -> Self {
        let file = RotatingFile::new(path.clone(), MAX_FILE_BYTES, KEPT_FILES);
        Self { file, path, is_failing: false }
    }

    /// Returns whether the lines were written. Only the first of several failures is logged.
    fn append(&mut self, lines: &[u8]) -> bool {
        let written = self.file.append(lines);
        if let Err(error) = &written
            && !self.is_failing
        {
            tracing::warn!(path = %self.path.display(), %error, "the audit log cannot be written");
        }
        self.is_failing = written.is_err();
        written.is_ok()
    }
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
        let important = std::fs::read_to_string(home.path().join(IMPORTANT_FILE)).unwrap();
        assert_eq!(important, text);
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

    #[test]
    fn drain_outlives_a_flood_of_calls() {
        let home = tempfile::tempdir().unwrap();
        let mut files = Files::of(home.path());
        assert!(files.write(&[Record::now(EventName::DrainBegin)]));
        let call = Record::now(EventName::TokenAuthSuccess).with("path", "p".repeat(1_000));
        let calls = vec![call; 10_000];
        for _ in 0..8 {
            assert!(files.write(&calls));
        }
        let oldest = std::fs::read_to_string(home.path().join(format!("{AUDIT_FILE}.{KEPT_FILES}"))).unwrap();
        assert!(!oldest.contains("drain_begin"), "all files were turned over");
        let important = std::fs::read_to_string(home.path().join(IMPORTANT_FILE)).unwrap();
        assert_eq!(important.lines().count(), 1);
        assert!(important.contains("drain_begin"));
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
