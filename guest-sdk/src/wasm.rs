//! The component side: the WIT bindings, and the one adapter from them to [`Provider`].

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
    wit_bindgen::generate!({
        path: "../wit",
        world: "configured-provider",
        generate_all,
        pub_export_macro: true,
        default_bindings_module: "portcullis_guest::wasm::bindings",
    });
}

use bindings::exports::portcullis::auth::{provider, settings};
use bindings::wasi::{clocks::wall_clock, config::store};

struct ComponentHost;

impl Host for ComponentHost {
    fn setting(&self, key: &str) -> Option<String> {
        store::get(key).ok().flatten()
    }

    fn setting_names(&self) -> Vec<String> {
        let mut names: Vec<_> =
            store::get_all().unwrap_or_default().into_iter().map(|(key, _)| key).collect();
        names.sort();
        names
    }

    fn now(&self) -> u64 {
        wall_clock::now().seconds
    }
}

/// What [`crate::export!`] exports.
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

    fn verify_token(token: String) -> Result<Option<provider::TokenPrincipal>, provider::ProviderError> {
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
        Self { principal: from.principal, scopes: from.scopes }
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
        }
    }
}
