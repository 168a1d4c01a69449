//! Knows two tokens: one with a scope, one without.

use portcullis_guest::{Host, Provider, TokenPrincipal, Unavailable};

/// The provider.
pub struct Guest;

impl Provider for Guest {
    fn verify_token(_: &dyn Host, token: &str) -> Result<Option<TokenPrincipal>, Unavailable> {
        Ok(match token {
            "good-token" => Some(TokenPrincipal::new("good-bot", ["metrics.read", "not.granted"])),
            "scopeless-token" => Some(TokenPrincipal::new("scopeless-bot", ["not.granted"])),
            _ => None,
        })
    }
}

portcullis_guest::export!(Guest);
