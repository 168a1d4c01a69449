//! Counts its calls in its bucket, and answers with the number.

#![cfg(target_family = "wasm")]

use hostile_guests::{atomics, logging, store};
use portcullis_guest::{Host, Provider, TokenPrincipal, Unavailable};

pub struct Guest;

impl Provider for Guest {
    fn verify_token(_: &dyn Host, token: &str) -> Result<Option<TokenPrincipal>, Unavailable> {
        let bucket = store::open("").map_err(|_| Unavailable("no bucket".into()))?;
        let count = atomics::increment(&bucket, "calls", 1);
        let count = count.map_err(|error| Unavailable(format!("{error:?}")))?;
        logging::log(logging::Level::Info, "counts", &format!("call {count}"));
        Ok((token == "good-token")
            .then(|| TokenPrincipal::new(format!("call-{count}"), ["metrics.read"])))
    }
}

portcullis_guest::export!(Guest);
