//! How one provider is doing: its last faults, its quarantine, its calls a second.

use super::limits::Limits;
use super::quarantine::{Admission, Breaker, Change, State};
use crate::auth::{CallFault, FaultReport, HealthReport, ProviderFault, ProviderHealth, ProviderState};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use jiff::Timestamp;
use std::collections::VecDeque;
use std::num::NonZeroU32;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Faults that are kept to be shown.
const KEPT_FAULTS: usize = 5;

/// What became of a provider's quarantine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QuarantineChange {
    /// It is not asked for so long, and then by one probe call.
    Opened {
        /// How long.
        pause: Duration,
    },
    /// A probe call ended well: it is asked again.
    Closed,
}

/// Who is told when a provider's quarantine opens or closes.
pub type QuarantineListener = Box<dyn Fn(QuarantineChange) + Send + Sync>;

/// Kept for as long as the provider stays the same, through reloads.
pub struct Health {
    breaker: Mutex<Breaker>,
    faults: Mutex<VecDeque<FaultReport>>,
    rate: DefaultDirectRateLimiter,
    calls_per_second: NonZeroU32,
    listener: QuarantineListener,
}

impl Health {
    /// A clean bill. The listener is called on the way of a request: it must not wait.
    pub fn new(limits: Limits, listener: QuarantineListener) -> Self {
        let calls_per_second = limits.calls_per_second;
        let rate = RateLimiter::direct(Quota::per_second(calls_per_second));
        Self {
            breaker: Mutex::new(Breaker::new()),
            faults: Mutex::default(),
            rate,
            calls_per_second,
            listener,
        }
    }

    /// May a call begin?
    pub(super) fn admit(&self) -> Result<Admitted<'_>, ProviderFault> {
        if self.rate.check().is_err() {
            let limit = self.calls_per_second.get() as usize;
            return Err(ProviderFault::Saturated { limit, unit: "calls a second" });
        }
        let quarantined = |retry_in| ProviderFault::Quarantined { retry_in };
        let admission = self.breaker().admit(Instant::now()).map_err(quarantined)?;
        Ok(Admitted { health: self, admission: Some(admission) })
    }

    fn breaker(&self) -> MutexGuard<'_, Breaker> {
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn faults(&self) -> MutexGuard<'_, VecDeque<FaultReport>> {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner)
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
        let state = match self.breaker().state() {
            State::Closed => ProviderState::Serving,
            State::Open { .. } | State::Probing => ProviderState::Quarantined,
        };
        HealthReport { state, faults: self.faults().iter().cloned().collect() }
    }
}

/// A call that may go on. It says how it ended; dropped before, it says nothing of the provider.
pub(super) struct Admitted<'a> {
    health: &'a Health,
    admission: Option<Admission>,
}

impl Admitted<'_> {
    pub(super) fn ended<T>(mut self, outcome: &Result<T, CallFault>) {
        if let Err(fault) = outcome {
            self.health.remember(fault);
            if fault.fault.is_without_asking() {
                return;
            }
        }
        let Some(admission) = self.admission.take() else { return };
        let is_fault = outcome.as_ref().is_err_and(|fault| fault.fault.is_own_doing());
        let change = self.health.breaker().ended(admission, is_fault, Instant::now());
        match change {
            Some(Change::Opened { pause }) => (self.health.listener)(QuarantineChange::Opened { pause }),
            Some(Change::Closed) => (self.health.listener)(QuarantineChange::Closed),
            None => {}
        }
    }
}

impl Drop for Admitted<'_> {
    fn drop(&mut self) {
        if let Some(admission) = self.admission {
            self.health.breaker().abandoned(admission, Instant::now());
        }
    }
}
