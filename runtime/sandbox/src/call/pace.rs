//! Decides where a provider's calls run, by how it has lately behaved. Guest code that takes
//! microseconds runs on the thread of the request, which saves two switches between threads. Code
//! that takes longer must not hold that thread.

use crate::engine::lane::{Lane, Lanes};
use crate::engine::limits::JUDGED_CALLS;
use portcullis_auth::{Placements, ProviderFault};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

/// How long a call waits for a slot of a provider that has lately failed, or that may wait for
/// others. A quick call takes 8 to 12 µs, so a burst of two thousand passes meanwhile. A call that
/// hangs does not.
const SLOT_WAIT: Duration = Duration::from_millis(25);
/// The same for any other provider. With 25 ms, a machine without free cores refused callers of
/// good providers. With 250 ms, ten busy providers could use up the 2.5 s of a chain, and those
/// behind them would not be asked.
const LONG_SLOT_WAIT: Duration = Duration::from_millis(100);
/// Calls that take longer than this, most of a tick, run on the guests' own threads. If many calls
/// of a provider ran on each kind of thread, those on the threads of requests would take the cores.
/// With 16 connections, the p99 of a Python provider was 172 to 432 ms so, and 59 to 63 ms with all
/// its calls on the guests' threads.
const QUICK: Duration = Duration::from_micros(750);
/// Quick calls that cancel out a slow one. A provider is slow if more than one call in nine is. A
/// machine that is busy delays any call now and then.
const QUICK_FOR_A_SLOW: u32 = 8;
/// Quick calls that are due of a slow provider: those for two slow calls, since one may have been
/// delayed.
const SLOW: u32 = 2 * QUICK_FOR_A_SLOW;
/// Calls of a slow provider that run on the guests' own threads before one runs on the caller's
/// thread again. If every try is slow, 3 % of its calls are tries.
const GUEST_THREAD_CALLS: u32 = 2 * SLOW;

/// Where a call runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Placement {
    /// On the thread of the request, until it first yields.
    Here,
    /// On the guests' own threads, at a lower priority.
    Guests,
}

/// How a provider has lately behaved.
#[derive(Debug)]
pub(crate) struct Pace {
    /// Whether it may wait for others (HTTP, a bucket's disk).
    waits: bool,
    /// Whether its code was shown to yield soon enough for a thread that serves requests.
    is_fit: bool,
    /// Good calls that are still due after its last fault.
    good_calls_due: AtomicU32,
    /// Quick calls that are still due after it was slow on the threads of requests.
    slow: AtomicU32,
    /// Calls that still run on the guests' own threads since it was last slow.
    guest_thread_calls: AtomicU32,
    /// Processor time of its longest good call so far, in microseconds.
    longest_good: AtomicU64,
    /// Calls that ended on the threads of their requests.
    ended_here: AtomicU64,
    /// Calls that began there and did not end there.
    moved: AtomicU64,
    /// Calls that began on the guests' threads.
    began_on_guest_threads: Lanes<AtomicU64>,
}

impl Pace {
    pub(crate) fn new(waits: bool, is_fit: bool) -> Self {
        Self {
            waits,
            is_fit,
            good_calls_due: AtomicU32::new(0),
            slow: AtomicU32::new(0),
            guest_thread_calls: AtomicU32::new(0),
            longest_good: AtomicU64::new(0),
            ended_here: AtomicU64::new(0),
            moved: AtomicU64::new(0),
            began_on_guest_threads: Lanes::new(|_| AtomicU64::new(0)),
        }
    }

    /// Returns whether it has lately failed.
    pub(crate) fn is_suspect(&self) -> bool {
        self.good_calls_due.load(Ordering::Relaxed) > 0
    }

    /// Returns where its next call runs. Counts the call if that is on the guests' threads.
    pub(crate) fn place(&self, lane: Lane) -> Placement {
        if !self.is_fit
            || self.is_suspect()
            || lane == Lane::SignIns
            || count_down(&self.guest_thread_calls)
        {
            self.began_on_guest_threads
                .get(lane)
                .fetch_add(1, Ordering::Relaxed);
            return Placement::Guests;
        }
        Placement::Here
    }

    /// Returns how many calls so far ran where.
    pub(crate) fn placements(&self) -> Placements {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Placements {
            request_thread: count(&self.ended_here),
            moved: count(&self.moved),
            guest_thread: count(self.began_on_guest_threads.get(Lane::Checks)),
            sign_in_thread: count(self.began_on_guest_threads.get(Lane::SignIns)),
        }
    }

    /// Returns how long a call waits for one of its slots.
    pub(crate) fn slot_wait(&self) -> Duration {
        if self.waits || self.is_suspect() {
            SLOT_WAIT
        } else {
            LONG_SLOT_WAIT
        }
    }

