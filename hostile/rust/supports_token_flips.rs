//! Says at random whether it takes tokens, and traps on every token.

#![cfg(target_family = "wasm")]

use hostile_guests::wasi::random::random;
use portcullis_guest::{Host, Provider, TokenPrincipal, Unavailable};

pub struct Guest;

impl Provider for Guest {
    fn supports_token(_: &dyn Host) -> bool {
        random::get_random_u64() % 2 == 0
    }

    fn verify_token(_: &dyn Host, _: &str) -> Result<Option<TokenPrincipal>, Unavailable> {
        std::process::abort()
    }
}

portcullis_guest::export!(Guest);
