//! Subscribes to a million timers and drops none.

#![cfg(target_family = "wasm")]

use hostile_guests::wasi::clocks::monotonic_clock;
use portcullis_guest::{Host, Provider, TokenPrincipal, Unavailable};

pub struct Guest;

impl Provider for Guest {
    fn verify_token(_: &dyn Host, _: &str) -> Result<Option<TokenPrincipal>, Unavailable> {
        for _ in 0..1_000_000 {
            std::mem::forget(monotonic_clock::subscribe_duration(1));
        }
        Ok(hostile_guests::breached("a million timers"))
    }
}

portcullis_guest::export!(Guest);
