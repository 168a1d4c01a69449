//! The component side: the WIT bindings, and the one adapter from them to [`Provider`].

#[cfg(all(feature = "allocator", target_os = "unknown"))]
mod allocator;
#[cfg(feature = "keyvalue")]
mod bucket;
#[cfg(feature = "http")]
mod http;
#[cfg(feature = "http")]
mod http_error;

use crate::{Host, Provider, Session, TokenPrincipal, Unavailable};
use std::marker::PhantomData;

#[expect(
    missing_docs,
    unsafe_code,
    clippy::allow_attributes,
    clippy::allow_attributes_without_reason,
    reason = "generated"
)]
pub mod bindings {
    #[cfg(not(any(feature = "password", feature = "redirect")))]
    wit_bindgen::generate!({
        path: "../wit",
        world: "configured-provider",
        generate_all,
        pub_export_macro: true,
        default_bindings_module: "portcullis_guest::wasm::bindings",
    });
    #[cfg(all(feature = "password", not(feature = "redirect")))]
    wit_bindgen::generate!({
        path: "../wit",
        world: "configured-password-provider",
        generate_all,
        pub_export_macro: true,
        default_bindings_module: "portcullis_guest::wasm::bindings",
    });
    #[cfg(all(feature = "redirect", not(feature = "sign-out")))]
    wit_bindgen::generate!({
        path: "../wit",
        world: "configured-redirect-provider",
        generate_all,
        pub_export_macro: true,
        default_bindings_module: "portcullis_guest::wasm::bindings",
    });
    #[cfg(feature = "sign-out")]
    wit_bindgen::generate!({
        path: "../wit",
        world: "configured-sign-out-provider",
        generate_all,
        pub_export_macro: true,
        default_bindings_module: "portcullis_guest::wasm::bindings",
    });
}

use bindings::exports::portcullis::auth::{provider, settings};
use bindings::wasi::clocks::wall_clock;
use bindings::wasi::config::store;

struct ComponentHost;

impl Host for ComponentHost {
    fn setting(&self, key: &str) -> Option<String> {
        store::get(key).ok().flatten()
    }

    fn setting_names(&self) -> Vec<String> {
        let mut names: Vec<_> = store::get_all()
            .unwrap_or_default()
            .into_iter()
            .map(|(key, _)| key)
            .collect();
        names.sort();
        names
    }

    fn now(&self) -> u64 {
        wall_clock::now().seconds
    }

    #[cfg(feature = "keyvalue")]
    fn bucket(&self) -> &dyn crate::Bucket {
        &bucket::HostBucket
    }

    #[cfg(feature = "http")]
    fn http(&self) -> &dyn crate::Http {
        &http::HostHttp
    }
}

/// The component that [`crate::export!`] exports for a provider.
pub struct Component<P>(PhantomData<P>);

impl<P: Provider> settings::Guest for Component<P> {
    fn check() -> Result<(), String> {
        P::check_settings(&ComponentHost)
    }
}

impl<P: Provider> provider::Guest for Component<P> {
    fn supports_token() -> bool {
        P::supports_token(&ComponentHost)
    }

    fn verify_token(
        token: String,
    ) -> Result<Option<provider::TokenPrincipal>, provider::ProviderError> {
        let verdict = P::verify_token(&ComponentHost, &token)?;
        Ok(verdict.map(Into::into))
    }

    fn verify_session(token: String) -> Result<Option<provider::Session>, provider::ProviderError> {
        let verdict = P::verify_session(&ComponentHost, &token)?;
        Ok(verdict.map(Into::into))
    }
}

impl From<Unavailable> for provider::ProviderError {
    fn from(unavailable: Unavailable) -> Self {
        Self::Unavailable(unavailable.0)
    }
}

impl From<TokenPrincipal> for provider::TokenPrincipal {
    fn from(from: TokenPrincipal) -> Self {
        Self {
            principal: from.principal,
            scopes: from.scopes,
            groups: passed_on(from.groups),
        }
    }
}

impl From<Session> for provider::Session {
    fn from(from: Session) -> Self {
        Self {
            user_id: from.user_id,
            email: from.email,
            display_name: from.display_name,
            org_id: from.org_id,
            expires_at: from.expires_at,
            access_token: from.access_token,
            refresh_token: from.refresh_token,
            groups: passed_on(from.groups),
        }
    }
}

/// Most groups that the contract allows.
const MAX_GROUPS: usize = 256;
/// Longest name of a group that the contract allows, in bytes.
const MAX_GROUP_BYTES: usize = 256;

