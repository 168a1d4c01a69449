//! The access log: one JSON object per line for each answered request.
//!
//! A line is written when its answer has been sent or given up. No request waits for it: lines go
//! through a bounded queue to a thread of their own, and a line that finds the queue full is
//! dropped and counted.

use super::client::Client;
use super::metrics::Route;
use crate::audit::RotatingFile;
use axum::body::{Body, Bytes, HttpBody};
use axum::extract::Request;
use axum::http::{Method, Response, StatusCode};
use http_body::{Frame, SizeHint};
use jiff::Timestamp;
use portcullis_auth::Permit;
use portcullis_observe::request_id::RequestId;
use serde_json::{Value, json};
use std::fmt;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, SyncSender};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Lines that may wait for the disk.
const QUEUE: usize = 8192;
/// From the first line that waits until it is written, with all that came meanwhile: on a busy
/// dashboard the writer is woken once for many lines.
const GATHERING: Duration = Duration::from_millis(2);
/// Size of a file at which it is moved aside.
const MAX_FILE_BYTES: u64 = 10 * 1024 * 1024;
/// Files that were moved aside and are kept.
const KEPT_FILES: u32 = 5;
/// Characters of a path that are written, before escapes.
const MAX_PATH_CHARS: usize = 512;

/// What wrote the line: on stderr it stands among lines of the log, each of which names that too.
const COMPONENT: &str = "dashboard";

/// Where the access log is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AccessLogTarget {
    /// The stderr of the process, as its log.
    Stderr,
    /// The stdout of the process.
    Stdout,
    /// A file of mode 0600, with five full ones of 10 MiB beside it.
    File(PathBuf),
}

impl AccessLogTarget {
    /// Returns the target that this argument names: `-` is stdout, and no argument is stderr.
    pub fn named(path: Option<&Path>) -> Self {
        match path {
            None => Self::Stderr,
            Some(path) if path == Path::new("-") => Self::Stdout,
            Some(path) => Self::File(path.to_owned()),
        }
    }
}

impl fmt::Display for AccessLogTarget {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stderr => formatter.write_str("stderr"),
            Self::Stdout => formatter.write_str("stdout"),
            Self::File(path) => path.display().fmt(formatter),
        }
    }
}

/// Writes lines on a thread of its own.
#[derive(Clone)]
pub struct AccessLog(Arc<AccessLogShared>);

struct AccessLogShared {
    queue: SyncSender<AccessLogMessage>,
    writer: Mutex<Option<JoinHandle<()>>>,
    dropped: Arc<AtomicU64>,
}

/// `None`: no more lines are wanted.
type AccessLogMessage = Option<Box<AccessLogEntry>>;

impl AccessLog {
    /// Opens the target and starts the writer.
    ///
    /// # Errors
    /// The file cannot be opened, or the thread cannot be started.
    pub fn start(target: &AccessLogTarget) -> io::Result<Self> {
        let mut output = LogOutput::open(target)?;
        let (queue, inbox) = mpsc::sync_channel(QUEUE);
        let dropped = Arc::new(AtomicU64::new(0));
        let lost = dropped.clone();
        let writer = thread::Builder::new()
            .name("access-log".into())
            .spawn(move || write_all(&inbox, &mut output, &lost))?;
        Ok(Self(Arc::new(AccessLogShared {
            queue,
            writer: Mutex::new(Some(writer)),
            dropped,
        })))
    }

    /// Lines that were dropped since the start.
    pub(super) fn dropped(&self) -> u64 {
        self.0.dropped.load(Ordering::Relaxed)
    }

    /// Writes what is queued and ends. Blocks: call it when no more requests come.
    pub fn close(&self) {
        // Fails if the writer has ended: then there is nothing to wait for.
        let _ = self.0.queue.send(None);
        let writer = self
            .0
            .writer
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if writer.is_some_and(|writer| writer.join().is_err()) {
            tracing::error!("the writer of the access log had panicked");
        }
    }

