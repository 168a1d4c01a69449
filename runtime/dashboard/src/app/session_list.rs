//! The list of sessions, kept in a file: `portcullis session list` reads it, and a restart begins
//! with it.
//!
//! **Invariant:** nothing in the file can let a person in or stop a start. A list that may have
//! gaps says from when on it has none.

use portcullis_auth::{KnownSession, KnownSessions, Listing, People};
use portcullis_home::atomic_file::{self, Durability};
use serde::{Deserialize, Serialize};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::watch;
use tokio::time::Instant;

/// In the home, for its owner alone. The original gateway has a folder `sessions` there.
const FILE: &str = "session_list";
/// Between two writes, when listed sessions were used.
const WRITE_INTERVAL: Duration = Duration::from_secs(5);
/// Shortest time between two writes, when sessions were opened or ended.
const MIN_REST: Duration = Duration::from_millis(200);
/// How many times longer than a write the time until the next one is, at least.
const REST_FACTOR: u32 = 10;
/// More than the longest list.
const MAX_FILE_BYTES: u64 = 64 * 1024 * 1024;

/// The list as it is written.
#[derive(Debug, Serialize, Deserialize)]
pub struct SessionList {
    /// When it was written, in seconds since the Unix epoch.
    pub written_at: u64,
    /// Every session that was opened or used from this time until `written_at` is listed. Seconds
    /// since the Unix epoch.
    pub since: u64,
    /// Whether the dashboard that wrote it ended afterwards, so that nothing is missing.
    pub is_final: bool,
    /// In the order in which they were opened.
    pub sessions: Vec<KnownSession>,
}

/// The list in a home. `None`: there is none, since no dashboard that people sign in to has run
/// there.
///
/// # Errors
/// The file cannot be read, or is damaged.
pub fn read_session_list(home: &Path) -> io::Result<Option<SessionList>> {
    match atomic_file::read_at_most(&home.join(FILE), MAX_FILE_BYTES) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        read => Ok(Some(serde_json::from_slice(&read?)?)),
    }
}

/// The sessions that earlier runs saw. After a run that was killed, and after a damaged file, some
/// may be missing.
pub(super) fn open(home: &Path) -> KnownSessions {
    atomic_file::sweep(&home.join(FILE));
    let list = read_session_list(home).unwrap_or_else(|error| {
        let path = home.join(FILE);
        tracing::error!(path = %path.display(), %error, "cannot read the list of sessions: it begins empty");
        None
    });
    match list {
        Some(list) if list.is_final => KnownSessions::new(list.since, list.sessions),
        Some(list) => KnownSessions::new(now(), list.sessions),
        None => KnownSessions::new(now(), []),
    }
}

/// Keeps the file in step with the list.
pub(super) struct SessionListKeeper {
    home: PathBuf,
    people: Arc<People>,
    is_failing: bool,
}

impl SessionListKeeper {
    pub(super) fn new(home: &Path, people: Arc<People>) -> Self {
        Self {
            home: home.to_owned(),
            people,
            is_failing: false,
        }
    }

    /// Writes what changes until `closed` turns true. The first write says that the list is not
    /// final.
    pub(super) async fn run(mut self, mut closed: watch::Receiver<bool>) -> Self {
        let mut turnover = self.people.known.turnover();
        let mut written = None;
        loop {
            let began = Instant::now();
            // What turned over until now is in this write.
            drop(turnover.borrow_and_update());
            if written != Some(self.people.known.changes()) {
                written = self.write(false).await.or(written);
            }

            let ended = Instant::now();
            let rest = rest_after(ended - began);
            let (soonest, latest) = (ended + rest, ended + rest.max(WRITE_INTERVAL));
            tokio::select! {
                _ = closed.wait_for(|closed| *closed) => return self,
                () = turned_over(&mut turnover, soonest, latest) => {}
            }
        }
    }

    /// The last write, when no request is served any more.
    pub(super) async fn finish(mut self) {
        self.write(true).await;
    }

    /// Returns which change of the list is the last in the file. `None`: the list is not there,
    /// which is logged once.
    async fn write(&mut self, is_final: bool) -> Option<u64> {
        self.people.forget_ended();
        let now = now();
        let Listing {
            since,
            changes,
            sessions,
        } = self.people.known.list(now);
        let list = SessionList {
            written_at: now,
            since,
            is_final,
            sessions,
        };
        let path = self.home.join(FILE);

        let write = move || {
            let text = serde_json::to_vec(&list)?;
            atomic_file::replace(&path, &text, Durability::Renamed)
        };
        let written = tokio::task::spawn_blocking(write)
            .await
            .unwrap_or_else(|error| Err(io::Error::other(error)));
        if let Err(error) = &written
            && !self.is_failing
        {
            tracing::warn!(%error, "the list of sessions cannot be written to {FILE} in the home");
        }

        self.is_failing = written.is_err();
        written.ok().map(|()| changes)
    }
}

