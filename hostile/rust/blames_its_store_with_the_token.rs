//! Says that its store is out of reach, and repeats the token as the reason.

#![cfg(target_family = "wasm")]

use portcullis_guest::{Host, Provider, TokenPrincipal, Unavailable};

pub struct Guest;

impl Provider for Guest {
    fn verify_token(_: &dyn Host, token: &str) -> Result<Option<TokenPrincipal>, Unavailable> {
        Err(Unavailable(format!(
            "GET /keys/{token}: {token:?} timed out"
        )))
    }
}

portcullis_guest::export!(Guest);
