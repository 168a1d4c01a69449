//! Calls a granted host that sends it on to another.

#![cfg(target_family = "wasm")]

use hostile_guests::http::{Target, ask};
use portcullis_guest::{Host, Provider, TokenPrincipal, Unavailable};

pub struct Guest;

impl Provider for Guest {
    fn verify_token(host: &dyn Host, _: &str) -> Result<Option<TokenPrincipal>, Unavailable> {
        let target = Target::of(&host.setting("granted").unwrap_or_default());
        let answer = ask(&Target {
            path: "/redirect".to_owned(),
            ..target
        });
        let Some(location) = answer.and_then(|answer| answer.location) else {
            return Ok(None);
        };
        Ok(ask(&Target::of(&location)).and_then(|_| hostile_guests::breached("it followed")))
    }
}

portcullis_guest::export!(Guest);
