//! Keeps each text that it is given, and returns them as the principal of the token
//! `what-was-seen`.

#[cfg(target_family = "wasm")]
mod guest {
    wit_bindgen::generate!({
        inline: "package portcullis:guest;
                 world records {
                     include portcullis:auth/password-provider@0.2.0;
                     import wasi:keyvalue/store@0.2.0-draft;
                 }",
        path: "../../wit",
        world: "portcullis:guest/records",
        generate_all,
    });

    use exports::portcullis::auth::{password, provider, refresh};
    use wasi::keyvalue::store;

    const QUESTION: &str = "what-was-seen";

    struct Guest;

    fn see(what: &str) {
        let bucket = store::open("").expect("a bucket is granted");
        let key: String = what.chars().take(40).collect();
        bucket.set(&key, b"seen").expect("there is room");
    }

    fn seen() -> String {
        let bucket = store::open("").expect("a bucket is granted");
        let mut keys = bucket.list_keys(None).expect("keys").keys;
        keys.sort();
        format!("seen: {}", keys.join(","))
    }

    impl provider::Guest for Guest {
        fn supports_token() -> bool {
            true
        }

        fn verify_token(
            token: String,
        ) -> Result<Option<provider::TokenPrincipal>, provider::ProviderError> {
            if token == QUESTION {
                let (scopes, groups) = (Vec::new(), Vec::new());
                return Ok(Some(provider::TokenPrincipal {
                    principal: seen(),
                    scopes,
                    groups,
                }));
            }
            see(&token);
            Ok(None)
        }

        fn verify_session(
            token: String,
        ) -> Result<Option<provider::Session>, provider::ProviderError> {
            see(&token);
            Ok(None)
        }
    }

    impl password::Guest for Guest {
        fn complete_password_login(
            username: String,
            given: String,
        ) -> Result<password::Session, password::PasswordError> {
            see(&username);
            see(&given);
            Err(password::PasswordError::InvalidCredentials)
        }
    }

    impl refresh::Guest for Guest {
        fn refresh_session(token: String) -> Result<refresh::Session, refresh::RefreshError> {
            see(&token);
            Err(refresh::RefreshError::Expired)
        }

        fn revoke_session(token: String) {
            see(&token);
        }
    }

    export!(Guest);
}
