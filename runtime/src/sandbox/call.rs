//! The calls that the host makes of a guest: each in an instance that was never called before.

use super::contract::{Contract, Function, SessionAnswer, TokenAnswer};
use super::host::{Equipment, HostState};
use super::lane::Lane;
use crate::auth::ProviderName;
use wasmtime::Store;
use wasmtime::component::{ComponentNamedList, InstancePre, Lift, Lower};
use zeroize::Zeroizing;

/// All that a call shares with the ones before it: nothing that a guest could have written to.
pub(super) struct Prelinked {
    pub(super) name: ProviderName,
    pub(super) linked: InstancePre<HostState>,
    pub(super) contract: Contract,
    pub(super) equipment: Equipment,
}

impl Prelinked {
    /// Calls a function in an instance that was never called before.
    ///
    /// # Errors
    /// The guest traps, or there is no room for it.
    pub(super) async fn call<P, R>(
        &self,
        store: &mut Store<HostState>,
        function: Function,
        parameters: P,
    ) -> wasmtime::Result<R>
    where
        P: ComponentNamedList + Lower + Send + Sync,
        R: ComponentNamedList + Lift + Send + Sync + 'static,
    {
        let instance = self.linked.instantiate_async(&mut *store).await?;
        function.call(store, &instance, parameters).await
    }
}

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
        component: &Prelinked,
        store: &mut Store<HostState>,
    ) -> impl Future<Output = wasmtime::Result<Self::Answer>> + Send;
}

pub(super) struct SupportsToken;

impl GuestCall for SupportsToken {
    type Answer = bool;

    async fn run(&self, component: &Prelinked, store: &mut Store<HostState>) -> wasmtime::Result<bool> {
        let (answer,) = component.call(store, component.contract.supports_token, ()).await?;
        Ok(answer)
    }
}

pub(super) struct CheckSettings;

impl GuestCall for CheckSettings {
    /// The provider's complaint about its settings.
    type Answer = Option<String>;

    async fn run(
        &self,
        component: &Prelinked,
        store: &mut Store<HostState>,
    ) -> wasmtime::Result<Option<String>> {
        let Some(check) = component.contract.check_settings else { return Ok(None) };
        let (answer,): (Result<(), String>,) = component.call(store, check, ()).await?;
        Ok(answer.err())
    }
}

pub(super) struct VerifyToken(pub(super) Zeroizing<String>);

impl GuestCall for VerifyToken {
    type Answer = TokenAnswer;

    fn credential(&self) -> &str {
        &self.0
    }

    async fn run(
        &self,
        component: &Prelinked,
        store: &mut Store<HostState>,
    ) -> wasmtime::Result<Self::Answer> {
        let (answer,) = component.call(store, component.contract.verify_token, (self.credential(),)).await?;
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

    async fn run(
        &self,
        component: &Prelinked,
        store: &mut Store<HostState>,
    ) -> wasmtime::Result<Self::Answer> {
        let instance = component.linked.instantiate_async(&mut *store).await?;
        let verify = component.contract.verify_token;
        let (first,) = verify.call(store, &instance, (self.credential(),)).await?;
        let (second,) = verify.call(store, &instance, (self.credential(),)).await?;
        Ok([first, second])
    }
}

pub(super) struct VerifySession(pub(super) Zeroizing<String>);

impl GuestCall for VerifySession {
    type Answer = SessionAnswer;

    fn credential(&self) -> &str {
        &self.0
    }

    async fn run(
        &self,
        component: &Prelinked,
        store: &mut Store<HostState>,
    ) -> wasmtime::Result<Self::Answer> {
        let (answer,) =
            component.call(store, component.contract.verify_session, (self.credential(),)).await?;
        Ok(answer)
    }
}
