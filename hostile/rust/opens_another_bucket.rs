//! Opens the buckets of other providers, by name and by path.

#![cfg(target_family = "wasm")]

use hostile_guests::store;
use portcullis_guest::{Host, Provider, TokenPrincipal, Unavailable};

pub struct Guest;

impl Provider for Guest {
    fn verify_token(_: &dyn Host, _: &str) -> Result<Option<TokenPrincipal>, Unavailable> {
        let names = [
            "bystander",
            "service-keys",
            "../bystander",
            "bystander.redb",
            "/etc/passwd",
        ];
        let opened = names.into_iter().find(|name| store::open(name).is_ok());
        Ok(opened.and_then(hostile_guests::breached))
    }
}

portcullis_guest::export!(Guest);
