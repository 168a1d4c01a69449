//! When a provider is not asked any more: after repeated faults, for a while that grows, until one
//! probe call ends well.
//!
//! Pure: every step is handed the time.

use crate::engine::limits::JUDGED_CALLS;
use std::time::{Duration, Instant};

/// Faults among them that are too many, if they are also half of all.
const MAX_FAULTS: u32 = 5;
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const MAX_PAUSE: Duration = Duration::from_secs(60);
/// What `Retry-After` says while a probe call is in flight.
const PROBE_PAUSE: Duration = Duration::from_secs(1);

/// A circuit breaker for one provider.
#[derive(Debug)]
pub(crate) struct Breaker {
    state: BreakerState,
    outcomes: Outcomes,
    /// How often in a row it opened without a whole window of good calls in between.
    openings: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BreakerState {
    /// Every call is let through.
    Closed,
    /// No call is let through before `until`.
    Open { until: Instant },
    /// One probe call is in flight. Its end decides.
    Probing,
}

/// How a call was let through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Admission {
    Ordinary,
    Probe,
}

/// What the end of a call changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    Opened { pause: Duration },
    Closed,
}

impl Breaker {
    pub(crate) fn new() -> Self {
        Self {
            state: BreakerState::Closed,
            outcomes: Outcomes::default(),
            openings: 0,
        }
    }

    /// Lets a call through, or says how long to wait.
    pub(crate) fn admit(&mut self, now: Instant) -> Result<Admission, Duration> {
        match self.state {
            BreakerState::Closed => Ok(Admission::Ordinary),
            BreakerState::Open { until } if now < until => Err(until - now),
            BreakerState::Open { .. } => {
                self.state = BreakerState::Probing;
                Ok(Admission::Probe)
            }
            BreakerState::Probing => Err(PROBE_PAUSE),
        }
    }

    /// A call that was let through has ended.
    pub(crate) fn ended(
        &mut self,
        admission: Admission,
        is_fault: bool,
        now: Instant,
    ) -> Option<Change> {
        match (admission, self.state) {
            (Admission::Probe, _) if is_fault => Some(self.open(now)),
            (Admission::Probe, _) => {
                self.state = BreakerState::Closed;
                self.outcomes = Outcomes::default();
                Some(Change::Closed)
            }
            (Admission::Ordinary, BreakerState::Closed) => {
                self.outcomes.add(is_fault);
                if self.outcomes.all_good() {
                    self.openings = 0;
                }
                self.outcomes.too_many_faults().then(|| self.open(now))
            }
            // It was let through before the others failed: they have decided.
            (Admission::Ordinary, _) => None,
        }
    }

    /// A call that was let through says nothing of the provider: a probe is made up for after
    /// another pause.
    pub(crate) fn abandoned(&mut self, admission: Admission, now: Instant) {
        if admission == Admission::Probe {
            self.state = BreakerState::Open {
                until: now + pause_of(self.openings.saturating_sub(1)),
            };
        }
    }

    pub(crate) fn state(&self) -> BreakerState {
        self.state
    }

    fn open(&mut self, now: Instant) -> Change {
        let pause = pause_of(self.openings);
        self.openings += 1;
        self.outcomes = Outcomes::default();
        self.state = BreakerState::Open { until: now + pause };
        Change::Opened { pause }
    }
}

fn pause_of(openings: u32) -> Duration {
    FIRST_PAUSE
        .saturating_mul(1 << openings.min(16))
        .min(MAX_PAUSE)
}

/// The last outcomes, one bit each: a fault is a one.
#[derive(Debug, Default)]
struct Outcomes {
    faults: u32,
    count: u32,
}

impl Outcomes {
    fn add(&mut self, is_fault: bool) {
        self.faults = ((self.faults << 1) | u32::from(is_fault)) & ((1 << JUDGED_CALLS) - 1);
        self.count = (self.count + 1).min(JUDGED_CALLS);
    }

    fn too_many_faults(&self) -> bool {
        let faults = self.faults.count_ones();
        faults >= MAX_FAULTS && faults * 2 >= self.count
    }

    fn all_good(&self) -> bool {
        self.count == JUDGED_CALLS && self.faults == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(breaker: &mut Breaker, is_fault: bool, now: Instant) -> Option<Change> {
        let admission = breaker.admit(now).expect("it is let through");
        breaker.ended(admission, is_fault, now)
    }

    fn opened(now: Instant) -> Breaker {
        let mut breaker = Breaker::new();
        let changes: Vec<_> = (0..MAX_FAULTS)
            .filter_map(|_| call(&mut breaker, true, now))
            .collect();
        assert_eq!(changes, [Change::Opened { pause: FIRST_PAUSE }]);
        breaker
    }

    #[test]
    fn repeated_faults_open_it() {
        let now = Instant::now();
        let mut breaker = opened(now);
        assert_eq!(breaker.admit(now), Err(FIRST_PAUSE));
        assert_eq!(
            breaker.admit(now + FIRST_PAUSE / 4),
            Err(FIRST_PAUSE * 3 / 4)
        );
    }

    #[test]
    fn few_faults_among_good_calls_do_not() {
        let now = Instant::now();
        let mut breaker = Breaker::new();
        for index in 0..1_000 {
            assert_eq!(call(&mut breaker, index % 3 == 0, now), None);
        }
    }

    #[test]
    fn one_probe_decides() {
        let now = Instant::now() + FIRST_PAUSE;
        let mut breaker = opened(now - FIRST_PAUSE);
        assert_eq!(breaker.admit(now), Ok(Admission::Probe));
        assert_eq!(breaker.admit(now), Err(PROBE_PAUSE), "one alone");
        assert_eq!(
            breaker.ended(Admission::Probe, false, now),
            Some(Change::Closed)
        );
        assert_eq!(breaker.admit(now), Ok(Admission::Ordinary));
    }

    #[test]
    fn pauses_grow_to_a_cap_and_good_calls_forget_them() {
        let mut now = Instant::now();
        let mut breaker = opened(now);
        for expected in [2, 4, 8, 16, 32, 60, 60] {
            now += MAX_PAUSE;
            let pause = Duration::from_secs(expected);
            assert_eq!(
                call(&mut breaker, true, now),
                Some(Change::Opened { pause })
            );
        }
        now += MAX_PAUSE;
        assert_eq!(call(&mut breaker, false, now), Some(Change::Closed));
        (0..JUDGED_CALLS).for_each(|_| assert_eq!(call(&mut breaker, false, now), None));
        let reopened = (0..JUDGED_CALLS).find_map(|_| call(&mut breaker, true, now));
        assert_eq!(reopened, Some(Change::Opened { pause: FIRST_PAUSE }));
    }

    #[test]
    fn given_up_probe_is_made_up_for_after_a_pause() {
        let now = Instant::now() + FIRST_PAUSE;
        let mut breaker = opened(now - FIRST_PAUSE);
        let probe = breaker.admit(now).unwrap();
        breaker.abandoned(probe, now);
        assert_eq!(breaker.admit(now), Err(FIRST_PAUSE));
        assert_eq!(breaker.admit(now + FIRST_PAUSE), Ok(Admission::Probe));
    }

    #[test]
    fn calls_from_before_say_nothing_any_more() {
        let now = Instant::now();
        let mut breaker = Breaker::new();
        let early = breaker.admit(now).unwrap();
        for _ in 0..MAX_FAULTS {
            call(&mut breaker, true, now);
        }
        assert_eq!(breaker.ended(early, false, now), None);
        assert!(breaker.admit(now).is_err());
    }
}
