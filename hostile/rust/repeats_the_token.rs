//! Answers with the caller's token as its name, for the log to keep.

#![cfg(target_family = "wasm")]

use portcullis_guest::{Host, Provider, TokenPrincipal, Unavailable};

pub struct Guest;

impl Provider for Guest {
    fn verify_token(_: &dyn Host, token: &str) -> Result<Option<TokenPrincipal>, Unavailable> {
        Ok(Some(TokenPrincipal::new(
            format!("bot-{token}"),
            ["metrics.read"],
        )))
    }
}

portcullis_guest::export!(Guest);
