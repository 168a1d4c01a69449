//! Looks for the settings of other providers.

#![cfg(target_family = "wasm")]

use portcullis_guest::{Host, Provider, TokenPrincipal, Unavailable};

pub struct Guest;

impl Provider for Guest {
    fn verify_token(host: &dyn Host, _: &str) -> Result<Option<TokenPrincipal>, Unavailable> {
        let names = [
            "keys",
            "bystander",
            "bystander.keys",
            "HERMES_DASHBOARD_DRAIN_SECRET",
            "",
        ];
        let found = names.into_iter().find(|name| host.setting(name).is_some());
        Ok(found.and_then(hostile_guests::breached))
    }
}

portcullis_guest::export!(Guest);
