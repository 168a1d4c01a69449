//! Reads a response that comes a byte a second.

#![cfg(target_family = "wasm")]

use hostile_guests::http::{Target, ask};
use portcullis_guest::{Host, Provider, TokenPrincipal, Unavailable};

pub struct Guest;

impl Provider for Guest {
    fn verify_token(host: &dyn Host, _: &str) -> Result<Option<TokenPrincipal>, Unavailable> {
        let target = Target::of(&host.setting("granted").unwrap_or_default());
        let answer = ask(&Target {
            path: "/slow".to_owned(),
            ..target
        });
        Ok(answer.and_then(|_| hostile_guests::breached("it waited")))
    }
}

portcullis_guest::export!(Guest);
