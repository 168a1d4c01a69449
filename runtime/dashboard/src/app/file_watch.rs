//! Notices that one of some files was written, renamed or linked anew.

use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use portcullis_home::threads;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;

/// Between two looks, when no event comes (network file systems send none).
const FLOOR: Duration = Duration::from_secs(2);
/// A file counts as written when it has not changed for this long.
const SETTLE: Duration = Duration::from_millis(30);
/// But never for longer than this.
const MAX_SETTLES: u32 = 100;

/// What can be seen of a file without reading it; `None`: it is not there.
type Trace = Option<(u64, u64, i64, i64)>;

pub(super) struct FileWatch {
    /// Each file as it was when it was last read, or a moment before.
    seen: BTreeMap<PathBuf, Trace>,
    events: Arc<Notify>,
    watcher: Option<RecommendedWatcher>,
    folders: BTreeSet<PathBuf>,
    /// A change was seen that has not been returned yet.
    is_settling: bool,
}

impl FileWatch {
    pub(super) fn start(files: BTreeSet<PathBuf>) -> Self {
        let events = Arc::new(Notify::new());
        let report = events.clone();
        let report = move |event: notify::Result<Event>| {
            // Reading is an event too, and a look reads.
            if event.is_ok_and(|event| !matches!(event.kind, EventKind::Access(_))) {
                report.notify_one();
            }
        };

        // notify does not report that its thread could not be started: its watcher then panics when
        // it is used and when it is dropped.
        let watcher = threads::check(1)
            .map_err(notify::Error::io)
            .and_then(|()| notify::recommended_watcher(report))
            .inspect_err(
                |error| tracing::warn!(%error, "no file events: changes are looked for every 2 s"),
            )
            .ok();
        let mut watch = Self {
            seen: BTreeMap::new(),
            events,
            watcher,
            folders: BTreeSet::new(),
            is_settling: false,
        };
        watch.watch(files);
        watch
    }

    /// From now on these files. One that was watched before has not been looked at since
    /// [`note`](Self::note).
    pub(super) fn watch(&mut self, files: BTreeSet<PathBuf>) {
        let folders: BTreeSet<_> = files
            .iter()
            .filter_map(|file| file.parent())
            .map(Path::to_owned)
            .collect();

        if let Some(watcher) = &mut self.watcher {
            for folder in self.folders.difference(&folders) {
                let _ = watcher.unwatch(folder);
            }
            for folder in folders.difference(&self.folders) {
                // A folder that is not there has no events: the floor finds what appears in it.
                let _ = watcher.watch(folder, RecursiveMode::NonRecursive);
            }
        }

        self.folders = folders;
        let before = std::mem::take(&mut self.seen);
        let trace = |file: PathBuf| {
            let trace = before.get(&file).copied().unwrap_or_else(|| trace(&file));
            (file, trace)
        };
        self.seen = files.into_iter().map(trace).collect();
    }

    /// The files are about to be read: what changes from now on is a change.
    pub(super) fn note(&mut self) {
        self.seen
            .iter_mut()
            .for_each(|(file, seen)| *seen = trace(file));
    }

    /// This process has just written the file: that is no change.
    pub(super) fn note_own(&mut self, file: &Path) {
        if let Some(seen) = self.seen.get_mut(file) {
            *seen = trace(file);
        }
    }

    /// Returns when a file has changed and come to rest. Can be dropped and called again without
    /// missing a change.
    pub(super) async fn changed(&mut self) {
        while !self.is_settling {
            // Looks also without an event.
            let _ = tokio::time::timeout(FLOOR, self.events.notified()).await;
            self.is_settling = self.differs();
        }
        self.settle().await;
        self.is_settling = false;
    }

    /// Ends with every file noted as it is.
    async fn settle(&mut self) {
        for _ in 0..MAX_SETTLES {
            self.note();
            tokio::time::sleep(SETTLE).await;
            if !self.differs() {
                return;
            }
        }
    }

    fn differs(&self) -> bool {
        self.seen.iter().any(|(file, seen)| trace(file) != *seen)
    }
}

/// Links are followed: what counts is what would be read.
fn trace(file: &Path) -> Trace {
    let found = fs::metadata(file).ok()?;
    Some((found.ino(), found.len(), found.ctime(), found.ctime_nsec()))
}
