//! Takes no tokens, and has no way to sign people in.

use portcullis_guest::{Host, Provider, TokenPrincipal, Unavailable};

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
