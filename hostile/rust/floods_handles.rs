//! Makes handles and keeps them all.

#![cfg(target_family = "wasm")]

use hostile_guests::wasi::http::types::Fields;
use portcullis_guest::{Host, Provider, TokenPrincipal, Unavailable};

pub struct Guest;

impl Provider for Guest {
    fn verify_token(_: &dyn Host, _: &str) -> Result<Option<TokenPrincipal>, Unavailable> {
        let mut hoard = Vec::new();
        loop {
            hoard.push(Fields::new());
        }
    }
}

portcullis_guest::export!(Guest);
