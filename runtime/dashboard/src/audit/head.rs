//! Where each log ends, in a small file of the home: shows that lines at the end of a log were cut
//! off.

use super::chain::{Point, hash_of};
use portcullis_home::atomic_file::{self, Durability};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io;
use std::path::Path;

/// In the home, for its owner alone: one JSON object.
const HEAD_FILE: &str = "audit_head";

/// By the name of the log's file.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Heads {
    logs: BTreeMap<String, StoredHead>,
}

#[derive(Debug, Serialize, Deserialize)]
struct StoredHead {
    seq: u64,
    chain: String,
}

impl Heads {
    /// What the home's file says; nothing without a file.
    pub(super) fn read(home: &Path) -> io::Result<Self> {
        match atomic_file::read(&home.join(HEAD_FILE)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(error),
            Ok(text) => serde_json::from_slice(&text).map_err(io::Error::other),
        }
    }

    /// The last line of a log, as far as it is known.
    pub(super) fn of(&self, log: &str) -> Option<Point> {
        let head = self.logs.get(log)?;
        Some(Point {
            seq: head.seq,
            chain: hash_of(&head.chain)?,
        })
    }

    /// Leaves out what is older than what is there: another process may have written on.
    pub(super) fn set(&mut self, log: &str, at: Point) {
        if self.logs.get(log).is_some_and(|known| known.seq > at.seq) {
            return;
        }
        let head = StoredHead {
            seq: at.seq,
            chain: hex::encode(at.chain),
        };
        self.logs.insert(log.to_owned(), head);
    }

    /// Replaces the home's file. The caller holds the lock of the log.
    pub(super) fn write(&self, home: &Path) -> io::Result<()> {
        let text = serde_json::to_vec(self).map_err(io::Error::other)?;
        atomic_file::replace(&home.join(HEAD_FILE), &text, Durability::Renamed)
    }
}