    fn write(&self, entry: Box<AccessLogEntry>) {
        if self.0.queue.try_send(Some(entry)).is_err() {
            self.0.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn write_all(inbox: &mpsc::Receiver<AccessLogMessage>, output: &mut LogOutput, lost: &AtomicU64) {
    let mut is_failing = false;
    let mut has_ended = false;

    while !has_ended {
        let entries = gather(inbox, &mut has_ended);
        let mut lines = Vec::new();
        for entry in &entries {
            // Text keys and plain values always serialise, and a vector always takes them.
            let _ = serde_json::to_writer(&mut lines, &entry.line());
            lines.push(b'\n');
        }
        let written = output.append(&lines);
        if let Err(error) = &written {
            lost.fetch_add(entries.len() as u64, Ordering::Relaxed);
            if !is_failing {
                tracing::warn!(%error, "the access log cannot be written");
            }
        }
        is_failing = written.is_err();
    }
}

/// Waits for a line, and takes what else there is a moment later.
#[expect(
    clippy::disallowed_methods,
    reason = "waits for nothing: what comes meanwhile must not wake it"
)]
fn gather(inbox: &mpsc::Receiver<AccessLogMessage>, has_ended: &mut bool) -> Vec<AccessLogEntry> {
    let mut entries = Vec::new();
    let mut take = |message: AccessLogMessage| match message {
        Some(entry) => entries.push(*entry),
        None => *has_ended = true,
    };
    // Without senders no line can come any more.
    take(inbox.recv().unwrap_or_default());
    thread::sleep(GATHERING);
    inbox.try_iter().take(QUEUE).for_each(take);
    entries
}

enum LogOutput {
    Stderr,
    Stdout,
    File(RotatingFile),
}

impl LogOutput {
    fn open(target: &AccessLogTarget) -> io::Result<Self> {
        let path = match target {
            AccessLogTarget::Stderr => return Ok(Self::Stderr),
            AccessLogTarget::Stdout => return Ok(Self::Stdout),
            AccessLogTarget::File(path) => path,
        };
        let mut file = RotatingFile::new(path.clone(), MAX_FILE_BYTES, KEPT_FILES);
        file.append_rotating(b"")?;
        Ok(Self::File(file))
    }

    fn append(&mut self, lines: &[u8]) -> io::Result<()> {
        match self {
            // One write under one lock: no line of the log comes between.
            Self::Stderr => io::stderr().write_all(lines),
            Self::Stdout => {
                let mut stdout = io::stdout();
                stdout.write_all(lines)?;
                stdout.flush()
            }
            Self::File(file) => file.append_rotating(lines),
        }
    }
}

/// The caller of a request, attached to its answer.
#[derive(Clone, Debug)]
pub(super) struct Who {
    user: String,
    provider: Option<String>,
}

impl Who {
    pub(super) fn of(permit: &Permit) -> Self {
        Self {
            user: permit.name().to_owned(),
            provider: permit.provider().map(ToString::to_string),
        }
    }
}

/// A line about a request whose answer is not complete.
#[derive(Debug)]
pub(super) struct AccessLogEntry {
    at: Timestamp,
    began: Instant,
    took: Duration,
    id: Option<RequestId>,
    client: Option<String>,
    method: Method,
    path: String,
    route: Route,
    status: StatusCode,
    bytes: u64,
    who: Option<Who>,
}

impl AccessLogEntry {
    /// Begins a line: what is known of the request itself.
    pub(super) fn of(
        request: &Request,
        began: Instant,
        id: Option<&RequestId>,
        client: Client,
    ) -> Box<Self> {
        Box::new(Self {
            at: Timestamp::now(),
            began,
            took: Duration::ZERO,
            id: id.cloned(),
            client: client.shown(),
            method: request.method().clone(),
            path: shown(request.uri().path()),
            route: Route::of(request),
            status: StatusCode::OK,
            bytes: 0,
            who: None,
        })
    }

