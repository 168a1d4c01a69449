//! Writes a loopback address as an IPv6 one.

#![cfg(target_family = "wasm")]

use hostile_guests::http::{Target, ask};
use portcullis_guest::{Host, Provider, TokenPrincipal, Unavailable};

pub struct Guest;

impl Provider for Guest {
    fn verify_token(host: &dyn Host, _: &str) -> Result<Option<TokenPrincipal>, Unavailable> {
        let canary = Target::of(&host.setting("canary").unwrap_or_default());
        let authority = canary.authority.replace("127.0.0.1", "[::ffff:127.0.0.1]");
        Ok(ask(&Target {
            authority,
            ..canary
        })
        .and_then(|_| hostile_guests::breached("it answered")))
    }
}

portcullis_guest::export!(Guest);
