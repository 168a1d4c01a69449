//! Writes to 60 MiB of memory and sleeps for 900 ms, so that many calls hold it at a time.

#![cfg(target_family = "wasm")]

use hostile_guests::wasi::clocks::monotonic_clock;
use portcullis_guest::{Host, Provider, TokenPrincipal, Unavailable};

pub struct Guest;

impl Provider for Guest {
    fn verify_token(_: &dyn Host, _: &str) -> Result<Option<TokenPrincipal>, Unavailable> {
        let written = vec![0xa5_u8; 60 << 20];
        monotonic_clock::subscribe_duration(900_000_000).block();
        std::hint::black_box(&written);
        Ok(None)
    }
}

portcullis_guest::export!(Guest);
