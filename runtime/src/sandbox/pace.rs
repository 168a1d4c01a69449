//! Where a provider's calls run, by how it has lately behaved. A thread of the server is as good as any for guest code
//! that is over in microseconds, and spares two ways between threads; what takes longer must not hold it.

use super::lane::Lane;
use crate::auth::ProviderFault;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

/// How long a call waits for one of the slots of a provider that has lately failed, or may wait for others. Long enough
/// for a burst of quick calls to pass, and far too short to be stuck behind one that hangs.
const SLOT_WAIT: Duration = Duration::from_millis(25);
/// The same for any other: where strangers hold the cores, its callers are late rather than refused. If it begins to
/// hang, this is what the first of them wait.
const LONG_SLOT_WAIT: Duration = Duration::from_millis(100);
/// Good calls in a row by which a provider that has failed shows that it is well again.
const OWED_AFTER_A_FAULT: u32 = 20;
/// What takes longer than this, most of a tick, is made on the guests' own threads: where many calls of a provider are
/// made here and many there, those here take the cores.
const QUICK: Duration = Duration::from_micros(750);
/// Quick calls that make up for a slow one: now and then the machine puts off any call.
const QUICK_FOR_A_SLOW: u32 = 8;
/// Slow calls not made up for that make a slow provider.
const SLOW: u32 = 2;
/// Calls of a slow provider that are made on the guests' own threads before it is tried again on the caller's.
const APART: u32 = 32;

/// Where a call runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// On the thread of the request, until it first yields.
    Here,
    /// On the guests' own threads, at a lower priority.
    Guests,
}

/// How a provider has lately behaved.
#[derive(Debug)]
pub(super) struct Pace {
    /// Whether it may wait for others (HTTP, a bucket's disk).
    waits: bool,
    /// Whether its code was shown to yield soon enough for a thread that serves requests.
    is_fit: bool,
    /// Good calls that it still owes since its last fault.
    owed: AtomicU32,
    /// Quick calls that it owes since it was slow on the threads of those who asked.
    slow: AtomicU32,
    /// Calls that it still makes apart since it last was slow.
    apart: AtomicU32,
    /// Processor time of its longest good call so far, in microseconds.
    longest_good: AtomicU64,
}

impl Pace {
    pub(super) fn new(waits: bool, is_fit: bool) -> Self {
        Self {
            waits,
            is_fit,
            owed: AtomicU32::new(0),
            slow: AtomicU32::new(0),
            apart: AtomicU32::new(0),
            longest_good: AtomicU64::new(0),
        }
    }

    /// Returns whether it has lately failed.
    pub(super) fn is_suspect(&self) -> bool {
        self.owed.load(Ordering::Relaxed) > 0
    }

    /// Returns where its next call runs.
    pub(super) fn place(&self, lane: Lane) -> Place {
        if !self.is_fit || self.is_suspect() || lane == Lane::SignIns || count_down(&self.apart) {
            return Place::Guests;
        }
        Place::Here
    }

    /// Returns how long a call waits for one of its slots.
    pub(super) fn slot_wait(&self) -> Duration {
        if self.waits || self.is_suspect() { SLOT_WAIT } else { LONG_SLOT_WAIT }
    }

    /// Records how long a call took that began on the thread of its request. `None`: it is not over yet.
    pub(super) fn ran_here(&self, took: Option<Duration>) {
        if took.is_some_and(|took| took < QUICK) {
            count_down(&self.slow);
            return;
        }
        let slow = (self.slow.load(Ordering::Relaxed) + QUICK_FOR_A_SLOW).min(SLOW * QUICK_FOR_A_SLOW);
        self.slow.store(slow, Ordering::Relaxed);
        if slow == SLOW * QUICK_FOR_A_SLOW {
            self.apart.store(APART, Ordering::Relaxed);
        }
    }

    /// Processor time of its longest good call so far.
    pub(super) fn longest_good_call(&self) -> Duration {
        Duration::from_micros(self.longest_good.load(Ordering::Relaxed))
    }

