//! Answers with a name that no host accepts.

use portcullis_guest::{Host, Provider, TokenPrincipal, Unavailable};

pub struct Guest;

impl Provider for Guest {
    fn verify_token(_: &dyn Host, _: &str) -> Result<Option<TokenPrincipal>, Unavailable> {
        Ok(Some(TokenPrincipal::new(
            "admin\u{1b}[2J\n",
            ["metrics.read"],
        )))
    }
}

portcullis_guest::export!(Guest);
