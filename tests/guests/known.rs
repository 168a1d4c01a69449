//! Knows three tokens: one with a scope, one without, one with groups.

use portcullis_guest::{Host, Provider, TokenPrincipal, Unavailable};

pub struct Guest;

impl Provider for Guest {
    fn verify_token(_: &dyn Host, token: &str) -> Result<Option<TokenPrincipal>, Unavailable> {
        Ok(match token {
            "good-token" => Some(TokenPrincipal::new(
                "good-bot",
                ["metrics.read", "not.granted"],
            )),
            "scopeless-token" => Some(TokenPrincipal::new("scopeless-bot", ["not.granted"])),
            "grouped-token" => {
                let groups = [
                    "deployers".to_owned(),
                    "a,b".to_owned(),
                    "x".repeat(257),
                    "\u{200b}".to_owned(),
                ];
                Some(TokenPrincipal::new("grouped-bot", ["metrics.read"]).with_groups(groups))
            }
            _ => None,
        })
    }
}

portcullis_guest::export!(Guest);
