//! A bound on what one cause may write: a burst at once, then one more per period, and a count of
//! what was left out. The log and the audit log use it.
//!
//! It is a few lines over `governor`, which the limit on calls per second uses as well. The crate
//! `tracing-throttle` counts events apart whose fields differ, so that a caller who varies a path
//! is not held back, and it serves no other log.
//!
//! **Invariant:** asking never waits, and nothing is left out without being counted.

use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A bound for one cause.
pub struct FloodLimit {
    limiter: DefaultDirectRateLimiter,
    left_out: AtomicU64,
}

impl FloodLimit {
    /// Lets `burst` pass at once, and then one more per `period`.
    ///
    /// # Panics
    /// The period is zero.
    pub fn new(burst: NonZeroU32, period: Duration) -> Self {
        let quota = Quota::with_period(period)
            .expect("a period that is not zero")
            .allow_burst(burst);
        Self {
            limiter: RateLimiter::direct(quota),
            left_out: AtomicU64::new(0),
        }
    }

    /// Returns whether one more may pass; counts it if it may not.
    pub fn pass(&self) -> bool {
        let may_pass = self.limiter.check().is_ok();
        if !may_pass {
            self.left_out.fetch_add(1, Ordering::Relaxed);
        }
        may_pass
    }

    /// Returns how many were left out since they were last taken.
    pub fn left_out(&self) -> u64 {
        self.left_out.load(Ordering::Relaxed)
    }

    /// Returns the same number, and counts from zero again.
    pub fn take_left_out(&self) -> u64 {
        self.left_out.swap(0, Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn burst_passes_and_the_rest_is_counted() {
        let limit = FloodLimit::new(NonZeroU32::new(3).unwrap(), Duration::from_secs(3_600));
        let passed: Vec<_> = (0..5).map(|_| limit.pass()).collect();
        assert_eq!(passed, [true, true, true, false, false]);
        assert_eq!(
            (limit.left_out(), limit.take_left_out(), limit.left_out()),
            (2, 2, 0)
        );
    }
}
