//! Says that its store is out of reach.

use portcullis_guest::{Host, Provider, TokenPrincipal, Unavailable};

pub struct Guest;

impl Provider for Guest {
    fn verify_token(_: &dyn Host, _: &str) -> Result<Option<TokenPrincipal>, Unavailable> {
        Err(Unavailable("the directory does not answer".into()))
    }
}

portcullis_guest::export!(Guest);
