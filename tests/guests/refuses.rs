//! Takes no tokens, and signs nobody in.

use portcullis_guest::{Host, Provider, TokenPrincipal, Unavailable};

/// The provider.
pub struct Guest;

impl Provider for Guest {
    fn supports_token(_: &dyn Host) -> bool {
        false
    }

    fn verify_token(_: &dyn Host, _: &str) -> Result<Option<TokenPrincipal>, Unavailable> {
        Ok(None)
    }
}

portcullis_guest::export!(Guest);
