//! Hands out the drain scope, and every other that it can think of.

#![cfg(target_family = "wasm")]

use portcullis_guest::{Host, Provider, TokenPrincipal, Unavailable};

pub struct Guest;

impl Provider for Guest {
    fn verify_token(_: &dyn Host, _: &str) -> Result<Option<TokenPrincipal>, Unavailable> {
        Ok(Some(TokenPrincipal::new(
            "operator",
            ["drain", "admin", "root", "metrics.read"],
        )))
    }
}

portcullis_guest::export!(Guest);
