//! How one provider is doing: its last faults, its quarantine, its calls per second.

use crate::engine::lane::{Lane, Lanes};
use crate::engine::limits::Limits;
use crate::guard::quarantine::{Admission, Breaker, BreakerState, Change};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use jiff::Timestamp;
use portcullis_auth::{
    CallFault, FaultReport, HealthReport, Latency, Placements, ProviderFault, ProviderHealth,
    ProviderState, Spent,
};
use std::collections::VecDeque;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Faults that are kept to be shown.
const KEPT_FAULTS: usize = 5;
/// Calls whose time is kept to be shown.
const KEPT_TIMES: usize = 128;
/// Calls whose time is shown one by one.
const SHOWN_TIMES: usize = 48;

/// What became of a provider's quarantine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QuarantineChange {
    /// It is not asked for `pause`, and then by one probe call.
    Opened {
        /// How long the provider is not asked.
        pause: Duration,
    },
    /// A probe call ended well: it is asked again.
    Closed,
}

/// Called when a provider's quarantine opens or closes.
pub type QuarantineListener = Box<dyn Fn(QuarantineChange) + Send + Sync>;

/// Kept for as long as the provider stays the same, through reloads.
pub struct Health {
    breakers: Lanes<Mutex<Breaker>>,
    faults: Mutex<VecDeque<FaultReport>>,
    times: Mutex<VecDeque<Duration>>,
    rate: DefaultDirectRateLimiter,
    calls_per_second: NonZeroU32,
    listener: QuarantineListener,
    is_retired: AtomicBool,
    quarantines: AtomicU64,
}

impl Health {
    /// Makes a record without faults. The listener is called while a request is served, so it must
    /// not wait.
    pub fn new(limits: Limits, listener: QuarantineListener) -> Self {
        let calls_per_second = limits.calls_per_second;
        let rate = RateLimiter::direct(Quota::per_second(calls_per_second));
        Self {
            breakers: Lanes::new(|_| Mutex::new(Breaker::new())),
            faults: Mutex::default(),
            times: Mutex::default(),
            rate,
            calls_per_second,
            listener,
            is_retired: AtomicBool::new(false),
            quarantines: AtomicU64::new(0),
        }
    }

    /// Admits a call.
    ///
    /// # Errors
    /// The provider is quarantined, or has had its calls for this second.
    pub(crate) fn admit(self: &Arc<Self>, lane: Lane) -> Result<Admitted, ProviderFault> {
        if self.rate.check().is_err() {
            let limit = self.calls_per_second.get() as usize;
            return Err(ProviderFault::Saturated {
                limit,
                unit: "calls per second",
            });
        }

        let quarantined = |retry_in| ProviderFault::Quarantined { retry_in };
        let admission = self
            .breaker(lane)
            .admit(Instant::now())
            .map_err(quarantined)?;

        Ok(Admitted {
            health: self.clone(),
            lane,
            admission: Some(admission),
            began: Instant::now(),
        })
    }

    fn breaker(&self, lane: Lane) -> MutexGuard<'_, Breaker> {
        self.breakers
            .get(lane)
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// How often it was shut out so far.
    pub(crate) fn quarantines(&self) -> u64 {
        self.quarantines.load(Ordering::Acquire)
    }

    /// Returns whether it is shut out of either kind of call.
    fn is_quarantined(&self) -> bool {
        let is_open = |breaker: &&Mutex<Breaker>| {
            !matches!(
                breaker
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .state(),
                BreakerState::Closed
            )
        };
        self.breakers.both().iter().any(is_open)
    }

    fn faults(&self) -> MutexGuard<'_, VecDeque<FaultReport>> {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ended(&self, lane: Lane, admission: Admission, is_fault: bool) {
        let change = self
            .breaker(lane)
            .ended(admission, is_fault, Instant::now());
        if let Some(Change::Opened { .. }) = change {
            self.quarantines.fetch_add(1, Ordering::Release);
        }

        if self.is_retired.load(Ordering::Relaxed) {
            return;
        }

