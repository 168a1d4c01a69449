//! The calls by which an identity provider ends sessions, and by which a person who signs out here
//! signs out there.

use crate::call::fresh::Fresh;
use crate::call::{GrantCheck, GuestCall};
use crate::contract::convert;
use crate::contract::{Contract, Ended, LogoutError, ProviderError};
use crate::engine::lane::Lane;
use portcullis_auth::{LogoutVerdict, ProviderFault};
use zeroize::Zeroizing;

pub(crate) struct ReadLogoutToken(pub(crate) Zeroizing<String>);

impl GuestCall for ReadLogoutToken {
    type Answer = Result<Ended, LogoutError>;
    type Verdict = LogoutVerdict;
    const LANE: Lane = Lane::SignIns;
    const OPERATION: &'static str = "read-logout-token";

    fn credential(&self) -> &str {
        &self.0
    }

    async fn run(&self, contract: &Contract, fresh: &mut Fresh) -> wasmtime::Result<Self::Answer> {
        let sign_out = contract.sign_out()?;
        let (answer,) = fresh
            .call(sign_out.read_logout_token, (self.credential(),))
            .await?;
        Ok(answer)
    }

    fn check(
        &self,
        answer: Self::Answer,
        _: &GrantCheck<'_>,
    ) -> Result<Self::Verdict, ProviderFault> {
        convert::logout_verdict(answer, &self.0)
    }
}

pub(crate) struct SignOutUrl {
    pub(crate) access_token: Zeroizing<String>,
    pub(crate) return_to: String,
}

impl GuestCall for SignOutUrl {
    type Answer = Result<Option<String>, ProviderError>;
    type Verdict = Option<String>;
    const LANE: Lane = Lane::SignIns;
    const OPERATION: &'static str = "sign-out-url";

    fn credential(&self) -> &str {
        &self.access_token
    }

    async fn run(&self, contract: &Contract, fresh: &mut Fresh) -> wasmtime::Result<Self::Answer> {
        let sign_out = contract.sign_out()?;
        let parameters = (self.credential(), self.return_to.as_str());
        let (answer,) = fresh.call(sign_out.sign_out_url, parameters).await?;
        Ok(answer)
    }

    fn check(
        &self,
        answer: Self::Answer,
        is_granted: &GrantCheck<'_>,
    ) -> Result<Self::Verdict, ProviderFault> {
        convert::sign_out_url(answer, &self.access_token, is_granted)
    }
}
