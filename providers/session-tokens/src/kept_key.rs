use portcullis_guest::{Bucket, Unavailable};

/// Where the key stands in the bucket.
const KEY: &str = "session-key";
/// Seconds in which only one of the calls that find no key makes one.
const MAKING_SECONDS: u64 = 10;

/// The key that a provider made for its sessions and keeps in its bucket. `None` when it has made
/// none, or when no session has been opened or renewed for as long as the bucket keeps an entry.
///
/// # Errors
/// The bucket is out of reach.
pub fn kept_key(bucket: &dyn Bucket) -> Result<Option<Vec<u8>>, Unavailable> {
    bucket.get(KEY)
}

/// The same key, made where there is none: 32 random bytes. Writes it again, so that it is kept as
/// long as the sessions that it signs. `now` is in seconds since the Unix epoch.
///
/// # Errors
/// The bucket is out of reach, there are no random numbers, or another call makes the key at this
/// moment.
pub fn keep_key(bucket: &dyn Bucket, now: u64) -> Result<Vec<u8>, Unavailable> {
    let key = match kept_key(bucket)? {
        Some(key) => key,
        None => make_key(bucket, now)?,
    };
    bucket.set(KEY, &key)?;
    Ok(key)
}

/// The bucket has no compare-and-swap: of several first sign-ins at once, the one that counts first
/// makes the key.
fn make_key(bucket: &dyn Bucket, now: u64) -> Result<Vec<u8>, Unavailable> {
    let moment = now / MAKING_SECONDS;
    if bucket.increment(&format!("{KEY}-maker:{moment}"), 1)? > 1 {
        let made = kept_key(bucket)?;
        return made.ok_or_else(|| {
            Unavailable("another sign-in makes the session key at this moment".to_owned())
        });
    }
    let mut key = vec![0; 32];
    getrandom::fill(&mut key).map_err(|error| Unavailable(format!("random numbers: {error}")))?;
    Ok(key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use portcullis_guest::MockBucket;

    #[test]
    fn key_is_made_once() {
        let bucket = MockBucket::default();
        assert_eq!(kept_key(&bucket), Ok(None));
        let key = keep_key(&bucket, 100).unwrap();
        assert_eq!(key.len(), 32);
        assert_eq!(keep_key(&bucket, 1_000).unwrap(), key);
        assert_eq!(kept_key(&bucket), Ok(Some(key)));
    }

    #[test]
    fn of_two_first_sign_ins_one_makes_the_key() {
        let bucket = MockBucket::default();
        bucket.increment("session-key-maker:10", 1).unwrap();
        assert!(
            keep_key(&bucket, 100).is_err(),
            "the other one has not written it"
        );
        assert!(keep_key(&bucket, 110).is_ok(), "the other one failed");
    }
}
