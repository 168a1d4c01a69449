use crate::Unavailable;

/// The longest value of the host's buckets, in bytes.
pub const MAX_VALUE_BYTES: usize = 32 * 1024;

/// What a provider keeps from call to call, where the operator grants `keyvalue`. An entry is gone
/// a week after it was last written.
pub trait Bucket {
    /// What stands under a key.
    ///
    /// # Errors
    /// The bucket is out of reach.
    fn get(&self, key: &str) -> Result<Option<Vec<u8>>, Unavailable>;

    /// Keeps a value of at most [`MAX_VALUE_BYTES`], under a key of at most 256 bytes.
    ///
    /// # Errors
    /// The value is too long, or the bucket is full or out of reach.
    fn set(&self, key: &str, value: &[u8]) -> Result<(), Unavailable>;

    /// Adds to a number and returns the sum, in one atomic step. A missing number counts as zero.
    /// The value is kept as decimal text.
    ///
    /// # Errors
    /// As for [`set`](Self::set).
    fn increment(&self, key: &str, by: u64) -> Result<u64, Unavailable>;

    /// Removes what stands under a key, if something does, and frees its room.
    ///
    /// # Errors
    /// The bucket is out of reach.
    fn delete(&self, key: &str) -> Result<(), Unavailable>;

    /// Returns a page of the keys, in the order of their bytes. `cursor` is `None` for the first
    /// page, and the [`next`](KeyPage::next) of the page before for each other. A cursor is a
    /// position, so a key that is written or removed between two pages shifts the second.
    ///
    /// # Errors
    /// The bucket is out of reach.
    fn list_keys(&self, cursor: Option<u64>) -> Result<KeyPage, Unavailable>;
}

/// Keys of a bucket.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyPage {
    /// The keys, sorted.
    pub keys: Vec<String>,
    /// Where the next page begins. `None` for the last page.
    pub next: Option<u64>,
}

/// Refuses a value that no bucket takes. The host would end the call of a provider that hands over
/// more than 128 KiB at once, which is a fault.
pub(crate) fn check_length(value: &[u8]) -> Result<(), Unavailable> {
    if value.len() <= MAX_VALUE_BYTES {
        return Ok(());
    }
    Err(Unavailable(format!(
        "the bucket: a value has at most {MAX_VALUE_BYTES} bytes"
    )))
}
