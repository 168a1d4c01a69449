//! Never says whether it takes tokens.

#![cfg(target_family = "wasm")]

use portcullis_guest::{Host, Provider, TokenPrincipal, Unavailable};

pub struct Guest;

impl Provider for Guest {
    fn supports_token(_: &dyn Host) -> bool {
        loop {
            std::hint::black_box(0);
        }
    }

    fn verify_token(_: &dyn Host, _: &str) -> Result<Option<TokenPrincipal>, Unavailable> {
        Ok(None)
    }
}

portcullis_guest::export!(Guest);