    /// Records how long a call took that began on the thread of its request. `None`: it is not over
    /// yet.
    pub(crate) fn ran_here(&self, took: Option<Duration>) {
        let counter = if took.is_some() {
            &self.ended_here
        } else {
            &self.moved
        };
        counter.fetch_add(1, Ordering::Relaxed);

        if took.is_some_and(|took| took < QUICK) {
            count_down(&self.slow);
            return;
        }
        let slow = (self.slow.load(Ordering::Relaxed) + QUICK_FOR_A_SLOW).min(SLOW);
        self.slow.store(slow, Ordering::Relaxed);
        if slow == SLOW {
            self.guest_thread_calls
                .store(GUEST_THREAD_CALLS, Ordering::Relaxed);
        }
    }

    /// Processor time of its longest good call so far.
    pub(crate) fn longest_good_call(&self) -> Duration {
        Duration::from_micros(self.longest_good.load(Ordering::Relaxed))
    }

    /// Records the end of a call, and how long it ran on the guests' threads.
    pub(crate) fn ended<T>(&self, answer: &Result<T, ProviderFault>, ran: Duration) {
        let micros = u64::try_from(ran.as_micros()).unwrap_or(u64::MAX);
        if answer.is_ok() && micros > self.longest_good.load(Ordering::Relaxed) {
            self.longest_good.store(micros, Ordering::Relaxed);
        }
        match answer {
            Err(fault) if fault.is_own_doing() => {
                self.good_calls_due.store(JUDGED_CALLS, Ordering::Relaxed);
            }
            Err(_) => {}
            Ok(_) => drop(count_down(&self.good_calls_due)),
        }
    }
}

/// Subtracts one from a counter that is not zero. Zero is only read, since every call on every
/// thread looks at it.
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

    fn places(pace: &Pace, calls: u32) -> Vec<Placement> {
        (0..calls).map(|_| pace.place(Lane::Checks)).collect()
    }

    #[test]
    fn slow_provider_is_kept_off_the_servers_threads() {
        for slow in [Some(QUICK), None] {
            let pace = Pace::new(false, true);
            assert_eq!(pace.place(Lane::Checks), Placement::Here);
            assert_eq!(pace.place(Lane::SignIns), Placement::Guests);
            pace.ran_here(slow);
            assert_eq!(
                pace.place(Lane::Checks),
                Placement::Here,
                "one call may have been put off"
            );

            // From the second on, it has one try.
            for _ in 0..3 {
                pace.ran_here(slow);
                assert!(
                    places(&pace, GUEST_THREAD_CALLS)
                        .iter()
                        .all(|place| *place == Placement::Guests)
                );
                assert_eq!(pace.place(Lane::Checks), Placement::Here);
            }
        }
    }

    #[test]
    fn calls_are_counted_by_where_they_ran() {
        let pace = Pace::new(false, true);
        for took in [Some(Duration::ZERO), Some(QUICK), None] {
            assert_eq!(pace.place(Lane::Checks), Placement::Here);
            pace.ran_here(took);
        }
        places(&pace, 3);
        pace.place(Lane::SignIns);
        let ran = Placements {
            request_thread: 2,
            moved: 1,
            guest_thread: 3,
            sign_in_thread: 1,
        };
        assert_eq!(pace.placements(), ran);
    }

    /// Returns how many of a thousand calls run on the server's threads, if every `each`-th is
    /// slow.
    fn here_of_a_thousand(each: u32) -> usize {
        let pace = Pace::new(false, true);
        let is_here = |call: &u32| {
            let is_here = pace.place(Lane::Checks) == Placement::Here;
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
        assert!(
            places(&pace, 100)
                .iter()
                .all(|place| *place == Placement::Guests)
        );
    }

    #[test]
    fn quick_calls_in_between_hide_no_slow_ones() {
        assert!(here_of_a_thousand(2) < 200);
        assert_eq!(here_of_a_thousand(20), 1_000);
    }

    #[test]
    fn fault_must_be_made_good_first() {
        let pace = Pace::new(false, true);
        pace.ended::<()>(
            &Err(ProviderFault::Trapped("kaboom".into())),
            Duration::ZERO,
        );
        for _ in 0..JUDGED_CALLS {
            assert_eq!(pace.place(Lane::Checks), Placement::Guests);
            assert!(pace.is_suspect());
            pace.ended(&Ok(()), Duration::ZERO);
        }
        assert_eq!(pace.place(Lane::Checks), Placement::Here);
        pace.ended::<()>(
            &Err(ProviderFault::Unavailable("store".into())),
            Duration::ZERO,
        );
        assert_eq!(
            pace.place(Lane::Checks),
            Placement::Here,
            "not its own doing"
        );
    }

    #[test]
    fn one_waits_long_only_where_nobody_is_likely_to_hang() {
        let pace = Pace::new(false, true);
        assert_eq!(pace.slot_wait(), LONG_SLOT_WAIT);
        pace.ended::<()>(
            &Err(ProviderFault::Trapped("kaboom".into())),
            Duration::ZERO,
        );
        assert_eq!(pace.slot_wait(), SLOT_WAIT);
        assert_eq!(Pace::new(true, true).slot_wait(), SLOT_WAIT);
    }
}
