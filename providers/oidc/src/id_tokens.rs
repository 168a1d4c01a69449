//! The ID tokens of sessions. A sign-out at the issuer says by the ID token whose session ends
//! (OpenID Connect RP-Initiated Logout 1.0, section 2). A cookie has no room for it, so the bucket
//! keeps it, and the session's note has its handle.
//!
//! **Invariant:** they take at most [`MAX_KEPT`] entries of [`MAX_BYTES`] and a handle, a quarter
//! of the bucket: the rest is for what renews and ends sessions. The host drops an entry a week
//! after it was last written.

use portcullis_guest::{Bucket, base64url};

/// Longest token that is kept, in bytes: a longer one fits into no address (`logout.rs`).
const MAX_BYTES: usize = 2_000;
/// Sessions whose token is kept: those that were opened last.
const MAX_KEPT: u64 = 500;
/// Counts the sessions, each of which takes the place of the one that was opened [`MAX_KEPT`]
/// sessions before.
const COUNTER: &str = "i";

pub(crate) struct IdTokens<'a> {
    pub(crate) bucket: &'a dyn Bucket,
}

impl IdTokens<'_> {
    /// Keeps the token of a new session and returns its handle. `None`: the token is too long, or
    /// the bucket does not take it.
    pub(crate) fn keep_first(&self, token: &str) -> Option<String> {
        if token.len() > MAX_BYTES {
            return None;
        }
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes).ok()?;
        let place = self.bucket.increment(COUNTER, 1).ok()? % MAX_KEPT;
        let handle = format!("{place}-{}", base64url(&bytes));
        self.write(&handle, token).then_some(handle)
    }

    /// Keeps a newer token of a session. The older one stays where that one is too long, or the
    /// bucket does not take it.
    pub(crate) fn keep(&self, handle: &str, token: &str) {
        if token.len() <= MAX_BYTES && self.read(handle).is_some() {
            self.write(handle, token);
        }
    }

    /// Returns the token and forgets it. `None`: it is gone, or the bucket is out of reach.
    pub(crate) fn take(&self, handle: &str) -> Option<String> {
        let token = self.read(handle)?;
        self.forget(handle);
        Some(token)
    }

    /// Forgets the token of a session that is over. If that fails, the host drops it after a week.
    pub(crate) fn forget(&self, handle: &str) {
        if self.read(handle).is_some()
            && let Some(key) = key_of(handle)
        {
            let _ = self.bucket.delete(&key);
        }
    }

    /// The token of this session, unless a later session has its place.
    fn read(&self, handle: &str) -> Option<String> {
        let entry = self.bucket.get(&key_of(handle)?).ok()??;
        let entry = String::from_utf8(entry).ok()?;
        let (owner, token) = entry.split_once(' ')?;
        (owner == handle).then(|| token.to_owned())
    }

    /// Returns whether the bucket has the token then.
    fn write(&self, handle: &str, token: &str) -> bool {
        let Some(key) = key_of(handle) else {
            return false;
        };
        self.bucket
            .set(&key, format!("{handle} {token}").as_bytes())
            .is_ok()
    }
}

/// The key of the place, which a handle begins with.
fn key_of(handle: &str) -> Option<String> {
    let (place, _) = handle.split_once('-')?;
    Some(format!("i:{place}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use portcullis_guest::MockBucket;

    #[test]
    fn newest_token_is_given_out_once() {
        let bucket = MockBucket::default();
        let tokens = IdTokens { bucket: &bucket };
        let handle = tokens.keep_first("first").unwrap();
        tokens.keep(&handle, "second");
        tokens.keep(&handle, &"x".repeat(MAX_BYTES + 1));
        assert_eq!(tokens.take(&handle).as_deref(), Some("second"));
        assert_eq!(tokens.take(&handle), None);
        tokens.keep(&handle, "third");
        assert_eq!(tokens.take(&handle), None, "the session is over");
        for no_handle in ["made-up", "", "1-", "-"] {
            assert_eq!(tokens.take(no_handle), None, "{no_handle}");
        }
        assert_eq!(tokens.keep_first(&"x".repeat(MAX_BYTES + 1)), None);
    }

    #[test]
    fn tokens_of_the_sessions_that_were_opened_last_are_kept() {
        let bucket = MockBucket::default();
        let tokens = IdTokens { bucket: &bucket };
        let handles: Vec<_> = (0..=MAX_KEPT)
            .map(|n| tokens.keep_first(&n.to_string()).unwrap())
            .collect();
        let (first, last) = (&handles[0], &handles[handles.len() - 1]);
        tokens.keep(first, "newer");
        tokens.forget(first);
        assert_eq!(tokens.take(first), None, "a later session has its place");
        assert_eq!(tokens.take(last), Some(MAX_KEPT.to_string()));
        assert_eq!(tokens.take(&handles[1]).as_deref(), Some("1"));
    }
}
