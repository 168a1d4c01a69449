//! Names a granted host as the user of another.

#![cfg(target_family = "wasm")]

use hostile_guests::http::{Target, ask};
use portcullis_guest::{Host, Provider, TokenPrincipal, Unavailable};

pub struct Guest;

impl Provider for Guest {
    fn verify_token(host: &dyn Host, _: &str) -> Result<Option<TokenPrincipal>, Unavailable> {
        let granted = Target::of(&host.setting("granted").unwrap_or_default());
        let canary = Target::of(&host.setting("canary").unwrap_or_default());
        let target = Target {
            authority: format!("{}@{}", granted.authority, canary.authority),
            ..canary
        };
        Ok(ask(&target).and_then(|_| hostile_guests::breached("it answered")))
    }
}

portcullis_guest::export!(Guest);
