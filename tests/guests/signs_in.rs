//! Has a way to sign people in, and refuses every sign-in.

#[cfg(target_family = "wasm")]
mod guest {
    wit_bindgen::generate!({ path: "../../wit", world: "password-provider", generate_all });

    use exports::portcullis::auth::{password, provider, refresh};

    struct Guest;

    impl provider::Guest for Guest {
        fn supports_token() -> bool {
            false
        }

        fn verify_token(
            _: String,
        ) -> Result<Option<provider::TokenPrincipal>, provider::ProviderError> {
            Ok(None)
        }

        fn verify_session(_: String) -> Result<Option<provider::Session>, provider::ProviderError> {
            Ok(None)
        }
    }

    impl password::Guest for Guest {
        fn complete_password_login(
            _: String,
            _: String,
        ) -> Result<password::Session, password::PasswordError> {
            Err(password::PasswordError::InvalidCredentials)
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
