//! Computes for 900 ms of its second, and traps on about each third call, so that it never fails
//! often enough.

#![cfg(target_family = "wasm")]

use hostile_guests::wasi::clocks::monotonic_clock;
use portcullis_guest::{Host, Provider, TokenPrincipal, Unavailable};

pub struct Guest;

const BURN_NANOSECONDS: u64 = 900_000_000;

impl Provider for Guest {
    fn verify_token(_: &dyn Host, _: &str) -> Result<Option<TokenPrincipal>, Unavailable> {
        let start = monotonic_clock::now();
        while monotonic_clock::now() < start + BURN_NANOSECONDS {
            std::hint::black_box(
                (0..20_000_u64).fold(1, |sum: u64, step| sum.rotate_left(5) ^ step),
            );
        }
        // No memory survives a call, so the clock decides.
        assert_ne!(start / 1_000 % 3, 0, "one call in three");
        Ok(None)
    }
}

portcullis_guest::export!(Guest);
