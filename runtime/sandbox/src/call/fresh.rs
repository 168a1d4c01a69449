//! A fresh instance: no call was ever made of it, and the next call's is another one.

use crate::call::checkpoint::Checkpoint;
use crate::call::fault::classify;
use crate::call::record::CallRecord;
use crate::contract::{Contract, Function, Versioned, VersionedFunction};
use crate::engine::Machinery;
use crate::engine::guest_memory::MemoryShare;
use crate::engine::heap::GivesBack;
use crate::engine::limits::{MAX_ANSWER_BYTES, MAX_HANDLES};
use crate::engine::ticker::Ticker;
use crate::host::{HostState, ProviderResources};
use crate::load::Facts;
use portcullis_auth::{ProviderFault, ProviderName};
use std::sync::Arc;
use wasmtime::Store;
use wasmtime::component::{ComponentNamedList, Instance, InstancePre, Lift, Lower};

/// All that the instances of a provider share: nothing that a guest could have written to.
pub(crate) struct Prelinked {
    pub(crate) name: ProviderName,
    pub(crate) linked: InstancePre<HostState>,
    pub(crate) contract: Contract,
    pub(crate) resources: ProviderResources,
    pub(crate) facts: Arc<Facts>,
    /// The last field, so that all others are dropped before.
    pub(crate) _gives_back: GivesBack,
}

impl Prelinked {
    /// # Errors
    /// The guest traps while it starts, or there is no room for it.
    pub(crate) async fn instantiate(
        &self,
        machinery: &Machinery,
        memory: MemoryShare,
        record: CallRecord,
    ) -> Result<Fresh, ProviderFault> {
        let mut store = Store::new(
            &machinery.engine,
            HostState::new(&self.resources, memory, record),
        );
        bound_store(&mut store, &machinery.ticker);

        match self.linked.instantiate_async(&mut store).await {
            Ok(instance) => Ok(Fresh { store, instance }),
            Err(error) => Err(classify(&error, &store.data().limits)),
        }
    }
}

/// An instance, until its call is over.
pub(crate) struct Fresh {
    store: Store<HostState>,
    instance: Instance,
}

impl Fresh {
    /// Calls a function of the contract.
    ///
    /// # Errors
    /// The guest traps.
    pub(crate) async fn call<P, R>(
        &mut self,
        function: Function,
        parameters: P,
    ) -> wasmtime::Result<R>
    where
        P: ComponentNamedList + Lower + Send + Sync,
        R: ComponentNamedList + Lift + Send + Sync + 'static,
    {
        // Ticks may have passed since it was made.
        start_ticks(&mut self.store);
        function
            .call(&mut self.store, &self.instance, parameters)
            .await
    }

    /// Calls a function of the contract whose answer has a record that differs between versions.
    ///
    /// # Errors
    /// The guest traps.
    pub(crate) async fn call_versioned<P, R>(
        &mut self,
        function: VersionedFunction,
        parameters: P,
    ) -> wasmtime::Result<R>
    where
        P: ComponentNamedList + Lower + Send + Sync,
        R: Versioned,
    {
        start_ticks(&mut self.store);
        function
            .call(&mut self.store, &self.instance, parameters)
            .await
    }

    /// Names what went wrong in its call.
    pub(crate) fn classify(&self, error: &wasmtime::Error) -> ProviderFault {
        classify(error, &self.store.data().limits)
    }
}

/// Bounds on one store that are not the limiter's.
fn bound_store(store: &mut Store<HostState>, ticker: &Ticker) {
    store.call_hook_async(Checkpoint::new(ticker.ticks()));
    store.limiter(|state| &mut state.limits);
    store.set_hostcall_fuel(MAX_ANSWER_BYTES);
    store.set_max_component_handles(MAX_HANDLES);
    start_ticks(store);
    // The guest yields at every tick and is never killed here: the wall clock around the call does
    // that.
    store.epoch_deadline_async_yield_and_update(1);
}

/// Lets the guest run for one to two ticks from now, depending on when the last tick was, before it
/// yields.
fn start_ticks(store: &mut Store<HostState>) {
    store.set_epoch_deadline(2);
}
