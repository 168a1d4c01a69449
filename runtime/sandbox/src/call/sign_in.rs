//! The calls by which people sign in, and by which their sessions are refreshed and end.

use crate::call::fresh::Fresh;
use crate::call::{GrantCheck, GuestCall};
use crate::clock::now;
use crate::contract::convert;
use crate::contract::{
    self, CodeError, Contract, PasswordError, ProviderError, RefreshError, SessionRecord,
};
use crate::engine::lane::Lane;
use portcullis_auth::{
    CodeVerdict, LoginRequest, LoginResponse, PasswordVerdict, ProviderFault, RefreshVerdict,
};
use zeroize::Zeroizing;

pub(crate) struct CheckPassword {
    pub(crate) username: String,
    pub(crate) password: Zeroizing<String>,
}

impl GuestCall for CheckPassword {
    type Answer = Result<SessionRecord, PasswordError>;
    type Verdict = PasswordVerdict;
    const LANE: Lane = Lane::SignIns;
    const OPERATION: &'static str = "complete-password-login";

    fn credential(&self) -> &str {
        &self.password
    }

    async fn run(&self, contract: &Contract, fresh: &mut Fresh) -> wasmtime::Result<Self::Answer> {
        let login = contract.complete_password_login()?;
        let parameters = (self.username.as_str(), self.credential());
        fresh.call_versioned(login, parameters).await
    }

    fn check(
        &self,
        answer: Self::Answer,
        _: &GrantCheck<'_>,
    ) -> Result<Self::Verdict, ProviderFault> {
        convert::password_verdict(answer, &self.username, &self.password, now())
    }
}

pub(crate) struct StartLogin(pub(crate) LoginRequest);

impl GuestCall for StartLogin {
    type Answer = Result<String, ProviderError>;
    type Verdict = String;
    const LANE: Lane = Lane::SignIns;
    const OPERATION: &'static str = "start-login";

    fn credential(&self) -> &str {
        &self.0.state
    }

    async fn run(&self, contract: &Contract, fresh: &mut Fresh) -> wasmtime::Result<Self::Answer> {
        let redirect = contract.redirect()?;
        let LoginRequest {
            redirect_uri,
            state,
            nonce,
            code_challenge,
        } = &self.0;
        let request = contract::LoginRequestRecord {
            redirect_uri,
            state,
            nonce,
            code_challenge,
        };
        let (answer,) = fresh.call(redirect.start_login, (request,)).await?;

        Ok(answer)
    }

    fn check(
        &self,
        answer: Self::Answer,
        is_granted: &GrantCheck<'_>,
    ) -> Result<Self::Verdict, ProviderFault> {
        convert::login_url(answer, &self.0.state, is_granted)
    }
}

pub(crate) struct CompleteLogin(pub(crate) LoginResponse);

impl GuestCall for CompleteLogin {
    type Answer = Result<SessionRecord, CodeError>;
    type Verdict = CodeVerdict;
    const LANE: Lane = Lane::SignIns;
    const OPERATION: &'static str = "complete-login";

    fn credential(&self) -> &str {
        &self.0.code
    }

    async fn run(&self, contract: &Contract, fresh: &mut Fresh) -> wasmtime::Result<Self::Answer> {
        let redirect = contract.redirect()?;
        let LoginResponse {
            redirect_uri,
            code,
            nonce,
            code_verifier,
            issuer,
        } = &self.0;

        let issuer = issuer.as_deref();
        let response = contract::LoginResponseRecord {
            redirect_uri,
            code,
            nonce,
            code_verifier,
            issuer,
        };

        fresh
            .call_versioned(redirect.complete_login, (response,))
            .await
    }

    fn check(
        &self,
        answer: Self::Answer,
        _: &GrantCheck<'_>,
    ) -> Result<Self::Verdict, ProviderFault> {
        convert::code_verdict(answer, &self.0.code, now())
    }
}

pub(crate) struct RefreshSession(pub(crate) Zeroizing<String>);

impl GuestCall for RefreshSession {
    type Answer = Result<SessionRecord, RefreshError>;
    type Verdict = RefreshVerdict;
    const OPERATION: &'static str = "refresh-session";

    fn credential(&self) -> &str {
        &self.0
    }

    async fn run(&self, contract: &Contract, fresh: &mut Fresh) -> wasmtime::Result<Self::Answer> {
        let refresh = contract.refresh()?;
        fresh
            .call_versioned(refresh.refresh_session, (self.credential(),))
            .await
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
        _: &GrantCheck<'_>,
    ) -> Result<Self::Verdict, ProviderFault> {
        convert::refresh_verdict(answer, &self.0, now())
    }
}

pub(crate) struct RevokeSession(pub(crate) Zeroizing<String>);

impl GuestCall for RevokeSession {
    type Answer = ();
    type Verdict = ();
    const OPERATION: &'static str = "revoke-session";

    fn credential(&self) -> &str {
        &self.0
    }

    async fn run(&self, contract: &Contract, fresh: &mut Fresh) -> wasmtime::Result<()> {
        let refresh = contract.refresh()?;
        fresh
            .call(refresh.revoke_session, (self.credential(),))
            .await
    }

    fn check(
        &self,
        answer: Self::Answer,
        _: &GrantCheck<'_>,
    ) -> Result<Self::Verdict, ProviderFault> {
        Ok(answer)
    }
}
