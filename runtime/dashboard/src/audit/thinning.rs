//! Thins out events that a caller can cause as often as they like.

use super::{EventName, Record};
use portcullis_observe::flood_limit::FloodLimit;
use std::hash::{BuildHasher, RandomState};
use std::num::NonZeroU32;
use std::time::Duration;

/// Causes are spread over this many limits, by a hash that no caller can aim at: a flood of one
/// principal leaves the lines of nearly all others alone.
const LIMITS: usize = 256;

/// Lets each cause write a burst, and then one line per period.
pub(super) struct Thinning {
    limits: Vec<FloodLimit>,
    hasher: RandomState,
}

impl Thinning {
    pub(super) fn new(burst: NonZeroU32, period: Duration) -> Self {
        let limits = (0..LIMITS)
            .map(|_| FloodLimit::new(burst, period))
            .collect();
        Self {
            limits,
            hasher: RandomState::new(),
        }
    }

    /// Returns the record, with the number of those that were left out before it as `left_out`; or
    /// `None`, if it is one too many.
    pub(super) fn pass(&self, record: Record) -> Option<Record> {
        if !record.event().can_flood() {
            return Some(record);
        }
        let limit = &self.limits[self.index(&record)];
        if !limit.pass() {
            return None;
        }
        match limit.take_left_out() {
            0 => Some(record),
            left_out => Some(record.with("left_out", left_out)),
        }
    }

    fn index(&self, record: &Record) -> usize {
        let cause: (EventName, Option<&str>, Option<&str>) = (
            record.event(),
            record.text("principal"),
            record.text("provider"),
        );
        let hash = self.hasher.hash_one(cause);
        usize::try_from(hash % LIMITS as u64).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(principal: &str) -> Record {
        Record::now(EventName::TokenAuthSuccess).with("principal", principal)
    }

    #[test]
    fn flood_of_one_principal_is_thinned_and_counted() {
        let thinning = Thinning::new(NonZeroU32::new(2).unwrap(), Duration::from_secs(3_600));
        let passed = (0..1_000)
            .filter(|_| thinning.pass(call("ci")).is_some())
            .count();
        let index = thinning.index(&call("ci"));
        assert_eq!((passed, thinning.limits[index].left_out()), (2, 998));
        let other = (0..)
            .map(|n| n.to_string())
            .find(|name| thinning.index(&call(name)) != index)
            .unwrap();
        assert!(
            thinning.pass(call(&other)).is_some(),
            "another principal is heard"
        );
    }

    #[test]
    fn what_matters_is_never_thinned() {
        let thinning = Thinning::new(NonZeroU32::MIN, Duration::from_secs(3_600));
        assert!((0..100).all(|_| thinning.pass(Record::now(EventName::DrainBegin)).is_some()));
        assert_eq!(
            (0..100)
                .filter(|_| thinning.pass(call("ci")).is_some())
                .count(),
            1
        );
    }
}
