//! The groups of a session. A few are part of its tokens. Many would make a cookie larger than
//! common proxies take, so the bucket keeps them.
//!
//! **Invariant:** groups have one entry, however many sessions and people have them, so that a
//! person who signs in often takes no more room. Its name is a digest of the groups. All entries
//! together take at most [`MAX_BYTES`], beside what calls at the same moment add: the ends of sessions
//! are in the same bucket and must find room. The host drops an entry a week after it was last
//! written, which is as long as a session can be renewed.

use portcullis_guest::{Bucket, Unavailable, base64url};
use sha2::{Digest, Sha256};

/// Longest groups that are part of a token, in bytes.
const MAX_INSIDE: usize = 200;
/// Longest entry, in bytes: the host takes values of 32 KiB. Groups beyond it are left out.
const MAX_ENTRY: usize = 30 * 1024;
/// Room of all entries with their keys, in bytes: 1,800 people who are in 20 groups each, none in the
/// same. Other groups are then refused until entries are dropped.
const MAX_BYTES: u64 = 1_280 * 1024;
/// Longest key of an entry, in bytes.
const KEY_BYTES: usize = 40;
/// What the keys of entries begin with. They come early in the order of the keys, so that a listing
/// reads few others.
const SHELF: &str = "1:";
/// Bytes of a digest: no two sets of groups have the same by chance or on purpose.
const DIGEST_BYTES: usize = 24;

pub(crate) struct KeptGroups<'a> {
    pub(crate) bucket: &'a dyn Bucket,
}

impl KeptGroups<'_> {
    /// Writes the groups down unless they are short. Returns the name of the entry; empty if there
    /// is none.
    ///
    /// # Errors
    /// The bucket is out of reach, or there is no room.
    pub(crate) fn keep(&self, groups: &[String]) -> Result<String, Unavailable> {
        if fit_inside(groups) {
            return Ok(String::new());
        }

        let mut bytes = 0;
        let fitting = groups.iter().take_while(|group| {
            // Quotes and a comma; a character that JSON escapes takes six bytes at most.
            bytes += 6 * group.len() + 3;
            bytes <= MAX_ENTRY
        });
        let mut fitting: Vec<_> = fitting.collect();
        // An issuer may name them in another order the next time.
        fitting.sort();
        let entry = serde_json::to_vec(&fitting)
            .map_err(|error| Unavailable(format!("groups: {error}")))?;

        let bytes = (entry.len() + KEY_BYTES) as u64;
        let digest = base64url(&Sha256::digest(&entry)[..DIGEST_BYTES]);
        let name = format!("{bytes}.{digest}");
        let key = key_of(&name);
        if self.bucket.get(&key)?.is_none() && self.held_bytes()? + bytes > MAX_BYTES {
            return Err(Unavailable(format!(
                "the different groups of all people take more than {MAX_BYTES} bytes: have the identity \
                 provider send fewer groups"
            )));
        }

        // Again where it exists: it is kept for a week from now.
        self.bucket.set(&key, &entry)?;
        Ok(name)
    }

    /// Bytes of all entries, as their keys say.
    fn held_bytes(&self) -> Result<u64, Unavailable> {
        let mut held = 0;
        let mut cursor = None;
        loop {
            let page = self.bucket.list_keys(cursor)?;
            held += page
                .keys
                .iter()
                .filter_map(|key| bytes_of(key))
                .sum::<u64>();
            let is_last = page.keys.last().is_none_or(|key| key_is_past_shelf(key));
            match page.next {
                Some(next) if !is_last => cursor = Some(next),
                _ => return Ok(held),
            }
        }
    }

    /// The groups of an entry. `None`: it is gone.
    ///
    /// # Errors
    /// The bucket is out of reach.
    pub(crate) fn read(&self, name: &str) -> Result<Option<Vec<String>>, Unavailable> {
        let entry = self.bucket.get(&key_of(name))?;
        Ok(entry.and_then(|entry| serde_json::from_slice(&entry).ok()))
    }
}

fn fit_inside(groups: &[String]) -> bool {
    groups.iter().map(|group| group.len() + 3).sum::<usize>() <= MAX_INSIDE
}

fn key_of(name: &str) -> String {
    format!("{SHELF}{name}")
}

/// Bytes of the entry with this key. `None`: it is no entry of groups.
fn bytes_of(key: &str) -> Option<u64> {
    key.strip_prefix(SHELF)?.split_once('.')?.0.parse().ok()
}

/// Whether no entry of groups comes after this key.
fn key_is_past_shelf(key: &str) -> bool {
    key > SHELF && !key.starts_with(SHELF)
}

#[cfg(test)]
mod tests {
    use super::*;
    use portcullis_guest::MockBucket;

    #[test]
    fn many_groups_are_kept_once_and_few_are_not() {
        let bucket = MockBucket::default();
        let kept = KeptGroups { bucket: &bucket };
        assert_eq!(kept.keep(&["ops".to_owned()]), Ok(String::new()));

        let mut many: Vec<_> = (100..200).map(|number| format!("group-{number}")).collect();
        let name = kept.keep(&many).unwrap();
        assert_eq!(kept.read(&name), Ok(Some(many.clone())));
        many.reverse();
        assert_eq!(kept.keep(&many), Ok(name.clone()), "in another order");
        assert_eq!(bucket.list_keys(None).unwrap().keys.len(), 1);

        many.pop();
        assert_ne!(kept.keep(&many), Ok(name), "other groups");
        assert_eq!(kept.read("made-up"), Ok(None));
    }

    #[test]
    fn different_groups_leave_room_for_the_ends_of_sessions() {
        let bucket = MockBucket::default();
        let kept = KeptGroups { bucket: &bucket };
        // Of other shelves, before and behind.
        for number in 0..300 {
            bucket.set(&format!("0:{number}"), b"token").unwrap();
            bucket.set(&format!("s:{number}"), b"1").unwrap();
        }

        let groups_of = |person: u64| -> Vec<String> {
            let names =
                (0..100).map(|number| format!("group-{person}-{number}-{}", "x".repeat(30)));
            names.collect()
        };
        let refused = (0..1_000).find(|person| kept.keep(&groups_of(*person)).is_err());
        let refused = refused.expect("the room has an end");
        assert!(refused > 100, "{refused}");
        assert!(kept.held_bytes().unwrap() <= MAX_BYTES);

        let error = kept.keep(&groups_of(refused)).unwrap_err();
        assert!(error.0.contains("fewer groups"), "{error:?}");
        assert!(
            kept.keep(&groups_of(0)).is_ok(),
            "groups that are kept already"
        );
    }

    #[test]
    fn entry_is_never_larger_than_the_bucket_takes() {
        let bucket = MockBucket::default();
        let kept = KeptGroups { bucket: &bucket };
        let many = vec!["\u{1}".repeat(256); 256];
        let name = kept.keep(&many).unwrap();
        let entry = bucket.get(&key_of(&name)).unwrap().unwrap();
        assert!(entry.len() <= 32 * 1024, "{}", entry.len());
        assert!(!kept.read(&name).unwrap().unwrap().is_empty());
    }
}
