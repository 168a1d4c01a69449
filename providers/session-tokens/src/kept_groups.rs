//! The groups of a session. A few are part of its tokens. Many would make a cookie larger than
//! common proxies take, so the bucket keeps them, in one entry per session.

use portcullis_guest::{Bucket, Unavailable};

/// Longest groups that are part of a token, in bytes.
const MAX_INSIDE: usize = 200;
/// Longest entry, in bytes: the host takes values of 32 KiB. Groups beyond it are left out.
const MAX_ENTRY: usize = 30 * 1024;

pub(crate) struct KeptGroups<'a> {
    pub(crate) bucket: &'a dyn Bucket,
}

impl KeptGroups<'_> {
    /// Writes the groups down unless they are short. Returns whether the bucket has them. The host
    /// drops an entry a week after it was last written, which is as long as a session can be
    /// renewed.
    ///
    /// # Errors
    /// The bucket is out of reach, or has no room.
    pub(crate) fn keep(&self, sid: &str, groups: &[String]) -> Result<bool, Unavailable> {
        if fit_inside(groups) {
            return Ok(false);
        }

        let mut bytes = 0;
        let fitting = groups.iter().take_while(|group| {
            // Quotes and a comma; a character that JSON escapes takes six bytes at most.
            bytes += 6 * group.len() + 3;
            bytes <= MAX_ENTRY
        });
        let fitting: Vec<_> = fitting.collect();
        let entry = serde_json::to_vec(&fitting)
            .map_err(|error| Unavailable(format!("groups: {error}")))?;
        self.bucket.set(&key_of(sid), &entry)?;

        Ok(true)
    }

    /// The groups of a session. `None`: the entry is gone.
    ///
    /// # Errors
    /// The bucket is out of reach.
    pub(crate) fn read(&self, sid: &str) -> Result<Option<Vec<String>>, Unavailable> {
        let entry = self.bucket.get(&key_of(sid))?;
        Ok(entry.and_then(|entry| serde_json::from_slice(&entry).ok()))
    }

    /// Removes the entry of a session that is over. If that fails, the host drops it after a week.
    pub(crate) fn forget(&self, sid: &str, groups: &[String]) {
        if !fit_inside(groups) {
            let _ = self.bucket.delete(&key_of(sid));
        }
    }
}

fn fit_inside(groups: &[String]) -> bool {
    groups.iter().map(|group| group.len() + 3).sum::<usize>() <= MAX_INSIDE
}

fn key_of(sid: &str) -> String {
    format!("g:{sid}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use portcullis_guest::MockBucket;

    #[test]
    fn many_groups_are_kept_and_few_are_not() {
        let bucket = MockBucket::default();
        let kept = KeptGroups { bucket: &bucket };
        assert_eq!(kept.keep("a", &["ops".to_owned()]), Ok(false));
        assert_eq!(kept.read("a"), Ok(None));

        let many: Vec<_> = (0..100).map(|number| format!("group-{number}")).collect();
        assert_eq!(kept.keep("a", &many), Ok(true));
        assert_eq!(kept.read("a"), Ok(Some(many.clone())));
        kept.forget("a", &many);
        assert_eq!(kept.read("a"), Ok(None));
    }

    #[test]
    fn entry_is_never_larger_than_the_bucket_takes() {
        let bucket = MockBucket::default();
        let kept = KeptGroups { bucket: &bucket };
        let many = vec!["\u{1}".repeat(256); 256];
        assert_eq!(kept.keep("a", &many), Ok(true));
        let entry = bucket.get("g:a").unwrap().unwrap();
        assert!(entry.len() <= 32 * 1024, "{}", entry.len());
        assert!(!kept.read("a").unwrap().unwrap().is_empty());
    }
}
