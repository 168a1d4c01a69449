//! Sends people to an identity provider that does not exist, and redeems the code `NAME` as the
//! person of that name. Some codes misbehave as they say. Its access tokens are `at:NAME`.

#[cfg(target_family = "wasm")]
mod guest {
    wit_bindgen::generate!({ path: "../../wit", world: "redirect-provider", generate_all });

    use exports::portcullis::auth::{provider, redirect, refresh};
    use std::time::{SystemTime, UNIX_EPOCH};

    struct Guest;

    fn session(name: &str) -> provider::Session {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .expect("after 1970")
            .as_secs();
        provider::Session {
            user_id: name.to_owned(),
            email: format!("{name}@example.test"),
            display_name: name.to_owned(),
            org_id: "example".to_owned(),
            expires_at: now + 3600,
            // No cookie has room for the other.
            access_token: if name == "huge" {
                "x".repeat(5_000)
            } else {
                format!("at:{name}")
            },
            refresh_token: String::new(),
            groups: Vec::new(),
        }
    }

    impl provider::Guest for Guest {
        fn supports_token() -> bool {
            false
        }

        fn verify_token(
            _: String,
        ) -> Result<Option<provider::TokenPrincipal>, provider::ProviderError> {
            Ok(None)
        }

        fn verify_session(
            token: String,
        ) -> Result<Option<provider::Session>, provider::ProviderError> {
            Ok(token.strip_prefix("at:").map(session))
        }
    }

    impl redirect::Guest for Guest {
        fn start_login(request: redirect::LoginRequest) -> Result<String, redirect::ProviderError> {
            Ok(format!(
                "https://idp.example.test/authorize?state={}",
                request.state
            ))
        }

        fn complete_login(
            response: redirect::LoginResponse,
        ) -> Result<redirect::Session, redirect::CodeError> {
            match response.code.as_str() {
                "stranger" => Err(redirect::CodeError::InvalidCode(
                    "not allowed: a visitor: not in the group".to_owned(),
                )),
                "forged" => Err(redirect::CodeError::InvalidCode("no such code".to_owned())),
                "down" => Err(redirect::CodeError::Unavailable("no answer".to_owned())),
                "traps" => unreachable!("as its name says"),
                name => Ok(session(name)),
            }
        }
    }

    impl refresh::Guest for Guest {
        fn refresh_session(_: String) -> Result<refresh::Session, refresh::RefreshError> {
            Err(refresh::RefreshError::Expired)
        }

        fn revoke_session(_: String) {}
    }

    export!(Guest);
}
