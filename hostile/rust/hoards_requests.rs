//! Makes requests with the longest paths it can, and keeps them all in the host's memory.

#![cfg(target_family = "wasm")]

use hostile_guests::wasi::http::types::{Fields, OutgoingRequest};
use portcullis_guest::{Host, Provider, TokenPrincipal, Unavailable};

pub struct Guest;

impl Provider for Guest {
    fn verify_token(_: &dyn Host, _: &str) -> Result<Option<TokenPrincipal>, Unavailable> {
        let path = format!("/{}", "x".repeat(60 * 1024));
        let mut hoard = Vec::new();
        while hoard.len() < 500 {
            let request = OutgoingRequest::new(Fields::new());
            if request.set_path_with_query(Some(&path)).is_err() {
                return Ok(None);
            }
            hoard.push(request);
        }
        Ok(hostile_guests::breached("thirty MiB of the host's memory"))
    }
}

portcullis_guest::export!(Guest);
