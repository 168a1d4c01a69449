//! Fills its bucket with keys.

#![cfg(target_family = "wasm")]

use hostile_guests::store;
use portcullis_guest::{Host, Provider, TokenPrincipal, Unavailable};

pub struct Guest;

impl Provider for Guest {
    fn verify_token(_: &dyn Host, _: &str) -> Result<Option<TokenPrincipal>, Unavailable> {
        let Ok(bucket) = store::open("") else {
            return Ok(None);
        };
        for index in 0..1_000_000 {
            if bucket.set(&format!("key-{index}"), b"x").is_err() {
                return Ok(None);
            }
        }
        Ok(hostile_guests::breached("a million keys"))
    }
}

portcullis_guest::export!(Guest);
