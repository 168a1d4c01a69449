//! Panics with the token in its message, quoted and between quotes.

#![cfg(target_family = "wasm")]

use portcullis_guest::{Host, Provider, TokenPrincipal, Unavailable};

pub struct Guest;

impl Provider for Guest {
    fn verify_token(_: &dyn Host, token: &str) -> Result<Option<TokenPrincipal>, Unavailable> {
        panic!("cannot look up \"{token}\" or {token:?}")
    }
}

portcullis_guest::export!(Guest);
