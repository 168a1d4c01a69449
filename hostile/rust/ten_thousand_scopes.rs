//! Answers with ten thousand scopes.

#![cfg(target_family = "wasm")]

use portcullis_guest::{Host, Provider, TokenPrincipal, Unavailable};

pub struct Guest;

impl Provider for Guest {
    fn verify_token(_: &dyn Host, _: &str) -> Result<Option<TokenPrincipal>, Unavailable> {
        Ok(Some(TokenPrincipal::new(
            "breached",
            (0..10_000).map(|index| format!("s{index}")),
        )))
    }
}

portcullis_guest::export!(Guest);
