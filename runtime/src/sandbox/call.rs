//! The calls that the host makes of a guest: each in an instance that was never called before.

use super::contract::{Contract, SessionAnswer, TokenAnswer};
use super::fresh::Fresh;
use super::lane::Lane;
use zeroize::Zeroizing;

/// A call of one of the contract's functions, with what it passes.
pub(super) trait GuestCall: Send + Sync + 'static {
    type Answer: Send + 'static;

    /// Among which calls it waits for its turn.
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
}

pub(super) struct SupportsToken;

impl GuestCall for SupportsToken {
    type Answer = bool;

    async fn run(&self, contract: &Contract, fresh: &mut Fresh) -> wasmtime::Result<bool> {
        let (answer,) = fresh.call(contract.supports_token, ()).await?;
        Ok(answer)
    }
}

/// What a component is asked when it is loaded, in one instance: a heavy one takes longer to make than to answer, and
/// what it says of itself is its own word either way.
pub(super) struct Introduce;

impl GuestCall for Introduce {
    /// Whether it takes tokens, or its complaint about its settings, where it looks at them.
    type Answer = Result<bool, String>;

    async fn run(&self, contract: &Contract, fresh: &mut Fresh) -> wasmtime::Result<Self::Answer> {
        if let Some(check) = contract.check_settings {
            let (checked,): (Result<(), String>,) = fresh.call(check, ()).await?;
            if let Err(complaint) = checked {
                return Ok(Err(complaint));
            }
        }
        SupportsToken.run(contract, fresh).await.map(Ok)
    }
}

pub(super) struct VerifyToken(pub(super) Zeroizing<String>);

impl GuestCall for VerifyToken {
    type Answer = TokenAnswer;

    fn credential(&self) -> &str {
        &self.0
    }

    async fn run(&self, contract: &Contract, fresh: &mut Fresh) -> wasmtime::Result<Self::Answer> {
        let (answer,) = fresh.call(contract.verify_token, (self.credential(),)).await?;
        Ok(answer)
    }
}

/// Two calls in one instance.
pub(super) struct VerifyTwice(pub(super) VerifyToken);

impl GuestCall for VerifyTwice {
    type Answer = [<VerifyToken as GuestCall>::Answer; 2];

    fn credential(&self) -> &str {
        self.0.credential()
    }

    async fn run(&self, contract: &Contract, fresh: &mut Fresh) -> wasmtime::Result<Self::Answer> {
        let (first,) = fresh.call(contract.verify_token, (self.credential(),)).await?;
        let (second,) = fresh.call(contract.verify_token, (self.credential(),)).await?;
        Ok([first, second])
    }
}

pub(super) struct VerifySession(pub(super) Zeroizing<String>);

impl GuestCall for VerifySession {
    type Answer = SessionAnswer;

    fn credential(&self) -> &str {
        &self.0
    }

    async fn run(&self, contract: &Contract, fresh: &mut Fresh) -> wasmtime::Result<Self::Answer> {
        let (answer,) = fresh.call(contract.verify_session, (self.credential(),)).await?;
        Ok(answer)
    }
}
