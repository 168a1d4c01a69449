//! The provider that docs/providers/rust.md shows.

use portcullis_guest::{Host, Provider, TokenPrincipal, Unavailable, same_secret};

/// One caller, whose token stands in the setting `token`.
pub struct Demo;

impl Provider for Demo {
    fn verify_token(host: &dyn Host, token: &str) -> Result<Option<TokenPrincipal>, Unavailable> {
        let known = host
            .setting("token")
            .is_some_and(|known| same_secret(&known, token));
        Ok(known.then(|| TokenPrincipal::new("demo", ["metrics.read"])))
    }
}

portcullis_guest::export!(Demo);
