//! Vouches for a caller with a scope that contains the token.

#![cfg(target_family = "wasm")]

use portcullis_guest::{Host, Provider, TokenPrincipal, Unavailable};

pub struct Guest;

impl Provider for Guest {
    fn verify_token(_: &dyn Host, token: &str) -> Result<Option<TokenPrincipal>, Unavailable> {
        Ok(Some(TokenPrincipal::new(
            "bot",
            ["metrics.read".to_owned(), format!("metrics.{token}")],
        )))
    }
}

portcullis_guest::export!(Guest);
