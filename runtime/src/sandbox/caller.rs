//! Making calls: where they can hurt nobody, until their deadline.

use super::call::GuestCall;
use super::engine::Sandbox;
use super::fault::{without, words};
use super::fresh::Prelinked;
use super::lane::{Lane, Lanes};
use super::limits::{MAX_CALLS_IN_FLIGHT, MAX_SIGN_INS_IN_FLIGHT};
use super::pace::{Pace, Place};
use super::record::{CallRecord, Notes};
use crate::auth::{ProviderFault, Usage};
use futures_util::FutureExt;
use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinHandle;
use zeroize::Zeroizing;

/// Time enough for any provider, whatever longer deadline it was granted.
const FAIR_TIME: Duration = Duration::from_secs(1);
/// Between a caller's look at the clock and ours.
const ROUNDING: Duration = Duration::from_millis(10);
/// Between two lines of what a provider prints: anybody with a wrong token can make it print.
const OUTPUT_PAUSE: Duration = Duration::from_secs(1);

/// Where the calls of one provider are made.
pub(super) struct Caller {
    sandbox: Arc<Sandbox>,
    component: Arc<Prelinked>,
    slots: Lanes<Arc<Semaphore>>,
    pace: Pace,
    printed: Mutex<Option<Instant>>,
}

/// Leave for one call.
struct Turn {
    slot: OwnedSemaphorePermit,
    /// By when it must be over.
    end: Instant,
    /// How long that is from when it got its slot.
    given: Duration,
}

/// What a call says, or why it says nothing, and what it used.
pub(super) struct Called<T> {
    pub(super) answer: Result<T, ProviderFault>,
    pub(super) used: Usage,
    pub(super) notes: Notes,
}

impl Caller {
    pub(super) fn new(sandbox: Arc<Sandbox>, component: Prelinked) -> Self {
        let equipment = &component.equipment;
        let pace = Pace::new(equipment.http.is_some() || equipment.bucket.is_some());
        let slots = Lanes::new(|lane| Arc::new(Semaphore::new(slots_of(lane))));
        Self { sandbox, component: Arc::new(component), slots, pace, printed: Mutex::default() }
    }

    pub(super) fn deadline(&self) -> Duration {
        self.component.equipment.limits.deadline
    }

    /// Makes a call. However it ends, what it printed is logged and what it used is told.
    pub(super) async fn call<C: GuestCall>(&self, by: Instant, call: C) -> Called<C::Answer> {
        let start = Instant::now();
        let credential = Zeroizing::new(call.credential().to_owned());
        let record = CallRecord::default();
        let answer = match self.admit(by, C::LANE).await {
            Ok(turn) => self.isolate(turn, C::LANE, self.work(call, record.clone())).await,
            Err(fault) => Err(fault),
        };
        self.pace.ended(&answer);
        self.log_output(&record, &credential);
        Called { answer, used: record.usage(start.elapsed()), notes: record.notes() }
    }