    fn line(&self) -> Value {
        json!({
            "component": COMPONENT,
            "time": self.at,
            "request_id": self.id.as_ref().map(RequestId::as_str),
            "client": self.client,
            "method": shown(self.method.as_str()),
            "path": self.path,
            "route": self.route.as_str(),
            "status": self.status.as_u16(),
            "bytes": self.bytes,
            "ms": milliseconds(self.took),
            "user": self.who.as_ref().map(|who| who.user.as_str()),
            "provider": self.who.as_ref().and_then(|who| who.provider.as_deref()),
        })
    }
}

/// Returns milliseconds with three decimal places.
fn milliseconds(took: Duration) -> f64 {
    (took.as_secs_f64() * 1e6).round() / 1e3
}

/// The start of a text that a stranger chose, with everything but visible ASCII escaped.
fn shown(text: &str) -> String {
    let mut shown = String::new();
    for character in text.chars().take(MAX_PATH_CHARS) {
        match character {
            '!'..='~' => shown.push(character),
            _ => shown.extend(character.escape_default()),
        }
    }
    shown
}

/// Follows an answer to its end, and writes its line then.
pub(super) fn follow(
    log: &AccessLog,
    mut entry: Box<AccessLogEntry>,
    mut answer: Response<Body>,
) -> Response<Body> {
    entry.status = answer.status();
    entry.who = answer.extensions_mut().remove::<Who>();
    let log = log.clone();

    answer.map(|body| {
        Body::new(FollowedBody {
            body,
            log,
            entry: Some(entry),
        })
    })
}

/// A body that counts its bytes.
struct FollowedBody {
    body: Body,
    log: AccessLog,
    /// `None`: the line is written.
    entry: Option<Box<AccessLogEntry>>,
}

impl HttpBody for FollowedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        if let Some(Ok(frame)) = &frame
            && let Some(data) = frame.data_ref()
            && let Some(entry) = &mut self.entry
        {
            entry.bytes += data.len() as u64;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for FollowedBody {
    fn drop(&mut self) {
        if let Some(mut entry) = self.entry.take() {
            entry.took = entry.began.elapsed();
            self.log.write(entry);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_of_a_stranger_is_bounded_and_visible() {
        assert_eq!(shown("/a b\u{1b}[2J\u{e9}\""), "/a b\\u{1b}[2J\\u{e9}\"");
        assert_eq!(shown(&"x".repeat(100_000)).len(), MAX_PATH_CHARS);
    }

    #[test]
    fn dash_is_stdout() {
        assert_eq!(
            AccessLogTarget::named(Some(Path::new("-"))),
            AccessLogTarget::Stdout
        );
        assert_eq!(
            AccessLogTarget::named(Some(Path::new("./-"))),
            AccessLogTarget::File("./-".into())
        );
    }

    #[tokio::test]
    async fn line_counts_the_bytes_of_its_answer() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("logs/access.log");
        let log = AccessLog::start(&AccessLogTarget::File(path.clone())).unwrap();
        let request = Request::builder()
            .uri("/x?secret=1")
            .body(Body::empty())
            .unwrap();
        let entry = AccessLogEntry::of(&request, Instant::now(), None, Client::Unknown);
        let answer = follow(&log, entry, Response::new(Body::from("hello")));
        assert_eq!(answer.body().size_hint().exact(), Some(5));
        axum::body::to_bytes(answer.into_body(), 100).await.unwrap();
        let given_up = AccessLogEntry::of(&request, Instant::now(), None, Client::Unknown);
        drop(follow(&log, given_up, Response::new(Body::from("hello"))));
        log.close();
        let text = std::fs::read_to_string(path).unwrap();
        let lines: Vec<Value> = text
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        assert_eq!(
            (&lines[0]["path"], &lines[0]["route"]),
            (&json!("/x"), &json!("other"))
        );
        assert_eq!(
            (&lines[0]["bytes"], &lines[1]["bytes"], lines.len()),
            (&json!(5), &json!(0), 2)
        );
        assert!(!text.contains("secret"));
    }

    #[test]
    fn line_without_a_place_is_counted() {
        let folder = tempfile::tempdir().unwrap();
        let log = AccessLog::start(&AccessLogTarget::File(folder.path().join("a"))).unwrap();
        log.close();
        let request = Request::new(Body::empty());
        log.write(AccessLogEntry::of(
            &request,
            Instant::now(),
            None,
            Client::Unknown,
        ));
        assert_eq!(log.dropped(), 1);
    }

    #[test]
    fn file_that_cannot_be_opened_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        assert!(AccessLog::start(&AccessLogTarget::File(folder.path().to_owned())).is_err());
    }
}
