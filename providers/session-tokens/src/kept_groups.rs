//! The groups of a session. A few are part of its tokens. Many would make a cookie larger than
//! common proxies take, so the bucket keeps them.
//!
//! **Invariant:** groups have one entry, however many sessions and people have them, so that a
//! person who signs in often takes no more room. Its name is a digest of the groups. The host drops
//! an entry a week after it was last written, which is as long as a session can be renewed.

use portcullis_guest::{Bucket, Unavailable, base64url};
use sha2::{Digest, Sha256};

/// Longest groups that are part of a token, in bytes.
const MAX_INSIDE: usize = 200;
/// Longest entry, in bytes: the host takes values of 32 KiB. Groups beyond it are left out.
const MAX_ENTRY: usize = 30 * 1024;
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
    /// The bucket is out of reach, or has no room.
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
        let name = base64url(&Sha256::digest(&entry)[..DIGEST_BYTES]);
        self.bucket.set(&key_of(&name), &entry)?;

        Ok(name)
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
    format!("g:{name}")
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
