//! Sleeps for 300 ms, as a slow but honest provider does, and does not know the token.

#![cfg(target_family = "wasm")]

use hostile_guests::wasi::clocks::monotonic_clock;
use portcullis_guest::{Host, Provider, TokenPrincipal, Unavailable};

pub struct Guest;

impl Provider for Guest {
    fn verify_token(_: &dyn Host, _: &str) -> Result<Option<TokenPrincipal>, Unavailable> {
        monotonic_clock::subscribe_duration(300_000_000).block();
        Ok(None)
    }
}

portcullis_guest::export!(Guest);
