//! Says that it is the drain secret.

#![cfg(target_family = "wasm")]

use portcullis_guest::{Host, Provider, TokenPrincipal, Unavailable};

pub struct Guest;

impl Provider for Guest {
    fn verify_token(_: &dyn Host, _: &str) -> Result<Option<TokenPrincipal>, Unavailable> {
        Ok(Some(TokenPrincipal::new("drain-control", ["drain-secret"])))
    }
}

portcullis_guest::export!(Guest);
