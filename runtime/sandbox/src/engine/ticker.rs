//! The one thread that advances the epoch: again and again while a guest may be running, and not at
//! all while none is.
//!
//! **Invariant:** while a [`Ticking`] is held, there are ticks. Without them a guest that loops
//! would never yield.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread::{self, Thread};
use std::time::Duration;
use wasmtime::Engine;

/// Ticks without a guest after which the thread rests. Waking it is a system call on the way of a
/// request: with ticks of a millisecond, calls that come at 50 per second or more do not make it.
const LINGERS: u32 = 20;

/// Ends when it is dropped.
pub(crate) struct Ticker {
    state: Arc<TickerState>,
    thread: Thread,
}

#[derive(Default)]
struct TickerState {
    /// Calls that may be running guest code.
    running: AtomicUsize,
    ticks: AtomicU64,
    rests: AtomicBool,
    is_over: AtomicBool,
}

/// Counts ticks, from when the sandbox started. It stands while no guest runs.
#[derive(Clone)]
pub(crate) struct Ticks(Arc<TickerState>);

impl Ticks {
    pub(crate) fn now(&self) -> u64 {
        self.0.ticks.load(Ordering::Relaxed)
    }
}

/// The epoch advances while this exists.
pub(crate) struct Ticking(Arc<TickerState>);

impl Ticker {
    /// # Errors
    /// The thread cannot be started.
    pub(crate) fn start(engine: Engine, every: Duration) -> io::Result<Self> {
        let state = Arc::new(TickerState::default());
        let shared = state.clone();
        let ticks = move || tick(&shared, every, || engine.increment_epoch());
        let thread = thread::Builder::new()
            .name("epoch".into())
            .spawn(ticks)?
            .thread()
            .clone();
        Ok(Self { state, thread })
    }

    pub(crate) fn ticks(&self) -> Ticks {
        Ticks(self.state.clone())
    }

    /// A guest is about to run.
    pub(crate) fn ticking(&self) -> Ticking {
        // Both orders are of one sequence: either this sees the thread at rest, or the thread sees
        // this call.
        self.state.running.fetch_add(1, Ordering::SeqCst);
        if self.state.rests.load(Ordering::SeqCst) {
            self.thread.unpark();
        }
        Ticking(self.state.clone())
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.state.is_over.store(true, Ordering::SeqCst);
        self.thread.unpark();
    }
}

impl Drop for Ticking {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::SeqCst);
    }
}

fn tick(state: &TickerState, every: Duration, advance: impl Fn()) {
    let mut idle = 0;
    while !state.is_over.load(Ordering::SeqCst) {
        idle = if state.running.load(Ordering::SeqCst) > 0 {
            0
        } else {
            idle + 1
        };
        if idle > LINGERS {
            rest(state);
            idle = 0;
        } else {
            thread::park_timeout(every);
        }
        state.ticks.fetch_add(1, Ordering::Relaxed);
        advance();
    }
}

fn rest(state: &TickerState) {
    state.rests.store(true, Ordering::SeqCst);
    if state.running.load(Ordering::SeqCst) == 0 && !state.is_over.load(Ordering::SeqCst) {
        // Without a time limit: a call that begins and the end of the ticker both wake a thread
        // that rests.
        thread::park();
    }
    state.rests.store(false, Ordering::SeqCst);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    fn until(what: &str, is_so: impl Fn() -> bool) {
        let deadline = Instant::now() + Duration::from_secs(30);
        while !is_so() {
            assert!(Instant::now() < deadline, "{what}");
            thread::yield_now();
        }
    }

    #[test]
    fn thread_rests_without_guests_and_ticks_for_each_that_comes() {
        let ticks = Arc::new(AtomicU64::new(0));
        let state = Arc::new(TickerState::default());
        let (counted, shared) = (ticks.clone(), state.clone());
        let count = move || {
            counted.fetch_add(1, Ordering::Relaxed);
        };
        let handle = thread::spawn(move || tick(&shared, Duration::from_millis(1), count));
        let ticker = Ticker {
            state,
            thread: handle.thread().clone(),
        };

        for _ in 0..20 {
            until("it never rests", || {
                ticker.state.rests.load(Ordering::SeqCst)
            });
            let ticking = ticker.ticking();
            let before = ticks.load(Ordering::Relaxed);
            until("it does not tick", || {
                ticks.load(Ordering::Relaxed) >= before + 5
            });
            assert!(!ticker.state.rests.load(Ordering::SeqCst));
            drop(ticking);
        }

        drop(ticker);
        handle.join().unwrap();
    }
}
