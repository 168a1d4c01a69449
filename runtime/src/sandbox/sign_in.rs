//! The calls by which people sign in, and by which their sessions are refreshed and end.

use super::call::{GuestCall, now};
use super::contract::{self, CodeError, Contract, PasswordError, ProviderError, RefreshError, Session};
use super::convert;
use super::fresh::Fresh;
use super::grants::Origin;
use super::lane::Lane;
use crate::auth::{CodeVerdict, LoginRequest, LoginResponse, PasswordVerdict, ProviderFault, RefreshVerdict};
use zeroize::Zeroizing;

/// A provider that does not export what is called: the host's own mistake, since it reads the exports first.
pub(super) fn not_exported(what: &str) -> wasmtime::Error {
    wasmtime::format_err!("the provider exports no {what}")
}

pub(super) struct CheckPassword {
    pub(super) username: String,
    pub(super) password: Zeroizing<String>,
}

impl GuestCall for CheckPassword {
    type Answer = Result<Session, PasswordError>;
    type Verdict = PasswordVerdict;
    const LANE: Lane = Lane::SignIns;

    fn credential(&self) -> &str {
        &self.password
    }

    async fn run(&self, contract: &Contract, fresh: &mut Fresh) -> wasmtime::Result<Self::Answer> {
        let login = contract.complete_password_login.ok_or_else(|| not_exported("password"))?;
        let parameters = (self.username.as_str(), self.credential());
        fresh.call_versioned(login, parameters).await
    }

    fn check(
        &self,
        answer: Self::Answer,
        _: &dyn Fn(&Origin) -> bool,
    ) -> Result<Self::Verdict, ProviderFault> {
        convert::password_verdict(answer, &self.username, &self.password, now())
    }
}

pub(super) struct StartLogin(pub(super) LoginRequest);

impl GuestCall for StartLogin {
    type Answer = Result<String, ProviderError>;
    type Verdict = String;
    const LANE: Lane = Lane::SignIns;

    fn credential(&self) -> &str {
        &self.0.state
    }

    async fn run(&self, contract: &Contract, fresh: &mut Fresh) -> wasmtime::Result<Self::Answer> {
        let redirect = contract.redirect.as_ref().ok_or_else(|| not_exported("redirect"))?;
        let LoginRequest { redirect_uri, state, nonce, code_challenge } = &self.0;
        let request = contract::LoginRequest { redirect_uri, state, nonce, code_challenge };
        let (answer,) = fresh.call(redirect.start_login, (request,)).await?;
        Ok(answer)
    }

    fn check(
        &self,
        answer: Self::Answer,
        is_granted: &dyn Fn(&Origin) -> bool,
    ) -> Result<Self::Verdict, ProviderFault> {
        convert::login_url(answer, &self.0.state, is_granted)
    }
}

pub(super) struct CompleteLogin(pub(super) LoginResponse);

impl GuestCall for CompleteLogin {
    type Answer = Result<Session, CodeError>;
    type Verdict = CodeVerdict;
    const LANE: Lane = Lane::SignIns;

    fn credential(&self) -> &str {
        &self.0.code
    }

    async fn run(&self, contract: &Contract, fresh: &mut Fresh) -> wasmtime::Result<Self::Answer> {
        let redirect = contract.redirect.as_ref().ok_or_else(|| not_exported("redirect"))?;
        let LoginResponse { redirect_uri, code, nonce, code_verifier, issuer } = &self.0;
        let issuer = issuer.as_deref();
        let response = contract::LoginResponse { redirect_uri, code, nonce, code_verifier, issuer };
        fresh.call_versioned(redirect.complete_login, (response,)).await
    }

    fn check(
        &self,
        answer: Self::Answer,
        _: &dyn Fn(&Origin) -> bool,
    ) -> Result<Self::Verdict, ProviderFault> {
        convert::code_verdict(answer, &self.0.code, now())
    }
}

pub(super) struct RefreshSession(pub(super) Zeroizing<String>);

impl GuestCall for RefreshSession {
    type Answer = Result<Session, RefreshError>;
    type Verdict = RefreshVerdict;

    fn credential(&self) -> &str {
        &self.0
    }

    async fn run(&self, contract: &Contract, fresh: &mut Fresh) -> wasmtime::Result<Self::Answer> {
        let refresh = contract.refresh.as_ref().ok_or_else(|| not_exported("refresh"))?;
        fresh.call_versioned(refresh.refresh_session, (self.credential(),)).await
    }

    fn unusable(verdict: &RefreshVerdict) -> Option<&str> {
        match verdict {
            RefreshVerdict::Unusable(why) => Some(why),
            RefreshVerdict::Expired | RefreshVerdict::Refreshed(_) => None,
        }
    }

    fn check(
        &self,
        answer: Self::Answer,
        _: &dyn Fn(&Origin) -> bool,
    ) -> Result<Self::Verdict, ProviderFault> {
        convert::refresh_verdict(answer, &self.0, now())
    }
}

pub(super) struct RevokeSession(pub(super) Zeroizing<String>);

impl GuestCall for RevokeSession {
    type Answer = ();
    type Verdict = ();

    fn credential(&self) -> &str {
        &self.0
    }

    async fn run(&self, contract: &Contract, fresh: &mut Fresh) -> wasmtime::Result<()> {
        let refresh = contract.refresh.as_ref().ok_or_else(|| not_exported("refresh"))?;
        fresh.call(refresh.revoke_session, (self.credential(),)).await
    }

    fn check(
        &self,
        answer: Self::Answer,
        _: &dyn Fn(&Origin) -> bool,
    ) -> Result<Self::Verdict, ProviderFault> {
        Ok(answer)
    }
}
