//! Sends a request with a thousand headers of a KiB each.

#![cfg(target_family = "wasm")]

use hostile_guests::wasi::http::types::Fields;
use portcullis_guest::{Host, Provider, TokenPrincipal, Unavailable};

pub struct Guest;

impl Provider for Guest {
    fn verify_token(_: &dyn Host, _: &str) -> Result<Option<TokenPrincipal>, Unavailable> {
        let headers = Fields::new();
        for index in 0..1_000 {
            let refused = headers.append(&format!("x-flood-{index}"), &[b'x'; 1024]);
            if refused.is_err() {
                return Ok(None);
            }
        }
        Ok(hostile_guests::breached("a MiB of headers"))
    }
}

portcullis_guest::export!(Guest);
