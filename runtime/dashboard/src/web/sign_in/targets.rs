//! Where sign-ins under way come back to, when that fits into no cookie.

use super::under_way::SIGN_IN_SECONDS;
use moka::sync::Cache;
use std::time::Duration;

/// Bytes of all targets together.
const MAX_BYTES: u64 = 4 * 1024 * 1024;

/// Targets by the state of their sign-in, for as long as a sign-in may take. When they are too
/// many, some are forgotten: those sign-ins come back to the shorter target in their cookie.
pub(super) struct Targets(Cache<String, String>);

impl Default for Targets {
    fn default() -> Self {
        let bytes = |state: &String, target: &String| {
            u32::try_from(state.len() + target.len()).unwrap_or(u32::MAX)
        };
        let life = Duration::from_secs(SIGN_IN_SECONDS);
        Self(
            Cache::builder()
                .max_capacity(MAX_BYTES)
                .weigher(bytes)
                .time_to_live(life)
                .build(),
        )
    }
}

impl Targets {
    pub(super) fn keep(&self, state: &str, target: &str) {
        self.0.insert(state.to_owned(), target.to_owned());
    }

    pub(super) fn of(&self, state: &str) -> Option<String> {
        self.0.get(state)
    }
}