/// How long to rest after a write that took so long. A long list on a slow disk, and a burst of
/// sign-ins, so take a tenth of a thread at most.
fn rest_after(write: Duration) -> Duration {
    write.saturating_mul(REST_FACTOR).max(MIN_REST)
}

/// Waits until a session was added or removed and `soonest` has come, or until `latest`.
async fn turned_over(turnover: &mut watch::Receiver<()>, soonest: Instant, latest: Instant) {
    let turned = async {
        // The sender is in `People`, which the keeper holds.
        let _ = turnover.changed().await;
        tokio::time::sleep_until(soonest).await;
    };
    let _ = tokio::time::timeout_at(latest, turned).await;
}

/// Seconds since the Unix epoch.
fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;
    use portcullis_auth::{PeopleGate, SessionId, Sessions};
    use std::fs;

    fn a_session() -> KnownSession {
        KnownSession {
            id: SessionId::generate().unwrap(),
            provider: "basic".into(),
            user_id: "ada".into(),
            email: String::new(),
            since: now(),
            last_seen: now(),
            expires_at: now() + 60,
            address: None,
            user_agent: None,
        }
    }

    fn keeper(home: &Path, known: KnownSessions) -> SessionListKeeper {
        let people = People::with_sessions(PeopleGate::Sessions, Sessions::default(), known);
        SessionListKeeper::new(home, Arc::new(people))
    }

    #[tokio::test]
    async fn list_without_a_gap_survives_a_proper_end_alone() {
        let home = tempfile::tempdir().unwrap();
        let session = a_session();
        let mut killed = keeper(home.path(), KnownSessions::new(7, [session.clone()]));
        assert!(killed.write(false).await.is_some());
        let known = open(home.path()).list(now());
        assert_eq!(known.sessions, std::slice::from_ref(&session));
        assert!(
            known.since > 7,
            "what was used since the last write may be missing"
        );

        keeper(home.path(), KnownSessions::new(7, [session.clone()]))
            .finish()
            .await;
        assert_eq!(
            open(home.path()).list(now()),
            Listing {
                since: 7,
                changes: 0,
                sessions: vec![session]
            }
        );
    }

    /// Polls until the file lists this many sessions, for less than the interval between the writes
    /// of uses.
    async fn until_listed(home: &Path, count: usize) {
        let listed = async {
            loop {
                let list = read_session_list(home).unwrap();
                if list.is_some_and(|list| list.sessions.len() == count) {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(WRITE_INTERVAL / 2, listed)
            .await
            .unwrap_or_else(|_| panic!("{count} are not listed"));
    }

    #[tokio::test]
    async fn end_of_a_session_is_written_soon() {
        let home = tempfile::tempdir().unwrap();
        let sessions = [a_session(), a_session(), a_session()];
        let [first, second, _] = sessions.clone().map(|known| known.id);
        let keeper = keeper(home.path(), KnownSessions::new(7, sessions));
        let people = keeper.people.clone();
        let (close, closed) = watch::channel(false);
        let running = tokio::spawn(keeper.run(closed));

        until_listed(home.path(), 3).await;
        people.known.remove(|known| known.id == first);
        until_listed(home.path(), 2).await;
        people.known.remove(|known| known.id == second);
        until_listed(home.path(), 1).await;
        close.send_replace(true);
        running.await.unwrap();
    }

    #[tokio::test]
    async fn session_that_turns_over_during_the_rest_waits_for_its_end() {
        let known = KnownSessions::new(7, [a_session()]);
        let mut turnover = known.turnover();
        known.remove(|_| true);
        let began = Instant::now();
        let soonest = began + Duration::from_millis(30);
        turned_over(&mut turnover, soonest, began + Duration::from_secs(60)).await;
        assert!(Instant::now() >= soonest);

        let latest = Instant::now() + Duration::from_millis(10);
        turned_over(&mut turnover, began, latest).await;
        assert!(Instant::now() >= latest, "nothing has turned over since");
    }

    #[test]
    fn rest_grows_with_the_write() {
        for (write, rest) in [(0, 200), (20, 200), (21, 210), (1_000, 10_000)] {
            let found = rest_after(Duration::from_millis(write));
            assert_eq!(found, Duration::from_millis(rest), "{write} ms");
        }
    }

    #[test]
    fn damaged_list_begins_empty() {
        let home = tempfile::tempdir().unwrap();
        fs::write(home.path().join(FILE), "{").unwrap();
        assert!(read_session_list(home.path()).is_err());
        assert!(open(home.path()).list(now()).sessions.is_empty());
    }
}
