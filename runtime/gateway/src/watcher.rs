//! Watches the marker and the restart request: on every change of them, and once per second without
//! one.

use jiff::Timestamp;
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use portcullis_home::{
    DrainVerdict, DrainView, Epoch, MARKER_FILE, MAX_TTL_SECONDS, MarkerFile, StaleReason, judge,
};
use portcullis_home::{RESTART_FILE, threads};
use std::ffi::OsStr;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{self, RecvTimeoutError, SyncSender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Interval between two reads without a file event.
const FLOOR: Duration = Duration::from_secs(1);

/// Files in the home whose changes call for a look.
const WATCHED: [&str; 2] = [MARKER_FILE, RESTART_FILE];

/// Looks at the marker and judges it; says once of each stale marker that it is ignored.
pub(super) struct MarkerWatch {
    marker: MarkerFile,
    epoch: Option<Epoch>,
    max_age: Duration,
    warned: Option<StaleReason>,
    /// A drain that was written by a clock that was ahead, and when it was first seen.
    overlong: Option<(DrainView, Instant)>,
}

impl MarkerWatch {
    pub(super) fn new(marker: MarkerFile, max_age: Duration) -> Self {
        Self {
            marker,
            epoch: Epoch::present(),
            max_age,
            warned: None,
            overlong: None,
        }
    }

    pub(super) fn look(&mut self) -> DrainVerdict {
        let now = Timestamp::now();
        let verdict = judge(&self.marker.read(), self.epoch.as_ref(), self.max_age, now);
        let verdict = self.bound(verdict, now);
        match &verdict {
            DrainVerdict::Stale(reason) if self.warned.as_ref() != Some(reason) => {
                tracing::warn!(marker = %self.marker.path().display(), %reason, "ignoring a stale drain marker");
                self.warned = Some(reason.clone());
            }
            DrainVerdict::Stale(_) => {}
            _ => self.warned = None,
        }
        verdict
    }

    /// Bounds a drain that was written by a clock that was ahead: it lasts for its length from when
    /// it was first seen.
    fn bound(&mut self, verdict: DrainVerdict, now: Timestamp) -> DrainVerdict {
        let longest = self.max_age.max(Duration::from_secs(MAX_TTL_SECONDS));
        let Some((view, length)) = verdict
            .drain()
            .and_then(|view| Some((view, view.overlong(now, longest)?)))
        else {
            self.overlong = None;
            return verdict;
        };

        let first_seen = match &self.overlong {
            Some((known, first_seen)) if known == view => *first_seen,
            _ => {
                let now = Instant::now();
                self.overlong = Some((view.clone(), now));
                now
            }
        };
        if first_seen.elapsed() < length {
            return verdict;
        }

        DrainVerdict::Stale(StaleReason::Expired(view.expires_at.unwrap_or(now)))
    }

    /// Looks again and again on a thread of its own, until `stop` is dropped. Calls `apply` at each
    /// look.
    pub(super) fn run(
        mut self,
        stop: Stop,
        mut apply: impl FnMut(&DrainVerdict) + Send + 'static,
    ) -> io::Result<JoinHandle<()>> {
        let Stop { changes, events } = stop;
        let _events_of = self.watch_folder(changes);

        thread::Builder::new()
            .name("drain-watcher".into())
            .spawn(move || {
                let _events_of = _events_of;
                loop {
                    match events.recv_timeout(FLOOR) {
                        Ok(Signal::Changed) | Err(RecvTimeoutError::Timeout) => {}
                        Ok(Signal::Stop) | Err(RecvTimeoutError::Disconnected) => return,
                    }
                    // A panic in one iteration must not end the watcher.
                    if catch_unwind(AssertUnwindSafe(|| apply(&self.look()))).is_err() {
                        tracing::error!("a look at the home failed: looking again");
                    }
                }
            })
    }

    /// Subscribes to file events. Without them the reaction takes up to [`FLOOR`].
    fn watch_folder(&self, changes: SyncSender<Signal>) -> Option<RecommendedWatcher> {
        let folder = self.marker.path().parent()?;
        let report = move |event: notify::Result<Event>| {
            if event.is_ok_and(|event| is_change(&event)) {
                // Full: a look is due anyway.
                let _ = changes.try_send(Signal::Changed);
            }
        };
        // notify does not report that its thread could not be started: its watcher then panics when
        // it is used and when it is dropped.
        let watched = threads::check(1)
            .map_err(notify::Error::io)
            .and_then(|()| notify::recommended_watcher(report))
            .and_then(|mut watcher| {
                watcher
                    .watch(folder, RecursiveMode::NonRecursive)
                    .map(|()| watcher)
            });

        watched
            .inspect_err(|error| tracing::warn!(%error, "no file events: the marker is read once per second"))
            .ok()
    }
}

/// Reading a file is an event too, and a look reads: only changes count.
fn is_change(event: &Event) -> bool {
    let is_watched = |name: &OsStr| WATCHED.iter().any(|watched| name == OsStr::new(watched));
    !matches!(event.kind, EventKind::Access(_))
        && event
            .paths
            .iter()
            .filter_map(|path| path.file_name())
            .any(is_watched)
}

/// What wakes the watcher.
pub(super) enum Signal {
    Changed,
    Stop,
}

/// The watcher's ends of the channel.
pub(super) struct Stop {
    changes: SyncSender<Signal>,
    events: mpsc::Receiver<Signal>,
}

/// Returns a channel to wake and stop the watcher.
pub(super) fn stop_channel() -> (SyncSender<Signal>, Stop) {
    let (changes, events) = mpsc::sync_channel(1);
    (changes.clone(), Stop { changes, events })
}
