//! Takes 300 ms of its second, and does nothing wrong.

use portcullis_guest::{Host, Provider, TokenPrincipal, Unavailable};

pub struct Guest;

impl Provider for Guest {
    fn verify_token(_: &dyn Host, token: &str) -> Result<Option<TokenPrincipal>, Unavailable> {
        #[expect(clippy::disallowed_methods, reason = "what this guest is for")]
        std::thread::sleep(std::time::Duration::from_millis(300));
        Ok((token == "good-token").then(|| TokenPrincipal::new("good", ["metrics.read"])))
    }
}

portcullis_guest::export!(Guest);
