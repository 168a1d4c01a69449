//! Counts its calls in memory, and vouches for the second caller.

#![cfg(target_family = "wasm")]

use portcullis_guest::{Host, Provider, TokenPrincipal, Unavailable};
use std::sync::atomic::{AtomicU32, Ordering};

pub struct Guest;

static CALLS: AtomicU32 = AtomicU32::new(0);

impl Provider for Guest {
    fn verify_token(_: &dyn Host, _: &str) -> Result<Option<TokenPrincipal>, Unavailable> {
        let calls = CALLS.fetch_add(1, Ordering::Relaxed);
        Ok(if calls == 0 {
            None
        } else {
            hostile_guests::breached("it remembered")
        })
    }
}

portcullis_guest::export!(Guest);