        match change {
            Some(Change::Opened { pause }) => (self.listener)(QuarantineChange::Opened { pause }),
            Some(Change::Closed) if !self.is_quarantined() => {
                (self.listener)(QuarantineChange::Closed);
            }
            Some(Change::Closed) | None => {}
        }
    }

    /// Suppresses notifications from calls that outlive the provider.
    pub fn retire(&self) {
        self.is_retired.store(true, Ordering::Relaxed);
    }

    fn time(&self, elapsed: Duration) {
        let mut times = self.times.lock().unwrap_or_else(PoisonError::into_inner);
        times.truncate(KEPT_TIMES - 1);
        times.push_front(elapsed);
    }

    fn latency(&self) -> Option<Latency> {
        let times = self.times.lock().unwrap_or_else(PoisonError::into_inner);
        let mut sorted: Vec<_> = times.iter().copied().collect();
        let recent = times.iter().take(SHOWN_TIMES).rev().copied().collect();
        drop(times);
        sorted.sort_unstable();
        let last = sorted.len().checked_sub(1)?;
        Some(Latency {
            calls: sorted.len(),
            median: sorted[last / 2],
            p99: sorted[last * 99 / 100],
            recent,
        })
    }

    fn remember(&self, fault: &CallFault) {
        let mut faults = self.faults();
        faults.truncate(KEPT_FAULTS - 1);
        faults.push_front(FaultReport {
            at: Timestamp::now(),
            fault: fault.fault.kind(),
            reason: fault.fault.to_string(),
            used: fault.used,
        });
    }
}

impl ProviderHealth for Health {
    fn report(&self) -> HealthReport {
        let state = if self.is_quarantined() {
            ProviderState::Quarantined
        } else {
            ProviderState::Serving
        };
        HealthReport {
            state,
            faults: self.faults().iter().cloned().collect(),
            latency: self.latency(),
            spent: Spent::default(),
            placements: Placements::default(),
        }
    }
}

/// A call that was admitted. It counts when it ends; one that is dropped before says nothing of the
/// provider.
pub(crate) struct Admitted {
    health: Arc<Health>,
    lane: Lane,
    admission: Option<Admission>,
    began: Instant,
}

impl Admitted {
    pub(crate) fn ended<T>(mut self, outcome: &Result<T, CallFault>) {
        let Some(admission) = self.admission.take() else {
            return;
        };
        if let Err(fault) = outcome {
            if fault.fault.is_without_asking() {
                return self
                    .health
                    .breaker(self.lane)
                    .abandoned(admission, Instant::now());
            }
            self.health.remember(fault);
        }

        self.health.time(self.began.elapsed());
        let is_fault = outcome
            .as_ref()
            .is_err_and(|fault| fault.fault.is_own_doing());
        self.health.ended(self.lane, admission, is_fault);
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        if let Some(admission) = self.admission {
            self.health
                .breaker(self.lane)
                .abandoned(admission, Instant::now());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;

    /// A health, and how often its quarantine has opened.
    fn health() -> (Arc<Health>, Arc<AtomicUsize>) {
        let opened = Arc::new(AtomicUsize::new(0));
        let count = opened.clone();
        let listener = Box::new(move |_| {
            count.fetch_add(1, Ordering::Relaxed);
        });
        (Arc::new(Health::new(Limits::default(), listener)), opened)
    }

    fn end_all(health: &Arc<Health>, fault: &ProviderFault) {
        for _ in 0..20 {
            if let Ok(admitted) = health.admit(Lane::Checks) {
                admitted.ended::<()>(&Err(fault.clone().into()));
            }
        }
    }

    #[test]
    fn calls_that_are_dropped_say_nothing_of_the_provider() {
        let (health, opened) = health();
        for lane in [Lane::Checks, Lane::SignIns] {
            (0..100).for_each(|_| drop(health.admit(lane)));
        }
        assert_eq!(health.report().state, ProviderState::Serving);
        assert_eq!(opened.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn what_is_not_its_own_doing_shuts_nobody_out() {
        let (health, opened) = health();
        end_all(
            &health,
            &ProviderFault::Saturated {
                limit: 16,
                unit: "calls in flight",
            },
        );
        end_all(&health, &ProviderFault::NoTimeLeft);
        assert!(
            health.report().faults.is_empty(),
            "they say nothing of the provider"
        );
        end_all(&health, &ProviderFault::Unavailable("store".into()));
        assert_eq!(opened.load(Ordering::Relaxed), 0);
        end_all(&health, &ProviderFault::Trapped("kaboom".into()));
        assert_eq!(opened.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn sign_ins_that_fail_keep_no_session_from_being_checked() {
        let (health, opened) = health();
        for _ in 0..20 {
            if let Ok(admitted) = health.admit(Lane::SignIns) {
                admitted.ended::<()>(&Err(ProviderFault::Trapped("kaboom".into()).into()));
            }
        }
        assert_eq!(opened.load(Ordering::Relaxed), 1);
        assert!(health.admit(Lane::SignIns).is_err());
        assert!(health.admit(Lane::Checks).is_ok());
        assert_eq!(
            health.report().state,
            ProviderState::Quarantined,
            "and everybody can see it"
        );
    }

    #[test]
    fn replaced_provider_falls_silent() {
        let (health, opened) = health();
        health.retire();
        end_all(&health, &ProviderFault::Trapped("kaboom".into()));
        assert_eq!(health.report().state, ProviderState::Quarantined);
        assert_eq!(opened.load(Ordering::Relaxed), 0);
    }
}
