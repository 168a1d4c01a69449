use crate::Unavailable;

/// What a provider keeps from call to call, where the operator grants `keyvalue`. An entry is gone
/// a week after it was last written.
pub trait Bucket {
    /// What stands under a key.
    ///
    /// # Errors
    /// The bucket is out of reach.
    fn get(&self, key: &str) -> Result<Option<Vec<u8>>, Unavailable>;

    /// Keeps a value: at most 32 KiB, under a key of at most 256 bytes.
    ///
    /// # Errors
    /// The bucket is full or out of reach.
    fn set(&self, key: &str, value: &[u8]) -> Result<(), Unavailable>;

    /// Adds to a number and returns the sum, in one atomic step. A missing number counts as zero.
    /// The value is kept as decimal text.
    ///
    /// # Errors
    /// As for [`set`](Self::set).
    fn increment(&self, key: &str, by: u64) -> Result<u64, Unavailable>;
}
