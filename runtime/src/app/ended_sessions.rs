//! Sessions that people have signed out of, so that a restart brings none of them back.

use crate::atomic_file::{self, Durability};
use crate::auth::{MAX_ENDED, SessionId};
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

/// In the home, for its owner alone: a line each.
const FILE: &str = "ended_sessions";

/// Where they are written down.
pub(super) struct EndedSessions(Mutex<File>);

impl EndedSessions {
    /// Those of before, the oldest first, and where the next ones go.
    pub(super) fn open(home: &Path) -> io::Result<(Vec<SessionId>, Arc<Self>)> {
        let path = home.join(FILE);
        let text = match atomic_file::read(&path) {
            Ok(text) => String::from_utf8_lossy(&text).into_owned(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(error),
        };
        let mut known: Vec<_> = text.lines().filter_map(SessionId::written).collect();
        if known.len() > MAX_ENDED {
            known.drain(..known.len() - MAX_ENDED);
            let kept: String = known.iter().map(|id| format!("{}\n", id.as_str())).collect();
            atomic_file::replace(&path, kept.as_bytes(), Durability::Renamed)?;
        }
        let file = OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
        Ok((known, Arc::new(Self(Mutex::new(file)))))
    }

    /// Writes one down. Waits for the disk.
    pub(super) fn remember(&self, id: &SessionId) {
        let mut file = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let written = file.write_all(format!("{}\n", id.as_str()).as_bytes()).and_then(|()| file.sync_data());
        if let Err(error) = written {
            tracing::warn!(%error, "a sign-out is not written down: after a restart its access token counts again");
        }
    }
}
