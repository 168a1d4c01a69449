//! What the hostile guests share. Each is a file of its own: `rust/` for what Rust can say, `wat/`
//! for what it cannot. The first line of each says what it tries.
//!
//! A guest that got what it wanted vouches for a principal named `breached`; one that was refused
//! says that it does not know the token.

#![cfg(target_family = "wasm")]

pub mod http;
mod interfaces;

pub use interfaces::wasi::keyvalue::{atomics, store};
pub use interfaces::wasi::logging::logging;
pub use wasip2 as wasi;

use portcullis_guest::TokenPrincipal;

/// Reports that the attack got through.
pub fn breached(what: &str) -> Option<TokenPrincipal> {
    Some(TokenPrincipal::new(
        format!("breached: {what}"),
        ["metrics.read"],
    ))
}
