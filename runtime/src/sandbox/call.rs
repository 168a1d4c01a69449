//! One call of a guest: in a fresh instance, where it can hurt nobody, until its deadline.

use super::contract::{Contract, Function, SessionAnswer, TokenAnswer};
use super::engine::{Sandbox, bound_store};
use super::fault::{classify, without, words};
use super::host::{Equipment, HostState};
use super::lane::{Lane, Lanes};
use super::limits::{MAX_CALLS_IN_FLIGHT, MAX_SIGN_INS_IN_FLIGHT};
use super::record::CallRecord;
use crate::auth::{ProviderFault, ProviderName, Usage};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinHandle;
use wasmtime::Store;
use wasmtime::component::{ComponentNamedList, InstancePre, Lift, Lower};
use zeroize::Zeroizing;

/// How long a call waits for one of its provider's slots. Long enough for a burst of quick calls to pass, and
/// far too short to be stuck behind a provider that hangs.
const MAX_SLOT_WAIT: Duration = Duration::from_millis(25);
/// Good calls in a row by which a provider that has failed shows that it is well again.
const OWED_AFTER_A_FAULT: u32 = 20;
/// Time enough for any provider, whatever longer deadline it was granted.
const FAIR_TIME: Duration = Duration::from_secs(1);
/// Between a caller's look at the clock and ours.
const ROUNDING: Duration = Duration::from_millis(10);
/// Between two lines of what a provider prints: anybody with a wrong token can make it print.
const OUTPUT_PAUSE: Duration = Duration::from_secs(1);

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

/// Where the calls of one provider are made.
pub(super) struct Caller {
    sandbox: Arc<Sandbox>,
    component: Arc<Prelinked>,
    slots: Lanes<Arc<Semaphore>>,
    /// Good calls that it still owes since its last fault; until then it runs apart from those that owe none.
    owed: AtomicU32,
    printed: Mutex<Option<Instant>>,
}

/// What a call says, or why it says nothing, and what it used.
pub(super) struct Called<T> {
    pub(super) answer: Result<T, ProviderFault>,
    pub(super) used: Usage,
    pub(super) refusals: Vec<String>,
    pub(super) missed: Vec<String>,
}

impl Caller {
    pub(super) fn new(sandbox: Arc<Sandbox>, component: Prelinked) -> Self {
        let slots = Lanes::new(|lane| Arc::new(Semaphore::new(slots_of(lane))));
        Self {
            sandbox,
            component: Arc::new(component),
            slots,
            owed: AtomicU32::new(0),
            printed: Mutex::default(),
        }
    }

    pub(super) fn deadline(&self) -> Duration {
        self.component.equipment.limits.deadline
    }

    /// Makes a call. However it ends, what it printed is logged and what it used is told.
    pub(super) async fn call<C: GuestCall>(&self, by: Instant, call: C) -> Called<C::Answer> {
        let record = CallRecord::default();
        let start = Instant::now();
        let credential = Zeroizing::new(call.credential().to_owned());
        let (sandbox, component) = (self.sandbox.clone(), self.component.clone());
        let inside = record.clone();
        let answer = self
            .isolate(by, C::LANE, async move {
                let state = HostState::new(&component.equipment, inside);
                let mut store = Store::new(&sandbox.engine, state);
                bound_store(&mut store);
                let outcome = call.run(&component, &mut store).await;
                outcome.map_err(|error| classify(&error, &store.data().limits))
            })
            .await;
        self.remember(&answer);
        self.log_output(&record, &credential);
        Called {
            answer,
            used: record.usage(start.elapsed()),
            refusals: record.refusals(),
            missed: record.missed(),
        }
    }

    fn remember<T>(&self, answer: &Result<T, ProviderFault>) {
        let owed = match answer {
            Err(fault) if fault.is_own_doing() => OWED_AFTER_A_FAULT,
            Err(_) => return,
            Ok(_) => self.owed.load(Ordering::Relaxed).saturating_sub(1),
        };
        self.owed.store(owed, Ordering::Relaxed);
    }

    fn runtime(&self) -> Handle {
        match self.owed.load(Ordering::Relaxed) {
            0 => self.sandbox.guests.handle(),
            _ => self.sandbox.suspects.handle(),
        }
    }

    /// Runs guest code on a runtime of the guests' own, in one of the provider's slots, until the deadline. A panic on
    /// the way is a fault of this call.
    async fn isolate<T: Send + 'static>(
        &self,
        by: Instant,
        lane: Lane,
        work: impl Future<Output = Result<T, ProviderFault>> + Send + 'static,
    ) -> Result<T, ProviderFault> {
        let now = Instant::now();
        let given = by.saturating_duration_since(now);
        let slot = self.take_slot(lane).await?;
        let mut task = AbortOnDrop(self.runtime().spawn(async move {
            let outcome = work.await;
            drop(slot);
            outcome
        }));
        match tokio::time::timeout_at((now + given.min(self.deadline())).into(), &mut task.0).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(panic)) => Err(ProviderFault::Host(words(&panic.to_string()))),
            Err(_) => Err(overdue(given, self.deadline())),
        }
    }

    async fn take_slot(&self, lane: Lane) -> Result<OwnedSemaphorePermit, ProviderFault> {
        if let Ok(slot) = self.slots.of(lane).clone().try_acquire_owned() {
            return Ok(slot);
        }
        match tokio::time::timeout(MAX_SLOT_WAIT, self.slots.of(lane).clone().acquire_owned()).await {
            Ok(Ok(slot)) => Ok(slot),
            _ => Err(ProviderFault::Saturated { limit: slots_of(lane), unit: "calls in flight" }),
        }
    }

    fn log_output(&self, record: &CallRecord, credential: &str) {
        let Some(output) = record.output.text().filter(|_| self.may_print()) else { return };
        let output = without(credential, &output);
        tracing::info!(provider = %self.component.name, output, "a provider printed");
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

fn slots_of(lane: Lane) -> usize {
    match lane {
        Lane::Checks => MAX_CALLS_IN_FLIGHT,
        Lane::SignIns => MAX_SIGN_INS_IN_FLIGHT,
    }
}

/// Whose doing was it? A provider that the chain gave a fair time is late itself; one that came after others who
/// used it up is not.
fn overdue(given: Duration, limit: Duration) -> ProviderFault {
    match given + ROUNDING {
        given if given >= limit => ProviderFault::DeadlineExceeded { limit },
        given if given >= FAIR_TIME => ProviderFault::DeadlineExceeded { limit: given },
        _ => ProviderFault::NoTimeLeft,
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

/// Whoever stops waiting for a guest stops the guest: at its deadline, or when the caller goes away.
struct AbortOnDrop<T>(JoinHandle<T>);

impl<T> Drop for AbortOnDrop<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_who_had_its_time_is_late() {
        let ms = Duration::from_millis;
        let late = |given, limit| overdue(ms(given), ms(limit));
        assert_eq!(late(2_500, 300), ProviderFault::DeadlineExceeded { limit: ms(300) });
        assert_eq!(late(299, 300), ProviderFault::DeadlineExceeded { limit: ms(300) });
        assert_eq!(late(200, 300), ProviderFault::NoTimeLeft);
        assert_eq!(late(500, 5_000), ProviderFault::NoTimeLeft);
        assert!(matches!(late(2_500, 5_000), ProviderFault::DeadlineExceeded { .. }));
    }
}
