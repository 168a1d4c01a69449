//! Answers with a principal of a MiB.

#![cfg(target_family = "wasm")]

use portcullis_guest::{Host, Provider, TokenPrincipal, Unavailable};

pub struct Guest;

impl Provider for Guest {
    fn verify_token(_: &dyn Host, _: &str) -> Result<Option<TokenPrincipal>, Unavailable> {
        Ok(Some(TokenPrincipal::new(
            "x".repeat(1 << 20),
            ["metrics.read"],
        )))
    }
}

portcullis_guest::export!(Guest);
