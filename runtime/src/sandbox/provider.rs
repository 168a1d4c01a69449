//! A loaded provider, and one call of it.

use super::bindings::contract::Guest;
use super::bindings::{AuthProviderPre, WithSettingsPre};
use super::component::{ComponentSource, Inspection, LoadError, SETTINGS_EXPORT};
use super::convert;
use super::engine::{Sandbox, bound_store};
use super::fault::{classify, without, words};
use super::host::HostState;
use super::limits::{Limits, MAX_CALLS_IN_FLIGHT};
use crate::auth::{BearerToken, BoxFuture, ProviderFault, ProviderName, TokenProvider, TokenVerdict};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use wasmtime::Store;
use wasmtime_wasi_config::WasiConfigVariables;
use zeroize::Zeroizing;

/// How long a call waits for one of its provider's slots. Long enough for a burst of quick calls to pass, and
/// far too short to be stuck behind a provider that hangs.
const MAX_SLOT_WAIT: Duration = Duration::from_millis(25);
/// Reading and compiling one component. Python's takes 8 s of one core, so this is for what never ends.
const MAX_LOAD_TIME: Duration = Duration::from_secs(120);
/// Between two lines of what a provider prints: anybody with a wrong token can make it print.
const OUTPUT_PAUSE: Duration = Duration::from_secs(1);

/// What the configuration says of one provider.
#[derive(Clone, Debug)]
pub struct ProviderSpec {
    /// Its name, for the log.
    pub name: ProviderName,
    /// Where its component is.
    pub source: ComponentSource,
    /// The digest that the component must have.
    pub sha256: Option<String>,
    /// Its own settings, which no other provider sees.
    pub settings: BTreeMap<String, String>,
    /// What one call of it may use.
    pub limits: Limits,
}

/// A provider that was loaded and asked what it supports.
pub struct LoadedProvider {
    /// What its component is.
    pub inspection: Inspection,
    /// Set when it takes bearer tokens.
    pub token: Option<Arc<WasmProvider>>,
}

/// A provider in the sandbox.
pub struct WasmProvider {
    sandbox: Arc<Sandbox>,
    component: Arc<Prelinked>,
    slots: Arc<Semaphore>,
}

/// All that a call shares with the ones before it: nothing that a guest could have written to.
struct Prelinked {
    name: ProviderName,
    provider: AuthProviderPre<HostState>,
    settings_check: Option<WithSettingsPre<HostState>>,
    settings: Arc<WasiConfigVariables>,
    limits: Limits,
    printed: Mutex<Option<Instant>>,
}

impl Sandbox {
    /// Loads a provider: reads, compiles, links it, and asks it about its settings and what it supports.
    ///
    /// # Errors
    /// It is not loaded, and why.
    pub async fn load(self: &Arc<Self>, spec: ProviderSpec) -> Result<LoadedProvider, LoadError> {
        let sandbox = self.clone();
        let linking = tokio::task::spawn_blocking(move || sandbox.link(spec));
        // The compiler is not covered by wasmtime's promises: a panic or a crawl in it costs one provider.
        let (component, inspection) = match tokio::time::timeout(MAX_LOAD_TIME, linking).await {
            Ok(Ok(linked)) => linked?,
            Ok(Err(panic)) => return Err(LoadError::Invalid(format!("the compiler failed: {panic}"))),
            Err(_) => return Err(LoadError::TooSlow),
        };
        let provider = WasmProvider {
            sandbox: self.clone(),
            component: Arc::new(component),
            slots: Arc::new(Semaphore::new(MAX_CALLS_IN_FLIGHT)),
        };
        provider.check_settings().await?;
        let takes_tokens = provider.supports_token().await?;
        if !takes_tokens && !inspection.signs_people_in() {
            return Err(LoadError::Useless);
        }
        Ok(LoadedProvider { inspection, token: takes_tokens.then(|| Arc::new(provider)) })
    }

    fn link(&self, spec: ProviderSpec) -> Result<(Prelinked, Inspection), LoadError> {
        let bytes = spec.source.read()?;
        let (component, inspection) = self.compile(&bytes, spec.sha256.as_deref())?;
        inspection.check()?;
        let unfit = |error: wasmtime::Error| LoadError::Unfit(words(&format!("{error:#}")));
        let linked = self.linker.instantiate_pre(&component).map_err(unfit)?;
        let has_settings = inspection.exports(SETTINGS_EXPORT);
        let settings_check =
            has_settings.then(|| WithSettingsPre::new(linked.clone())).transpose().map_err(unfit)?;
        let prelinked = Prelinked {
            name: spec.name,
            provider: AuthProviderPre::new(linked).map_err(unfit)?,
            settings_check,
            settings: Arc::new(spec.settings.into_iter().collect()),
            limits: spec.limits,
            printed: Mutex::new(None),
        };
        Ok((prelinked, inspection))
    }
}

impl Prelinked {
    fn store(&self, sandbox: &Sandbox) -> Store<HostState> {
        let state = HostState::new(self.settings.clone(), self.limits);
        let mut store = Store::new(&sandbox.engine, state);
        bound_store(&mut store);
        store
    }

    /// Ends a call: the fault is named, what the guest printed is logged, and the store is gone.
    fn finish<T>(
        &self,
        store: Store<HostState>,
        outcome: wasmtime::Result<T>,
        credential: &str,
    ) -> Result<T, ProviderFault> {
        let state = store.into_data();
        if let Some(output) = state.output.text().filter(|_| self.may_print()) {
            let output = without(credential, &output);
            tracing::info!(provider = %self.name, output, "a provider printed");
        }
        outcome.map_err(|error| classify(&error, &state.limits))
    }

