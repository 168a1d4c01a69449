//! Making calls: on a thread that serves requests while they are quick, else on the guests' own,
//! until their deadline.

use crate::call::GuestCall;
use crate::call::fresh::Prelinked;
use crate::call::pace::{Pace, Placement};
use crate::call::record::{CallRecord, HostNotes};
use crate::call::slots::CallSlots;
use crate::engine::Machinery;
use crate::engine::guest_memory::{MemoryShare, ProviderMemory};
use crate::engine::lane::{Lane, Lanes};
use crate::engine::limits::{
    DEFAULT_DEADLINE, Limits, MAX_CALLS_IN_FLIGHT, MAX_SIGN_INS_IN_FLIGHT,
};
use crate::engine::scheduler::{CREDIT, Scheduled, Share};
use crate::guest_text::words;
use crate::host::grants::Origin;
use futures_util::FutureExt;
use portcullis_auth::{Placements, ProviderFault, ProviderName, Spent, Usage};
use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};
use tokio::runtime::Handle;
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::{AbortHandle, JoinHandle};

/// How long before `admit` the deadline may have been made for the call to count as one with its
/// full time. On a busy machine, a thread may not run for some milliseconds in between.
const ROUNDING: Duration = Duration::from_millis(10);
/// How much later than the deadline the caller stops waiting for a guest that does not yield. Its
/// slot and memory stay taken until it does. The guests' threads are niced: with less, a call that
/// ended in time could be cut off before its outcome arrives.
const PATIENCE: Duration = Duration::from_millis(15);
/// Shortest pause between two log lines of one kind about a provider. Any stranger with a wrong
/// token can make it print, and any caller that it vouches for can have a name that cannot be used.
const LINE_PAUSE: Duration = Duration::from_secs(1);

/// Where the calls of one provider are made.
pub(crate) struct GuestCaller {
    machinery: Arc<Machinery>,
    component: Arc<Prelinked>,
    slots: Lanes<CallSlots>,
    memory: ProviderMemory,
    shares: Lanes<Arc<Share>>,
    pace: Pace,
    /// Time of the parts of calls that ran on threads that serve requests.
    here_nanos: AtomicU64,
    held_up_micros: AtomicU64,
    printed: LastLine,
    unusable: LastLine,
}

/// When the last line of a kind was logged.
#[derive(Default)]
struct LastLine(Mutex<Option<Instant>>);

impl LastLine {
    /// Returns whether another line may be logged now. If so, it counts as logged.
    fn may_log(&self) -> bool {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let may = last.is_none_or(|last| now.duration_since(last) >= LINE_PAUSE);
        if may {
            *last = Some(now);
        }
        may
    }
}

/// The permit for one call: its slot, its memory and its end.
pub(crate) struct CallSlot {
    slot: OwnedSemaphorePermit,
    memory: MemoryShare,
    lane: Lane,
    began: Instant,
    /// The instant by which the call must end.
    end: Instant,
    /// The time from taking the slot to `end`.
    given: Duration,
}

/// The answer of a call, or its fault, and what it used.
pub(crate) struct Called<T> {
    pub(crate) answer: Result<T, ProviderFault>,
    pub(crate) used: Usage,
    pub(crate) notes: HostNotes,
}

impl GuestCaller {
    pub(crate) fn new(machinery: Arc<Machinery>, component: Prelinked) -> Self {
        let resources = &component.resources;
        let waits = resources.http.is_some() || resources.bucket.is_some();
        let pace = Pace::new(waits, component.facts.is_fit_for_fast_path);

        let slots = Lanes::new(|lane| CallSlots::new(slots_of(lane)));
        let shares = Lanes::new(|lane| Share::new(machinery.guests.get(lane).threads()));
        let [here_nanos, held_up_micros] = [(); 2].map(|()| AtomicU64::new(0));
        let memory = machinery.memory.of_a_provider();
        let component = Arc::new(component);
        let (printed, unusable) = (LastLine::default(), LastLine::default());

        Self {
            machinery,
            component,
            slots,
            memory,
            shares,
            pace,
            here_nanos,
            held_up_micros,
            printed,
            unusable,
        }
    }

