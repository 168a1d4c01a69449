//! Reads the clock a million times.

#![cfg(target_family = "wasm")]

use hostile_guests::wasi::clocks::wall_clock;
use portcullis_guest::{Host, Provider, TokenPrincipal, Unavailable};

pub struct Guest;

impl Provider for Guest {
    fn verify_token(_: &dyn Host, _: &str) -> Result<Option<TokenPrincipal>, Unavailable> {
        for _ in 0..1_000_000 {
            std::hint::black_box(wall_clock::now());
        }
        Ok(None)
    }
}

portcullis_guest::export!(Guest);
