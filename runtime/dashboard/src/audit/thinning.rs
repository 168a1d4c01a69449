//! Thins out events that a caller can cause as often as they like.
//!
//! **Invariant:** each record is written, or counted in the `left_out` of a later one of its cause.

use super::{EventName, Record};
use portcullis_observe::flood_limit::FloodLimit;
use std::hash::{BuildHasher, RandomState};
use std::mem;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Causes are spread over this many limits, by a hash that no caller can aim at: a flood of one
/// principal leaves the lines of nearly all others alone.
const LIMITS: usize = 256;

/// Lets each cause write a burst, and then one line per period.
pub(super) struct Thinning {
    causes: Vec<Cause>,
    hasher: RandomState,
    /// Causes with records that were left out and that no line counts yet.
    owing: AtomicUsize,
}

struct Cause {
    /// Its own count is not used: a record may stand for others that another thinning left out.
    limit: FloodLimit,
    left_out: Mutex<LeftOut>,
}

/// What was left out since the last line of a cause.
#[derive(Default)]
struct LeftOut {
    /// All of them, with those that they stand for.
    count: u64,
    /// `None`: there are none.
    last: Option<Record>,
}

impl Cause {
    fn left_out(&self) -> MutexGuard<'_, LeftOut> {
        self.left_out.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The record is one too many, and is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Held {
    /// Nothing else was waiting for a line that counts it.
    pub(super) is_first: bool,
}

impl Thinning {
    pub(super) fn new(burst: NonZeroU32, period: Duration) -> Self {
        let cause = || Cause {
            limit: FloodLimit::new(burst, period),
            left_out: Mutex::default(),
        };
        Self {
            causes: (0..LIMITS).map(|_| cause()).collect(),
            hasher: RandomState::new(),
            owing: AtomicUsize::new(0),
        }
    }

    /// Returns the record, with the number of those that were left out before it as `left_out`; or
    /// an error, if it is one too many.
    pub(super) fn pass(&self, record: Record) -> Result<Record, Held> {
        if !record.event().can_flood() {
            return Ok(record);
        }
        let cause = &self.causes[self.index(&record)];
        let may_pass = cause.limit.pass();
        let mut left_out = cause.left_out();
        let stands_for = record.number(LEFT_OUT).unwrap_or_default();

        if may_pass {
            let count = self.take(&mut left_out).count;
            return Ok(counted(record, stands_for.saturating_add(count)));
        }
        left_out.count = left_out.count.saturating_add(stands_for).saturating_add(1);
        let is_new = left_out.last.replace(record).is_none();
        let is_first = is_new && self.owing.fetch_add(1, Ordering::Relaxed) == 0;
        Err(Held { is_first })
    }

    /// Returns whether records were left out that no line counts yet.
    pub(super) fn owes(&self) -> bool {
        self.owing.load(Ordering::Relaxed) > 0
    }

    /// Returns the last record that was left out of each cause that may write a line again, with
    /// the number of the others as `left_out`. With `all`, of every cause: no later line can count
    /// them.
    pub(super) fn settle(&self, all: bool) -> Vec<Record> {
        if !self.owes() {
            return Vec::new();
        }
        let settled = |cause: &Cause| {
            let mut left_out = cause.left_out();
            if left_out.last.is_none() || !(all || cause.limit.pass()) {
                return None;
            }
            let LeftOut { count, last } = self.take(&mut left_out);
            Some(counted(last?, count.saturating_sub(1)))
        };
        self.causes.iter().filter_map(settled).collect()
    }

    fn take(&self, left_out: &mut LeftOut) -> LeftOut {
        let taken = mem::take(left_out);
        if taken.last.is_some() {
            self.owing.fetch_sub(1, Ordering::Relaxed);
        }
        taken
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

/// The field of a line with the number of those that it stands for.
const LEFT_OUT: &str = "left_out";

fn counted(record: Record, left_out: u64) -> Record {
    if left_out == 0 {
        record
    } else {
        record.with(LEFT_OUT, left_out)
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
            .filter(|_| thinning.pass(call("ci")).is_ok())
            .count();
        let index = thinning.index(&call("ci"));
        let left_out = thinning.causes[index].left_out().count;
        assert_eq!((passed, left_out), (2, 998));
        let other = (0..)
            .map(|n| n.to_string())
            .find(|name| thinning.index(&call(name)) != index)
            .unwrap();
        assert!(
            thinning.pass(call(&other)).is_ok(),
            "another principal is heard"
        );
    }

    #[test]
    fn what_matters_is_never_thinned() {
        let thinning = Thinning::new(NonZeroU32::MIN, Duration::from_secs(3_600));
        assert!((0..100).all(|_| thinning.pass(Record::now(EventName::DrainBegin)).is_ok()));
        assert_eq!(
            (0..100)
                .filter(|_| thinning.pass(call("ci")).is_ok())
                .count(),
            1
        );
    }

    /// All that these records stand for, themselves included.
    fn accounted(records: &[Record]) -> u64 {
        records
            .iter()
            .map(|record| 1 + record.number(LEFT_OUT).unwrap_or_default())
            .sum()
    }

    #[test]
    fn end_of_a_flood_is_accounted_for_without_another_record() {
        let thinning = Thinning::new(NonZeroU32::new(2).unwrap(), Duration::from_secs(3_600));
        let results: Vec<_> = (0..1_000).map(|_| thinning.pass(call("ci"))).collect();
        let first = results.iter().position(Result::is_err);
        let is_first =
            |result: &&Result<Record, Held>| matches!(result, Err(held) if held.is_first);
        assert_eq!(
            (first, results.iter().filter(is_first).count()),
            (Some(2), 1)
        );
        assert!(thinning.owes());
        assert!(thinning.settle(false).is_empty(), "its limit is reached");

        let mut written: Vec<_> = results.into_iter().filter_map(Result::ok).collect();
        written.extend(thinning.settle(true));
        assert_eq!((written.len(), accounted(&written)), (3, 1_000));
        assert!(!thinning.owes() && thinning.settle(true).is_empty());
    }

    #[test]
    fn cause_that_may_write_again_says_what_was_left_out() {
        let thinning = Thinning::new(NonZeroU32::MIN, Duration::from_nanos(1));
        let cause = &thinning.causes[thinning.index(&call("ci"))];
        cause.left_out().count = 3;
        cause.left_out().last = Some(call("ci"));
        thinning.owing.fetch_add(1, Ordering::Relaxed);
        assert_eq!(accounted(&thinning.settle(false)), 3);
    }

    #[test]
    fn record_that_stands_for_others_is_counted_with_them() {
        let one = Thinning::new(NonZeroU32::MIN, Duration::from_secs(3_600));
        let other = Thinning::new(NonZeroU32::MIN, Duration::from_secs(3_600));
        let mut written = Vec::new();
        let mut pass_on = |record: Record| written.extend(other.pass(record).ok());
        for _ in 0..100 {
            one.pass(call("ci")).into_iter().for_each(&mut pass_on);
        }
        one.settle(true).into_iter().for_each(&mut pass_on);
        written.extend(other.settle(true));
        assert_eq!((written.len(), accounted(&written)), (2, 100));
    }
}