    fn work<C: GuestCall>(
        &self,
        call: C,
        record: CallRecord,
    ) -> impl Future<Output = Result<C::Answer, ProviderFault>> + Send + 'static {
        let (sandbox, component) = (self.sandbox.clone(), self.component.clone());
        async move {
            let _ticking = sandbox.ticker.ticking();
            let mut fresh = component.instantiate(&sandbox.engine, record).await?;
            let answer = call.run(&component.contract, &mut fresh).await;
            answer.map_err(|error| fresh.classify(&error))
        }
    }

    /// Waits for one of the provider's slots, for a part of the call's time.
    async fn admit(&self, by: Instant, lane: Lane) -> Result<Turn, ProviderFault> {
        let now = Instant::now();
        let given = by.saturating_duration_since(now).min(self.deadline());
        if given.is_zero() {
            return Err(overdue(given, self.deadline()));
        }
        let (end, slots) = (now + given, self.slots.of(lane).clone());
        if let Ok(slot) = slots.clone().try_acquire_owned() {
            return Ok(Turn { slot, end, given });
        }
        let wait = self.pace.slot_wait().min(given / 4);
        match tokio::time::timeout(wait, slots.acquire_owned()).await {
            Ok(Ok(slot)) => Ok(Turn { slot, end, given: end.saturating_duration_since(Instant::now()) }),
            _ => Err(ProviderFault::Saturated { limit: slots_of(lane), unit: "calls in flight" }),
        }
    }

    /// Runs guest code until its turn ends. It begins on this very thread if it has lately been quick, and moves to a
    /// runtime of the guests' own if it is not over after a tick or two, or waits. A panic on the way is a fault of this
    /// call.
    async fn isolate<T: Send + 'static>(
        &self,
        turn: Turn,
        lane: Lane,
        work: impl Future<Output = Result<T, ProviderFault>> + Send + 'static,
    ) -> Result<T, ProviderFault> {
        let Turn { slot, end, given } = turn;
        let mut work = Box::pin(AssertUnwindSafe(work).catch_unwind());
        let place = self.pace.place(lane);
        if place == Place::Here {
            let start = Instant::now();
            let begun = begin(work.as_mut(), self.runtime(place));
            self.pace.ran_here(begun.is_ready().then(|| start.elapsed()));
            if let Poll::Ready(outcome) = begun {
                return outcome.unwrap_or_else(|panic| Err(host_fault(&*panic)));
            }
        }
        let mut task = AbortOnDrop(self.runtime(place).spawn(async move {
            let outcome = work.await;
            drop(slot);
            outcome
        }));
        match tokio::time::timeout_at(end.into(), &mut task.0).await {
            Ok(Ok(Ok(outcome))) => outcome,
            Ok(Ok(Err(panic))) => Err(host_fault(&*panic)),
            Ok(Err(lost)) => Err(ProviderFault::Host(words(&lost.to_string()))),
            Err(_) => Err(overdue(given, self.deadline())),
        }
    }

    fn runtime(&self, place: Place) -> &Handle {
        match place {
            Place::Here | Place::Guests => self.sandbox.guests.handle(),
            Place::Suspects => self.sandbox.suspects.handle(),
        }
    }

    fn log_output(&self, record: &CallRecord, credential: &str) {
        let Some(output) = record.output().text().filter(|_| self.may_print()) else { return };
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

/// Runs it until it first gives way. Whoever takes it on from there polls it anew, and so is woken by it; what it has
/// begun (a connection, a timer, work for a disk) is the guests' runtime's from the start.
fn begin<T>(work: Pin<&mut impl Future<Output = T>>, guests: &Handle) -> Poll<T> {
    let _there = guests.enter();
    work.poll(&mut Context::from_waker(Waker::noop()))
}

fn host_fault(panic: &(dyn Any + Send)) -> ProviderFault {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    ProviderFault::Host(words(&format!("panicked: {}", text.unwrap_or("without a word"))))
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
    use super::super::call::SupportsToken;
    use super::*;
    use crate::auth::ProviderName;
    use crate::sandbox::{ComponentSource, Limits, Powers, ProviderSpec, SandboxSettings};
    use std::collections::BTreeMap;

    const COMPONENT: &[u8] = include_bytes!(env!("BUNDLED_SERVICE_KEYS"));

    fn caller() -> Caller {
        let sandbox = Sandbox::start(&SandboxSettings::default()).unwrap();
        let spec = ProviderSpec {
            name: ProviderName::new("good").unwrap(),
            source: ComponentSource::Bundled(COMPONENT),
            sha256: None,
            settings: BTreeMap::new(),
            powers: Powers::default(),
            limits: Limits::default(),
        };
        let (component, _) = sandbox.link(spec).unwrap();
        Caller::new(sandbox, component)
    }

    #[tokio::test]
    async fn call_without_time_is_not_begun() {
        let caller = caller();
        let enough = || Instant::now() + caller.deadline();
        // Where it would be over before anybody looked at the clock.
        while caller.pace.place(Lane::Checks) != Place::Here {
            assert!(caller.call(enough(), SupportsToken).await.answer.is_ok());
        }
        let late = caller.call(Instant::now(), SupportsToken).await.answer;
        assert_eq!(late, Err(ProviderFault::NoTimeLeft));
        assert!(caller.call(enough(), SupportsToken).await.answer.is_ok());
    }

    #[tokio::test]
    async fn callers_of_a_good_provider_are_late_rather_than_refused() {
        let caller = caller();
        let all = u32::try_from(MAX_CALLS_IN_FLIGHT).unwrap();
        // A machine that is busy may oversleep: then it is tried again. Who waits too short a time never gets there.
        for _ in 0..20 {
            let others = caller.slots.of(Lane::Checks).clone().acquire_many_owned(all).await.unwrap();
            let call = caller.call(Instant::now() + caller.deadline(), SupportsToken);
            let release = async {
                tokio::time::sleep(Duration::from_millis(40)).await;
                drop(others);
            };
            if tokio::join!(call, release).0.answer == Ok(true) {
                return;
            }
        }
        panic!("everyone is refused");
    }

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
