//! What a bucket holds, and the caps on it. All of it is in memory, so that reads do not wait. A
//! change is computed first, so that the disk has it before memory does.

use std::collections::BTreeMap;
use std::time::Duration;

/// Keys of one bucket. Providers that sign people in keep one per session for a week: 100,000
/// sign-outs fit. A key costs some 130 bytes of memory beside what it holds, 17 MB at most.
pub const MAX_KEYS: u64 = 131_072;
/// Keys and values of one bucket together.
pub const MAX_BUCKET_BYTES: u64 = 4 * 1024 * 1024;
/// Longest key, in bytes.
pub const MAX_KEY_BYTES: usize = 256;
/// Longest value, in bytes.
pub const MAX_VALUE_BYTES: usize = 32 * 1024;
/// Life of an entry after its last write. Entries that are not refreshed must not fill a bucket for
/// ever.
pub const ENTRY_LIFE: Duration = Duration::from_secs(7 * 24 * 3600);
/// Entries past their life that one write removes: more would hold up its call.
const DEAD_AT_ONCE: usize = 1_000;
/// Keys in one page of a listing.
const PAGE: usize = 100;

/// Why nothing is written.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum EntryError {
    /// A cap of the bucket.
    #[error("{0}")]
    Full(String),
    /// The value is not a number, or would overflow.
    #[error("the value is no number that can grow by that much")]
    NotANumber,
}

/// A value, until it dies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Seconds since the Unix epoch.
    pub(crate) until: u64,
    pub(crate) value: Vec<u8>,
}

/// What one write changes: for each key what it then has.
pub(crate) type Changes = BTreeMap<String, Option<Entry>>;

/// One page of a listing.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Page {
    pub(crate) keys: Vec<String>,
    pub(crate) next: Option<u64>,
}

/// Everything in one bucket, in the order of the keys.
#[derive(Debug, Default)]
pub(crate) struct Entries {
    by_key: BTreeMap<String, Entry>,
    bytes: u64,
}

impl Entries {
    pub(crate) fn get(&self, key: &str, now: u64) -> Option<&[u8]> {
        self.by_key
            .get(key)
            .filter(|entry| entry.until > now)
            .map(|entry| &*entry.value)
    }

    /// A page of keys, after passing over as many.
    pub(crate) fn list(&self, skip: u64, now: u64) -> Page {
        let rest = (0..)
            .zip(&self.by_key)
            .skip(usize::try_from(skip).unwrap_or(usize::MAX));
        let live = rest.filter(|(_, (_, entry))| entry.until > now);
        let mut live = live
            .map(|(place, (key, _))| (place, key.clone()))
            .peekable();
        let keys = live.by_ref().take(PAGE).map(|(_, key)| key).collect();
        Page {
            keys,
            next: live.peek().map(|(place, _)| *place),
        }
    }

    /// Takes the room of what is past its life, if there is no other.
    ///
    /// # Errors
    /// The key or the value is too large, or the bucket is full.
    pub(crate) fn put(&self, key: &str, value: &[u8], now: u64) -> Result<Changes, EntryError> {
        let full = |what: String| Err(EntryError::Full(what));
        if key.is_empty() || key.len() > MAX_KEY_BYTES {
            return full(format!(
                "a key has 1 to {MAX_KEY_BYTES} bytes, not {}",
                key.len()
            ));
        }
        if value.len() > MAX_VALUE_BYTES {
            return full(format!(
                "a value has at most {MAX_VALUE_BYTES} bytes, not {}",
                value.len()
            ));
        }

        let entry = Entry {
            until: now + ENTRY_LIFE.as_secs(),
            value: value.to_vec(),
        };
        let mut changes = Changes::from([(key.to_owned(), Some(entry))]);
        let mut dead = self
            .by_key
            .iter()
            .filter(|(_, entry)| entry.until <= now)
            .map(|(key, _)| key);

        while let Err(full) = self.usage_after(&changes) {
            let before = changes.len();
            for key in dead.by_ref().take(DEAD_AT_ONCE) {
                changes.entry(key.clone()).or_default();
            }
            if changes.len() == before {
                return Err(full);
            }
        }
        Ok(changes)
    }

    pub(crate) fn remove(&self, key: &str) -> Changes {
        self.by_key
            .contains_key(key)
            .then(|| (key.to_owned(), None))
            .into_iter()
            .collect()
    }

    /// Adds to a number; a key that is not there counts as zero.
    ///
    /// # Errors
    /// It is no number, or as for [`Self::put`].
    pub(crate) fn increment(
        &self,
        key: &str,
        by: u64,
        now: u64,
    ) -> Result<(u64, Changes), EntryError> {
        let old = str::from_utf8(self.get(key, now).unwrap_or(b"0"))
            .ok()
            .and_then(|text| text.parse().ok());
        let new = old
            .and_then(|old: u64| old.checked_add(by))
            .ok_or(EntryError::NotANumber)?;
        Ok((new, self.put(key, new.to_string().as_bytes(), now)?))
    }

    pub(crate) fn apply(&mut self, changes: Changes) {
        for (key, entry) in changes {
            let added = entry.as_ref().map_or(0, |entry| size(&key, entry));
            let removed = self.by_key.get(&key).map_or(0, |entry| size(&key, entry));
            self.bytes = self.bytes + added - removed;
            match entry {
                Some(entry) => drop(self.by_key.insert(key, entry)),
                None => drop(self.by_key.remove(&key)),
            }
        }
    }

