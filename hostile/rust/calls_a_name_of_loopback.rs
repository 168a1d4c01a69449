//! Calls a granted name that leads to this very machine.

#![cfg(target_family = "wasm")]

use hostile_guests::http::{Target, ask};
use portcullis_guest::{Host, Provider, TokenPrincipal, Unavailable};

pub struct Guest;

impl Provider for Guest {
    fn verify_token(host: &dyn Host, _: &str) -> Result<Option<TokenPrincipal>, Unavailable> {
        let target = Target::of(&host.setting("rebound").unwrap_or_default());
        Ok(ask(&target).and_then(|_| hostile_guests::breached("it answered")))
    }
}

portcullis_guest::export!(Guest);