    fn may_print(&self) -> bool {
        let mut printed = self.printed.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let may = printed.is_none_or(|last| now.duration_since(last) >= OUTPUT_PAUSE);
        if may {
            *printed = Some(now);
        }
        may
    }
}

impl WasmProvider {
    /// One call of the provider interface, in a fresh instance.
    async fn call<T, F>(&self, by: Instant, call: F) -> Result<T, ProviderFault>
    where
        T: Send + 'static,
        F: AsyncGuestCall<T>,
    {
        let component = self.component.clone();
        let sandbox = self.sandbox.clone();
        self.isolate(by, async move {
            let mut store = component.store(&sandbox);
            let outcome = match component.provider.instantiate_async(&mut store).await {
                Ok(instance) => call.call(instance.portcullis_auth_provider(), &mut store).await,
                Err(error) => Err(error),
            };
            component.finish(store, outcome, call.credential())
        })
        .await
    }

    /// Runs guest code where it can hurt nobody: on the guests' runtime, in one of the provider's slots,
    /// until the deadline. A panic on the way is a fault of this call.
    async fn isolate<T: Send + 'static>(
        &self,
        by: Instant,
        work: impl Future<Output = Result<T, ProviderFault>> + Send + 'static,
    ) -> Result<T, ProviderFault> {
        let limit = self.component.limits.deadline;
        let by = by.min(Instant::now() + limit);
        let slot = self.take_slot().await?;
        let mut task = AbortOnDrop(self.sandbox.guests.handle().spawn(async move {
            let outcome = work.await;
            drop(slot);
            outcome
        }));
        match tokio::time::timeout_at(by.into(), &mut task.0).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(panic)) => Err(ProviderFault::Host(words(&panic.to_string()))),
            Err(_) => Err(ProviderFault::DeadlineExceeded { limit }),
        }
    }

    async fn take_slot(&self) -> Result<OwnedSemaphorePermit, ProviderFault> {
        if let Ok(slot) = self.slots.clone().try_acquire_owned() {
            return Ok(slot);
        }
        match tokio::time::timeout(MAX_SLOT_WAIT, self.slots.clone().acquire_owned()).await {
            Ok(Ok(slot)) => Ok(slot),
            _ => Err(ProviderFault::Saturated { limit: MAX_CALLS_IN_FLIGHT }),
        }
    }

    async fn supports_token(&self) -> Result<bool, LoadError> {
        self.call(self.own_deadline(), SupportsToken).await.map_err(LoadError::Faulted)
    }

    async fn check_settings(&self) -> Result<(), LoadError> {
        let component = self.component.clone();
        if component.settings_check.is_none() {
            return Ok(());
        }
        let sandbox = self.sandbox.clone();
        let checked = self.isolate(self.own_deadline(), async move {
            let Some(check) = &component.settings_check else { return Ok(Ok(())) };
            let mut store = component.store(&sandbox);
            let outcome = match check.instantiate_async(&mut store).await {
                Ok(instance) => instance.portcullis_auth_settings().call_check(&mut store).await,
                Err(error) => Err(error),
            };
            component.finish(store, outcome, "")
        });
        let complaint = checked.await.map_err(LoadError::Faulted)?;
        complaint.map_err(|mistake| LoadError::BadSettings(words(&mistake)))
    }

    fn own_deadline(&self) -> Instant {
        Instant::now() + self.component.limits.deadline
    }
}

impl TokenProvider for WasmProvider {
    fn verify_token<'a>(
        &'a self,
        token: &'a BearerToken,
        by: Instant,
    ) -> BoxFuture<'a, Result<TokenVerdict, ProviderFault>> {
        let call = VerifyToken(Zeroizing::new(token.expose().to_owned()));
        Box::pin(async move { convert::token_verdict(self.call(by, call).await?, token.expose()) })
    }
}

/// A call of the provider interface, with what it passes.
trait AsyncGuestCall<T>: Send + Sync + 'static {
    /// What must not be repeated in a log.
    fn credential(&self) -> &str {
        ""
    }

    fn call(
        &self,
        guest: &Guest,
        store: &mut Store<HostState>,
    ) -> impl Future<Output = wasmtime::Result<T>> + Send;
}

struct SupportsToken;

impl AsyncGuestCall<bool> for SupportsToken {
    async fn call(&self, guest: &Guest, store: &mut Store<HostState>) -> wasmtime::Result<bool> {
        guest.call_supports_token(store).await
    }
}

type TokenAnswer =
    Result<Option<super::bindings::contract::TokenPrincipal>, super::bindings::contract::ProviderError>;

struct VerifyToken(Zeroizing<String>);

impl AsyncGuestCall<TokenAnswer> for VerifyToken {
    fn credential(&self) -> &str {
        &self.0
    }

    async fn call(&self, guest: &Guest, store: &mut Store<HostState>) -> wasmtime::Result<TokenAnswer> {
        guest.call_verify_token(store, &self.0).await
    }
}

/// Whoever stops waiting for a guest stops the guest: at its deadline, or when the caller goes away.
struct AbortOnDrop<T>(tokio::task::JoinHandle<T>);

impl<T> Drop for AbortOnDrop<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}
