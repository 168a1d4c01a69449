//! Answers with a name of 100 MiB.

use portcullis_guest::{Host, Provider, TokenPrincipal, Unavailable};

pub struct Guest;

impl Provider for Guest {
    fn verify_token(_: &dyn Host, _: &str) -> Result<Option<TokenPrincipal>, Unavailable> {
        Ok(Some(TokenPrincipal::new(
            "x".repeat(100 << 20),
            ["metrics.read"],
        )))
    }
}

portcullis_guest::export!(Guest);
