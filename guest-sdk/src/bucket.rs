use crate::Unavailable;
use std::cell::RefCell;
use std::collections::BTreeMap;

/// What a provider keeps from call to call, where the operator grants `keyvalue`. An entry is gone a week after it
/// was last written.
pub trait Bucket {
    /// What stands under a key.
    ///
    /// # Errors
    /// The bucket is out of reach.
    fn get(&self, key: &str) -> Result<Option<Vec<u8>>, Unavailable>;

    /// Keeps a value.
    ///
    /// # Errors
    /// The bucket is full or out of reach.
    fn set(&self, key: &str, value: &[u8]) -> Result<(), Unavailable>;

    /// Adds to a number, which is zero before and stands there as decimal text, and says what it is then: one step,
    /// whoever does it at the same time.
    ///
    /// # Errors
    /// As for [`set`](Self::set).
    fn increment(&self, key: &str, by: u64) -> Result<u64, Unavailable>;
}

/// The bucket that the host keeps for this provider. Outside a component there is none.
#[derive(Clone, Copy, Debug, Default)]
pub struct HostBucket;

#[cfg(not(target_family = "wasm"))]
impl Bucket for HostBucket {
    fn get(&self, _: &str) -> Result<Option<Vec<u8>>, Unavailable> {
        Err(no_host())
    }

    fn set(&self, _: &str, _: &[u8]) -> Result<(), Unavailable> {
        Err(no_host())
    }

    fn increment(&self, _: &str, _: u64) -> Result<u64, Unavailable> {
        Err(no_host())
    }
}

#[cfg(not(target_family = "wasm"))]
fn no_host() -> Unavailable {
    Unavailable("only a component has a bucket".to_owned())
}

/// A bucket for native tests.
#[derive(Clone, Debug, Default)]
pub struct FakeBucket {
    entries: RefCell<BTreeMap<String, Vec<u8>>>,
}

impl Bucket for FakeBucket {
    fn get(&self, key: &str) -> Result<Option<Vec<u8>>, Unavailable> {
        Ok(self.entries.borrow().get(key).cloned())
    }

    fn set(&self, key: &str, value: &[u8]) -> Result<(), Unavailable> {
        self.entries.borrow_mut().insert(key.to_owned(), value.to_owned());
        Ok(())
    }

    fn increment(&self, key: &str, by: u64) -> Result<u64, Unavailable> {
        let mut entries = self.entries.borrow_mut();
        let entry = entries.entry(key.to_owned()).or_insert_with(|| b"0".to_vec());
        let old: Option<u64> = std::str::from_utf8(entry).ok().and_then(|text| text.parse().ok());
        let new =
            old.and_then(|old| old.checked_add(by)).ok_or_else(|| Unavailable("not a number".to_owned()))?;
        *entry = new.to_string().into_bytes();
        Ok(new)
    }
}
