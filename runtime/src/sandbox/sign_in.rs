//! The calls by which people sign in, and by which their sessions go on and end.

use super::bindings::contract::{ProviderError, Session};
use super::bindings::password_contract::PasswordError;
use super::bindings::redirect_contract::{self, CodeError};
use super::bindings::refresh_contract::RefreshError;
use super::call::{GuestCall, Prelinked};
use super::host::HostState;
use super::lane::Lane;
use crate::auth::{LoginRequest, LoginResponse};
use wasmtime::Store;
use zeroize::Zeroizing;

/// A provider that does not export what is called: the host's own mistake, since it reads the exports first.
fn not_exported(what: &str) -> wasmtime::Error {
    wasmtime::format_err!("the provider exports no {what}")
}

pub(super) struct CheckPassword {
    pub(super) username: String,
    pub(super) password: Zeroizing<String>,
}

impl GuestCall for CheckPassword {
    type Answer = Result<Session, PasswordError>;
    const LANE: Lane = Lane::SignIns;

    fn credential(&self) -> &str {
        &self.password
    }

    async fn run(
        &self,
        component: &Prelinked,
        store: &mut Store<HostState>,
    ) -> wasmtime::Result<Self::Answer> {
        let linked = component.password.as_ref().ok_or_else(|| not_exported("password"))?;
        let instance = linked.instantiate_async(&mut *store).await?;
        let password = instance.portcullis_auth_password();
        password.call_complete_password_login(store, &self.username, &self.password).await
    }
}

pub(super) struct StartLogin(pub(super) LoginRequest);

impl GuestCall for StartLogin {
    type Answer = Result<String, ProviderError>;
    const LANE: Lane = Lane::SignIns;

    fn credential(&self) -> &str {
        &self.0.state
    }

    async fn run(
        &self,
        component: &Prelinked,
        store: &mut Store<HostState>,
    ) -> wasmtime::Result<Self::Answer> {
        let linked = component.redirect.as_ref().ok_or_else(|| not_exported("redirect"))?;
        let instance = linked.instantiate_async(&mut *store).await?;
        let LoginRequest { redirect_uri, state, nonce, code_challenge } = self.0.clone();
        let request = redirect_contract::LoginRequest { redirect_uri, state, nonce, code_challenge };
        instance.portcullis_auth_redirect().call_start_login(store, &request).await
    }
}

pub(super) struct CompleteLogin(pub(super) LoginResponse);

impl GuestCall for CompleteLogin {
    type Answer = Result<Session, CodeError>;
    const LANE: Lane = Lane::SignIns;

    fn credential(&self) -> &str {
        &self.0.code
    }

    async fn run(
        &self,
        component: &Prelinked,
        store: &mut Store<HostState>,
    ) -> wasmtime::Result<Self::Answer> {
        let linked = component.redirect.as_ref().ok_or_else(|| not_exported("redirect"))?;
        let instance = linked.instantiate_async(&mut *store).await?;
        let LoginResponse { redirect_uri, code, nonce, code_verifier, issuer } = self.0.clone();
        let response = redirect_contract::LoginResponse { redirect_uri, code, nonce, code_verifier, issuer };
        instance.portcullis_auth_redirect().call_complete_login(store, &response).await
    }
}

pub(super) struct RefreshSession(pub(super) Zeroizing<String>);

impl GuestCall for RefreshSession {
    type Answer = Result<Session, RefreshError>;

    fn credential(&self) -> &str {
        &self.0
    }

    async fn run(
        &self,
        component: &Prelinked,
        store: &mut Store<HostState>,
    ) -> wasmtime::Result<Self::Answer> {
        let linked = component.refresh.as_ref().ok_or_else(|| not_exported("refresh"))?;
        let instance = linked.instantiate_async(&mut *store).await?;
        instance.portcullis_auth_refresh().call_refresh_session(store, &self.0).await
    }
}

pub(super) struct RevokeSession(pub(super) Zeroizing<String>);

impl GuestCall for RevokeSession {
    type Answer = ();

    fn credential(&self) -> &str {
        &self.0
    }

    async fn run(&self, component: &Prelinked, store: &mut Store<HostState>) -> wasmtime::Result<()> {
        let linked = component.refresh.as_ref().ok_or_else(|| not_exported("refresh"))?;
        let instance = linked.instantiate_async(&mut *store).await?;
        instance.portcullis_auth_refresh().call_revoke_session(store, &self.0).await
    }
}
