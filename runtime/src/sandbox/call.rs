//! The calls that the host makes of a guest: each in an instance that was never called before.

use super::contract::{Contract, SessionAnswer, TokenAnswer};
use super::convert;
use super::fault::words;
use super::fresh::Fresh;
use super::grants::Origin;
use super::lane::Lane;
use crate::auth::{BearerToken, ProviderFault, SessionVerdict, TokenVerdict};
use std::time::{SystemTime, UNIX_EPOCH};
use zeroize::Zeroizing;

/// A call of one of the contract's functions, with what it passes and how its answer is checked.
pub(super) trait GuestCall: Send + Sync + 'static {
    /// What the guest answers.
    type Answer: Send + 'static;
    /// The answer after the host has checked it.
    type Verdict: Send + 'static;

    /// The lane in which it waits for its turn.
    const LANE: Lane = Lane::Checks;

    /// What must not be repeated in a log.
    fn credential(&self) -> &str {
        ""
    }

    fn run(
        &self,
        contract: &Contract,
        fresh: &mut Fresh,
    ) -> impl Future<Output = wasmtime::Result<Self::Answer>> + Send;

    /// Returns why the host cannot use the provider's answer, if that is the verdict and the caller does not log it.
    fn unusable(verdict: &Self::Verdict) -> Option<&str> {
        let _ = verdict;
        None
    }

    /// Checks what the guest answered.
    ///
    /// # Errors
    /// It is not an answer that the host accepts.
    fn check(
        &self,
        answer: Self::Answer,
        is_granted: &dyn Fn(&Origin) -> bool,
    ) -> Result<Self::Verdict, ProviderFault>;
}

pub(super) struct SupportsToken;

impl GuestCall for SupportsToken {
    type Answer = bool;
    type Verdict = bool;

    async fn run(&self, contract: &Contract, fresh: &mut Fresh) -> wasmtime::Result<bool> {
        let (answer,) = fresh.call(contract.supports_token, ()).await?;
        Ok(answer)
    }

    fn check(&self, answer: bool, _: &dyn Fn(&Origin) -> bool) -> Result<bool, ProviderFault> {
        Ok(answer)
    }
}

/// What a component is asked when it is loaded, in one instance: a heavy one takes longer to instantiate than to answer.
pub(super) struct Introduce;

impl GuestCall for Introduce {
    type Answer = Result<bool, String>;
    /// Whether it takes tokens, or its complaint about its settings, where it looks at them.
    type Verdict = Result<bool, String>;

    async fn run(&self, contract: &Contract, fresh: &mut Fresh) -> wasmtime::Result<Self::Answer> {
        if let Some(check) = contract.check_settings {
            let (checked,): (Result<(), String>,) = fresh.call(check, ()).await?;
            if let Err(complaint) = checked {
                return Ok(Err(complaint));
            }
        }
        SupportsToken.run(contract, fresh).await.map(Ok)
    }

    fn check(
        &self,
        answer: Self::Answer,
        _: &dyn Fn(&Origin) -> bool,
    ) -> Result<Self::Verdict, ProviderFault> {
        Ok(answer.map_err(words))
    }
}

pub(super) struct VerifyToken(pub(super) BearerToken);

impl GuestCall for VerifyToken {
    type Answer = TokenAnswer;
    type Verdict = TokenVerdict;

    fn credential(&self) -> &str {
        self.0.expose()
    }

    async fn run(&self, contract: &Contract, fresh: &mut Fresh) -> wasmtime::Result<Self::Answer> {
        fresh.call_versioned(contract.verify_token, (self.credential(),)).await
    }

    fn unusable(verdict: &TokenVerdict) -> Option<&str> {
        match verdict {
            TokenVerdict::Unusable(why) => Some(why),
            TokenVerdict::NotRecognized | TokenVerdict::Recognized(_) => None,
        }
    }

    fn check(&self, answer: TokenAnswer, _: &dyn Fn(&Origin) -> bool) -> Result<TokenVerdict, ProviderFault> {
        convert::token_verdict(answer, self.credential())
    }
}

/// Two calls in one instance.
pub(super) struct VerifyTwice(pub(super) VerifyToken);

impl GuestCall for VerifyTwice {
    type Answer = [TokenAnswer; 2];
    type Verdict = [TokenVerdict; 2];

    fn credential(&self) -> &str {
        self.0.credential()
    }

    async fn run(&self, contract: &Contract, fresh: &mut Fresh) -> wasmtime::Result<Self::Answer> {
        let first = self.0.run(contract, fresh).await?;
        let second = self.0.run(contract, fresh).await?;
        Ok([first, second])
    }

    fn check(
        &self,
        [first, second]: Self::Answer,
        is_granted: &dyn Fn(&Origin) -> bool,
    ) -> Result<Self::Verdict, ProviderFault> {
        Ok([self.0.check(first, is_granted)?, self.0.check(second, is_granted)?])
    }
}

pub(super) struct VerifySession(pub(super) Zeroizing<String>);

impl GuestCall for VerifySession {
    type Answer = SessionAnswer;
    type Verdict = SessionVerdict;

    fn credential(&self) -> &str {
        &self.0
    }

    async fn run(&self, contract: &Contract, fresh: &mut Fresh) -> wasmtime::Result<Self::Answer> {
        fresh.call_versioned(contract.verify_session, (self.credential(),)).await
    }

    fn unusable(verdict: &SessionVerdict) -> Option<&str> {
        match verdict {
            SessionVerdict::Unusable(why) => Some(why),
            SessionVerdict::NotRecognized | SessionVerdict::Recognized(_) => None,
        }
    }

    fn check(
        &self,
        answer: SessionAnswer,
        _: &dyn Fn(&Origin) -> bool,
    ) -> Result<Self::Verdict, ProviderFault> {
        convert::session_verdict(answer, self.credential(), now())
    }
}

/// Seconds since the Unix epoch.
pub(super) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
