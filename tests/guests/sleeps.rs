//! Sleeps in a host call, where no epoch reaches.

use portcullis_guest::{Host, Provider, TokenPrincipal, Unavailable};

pub struct Guest;

impl Provider for Guest {
    fn verify_token(_: &dyn Host, _: &str) -> Result<Option<TokenPrincipal>, Unavailable> {
        #[expect(clippy::disallowed_methods, reason = "what this guest is for")]
        std::thread::sleep(std::time::Duration::from_secs(3600));
        Ok(None)
    }
}

portcullis_guest::export!(Guest);
