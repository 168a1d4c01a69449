//! The calls by which an identity provider ends sessions, and by which a person who signs out here signs out there.

use super::call::GuestCall;
use super::contract::{Contract, Ended, LogoutError, ProviderError};
use super::convert;
use super::fresh::Fresh;
use super::grants::Origin;
use super::lane::Lane;
use super::sign_in::not_exported;
use crate::auth::{LogoutVerdict, ProviderFault};
use zeroize::Zeroizing;

pub(super) struct ReadLogoutToken(pub(super) Zeroizing<String>);

impl GuestCall for ReadLogoutToken {
    type Answer = Result<Ended, LogoutError>;
    type Verdict = LogoutVerdict;
    const LANE: Lane = Lane::SignIns;

    fn credential(&self) -> &str {
        &self.0
    }

    async fn run(&self, contract: &Contract, fresh: &mut Fresh) -> wasmtime::Result<Self::Answer> {
        let sign_out = contract.sign_out.as_ref().ok_or_else(|| not_exported("sign-out"))?;
        let (answer,) = fresh.call(sign_out.read_logout_token, (self.credential(),)).await?;
        Ok(answer)
    }

    fn check(
        &self,
        answer: Self::Answer,
        _: &dyn Fn(&Origin) -> bool,
    ) -> Result<Self::Verdict, ProviderFault> {
        convert::logout_verdict(answer, &self.0)
    }
}

pub(super) struct SignOutUrl {
    pub(super) access_token: Zeroizing<String>,
    pub(super) return_to: String,
}

impl GuestCall for SignOutUrl {
    type Answer = Result<Option<String>, ProviderError>;
    type Verdict = Option<String>;
    const LANE: Lane = Lane::SignIns;

    fn credential(&self) -> &str {
        &self.access_token
    }

    async fn run(&self, contract: &Contract, fresh: &mut Fresh) -> wasmtime::Result<Self::Answer> {
        let sign_out = contract.sign_out.as_ref().ok_or_else(|| not_exported("sign-out"))?;
        let parameters = (self.credential(), self.return_to.as_str());
        let (answer,) = fresh.call(sign_out.sign_out_url, parameters).await?;
        Ok(answer)
    }

    fn check(
        &self,
        answer: Self::Answer,
        is_granted: &dyn Fn(&Origin) -> bool,
    ) -> Result<Self::Verdict, ProviderFault> {
        convert::sign_out_url(answer, &self.access_token, is_granted)
    }
}
