//! Knows one token, and traps on another: a bug that a stranger can touch.

use portcullis_guest::{Host, Provider, TokenPrincipal, Unavailable};

pub struct Guest;

impl Provider for Guest {
    fn verify_token(_: &dyn Host, token: &str) -> Result<Option<TokenPrincipal>, Unavailable> {
        assert_ne!(token, "trap-token");
        Ok((token == "good-token").then(|| TokenPrincipal::new("good-bot", ["metrics.read"])))
    }
}

portcullis_guest::export!(Guest);
