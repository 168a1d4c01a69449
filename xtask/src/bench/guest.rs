//! The providers that are measured: each compares a token with one setting.

use std::path::Path;

/// The provider of the README, for `wasm32-wasip2`: with all that Rust's standard library imports.
pub(super) fn std() -> &'static Path {
    Path::new(env!("STD_GUEST"))
}

/// The same for `wasm32-unknown-unknown`: no import of WASI's but its settings.
pub(super) fn bare() -> &'static Path {
    Path::new(env!("BARE_GUEST"))
}
