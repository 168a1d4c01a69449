//! Answers with a session that never ends.

#![cfg(target_family = "wasm")]

use portcullis_guest::{Host, Provider, Session, TokenPrincipal, Unavailable};

pub struct Guest;

impl Provider for Guest {
    fn verify_token(_: &dyn Host, _: &str) -> Result<Option<TokenPrincipal>, Unavailable> {
        Ok(None)
    }

    fn verify_session(_: &dyn Host, _: &str) -> Result<Option<Session>, Unavailable> {
        Ok(Some(Session {
            user_id: "breached".into(),
            expires_at: u64::MAX,
            ..Session::default()
        }))
    }
}

portcullis_guest::export!(Guest);