    /// Records the end of a call, and how long it ran on the guests' threads.
    pub(super) fn ended<T>(&self, answer: &Result<T, ProviderFault>, ran: Duration) {
        let micros = u64::try_from(ran.as_micros()).unwrap_or(u64::MAX);
        if answer.is_ok() && micros > self.longest_good.load(Ordering::Relaxed) {
            self.longest_good.store(micros, Ordering::Relaxed);
        }
        match answer {
            Err(fault) if fault.is_own_doing() => self.owed.store(OWED_AFTER_A_FAULT, Ordering::Relaxed),
            Err(_) => {}
            Ok(_) => drop(count_down(&self.owed)),
        }
    }
}

/// One less, if there is one. Written only when there is: every call of every thread looks.
fn count_down(counter: &AtomicU32) -> bool {
    let left = counter.load(Ordering::Relaxed);
    if left > 0 {
        counter.store(left - 1, Ordering::Relaxed);
    }
    left > 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(pace: &Pace, calls: u32) -> Vec<Place> {
        (0..calls).map(|_| pace.place(Lane::Checks)).collect()
    }

    #[test]
    fn slow_provider_is_kept_off_the_servers_threads() {
        for slow in [Some(QUICK), None] {
            let pace = Pace::new(false, true);
            assert_eq!(pace.place(Lane::Checks), Place::Here);
            assert_eq!(pace.place(Lane::SignIns), Place::Guests);
            pace.ran_here(slow);
            assert_eq!(pace.place(Lane::Checks), Place::Here, "one call may have been put off");
            // From the second on, it has one try.
            for _ in 0..3 {
                pace.ran_here(slow);
                assert!(places(&pace, APART).iter().all(|place| *place == Place::Guests));
                assert_eq!(pace.place(Lane::Checks), Place::Here);
            }
        }
    }

    /// Returns how many of a thousand calls run on the server's threads, if every `each`-th is slow.
    fn here_of_a_thousand(each: u32) -> usize {
        let pace = Pace::new(false, true);
        let is_here = |call: &u32| {
            let is_here = pace.place(Lane::Checks) == Place::Here;
            if is_here {
                pace.ran_here((!call.is_multiple_of(each)).then_some(Duration::ZERO));
            }
            is_here
        };
        (0..1_000).filter(is_here).count()
    }

    #[test]
    fn code_that_may_run_for_long_between_two_checks_is_kept_off_the_servers_threads() {
        let pace = Pace::new(false, false);
        assert!(places(&pace, 100).iter().all(|place| *place == Place::Guests));
    }

    #[test]
    fn quick_calls_in_between_hide_no_slow_ones() {
        assert!(here_of_a_thousand(2) < 200);
        assert_eq!(here_of_a_thousand(20), 1_000);
    }

    #[test]
    fn fault_must_be_made_good_first() {
        let pace = Pace::new(false, true);
        pace.ended::<()>(&Err(ProviderFault::Trapped("kaboom".into())), Duration::ZERO);
        for _ in 0..OWED_AFTER_A_FAULT {
            assert_eq!(pace.place(Lane::Checks), Place::Guests);
            assert!(pace.is_suspect());
            pace.ended(&Ok(()), Duration::ZERO);
        }
        assert_eq!(pace.place(Lane::Checks), Place::Here);
        pace.ended::<()>(&Err(ProviderFault::Unavailable("store".into())), Duration::ZERO);
        assert_eq!(pace.place(Lane::Checks), Place::Here, "not its own doing");
    }

    #[test]
    fn one_waits_long_only_where_nobody_is_likely_to_hang() {
        let pace = Pace::new(false, true);
        assert_eq!(pace.slot_wait(), LONG_SLOT_WAIT);
        pace.ended::<()>(&Err(ProviderFault::Trapped("kaboom".into())), Duration::ZERO);
        assert_eq!(pace.slot_wait(), SLOT_WAIT);
        assert_eq!(Pace::new(true, true).slot_wait(), SLOT_WAIT);
    }
}
