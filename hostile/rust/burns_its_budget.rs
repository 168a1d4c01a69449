//! Computes for 900 ms of its second, and then says that it does not know the token.

#![cfg(target_family = "wasm")]

use hostile_guests::wasi::clocks::monotonic_clock;
use portcullis_guest::{Host, Provider, TokenPrincipal, Unavailable};

pub struct Guest;

const BURN_NANOSECONDS: u64 = 900_000_000;

impl Provider for Guest {
    fn verify_token(_: &dyn Host, token: &str) -> Result<Option<TokenPrincipal>, Unavailable> {
        let end = monotonic_clock::now() + BURN_NANOSECONDS;
        while monotonic_clock::now() < end {
            let sum =
                (0..20_000_u64).fold(token.len() as u64, |sum, step| sum.rotate_left(5) ^ step);
            std::hint::black_box(sum);
        }
        Ok(None)
    }
}

portcullis_guest::export!(Guest);
