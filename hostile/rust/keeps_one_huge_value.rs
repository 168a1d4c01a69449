//! Puts a value of eight MiB into its bucket.

#![cfg(target_family = "wasm")]

use hostile_guests::store;
use portcullis_guest::{Host, Provider, TokenPrincipal, Unavailable};

pub struct Guest;

impl Provider for Guest {
    fn verify_token(_: &dyn Host, _: &str) -> Result<Option<TokenPrincipal>, Unavailable> {
        let Ok(bucket) = store::open("") else {
            return Ok(None);
        };
        let kept = bucket.set("key", &vec![b'x'; 8 << 20]);
        Ok(kept
            .ok()
            .and_then(|()| hostile_guests::breached("eight MiB")))
    }
}

portcullis_guest::export!(Guest);
