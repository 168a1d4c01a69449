//! The issuer's refresh tokens. A short one is part of our own refresh token. A long one would make
//! a cookie too large for the buffers of common proxies, so the bucket keeps it, and our token has
//! its handle.
//!
//! **Invariant:** a session has at most one entry, which is emptied when the session ends, and is
//! dropped by the host a week after it was last written: as long as a session can be refreshed.

use portcullis_guest::{Bucket, Unavailable, base64url};

/// What a handle begins with. A token that begins like that is always kept in the bucket.
const PREFIX: &str = "kept:";
/// Longest token of the issuer that the provider's own token holds, together with the texts of the
/// person, in bytes.
const MAX_INSIDE: usize = 400;
/// The same while the bucket has no room, in bytes: a cookie with such a token still fits.
const MAX_INSIDE_WITHOUT_ROOM: usize = 1_500;

pub(crate) struct KeptTokens<'a> {
    pub(crate) bucket: &'a dyn Bucket,
}

impl KeptTokens<'_> {
    /// What to put into our refresh token for one of the issuer's: the token or a handle; empty if
    /// there is none, or if it fits nowhere. `before` is what the session had; `person` is how long
    /// the texts beside it are, in bytes.
    pub(crate) fn keep(&self, token: String, before: &str, person: usize) -> String {
        let handle = before.starts_with(PREFIX).then(|| before.to_owned());
        let fits = token.len() + person <= MAX_INSIDE && !token.starts_with(PREFIX);
        if token.is_empty() || fits && handle.is_none() {
            return token;
        }

        let kept = handle.or_else(new_handle).filter(|handle| {
            let entry = self.bucket.set(&key_of(handle), token.as_bytes());
            entry.is_ok()
        });
        match kept {
            Some(handle) => handle,
            None if token.len() <= MAX_INSIDE_WITHOUT_ROOM && !token.starts_with(PREFIX) => token,
            None => String::new(),
        }
    }

    /// The issuer's token that was kept. `None`: it is gone.
    ///
    /// # Errors
    /// The bucket is out of reach.
    pub(crate) fn read(&self, kept: &str) -> Result<Option<String>, Unavailable> {
        if !kept.starts_with(PREFIX) {
            return Ok(Some(kept.to_owned()).filter(|token| !token.is_empty()));
        }
        let entry = self.bucket.get(&key_of(kept))?;
        Ok(entry
            .and_then(|entry| String::from_utf8(entry).ok())
            .filter(|token| !token.is_empty()))
    }

    /// Forgets the token of a session that is over. If that fails, the host drops it after a week.
    pub(crate) fn forget(&self, kept: &str) {
        if kept.starts_with(PREFIX) {
            let _ = self.bucket.set(&key_of(kept), b"");
        }
    }
}

/// `None` if there are no random numbers.
fn new_handle() -> Option<String> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).ok()?;
    Some(format!("{PREFIX}{}", base64url(&bytes)))
}

fn key_of(handle: &str) -> String {
    format!("r:{}", handle.trim_start_matches(PREFIX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use portcullis_guest::MockBucket;

    /// A bucket without room.
    struct Full;

    impl Bucket for Full {
        fn get(&self, _: &str) -> Result<Option<Vec<u8>>, Unavailable> {
            Ok(None)
        }

        fn set(&self, _: &str, _: &[u8]) -> Result<(), Unavailable> {
            Err(Unavailable("full".to_owned()))
        }

        fn increment(&self, _: &str, _: u64) -> Result<u64, Unavailable> {
            Err(Unavailable("full".to_owned()))
        }
    }

    #[test]
    fn tokens_of_every_size_come_back_and_long_ones_leave_a_short_handle() {
        let bucket = MockBucket::default();
        let tokens = KeptTokens { bucket: &bucket };
        for token in [
            "short",
            &*"x".repeat(400),
            &*"x".repeat(5_000),
            "kept:by-an-issuer",
            "é",
        ] {
            let kept = tokens.keep(token.to_owned(), "", 100);
            assert!(kept.len() <= 300, "{}", kept.len());
            assert_eq!(tokens.read(&kept), Ok(Some(token.to_owned())));
        }
        assert_eq!(tokens.keep("short".to_owned(), "", 100), "short");
        assert_eq!(tokens.keep(String::new(), "", 0), "");
        assert_eq!(
            tokens.read("old cookie's token"),
            Ok(Some("old cookie's token".to_owned()))
        );
    }

    #[test]
    fn session_has_one_entry_until_it_ends() {
        let bucket = MockBucket::default();
        let tokens = KeptTokens { bucket: &bucket };
        let first = tokens.keep("x".repeat(2_000), "", 0);
        let second = tokens.keep("y".repeat(2_000), &first, 0);
        assert_eq!(second, first);
        assert_eq!(tokens.keep("short".to_owned(), &first, 0), first);
        assert_eq!(tokens.read(&first), Ok(Some("short".to_owned())));
        tokens.forget(&first);
        assert_eq!(tokens.read(&first), Ok(None));
        assert_eq!(tokens.read("kept:made-up"), Ok(None));
    }

    #[test]
    fn full_bucket_costs_no_sign_in() {
        let tokens = KeptTokens { bucket: &Full };
        assert_eq!(tokens.keep("x".repeat(1_500), "", 0), "x".repeat(1_500));
        assert_eq!(
            tokens.keep("x".repeat(2_000), "", 0),
            "",
            "the session ends with its access token"
        );
    }
}
