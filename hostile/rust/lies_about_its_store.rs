//! Says that its store is out of reach, with a MiB of reasons.

#![cfg(target_family = "wasm")]

use portcullis_guest::{Host, Provider, TokenPrincipal, Unavailable};

pub struct Guest;

impl Provider for Guest {
    fn verify_token(_: &dyn Host, _: &str) -> Result<Option<TokenPrincipal>, Unavailable> {
        Err(Unavailable("no \u{1b}[31m".repeat(1 << 17)))
    }
}

portcullis_guest::export!(Guest);
