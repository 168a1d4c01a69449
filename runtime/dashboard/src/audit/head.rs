//! Where each log ends, in a small file of the home: shows that lines at the end of a log were cut
//! off.

use super::chain::{Point, hash_of};
use super::mac::{Code, MAC_BYTES, MacKey};
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
    /// Shows that a process with the key wrote it. `None`: there was no key, or an earlier version
    /// wrote it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    mac: Option<String>,
}

impl StoredHead {
    fn point(&self) -> Option<Point> {
        Some(Point {
            seq: self.seq,
            chain: hash_of(&self.chain)?,
        })
    }

    fn code(&self) -> Option<Code> {
        let mut code = [0; MAC_BYTES];
        hex::decode_to_slice(self.mac.as_ref()?, &mut code).ok()?;
        Some(code)
    }
}

/// What the code of a head shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HeadProof {
    /// A process with the key wrote it.
    Right,
    /// It has none, or there is no head.
    Missing,
    /// It was changed, or another key made it.
    Wrong,
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
        self.logs.get(log)?.point()
    }

    /// Whether a process with this key wrote what is known of the end of a log.
    pub(super) fn proof(&self, log: &str, macs: &MacKey) -> HeadProof {
        let Some(head) = self.logs.get(log).filter(|head| head.mac.is_some()) else {
            return HeadProof::Missing;
        };
        let is_right = head
            .point()
            .zip(head.code())
            .is_some_and(|(at, code)| macs.has_noted(log, at, &code));
        if is_right {
            HeadProof::Right
        } else {
            HeadProof::Wrong
        }
    }

    /// Leaves out what is older than what is there: another process may have written on. With the
    /// key, what no process with the key wrote does not count.
    pub(super) fn set(&mut self, log: &str, at: Point, macs: Option<&MacKey>) {
        let is_newer = self.logs.get(log).is_some_and(|known| known.seq > at.seq);
        let counts = macs.is_none_or(|macs| self.proof(log, macs) == HeadProof::Right);
        if is_newer && counts {
            return;
        }
        let head = StoredHead {
            seq: at.seq,
            chain: hex::encode(at.chain),
            mac: macs.map(|macs| hex::encode(macs.of_head(log, at))),
        };
        self.logs.insert(log.to_owned(), head);
    }

    /// Replaces the home's file. The caller holds the lock of the log.
    pub(super) fn write(&self, home: &Path) -> io::Result<()> {
        let text = serde_json::to_vec(self).map_err(io::Error::other)?;
        atomic_file::replace(&home.join(HEAD_FILE), &text, Durability::Renamed)
    }
}

#[cfg(test)]
mod tests {
    use super::super::chain::GENESIS;
    use super::*;

    const LOG: &str = "a.log";

    fn at(seq: u64) -> Point {
        Point {
            seq,
            chain: GENESIS,
        }
    }

    #[test]
    fn head_of_a_process_with_the_key_is_told_from_others() {
        let (own, other) = (MacKey::of(&[1; 32]), MacKey::of(&[2; 32]));
        let mut heads = Heads::default();
        assert_eq!(heads.proof(LOG, &own), HeadProof::Missing);
        heads.set(LOG, at(3), Some(&own));
        assert_eq!(heads.proof(LOG, &own), HeadProof::Right);
        assert_eq!(heads.proof(LOG, &other), HeadProof::Wrong);

        let text = serde_json::to_string(&heads).unwrap();
        let changed = text.replace("\"seq\":3", "\"seq\":2");
        let changed: Heads = serde_json::from_str(&changed).unwrap();
        assert_eq!(changed.proof(LOG, &own), HeadProof::Wrong);

        let earlier = format!(r#"{{"{LOG}":{{"seq":3,"chain":"{}"}}}}"#, "0".repeat(64));
        let earlier: Heads = serde_json::from_str(&earlier).unwrap();
        assert_eq!(earlier.of(LOG), Some(at(3)));
        assert_eq!(earlier.proof(LOG, &own), HeadProof::Missing);
    }

    #[test]
    fn newer_head_stays_if_a_process_with_the_key_wrote_it() {
        let key = MacKey::of(&[1; 32]);
        let mut heads = Heads::default();
        heads.set(LOG, at(5), Some(&key));
        heads.set(LOG, at(4), Some(&key));
        assert_eq!(heads.of(LOG), Some(at(5)));

        let mut forged = Heads::default();
        forged.set(LOG, at(9), None);
        forged.set(LOG, at(4), Some(&key));
        assert_eq!(forged.of(LOG), Some(at(4)));
        assert_eq!(forged.proof(LOG, &key), HeadProof::Right);
    }
}
