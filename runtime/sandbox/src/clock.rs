//! The time of day, as guests and identity providers count it.

use std::time::{SystemTime, UNIX_EPOCH};

/// Returns the seconds since the Unix epoch; 0 if the clock is set before it.
pub(crate) fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}
