//! Asks for sixty-four MiB of random bytes at once, again and again.

#![cfg(target_family = "wasm")]

use hostile_guests::wasi::random::random;
use portcullis_guest::{Host, Provider, TokenPrincipal, Unavailable};

pub struct Guest;

impl Provider for Guest {
    fn verify_token(_: &dyn Host, _: &str) -> Result<Option<TokenPrincipal>, Unavailable> {
        loop {
            std::hint::black_box(random::get_random_bytes(64 << 20));
        }
    }
}

portcullis_guest::export!(Guest);
