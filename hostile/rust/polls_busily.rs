//! Polls what is always ready, without end.

#![cfg(target_family = "wasm")]

use hostile_guests::wasi::clocks::monotonic_clock;
use portcullis_guest::{Host, Provider, TokenPrincipal, Unavailable};

pub struct Guest;

impl Provider for Guest {
    fn verify_token(_: &dyn Host, _: &str) -> Result<Option<TokenPrincipal>, Unavailable> {
        loop {
            monotonic_clock::subscribe_duration(0).block();
        }
    }
}

portcullis_guest::export!(Guest);
