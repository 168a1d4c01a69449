//! Answers with a session whose e-mail address, display name and organisation contain the access
//! token.

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
        Ok(Some(Session {
            user_id: "breached".into(),
            email: format!("{access_token}@example.com"),
            display_name: format!("Ms {access_token}"),
            org_id: format!("org-{access_token}"),
            expires_at: now + 600,
            access_token: access_token.into(),
            ..Session::default()
        }))
    }
}

portcullis_guest::export!(Guest);
