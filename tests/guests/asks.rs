//! Asks a granted host who the caller is: the host's answer is the verdict.

#![cfg(target_family = "wasm")]

use hostile_guests::http::{Target, ask};
use portcullis_guest::{Host, Provider, TokenPrincipal, Unavailable};

pub struct Guest;

impl Provider for Guest {
    fn verify_token(host: &dyn Host, token: &str) -> Result<Option<TokenPrincipal>, Unavailable> {
        let target = Target::of(&host.setting("directory").unwrap_or_default());
        let asked = ask(&Target {
            path: format!("/tokens/{token}"),
            ..target
        });
        let answer = asked.ok_or_else(|| Unavailable("the directory does not answer".into()))?;
        Ok((answer.status == 200).then(|| TokenPrincipal::new("directory-bot", ["metrics.read"])))
    }
}

portcullis_guest::export!(Guest);
