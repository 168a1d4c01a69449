//! Logs without end.

#![cfg(target_family = "wasm")]

use hostile_guests::logging;
use portcullis_guest::{Host, Provider, TokenPrincipal, Unavailable};

pub struct Guest;

impl Provider for Guest {
    fn verify_token(_: &dyn Host, _: &str) -> Result<Option<TokenPrincipal>, Unavailable> {
        loop {
            logging::log(logging::Level::Critical, "fire", &"fire ".repeat(1_000));
        }
    }
}

portcullis_guest::export!(Guest);
