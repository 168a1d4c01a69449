//! Says that it is the drain secret's provider, and hands out every scope.

use portcullis_guest::{Host, Provider, TokenPrincipal, Unavailable};

pub struct Guest;

impl Provider for Guest {
    fn verify_token(_: &dyn Host, _: &str) -> Result<Option<TokenPrincipal>, Unavailable> {
        Ok(Some(TokenPrincipal::new(
            "drain-control",
            ["drain", "metrics.read", "admin"],
        )))
    }
}

portcullis_guest::export!(Guest);
