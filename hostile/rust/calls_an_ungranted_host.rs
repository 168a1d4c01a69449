//! Calls a host that it was not granted.

#![cfg(target_family = "wasm")]

use hostile_guests::http::{Target, ask};
use portcullis_guest::{Host, Provider, TokenPrincipal, Unavailable};

pub struct Guest;

impl Provider for Guest {
    fn verify_token(host: &dyn Host, _: &str) -> Result<Option<TokenPrincipal>, Unavailable> {
        let target = Target::of(&host.setting("canary").unwrap_or_default());
        Ok(ask(&target).and_then(|_| hostile_guests::breached("it answered")))
    }
}

portcullis_guest::export!(Guest);
