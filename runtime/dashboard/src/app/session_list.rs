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

/// In the home, for its owner alone. The original gateway has a folder `sessions` there.
const FILE: &str = "session_list";
/// Between two writes, when the list has changed.
const WRITE_INTERVAL: Duration = Duration::from_secs(5);
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
        let mut written = None;
        let mut ticks = tokio::time::interval(WRITE_INTERVAL);
        loop {
            tokio::select! {
                _ = closed.wait_for(|closed| *closed) => return self,
                _ = ticks.tick() => {}
            }
            let changes = self.people.known.changes();
            if written != Some(changes) && self.write(false).await {
                written = Some(changes);
            }
        }
    }

    /// The last write, when no request is served any more.
    pub(super) async fn finish(mut self) {
        self.write(true).await;
    }

    /// Returns whether the list is in the file. If not, that is logged once.
    async fn write(&mut self, is_final: bool) -> bool {
        self.people.forget_ended();
        let now = now();
        let Listing {
            since, sessions, ..
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
        written.is_ok()
    }
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
        assert!(killed.write(false).await);
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

    #[test]
    fn damaged_list_begins_empty() {
        let home = tempfile::tempdir().unwrap();
        fs::write(home.path().join(FILE), "{").unwrap();
        assert!(read_session_list(home.path()).is_err());
        assert!(open(home.path()).list(now()).sessions.is_empty());
    }
}
