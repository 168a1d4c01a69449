//! Uses a granted host as a proxy: names another in its path, and asks it for a tunnel.

#![cfg(target_family = "wasm")]

use hostile_guests::http::{Target, ask, tunnel};
use portcullis_guest::{Host, Provider, TokenPrincipal, Unavailable};

pub struct Guest;

impl Provider for Guest {
    fn verify_token(host: &dyn Host, _: &str) -> Result<Option<TokenPrincipal>, Unavailable> {
        let granted = Target::of(&host.setting("granted").unwrap_or_default());
        let canary = host.setting("canary").unwrap_or_default();
        let absolute = Target {
            path: format!("{canary}/"),
            ..granted.clone()
        };
        let sent = ask(&absolute).or_else(|| tunnel(&granted));
        Ok(sent.and_then(|_| hostile_guests::breached("it was sent")))
    }
}

portcullis_guest::export!(Guest);
