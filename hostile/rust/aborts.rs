//! Aborts.

#![cfg(target_family = "wasm")]

use portcullis_guest::{Host, Provider, TokenPrincipal, Unavailable};

pub struct Guest;

impl Provider for Guest {
    fn verify_token(_: &dyn Host, _: &str) -> Result<Option<TokenPrincipal>, Unavailable> {
        std::process::abort()
    }
}

portcullis_guest::export!(Guest);
