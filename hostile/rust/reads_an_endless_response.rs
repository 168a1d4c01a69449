//! Reads a response that never ends, and keeps it.

#![cfg(target_family = "wasm")]

use hostile_guests::http::{Target, ask};
use portcullis_guest::{Host, Provider, TokenPrincipal, Unavailable};

pub struct Guest;

impl Provider for Guest {
    fn verify_token(host: &dyn Host, _: &str) -> Result<Option<TokenPrincipal>, Unavailable> {
        let target = Target::of(&host.setting("granted").unwrap_or_default());
        let answer = ask(&Target {
            path: "/endless".to_owned(),
            ..target
        });
        Ok(answer
            .filter(|answer| answer.length > 8 << 20)
            .and_then(|_| hostile_guests::breached("eight MiB")))
    }
}

portcullis_guest::export!(Guest);
