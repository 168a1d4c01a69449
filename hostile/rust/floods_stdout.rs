//! Prints without end.

#![cfg(target_family = "wasm")]

use portcullis_guest::{Host, Provider, TokenPrincipal, Unavailable};

pub struct Guest;

impl Provider for Guest {
    fn verify_token(_: &dyn Host, _: &str) -> Result<Option<TokenPrincipal>, Unavailable> {
        loop {
            println!("{}", "all work and no play ".repeat(100));
        }
    }
}

portcullis_guest::export!(Guest);