    pub(crate) fn name(&self) -> &ProviderName {
        &self.component.name
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.component.resources.limits
    }

    pub(crate) fn deadline(&self) -> Duration {
        self.limits().deadline
    }

    /// What the calls so far have had of the processor.
    pub(crate) fn spent(&self) -> Spent {
        let there: Duration = self.shares.both().iter().map(|share| share.ran()).sum();
        let here = Duration::from_nanos(self.here_nanos.load(Ordering::Relaxed));
        let held_up = Duration::from_micros(self.held_up_micros.load(Ordering::Relaxed));
        Spent {
            cpu: there + here,
            held_up,
        }
    }

    /// How many calls so far ran where.
    pub(crate) fn placements(&self) -> Placements {
        self.pace.placements()
    }

    /// Returns whether the provider may call this origin.
    fn is_granted(&self, origin: &Origin) -> bool {
        self.component
            .resources
            .http
            .as_ref()
            .is_some_and(|capability| capability.grants(origin))
    }

    /// The caller of a call has disconnected.
    pub(crate) fn give_up(&self, lane: Lane, call: AbortHandle) {
        self.slots.get(lane).give_up(call);
    }

    /// Waits for one of the provider's slots and for memory, for a part of the call's time.
    pub(crate) async fn admit(
        &self,
        deadline: Instant,
        lane: Lane,
    ) -> Result<CallSlot, ProviderFault> {
        let began = Instant::now();
        let given = deadline
            .saturating_duration_since(began)
            .min(self.deadline());
        if given.is_zero() {
            return Err(overdue(given, self.deadline()));
        }

        let end = began + given;
        let wait = self.pace.slot_wait().min(given / 4);
        let slots = self.slots.get(lane);
        let Some(slot) = slots.take(wait).await else {
            return Err(ProviderFault::Saturated {
                limit: slots.limit(),
                unit: "calls in flight",
            });
        };

        let bytes = self.component.facts.initial_bytes();
        let memory = self.memory.reserve(bytes, wait).await?;

        let given = end.saturating_duration_since(Instant::now());
        Ok(CallSlot {
            slot,
            memory,
            lane,
            began,
            end,
            given,
        })
    }

    /// Makes a call and checks its answer. However it ends, what it printed is logged and what it
    /// used is reported.
    pub(crate) async fn call<C: GuestCall>(&self, turn: CallSlot, call: C) -> Called<C::Verdict> {
        let (began, call, record) = (turn.began, Arc::new(call), CallRecord::default());
        let answer = self.isolate(turn, call.clone(), record.clone()).await;
        let answer = answer.and_then(|answer| {
            let span = tracing::debug_span!("answer", provider = %self.component.name);
            span.in_scope(|| call.check(answer, &|origin| self.is_granted(origin)))
        });

        self.pace.ended(&answer, record.time_it_ran());
        let held_up = record.time_held_up();
        if !held_up.is_zero() {
            let micros = u64::try_from(held_up.as_micros()).unwrap_or(u64::MAX);
            self.held_up_micros.fetch_add(micros, Ordering::Relaxed);
        }

        if let Ok(verdict) = &answer {
            self.log_unusable(C::unusable(verdict));
        }
        self.log_output(&record, call.credential());
        Called {
            answer,
            used: record.usage(began.elapsed()),
            notes: record.notes(),
        }
    }

