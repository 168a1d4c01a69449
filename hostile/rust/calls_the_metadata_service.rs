//! Calls the address where clouds hand out credentials.

#![cfg(target_family = "wasm")]

use hostile_guests::http::{Target, ask};
use portcullis_guest::{Host, Provider, TokenPrincipal, Unavailable};

pub struct Guest;

impl Provider for Guest {
    fn verify_token(_: &dyn Host, _: &str) -> Result<Option<TokenPrincipal>, Unavailable> {
        let target = Target::of("http://169.254.169.254");
        Ok(ask(&target).and_then(|_| hostile_guests::breached("it answered")))
    }
}

portcullis_guest::export!(Guest);
