//! The calls that the host makes of a guest: each in an instance that was never called before.
//!
//! - This file: the calls for checks, and how each passes its arguments; [`sign_in`], [`sign_out`]:
//!   the calls by which people sign in and out.
//! - [`fresh`]: the instance of a call; [`caller`]: where and how long it runs; [`record`]: what
//!   the host knows of it.
//! - [`slots`], [`pace`]: how many calls are in flight, where they begin.
//! - [`checkpoint`]: the check at every call of the host.
//! - [`fault`]: the name of what went wrong; [`call_span`]: the call in a trace.
//!
//! **Invariant:** every call ends by its deadline, and what it used is given back.

pub(crate) mod call_span;
pub(crate) mod caller;
pub(crate) mod checkpoint;
pub(crate) mod fault;
pub(crate) mod fresh;
pub(crate) mod pace;
pub(crate) mod record;
pub(crate) mod sign_in;
pub(crate) mod sign_out;
pub(crate) mod slots;

use crate::call::fresh::Fresh;
use crate::clock::now;
use crate::contract::convert;
use crate::contract::{Contract, SessionAnswer, TokenAnswer};
use crate::engine::lane::Lane;
use crate::guest_text::words;
use crate::host::grants::Origin;
use portcullis_auth::{BearerToken, CallFault, ProviderFault, SessionVerdict, TokenVerdict};
use std::time::Instant;
use zeroize::Zeroizing;

/// Returns whether the operator granted an origin.
pub(crate) type GrantCheck<'a> = dyn Fn(&Origin) -> bool + 'a;

/// A call of one of the contract's functions, with what it passes and how its answer is checked.
pub(crate) trait GuestCall: Send + Sync + 'static {
    /// What the guest answers.
    type Answer: Send + 'static;
    /// The answer after the host has checked it.
    type Verdict: Send + 'static;

    /// Its name in a trace: the function's in the contract.
    const OPERATION: &'static str;
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

    /// Returns why the host cannot use the provider's answer, if that is the verdict and the caller
    /// does not log it.
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
        is_granted: &GrantCheck<'_>,
    ) -> Result<Self::Verdict, ProviderFault>;
}

/// Makes calls of one provider.
pub(crate) trait Asks: Send + Sync {
    /// Makes a call, which ends by `deadline`.
    fn ask<C: GuestCall>(
        &self,
        deadline: Instant,
        call: C,
    ) -> impl Future<Output = Result<C::Verdict, CallFault>> + Send;
}

pub(crate) struct SupportsToken;

impl GuestCall for SupportsToken {
    type Answer = bool;
    type Verdict = bool;
    const OPERATION: &'static str = "supports-token";

    async fn run(&self, contract: &Contract, fresh: &mut Fresh) -> wasmtime::Result<bool> {
        let (answer,) = fresh.call(contract.supports_token, ()).await?;
        Ok(answer)
    }

    fn check(&self, answer: bool, _: &GrantCheck<'_>) -> Result<bool, ProviderFault> {
        Ok(answer)
    }
}

/// What a component is asked when it is loaded, in one instance: a heavy one takes longer to
/// instantiate than to answer.
pub(crate) struct LoadCheck;

impl GuestCall for LoadCheck {
    type Answer = Result<bool, String>;
    /// Whether it takes tokens, or its complaint about its settings, where it looks at them.
    type Verdict = Result<bool, String>;
    const OPERATION: &'static str = "introduce";

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
        _: &GrantCheck<'_>,
    ) -> Result<Self::Verdict, ProviderFault> {
        Ok(answer.map_err(words))
    }
}

pub(crate) struct VerifyToken(pub(crate) BearerToken);

impl GuestCall for VerifyToken {
    type Answer = TokenAnswer;
    type Verdict = TokenVerdict;
    const OPERATION: &'static str = "verify-token";

    fn credential(&self) -> &str {
        self.0.expose()
    }

    async fn run(&self, contract: &Contract, fresh: &mut Fresh) -> wasmtime::Result<Self::Answer> {
        fresh
            .call_versioned(contract.verify_token, (self.credential(),))
            .await
    }

    fn unusable(verdict: &TokenVerdict) -> Option<&str> {
        match verdict {
            TokenVerdict::Unusable(why) => Some(why),
            TokenVerdict::NotRecognized | TokenVerdict::Recognized(_) => None,
        }
    }

    fn check(
        &self,
        answer: TokenAnswer,
        _: &GrantCheck<'_>,
    ) -> Result<TokenVerdict, ProviderFault> {
        convert::token_verdict(answer, self.credential())
    }
}

/// Two calls in one instance.
pub(crate) struct VerifyTwice(pub(crate) VerifyToken);

impl GuestCall for VerifyTwice {
    type Answer = [TokenAnswer; 2];
    type Verdict = [TokenVerdict; 2];
    const OPERATION: &'static str = "verify-token twice";

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
        is_granted: &GrantCheck<'_>,
    ) -> Result<Self::Verdict, ProviderFault> {
        Ok([
            self.0.check(first, is_granted)?,
            self.0.check(second, is_granted)?,
        ])
    }
}

pub(crate) struct VerifySession(pub(crate) Zeroizing<String>);

impl GuestCall for VerifySession {
    type Answer = SessionAnswer;
    type Verdict = SessionVerdict;
    const OPERATION: &'static str = "verify-session";

    fn credential(&self) -> &str {
        &self.0
    }

    async fn run(&self, contract: &Contract, fresh: &mut Fresh) -> wasmtime::Result<Self::Answer> {
        fresh
            .call_versioned(contract.verify_session, (self.credential(),))
            .await
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
        _: &GrantCheck<'_>,
    ) -> Result<Self::Verdict, ProviderFault> {
        convert::session_verdict(answer, self.credential(), now())
    }
}