    fn work<C: GuestCall>(
        &self,
        call: Arc<C>,
        memory: MemoryShare,
        record: CallRecord,
    ) -> impl Future<Output = Result<C::Answer, ProviderFault>> + Send + 'static {
        let (machinery, component) = (self.machinery.clone(), self.component.clone());
        async move {
            let _ticking = machinery.ticker.ticking();
            let mut fresh = component.instantiate(&machinery, memory, record).await?;
            let answer = call.run(&component.contract, &mut fresh).await;
            answer.map_err(|error| fresh.classify(&error))
        }
    }

    /// Runs guest code until its turn ends. It begins on this very thread if it has lately been
    /// quick, and moves to a runtime of the guests' own if it is not over after a tick or two, or
    /// waits. A panic on the way is a fault of this call.
    async fn isolate<C: GuestCall>(
        &self,
        turn: CallSlot,
        call: Arc<C>,
        record: CallRecord,
    ) -> Result<C::Answer, ProviderFault> {
        let CallSlot {
            slot,
            memory,
            lane,
            end,
            given,
            ..
        } = turn;
        let work = self.work(call, memory, record.clone());
        let mut work = Box::pin(AssertUnwindSafe(work).catch_unwind());
        let guests = self.machinery.guests.get(lane);
        if self.pace.place(lane) == Placement::Here {
            let start = Instant::now();
            let begun = begin(work.as_mut(), guests.handle());
            let took = start.elapsed();
            // By the wall clock: the thread's own time costs a system call at either end.
            let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
            self.here_nanos.fetch_add(nanos, Ordering::Relaxed);
            self.pace.ran_here(begun.is_ready().then_some(took));
            if let Poll::Ready(outcome) = begun {
                return outcome.unwrap_or_else(|panic| Err(host_fault(&*panic)));
            }
        }

        let in_turn = Scheduled::new(
            work,
            self.shares.get(lane).clone(),
            record.clone(),
            self.pace.is_suspect(),
        );
        let mut task = AbortOnDrop(guests.handle().spawn(async move {
            let outcome = tokio::time::timeout_at(end.into(), in_turn).await;
            drop(slot);
            outcome
        }));
        match tokio::time::timeout_at((end + PATIENCE).into(), &mut task.0).await {
            Ok(Ok(Ok(Ok(outcome)))) => outcome,
            Ok(Ok(Ok(Err(panic)))) => Err(host_fault(&*panic)),
            Ok(Err(lost)) => Err(ProviderFault::Host(words(lost))),
            // The guests' runtime cut it off, or the guest did not yield in time.
            Ok(Ok(Err(_))) | Err(_) => Err(self.overdue(given, &record)),
        }
    }

    /// A call that others kept from running for most of its time says nothing of its provider,
    /// unless it has had more of the processor than a good call needs.
    fn overdue(&self, given: Duration, record: &CallRecord) -> ProviderFault {
        let enough = self.pace.longest_good_call() * 2;
        // A provider without a good call so far may be one that hashes passwords.
        let enough_for_any = CREDIT * 2;
        if record.time_held_up() > given / 2 && record.time_it_ran() < enough.max(enough_for_any) {
            return ProviderFault::NoTimeLeft;
        }
        overdue(given, self.deadline())
    }

    fn log_output(&self, record: &CallRecord, credential: &str) {
        let Some(output) = record
            .output()
            .text_without(credential)
            .filter(|_| self.printed.may_log())
        else {
            return;
        };
        tracing::info!(provider = %self.component.name, output, "a provider printed");
    }

    fn log_unusable(&self, why: Option<&str>) {
        if let Some(why) = why.filter(|_| self.unusable.may_log()) {
            tracing::info!(provider = %self.component.name, why, "a provider vouched for a caller that is refused");
        }
    }
}

fn slots_of(lane: Lane) -> usize {
    match lane {
        Lane::Checks => MAX_CALLS_IN_FLIGHT,
        Lane::SignIns => MAX_SIGN_INS_IN_FLIGHT,
    }
}

/// A provider that the chain gave a fair time is late itself; one that was asked after others had
/// used the time up is not.
fn overdue(given: Duration, limit: Duration) -> ProviderFault {
    match given + ROUNDING {
        given if given >= limit => ProviderFault::DeadlineExceeded { limit },
        given if given >= DEFAULT_DEADLINE => ProviderFault::DeadlineExceeded { limit: given },
        _ => ProviderFault::NoTimeLeft,
    }
}

/// Polls a guest until it first yields. The task that continues it polls it again, and so is woken
/// by it. What it has begun (a connection, a timer, work for a disk) belongs to the guests' runtime
/// from the start.
fn begin<T>(work: Pin<&mut impl Future<Output = T>>, guests: &Handle) -> Poll<T> {
    let _there = guests.enter();
    work.poll(&mut Context::from_waker(Waker::noop()))
}

