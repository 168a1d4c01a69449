use super::bindings::wasi::keyvalue::{atomics, store};
use crate::bucket::check_length;
use crate::{Bucket, KeyPage, Unavailable};

/// The bucket that the host keeps for this provider.
pub(super) struct HostBucket;

impl HostBucket {
    fn with<T>(
        operation: impl FnOnce(&store::Bucket) -> Result<T, store::Error>,
    ) -> Result<T, Unavailable> {
        let outcome = store::open("").and_then(|bucket| operation(&bucket));
        outcome.map_err(|error| Unavailable(format!("the bucket: {error:?}")))
    }
}

impl Bucket for HostBucket {
    fn get(&self, key: &str) -> Result<Option<Vec<u8>>, Unavailable> {
        Self::with(|bucket| bucket.get(key))
    }

    fn set(&self, key: &str, value: &[u8]) -> Result<(), Unavailable> {
        check_length(value)?;
        Self::with(|bucket| bucket.set(key, value))
    }

    fn increment(&self, key: &str, by: u64) -> Result<u64, Unavailable> {
        Self::with(|bucket| atomics::increment(bucket, key, by))
    }

    fn delete(&self, key: &str) -> Result<(), Unavailable> {
        Self::with(|bucket| bucket.delete(key))
    }

    fn list_keys(&self, cursor: Option<u64>) -> Result<KeyPage, Unavailable> {
        let page = Self::with(|bucket| bucket.list_keys(cursor))?;
        Ok(KeyPage {
            keys: page.keys,
            next: page.cursor,
        })
    }
}
