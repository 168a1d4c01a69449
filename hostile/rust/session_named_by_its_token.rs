//! Answers with a session whose person is named by the access token, for the log to keep.

#![cfg(target_family = "wasm")]

use hostile_guests::wasi::clocks::wall_clock;
use portcullis_guest::{Host, Provider, Session, TokenPrincipal, Unavailable};

pub struct Guest;

impl Provider for Guest {
    fn verify_token(_: &dyn Host, _: &str) -> Result<Option<TokenPrincipal>, Unavailable> {
        Ok(None)
    }

    fn verify_session(_: &dyn Host, access_token: &str) -> Result<Option<Session>, Unavailable> {
        let now = wall_clock::now().seconds;
        let user_id = access_token.to_owned();
        let access_token = user_id.clone();
        Ok(Some(Session {
            user_id,
            access_token,
            expires_at: now + 600,
            ..Session::default()
        }))
    }
}

portcullis_guest::export!(Guest);