fn host_fault(panic: &(dyn Any + Send)) -> ProviderFault {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    ProviderFault::Host(words(format_args!(
        "panicked: {}",
        text.unwrap_or("without a message")
    )))
}

/// Stops the guest when its call is dropped.
struct AbortOnDrop<T>(JoinHandle<T>);

impl<T> Drop for AbortOnDrop<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::{Asks, SupportsToken};
    use crate::provider::WasmProvider;
    use crate::{Capabilities, ComponentSource, ProviderSpec, Sandbox, SandboxSettings};
    use std::collections::BTreeMap;

    /// A small component that a toolchain made.
    fn component() -> &'static [u8] {
        portcullis_bundled::component("service-keys").unwrap()
    }

    async fn provider() -> Arc<WasmProvider> {
        let sandbox = Sandbox::start(&SandboxSettings::default()).unwrap();
        let spec = ProviderSpec {
            name: ProviderName::new("good").unwrap(),
            source: ComponentSource::Bundled(component()),
            sha256: None,
            settings: BTreeMap::new(),
            capabilities: Capabilities::default(),
            limits: Limits::default(),
            link_modules: false,
        };
        sandbox.load(spec).await.unwrap().provider
    }

    #[tokio::test]
    async fn call_without_time_is_not_begun() {
        let provider = provider().await;
        let caller = &provider.caller;
        // Where it would be over before the clock is looked at.
        while caller.pace.place(Lane::Checks) != Placement::Here {
            assert!(
                provider
                    .ask(provider.own_deadline(), SupportsToken)
                    .await
                    .is_ok()
            );
        }
        let late = caller.admit(Instant::now(), Lane::Checks).await;
        assert_eq!(late.map(drop), Err(ProviderFault::NoTimeLeft));
        assert!(
            provider
                .ask(provider.own_deadline(), SupportsToken)
                .await
                .is_ok()
        );
    }

    #[tokio::test]
    async fn quick_calls_count_as_time_that_their_provider_had() {
        let provider = provider().await;
        for _ in 0..100 {
            assert!(
                provider
                    .ask(provider.own_deadline(), SupportsToken)
                    .await
                    .is_ok()
            );
        }
        let here = Duration::from_nanos(provider.caller.here_nanos.load(Ordering::Relaxed));
        assert!(!here.is_zero(), "no call ran on the thread that asked");
        assert!(provider.caller.spent().cpu >= here);
    }

    #[tokio::test]
    async fn callers_of_a_good_provider_are_late_rather_than_refused() {
        let provider = provider().await;
        // A machine that is busy may oversleep: then it is tried again. A caller that waits too
        // short never succeeds.
        for _ in 0..20 {
            let mut others = Vec::new();
            while others.len() < MAX_CALLS_IN_FLIGHT {
                others.push(
                    provider
                        .caller
                        .admit(provider.own_deadline(), Lane::Checks)
                        .await
                        .unwrap(),
                );
            }

            let call = provider.ask(provider.own_deadline(), SupportsToken);
            let release = async {
                tokio::time::sleep(Duration::from_millis(40)).await;
                drop(others);
            };
            if tokio::join!(call, release)
                .0
                .is_ok_and(|takes_tokens| takes_tokens)
            {
                return;
            }
        }
        panic!("all callers are refused");
    }

    #[test]
    fn only_who_had_its_time_is_late() {
        let ms = Duration::from_millis;
        let late = |given, limit| overdue(ms(given), ms(limit));
        assert_eq!(
            late(2_500, 300),
            ProviderFault::DeadlineExceeded { limit: ms(300) }
        );
        assert_eq!(
            late(299, 300),
            ProviderFault::DeadlineExceeded { limit: ms(300) }
        );
        assert_eq!(late(200, 300), ProviderFault::NoTimeLeft);
        assert_eq!(late(500, 5_000), ProviderFault::NoTimeLeft);
        assert!(matches!(
            late(2_500, 5_000),
            ProviderFault::DeadlineExceeded { .. }
        ));
    }
}
