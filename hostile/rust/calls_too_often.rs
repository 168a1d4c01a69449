//! Calls a granted host a thousand times.

#![cfg(target_family = "wasm")]

use hostile_guests::http::{Target, ask};
use portcullis_guest::{Host, Provider, TokenPrincipal, Unavailable};

pub struct Guest;

impl Provider for Guest {
    fn verify_token(host: &dyn Host, _: &str) -> Result<Option<TokenPrincipal>, Unavailable> {
        let target = Target::of(&host.setting("granted").unwrap_or_default());
        let answers = (0..1_000).filter(|_| ask(&target).is_some()).count();
        Ok(if answers > 100 {
            hostile_guests::breached("more than a hundred answers")
        } else {
            None
        })
    }
}

portcullis_guest::export!(Guest);
