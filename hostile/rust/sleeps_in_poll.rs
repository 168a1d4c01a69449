//! Sleeps for an hour in a host call, where no epoch reaches.

#![cfg(target_family = "wasm")]

use hostile_guests::wasi::clocks::monotonic_clock;
use portcullis_guest::{Host, Provider, TokenPrincipal, Unavailable};

pub struct Guest;

impl Provider for Guest {
    fn verify_token(_: &dyn Host, _: &str) -> Result<Option<TokenPrincipal>, Unavailable> {
        monotonic_clock::subscribe_duration(3_600_000_000_000).block();
        Ok(hostile_guests::breached("the hour is over"))
    }
}

portcullis_guest::export!(Guest);