/// Without the groups that the contract does not allow: an answer that is too large is a fault of
/// the provider's.
fn passed_on(groups: Vec<String>) -> Vec<String> {
    groups
        .into_iter()
        .filter(|group| group.len() <= MAX_GROUP_BYTES)
        .take(MAX_GROUPS)
        .collect()
}

#[cfg(feature = "password")]
mod password {
    use super::bindings::exports::portcullis::auth::password;
    use super::{Component, ComponentHost};
    use crate::{PasswordError, PasswordSignIn};

    impl<P: PasswordSignIn> password::Guest for Component<P> {
        fn complete_password_login(
            username: String,
            given: String,
        ) -> Result<password::Session, password::PasswordError> {
            let session = P::check_password(&ComponentHost, &username, &given);
            session.map(Into::into).map_err(|error| match error {
                PasswordError::InvalidCredentials => password::PasswordError::InvalidCredentials,
                PasswordError::Unavailable(why) => password::PasswordError::Unavailable(why),
            })
        }
    }
}

#[cfg(feature = "redirect")]
mod redirect {
    use super::bindings::exports::portcullis::auth::redirect;
    use super::{Component, ComponentHost};
    use crate::{CodeError, LoginRequest, LoginResponse, RedirectSignIn};

    impl<P: RedirectSignIn> redirect::Guest for Component<P> {
        fn start_login(request: redirect::LoginRequest) -> Result<String, redirect::ProviderError> {
            let redirect::LoginRequest {
                redirect_uri,
                state,
                nonce,
                code_challenge,
            } = request;
            let request = LoginRequest {
                redirect_uri,
                state,
                nonce,
                code_challenge,
            };

            P::start_login(&ComponentHost, &request)
                .map_err(|unavailable| redirect::ProviderError::Unavailable(unavailable.0))
        }

        fn complete_login(
            response: redirect::LoginResponse,
        ) -> Result<redirect::Session, redirect::CodeError> {
            let redirect::LoginResponse {
                redirect_uri,
                code,
                nonce,
                code_verifier,
                issuer,
            } = response;

            let response = LoginResponse {
                redirect_uri,
                code,
                nonce,
                code_verifier,
                issuer,
            };

            let session = P::complete_login(&ComponentHost, &response);
            session.map(Into::into).map_err(|error| match error {
                CodeError::InvalidCode(why) => redirect::CodeError::InvalidCode(why),
                CodeError::Unavailable(why) => redirect::CodeError::Unavailable(why),
            })
        }
    }
}

#[cfg(any(feature = "password", feature = "redirect"))]
mod refresh {
    use super::bindings::exports::portcullis::auth::refresh;
    use super::{Component, ComponentHost};
    use crate::{Provider, Refresh, RefreshError};

    impl<P: Provider + Refresh> refresh::Guest for Component<P> {
        fn refresh_session(
            refresh_token: String,
        ) -> Result<refresh::Session, refresh::RefreshError> {
            let session = P::refresh_session(&ComponentHost, &refresh_token);
            session.map(Into::into).map_err(|error| match error {
                RefreshError::Expired => refresh::RefreshError::Expired,
                RefreshError::Unavailable(why) => refresh::RefreshError::Unavailable(why),
            })
        }

        fn revoke_session(refresh_token: String) {
            P::revoke_session(&ComponentHost, &refresh_token);
        }
    }
}

#[cfg(feature = "sign-out")]
mod sign_out {
    use super::bindings::exports::portcullis::auth::sign_out;
    use super::{Component, ComponentHost};
    use crate::{Ended, LogoutError, SignOut};

    impl<P: SignOut> sign_out::Guest for Component<P> {
        fn read_logout_token(token: String) -> Result<sign_out::Ended, sign_out::LogoutError> {
            match P::read_logout_token(&ComponentHost, &token) {
                Ok(Ended::Person(user_id)) => Ok(sign_out::Ended::Person(user_id)),
                Ok(Ended::Noted) => Ok(sign_out::Ended::Noted),
                Err(LogoutError::InvalidToken(why)) => {
                    Err(sign_out::LogoutError::InvalidToken(why))
                }
                Err(LogoutError::Unavailable(why)) => Err(sign_out::LogoutError::Unavailable(why)),
            }
        }

        fn sign_out_url(
            access_token: String,
            return_to: String,
        ) -> Result<Option<String>, sign_out::ProviderError> {
            P::sign_out_url(&ComponentHost, &access_token, &return_to)
                .map_err(|unavailable| sign_out::ProviderError::Unavailable(unavailable.0))
        }
    }
}