    fn usage_after(&self, changes: &Changes) -> Result<(), EntryError> {
        let (mut keys, mut bytes) = (self.by_key.len() as u64, self.bytes);
        for (key, entry) in changes {
            let (old, new) = (self.by_key.get(key), entry.as_ref());
            keys = keys + u64::from(new.is_some()) - u64::from(old.is_some());
            bytes =
                bytes + new.map_or(0, |new| size(key, new)) - old.map_or(0, |old| size(key, old));
        }

        if bytes > MAX_BUCKET_BYTES {
            return Err(EntryError::Full(format!(
                "the bucket is full ({MAX_BUCKET_BYTES} bytes)"
            )));
        }
        if keys > MAX_KEYS {
            return Err(EntryError::Full(format!(
                "the bucket is full ({MAX_KEYS} keys)"
            )));
        }
        Ok(())
    }
}

fn size(key: &str, entry: &Entry) -> u64 {
    (key.len() + entry.value.len()) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_000_000;

    impl Entries {
        fn set(&mut self, key: &str, value: &[u8]) -> Result<(), EntryError> {
            let changes = self.put(key, value, NOW)?;
            self.apply(changes);
            Ok(())
        }
    }

    #[test]
    fn counter_counts_in_one_step() {
        let mut entries = Entries::default();
        let (first, changes) = entries.increment("n", 2, NOW).unwrap();
        entries.apply(changes);
        assert_eq!((first, entries.increment("n", 3, NOW).unwrap().0), (2, 5));
        for no_number in [u64::MAX.to_string().as_bytes(), b"text", b"\xff"] {
            entries.set("n", no_number).unwrap();
            assert_eq!(entries.increment("n", 1, NOW), Err(EntryError::NotANumber));
        }
    }

    #[test]
    fn full_bucket_says_so_and_loses_nothing() {
        let mut entries = Entries::default();
        let value = vec![1; MAX_VALUE_BYTES];
        let fitting = MAX_BUCKET_BYTES / (MAX_VALUE_BYTES as u64 + 3);
        for index in 0..fitting {
            entries.set(&format!("{index:03}"), &value).unwrap();
        }

        let is_full = |outcome| matches!(outcome, Err(EntryError::Full(_)));
        assert!(is_full(entries.set("one more", &value)));
        entries
            .set("000", &value)
            .expect("writing again what is there needs no more room");
        assert!(is_full(entries.set("k", &vec![1; MAX_VALUE_BYTES + 1])));
        assert!(is_full(entries.set(&"k".repeat(MAX_KEY_BYTES + 1), b"")));
        assert!(is_full(entries.set("", b"")));

        assert_eq!(entries.by_key.len() as u64, fitting);
        entries.apply(entries.remove("000"));
        entries.set("one more", &value).unwrap();
    }

    #[test]
    fn no_more_keys_than_the_cap() {
        let mut entries = Entries::default();
        (0..MAX_KEYS).for_each(|index| entries.set(&index.to_string(), b"").unwrap());
        assert!(matches!(
            entries.set("one more", b""),
            Err(EntryError::Full(_))
        ));
        entries.set("0", b"again").unwrap();
        entries.apply(entries.remove("0"));
        entries.set("one more", b"").unwrap();
        assert_eq!(entries.remove("never there"), Changes::new());
    }

    #[test]
    fn entries_die_and_make_room() {
        let mut entries = Entries::default();
        let old = NOW - ENTRY_LIFE.as_secs();
        let fitting = MAX_BUCKET_BYTES / (MAX_VALUE_BYTES as u64 + 3);
        for index in 0..fitting {
            entries.apply(
                entries
                    .put(&format!("{index:03}"), &[1; MAX_VALUE_BYTES], old)
                    .unwrap(),
            );
        }
        assert_eq!(
            (
                entries.get("000", NOW),
                entries.get("000", NOW - 1).is_some()
            ),
            (None, true)
        );
        assert_eq!(
            entries.list(0, NOW),
            Page {
                keys: vec![],
                next: None
            }
        );
        entries
            .set("new", &[1; MAX_VALUE_BYTES])
            .expect("the dead made room");
        assert_eq!(entries.by_key.keys().collect::<Vec<_>>(), ["new"]);
    }

    #[test]
    fn dead_entries_make_room_in_steps() {
        let mut entries = Entries::default();
        let old = NOW - ENTRY_LIFE.as_secs();
        for index in 0..MAX_KEYS {
            entries.apply(entries.put(&index.to_string(), b"", old).unwrap());
        }
        let changes = entries.put("new", b"", NOW).unwrap();
        assert_eq!(changes.len(), DEAD_AT_ONCE + 1);
        entries.apply(changes);
        assert_eq!(
            entries.put("newer", b"", NOW).unwrap().len(),
            1,
            "there is room for a while"
        );
    }

    #[test]
    fn sign_outs_of_a_busy_week_fit() {
        let mut entries = Entries::default();
        // As `session-tokens` writes them: 128 random bits as base64url.
        (0..100_000).for_each(|index| entries.set(&format!("s:{index:022}"), b"over").unwrap());
        assert_eq!(
            entries.get("s:0000000000000000099999", NOW),
            Some(&b"over"[..])
        );
    }

    #[test]
    fn listing_comes_in_pages() {
        let mut entries = Entries::default();
        (0..250).for_each(|index| entries.set(&format!("{index:03}"), b"").unwrap());
        let first = entries.list(0, NOW);
        assert_eq!((first.keys.len(), first.next), (PAGE, Some(100)));
        let last = entries.list(200, NOW);
        assert_eq!((last.keys.len(), last.next), (50, None));
        assert_eq!(entries.list(u64::MAX, NOW).keys.len(), 0);
    }
}
