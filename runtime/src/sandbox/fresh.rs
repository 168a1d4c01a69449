//! A fresh instance: no call was ever made of it, and the next call's is another one.

use super::contract::{Contract, Function, Versioned, VersionedFunction};
use super::engine::{Sandbox, bound_store, start_ticks};
use super::fault::classify;
use super::guest_memory::MemoryShare;
use super::host::{Equipment, HostState};
use super::load::Facts;
use super::record::CallRecord;
use crate::auth::{ProviderFault, ProviderName};
use std::sync::Arc;
use wasmtime::Store;
use wasmtime::component::{ComponentNamedList, Instance, InstancePre, Lift, Lower};

/// All that the instances of a provider share: nothing that a guest could have written to.
pub(super) struct Prelinked {
    pub(super) name: ProviderName,
    pub(super) linked: InstancePre<HostState>,
    pub(super) contract: Contract,
    pub(super) equipment: Equipment,
    pub(super) facts: Arc<Facts>,
}

impl Prelinked {
    /// # Errors
    /// The guest traps while it starts, or there is no room for it.
    pub(super) async fn instantiate(
        &self,
        sandbox: &Sandbox,
        memory: MemoryShare,
        record: CallRecord,
    ) -> Result<Fresh, ProviderFault> {
        let mut store = Store::new(&sandbox.engine, HostState::new(&self.equipment, memory, record));
        bound_store(&mut store, &sandbox.ticker);
        match self.linked.instantiate_async(&mut store).await {
            Ok(instance) => Ok(Fresh { store, instance }),
            Err(error) => Err(classify(&error, &store.data().limits)),
        }
    }
}

/// An instance, until its call is over.
pub(super) struct Fresh {
    store: Store<HostState>,
    instance: Instance,
}

impl Fresh {
    /// Calls a function of the contract.
    ///
    /// # Errors
    /// The guest traps.
    pub(super) async fn call<P, R>(&mut self, function: Function, parameters: P) -> wasmtime::Result<R>
    where
        P: ComponentNamedList + Lower + Send + Sync,
        R: ComponentNamedList + Lift + Send + Sync + 'static,
    {
        // Ticks may have passed since it was made.
        start_ticks(&mut self.store);
        function.call(&mut self.store, &self.instance, parameters).await
    }

    /// Calls a function of the contract whose answer has a record that differs between versions.
    ///
    /// # Errors
    /// The guest traps.
    pub(super) async fn call_versioned<P, R>(
        &mut self,
        function: VersionedFunction,
        parameters: P,
    ) -> wasmtime::Result<R>
    where
        P: ComponentNamedList + Lower + Send + Sync,
        R: Versioned,
    {
        start_ticks(&mut self.store);
        function.call(&mut self.store, &self.instance, parameters).await
    }

    /// Names what went wrong in its call.
    pub(super) fn classify(&self, error: &wasmtime::Error) -> ProviderFault {
        classify(error, &self.store.data().limits)
    }
}
