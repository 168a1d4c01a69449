//! Decides which guest runs next on the guests' threads. Providers share them fairly: the next free
//! thread goes to the provider that has used the least time, no matter how many calls it has in
//! flight or how long each of them runs.
//!
//! A guest yields every millisecond, so a call holds a thread for about that long. A provider that
//! was idle gets a head start of [`CREDIT`], enough for a password hash. Within a provider, calls
//! run in the order in which they yielded.

use crate::call::record::CallRecord;
use cpu_time::ThreadTime;
use std::collections::{BTreeMap, VecDeque};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

/// How far behind the others a provider that was idle may begin. It is enough for one password hash
/// (argon2id, 19 MiB), so busy providers do not make a single sign-in slower.
pub(crate) const CREDIT: Duration = Duration::from_millis(50);

/// Decides which call runs next. Pure: callers report which calls want to run and how long each
/// ran.
struct RunQueue<W> {
    free: usize,
    /// A provider that has lately failed holds a thread. One of them may, so that a thread is left
    /// to the others.
    suspect_runs: bool,
    /// The time that the provider of the last granted call had used by then. A newcomer begins
    /// [`CREDIT`] before that.
    clock: Duration,
    next_share: u64,
    shares: BTreeMap<u64, ShareState<W>>,
}

struct ShareState<W> {
    /// Time on the threads, or [`CREDIT`] less than the others when that is later.
    used: Duration,
    /// Time on the threads in all.
    ran: Duration,
    running: usize,
    waiting: VecDeque<(W, bool)>,
}

impl<W> RunQueue<W> {
    fn new(threads: usize) -> Self {
        Self {
            free: threads,
            suspect_runs: false,
            clock: Duration::ZERO,
            next_share: 0,
            shares: BTreeMap::new(),
        }
    }

    fn add_share(&mut self) -> u64 {
        let id = self.next_share;
        self.next_share += 1;
        let share = ShareState {
            used: self.clock,
            ran: Duration::ZERO,
            running: 0,
            waiting: VecDeque::new(),
        };
        self.shares.insert(id, share);
        id
    }

    /// Time that this provider has had in all.
    fn ran(&self, share: u64) -> Duration {
        self.shares
            .get(&share)
            .map_or(Duration::ZERO, |share| share.ran)
    }

    /// Puts a call into its provider's line.
    fn wait(&mut self, share: u64, waiter: W, is_suspect: bool) {
        let floor = self.clock.saturating_sub(CREDIT);
        if let Some(share) = self.shares.get_mut(&share) {
            // At each wait: a provider that shared one thread as a suspect must not catch up later.
            share.used = share.used.max(floor);
            share.waiting.push_back((waiter, is_suspect));
        }
    }

    /// Gives a free thread to the first call of the provider that has used least.
    fn grant(&mut self) -> Option<W> {
        if self.free == 0 {
            return None;
        }

        let may_run = |share: &ShareState<W>| {
            share
                .waiting
                .front()
                .is_some_and(|(_, is_suspect)| !(*is_suspect && self.suspect_runs))
        };
        let next = self
            .shares
            .iter()
            .filter(|(_, share)| may_run(share))
            .min_by_key(|(_, share)| share.used);
        let id = *next?.0;
        let share = self.shares.get_mut(&id)?;
        let (waiter, is_suspect) = share.waiting.pop_front()?;

        share.running += 1;
        self.clock = self.clock.max(share.used);
        self.suspect_runs |= is_suspect;
        self.free -= 1;
        Some(waiter)
    }

    /// A call that was granted a thread gives it back.
    fn give_back(&mut self, share: u64, ran: Duration, is_suspect: bool) {
        self.free += 1;
        self.suspect_runs &= !is_suspect;
        if let Some(share) = self.shares.get_mut(&share) {
            share.running = share.running.saturating_sub(1);
            share.used += ran;
            share.ran += ran;
        }
    }
}

impl<W: PartialEq> RunQueue<W> {
    /// Takes a call out of the line. Returns whether it was in it.
    fn leave(&mut self, share: u64, waiter: &W) -> bool {
        let Some(share) = self.shares.get_mut(&share) else {
            return false;
        };
        let before = share.waiting.len();
        share.waiting.retain(|(known, _)| known != waiter);
        share.waiting.len() < before
    }
}

/// The threads of one guest runtime, and the calls that wait for them.
pub(crate) struct GuestThreads {
    queue: Mutex<RunQueue<Arc<Waiter>>>,
    threads: u32,
}

impl GuestThreads {
    pub(crate) fn new(threads: usize) -> Arc<Self> {
        let queue = Mutex::new(RunQueue::new(threads));
        Arc::new(Self {
            queue,
            threads: u32::try_from(threads).unwrap_or(u32::MAX).max(1),
        })
    }

    fn queue(&self) -> MutexGuard<'_, RunQueue<Arc<Waiter>>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Grants the free threads, and wakes the calls that got one.
    ///
    /// Not a call that is `polled` now: it sees by itself that it got a thread. If it were woken, it
    /// would be polled again as soon as its guest waits, and so hold a thread again and again until
    /// what its guest waits for has come.
    fn hand_out(&self, polled: Option<&Waiter>) {
        loop {
            let granted = self.queue().grant();
            let Some(waiter) = granted else { return };
            waiter.is_granted.store(true, Ordering::Release);
            if polled != Some(&*waiter) {
                waiter.wake();
            }
        }
    }
}

/// One provider's share of the threads.
pub(crate) struct Share {
    guest_threads: Arc<GuestThreads>,
    id: u64,
}

impl Share {
    pub(crate) fn new(guest_threads: &Arc<GuestThreads>) -> Arc<Self> {
        let id = guest_threads.queue().add_share();
        Arc::new(Self {
            guest_threads: guest_threads.clone(),
            id,
        })
    }

    /// Time that the provider's calls have had on the threads in all.
    pub(crate) fn ran(&self) -> Duration {
        self.guest_threads.queue().ran(self.id)
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.guest_threads.queue().shares.remove(&self.id);
    }
}

/// A call that waits for a thread.
struct Waiter {
    is_granted: AtomicBool,
    waker: Mutex<Waker>,
}

impl PartialEq for Waiter {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self, other)
    }
}

impl Waiter {
    fn wake(&self) {
        self.waker
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .wake_by_ref();
    }
}

/// A guest's future that is polled only while it holds one of the threads. It adds to the call's
/// record how long it was ready and had to wait, which is no fault of its provider.
pub(crate) struct Scheduled<F> {
    guest: Pin<Box<F>>,
    share: Arc<Share>,
    record: CallRecord,
    is_suspect: bool,
    line: Option<QueuedCall>,
}

/// A place in the line, since when, and what the provider had had by then.
struct QueuedCall {
    waiter: Arc<Waiter>,
    since: Instant,
    ran: Duration,
}

impl<F: Future> Scheduled<F> {
    pub(crate) fn new(
        guest: Pin<Box<F>>,
        share: Arc<Share>,
        record: CallRecord,
        is_suspect: bool,
    ) -> Self {
        Self {
            guest,
            share,
            record,
            is_suspect,
            line: None,
        }
    }

    fn get_in_line(&mut self, waker: &Waker) {
        let waiter = Arc::new(Waiter {
            is_granted: AtomicBool::new(false),
            waker: Mutex::new(waker.clone()),
        });
        let mut queue = self.share.guest_threads.queue();
        queue.wait(self.share.id, waiter.clone(), self.is_suspect);
        let ran = queue.ran(self.share.id);
        drop(queue);

        self.share.guest_threads.hand_out(Some(&waiter));
        self.line = Some(QueuedCall {
            waiter,
            since: Instant::now(),
            ran,
        });
    }

    /// Runs the guest until it yields.
    fn run(&mut self, context: &mut Context<'_>) -> Poll<F::Output> {
        let _held = HeldThread::begin(&self.share, self.is_suspect, &self.record);
        self.guest.as_mut().poll(context)
    }
}

impl<F> Scheduled<F> {
    /// The wait is over. What the provider's other calls used of it was the provider's own.
    fn leave_line(&mut self, line: &QueuedCall) {
        let own = self.share.ran().saturating_sub(line.ran) / self.share.guest_threads.threads;
        let by_others = line.since.elapsed().saturating_sub(own);
        self.record.held_up(by_others);
    }
}

impl<F: Future> Future for Scheduled<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.get_mut();
        let line = match this.line.take() {
            Some(line) => line,
            None => {
                this.get_in_line(context.waker());
                match this.line.take() {
                    Some(line) => line,
                    None => return Poll::Pending,
                }
            }
        };

        // The waker first: the thread that grants the call sets the flag before it wakes.
        context.waker().clone_into(
            &mut line
                .waiter
                .waker
                .lock()
                .unwrap_or_else(PoisonError::into_inner),
        );
        if !line.waiter.is_granted.load(Ordering::Acquire) {
            this.line = Some(line);
            return Poll::Pending;
        }

        this.leave_line(&line);
        this.run(context)
    }
}

impl<F> Drop for Scheduled<F> {
    fn drop(&mut self) {
        let Some(line) = self.line.take() else { return };
        self.leave_line(&line);
        let guest_threads = self.share.guest_threads.clone();
        let mut queue = guest_threads.queue();
        if !queue.leave(self.share.id, &line.waiter) {
            // It had been granted a thread that it will not use.
            queue.give_back(self.share.id, Duration::ZERO, self.is_suspect);
        }
        drop(queue);
        guest_threads.hand_out(None);
    }
}

/// A thread that a call holds, given back even if the guest's future panics.
struct HeldThread<'a> {
    share: &'a Share,
    is_suspect: bool,
    record: &'a CallRecord,
    began: Instant,
    cpu: ThreadTime,
}

impl<'a> HeldThread<'a> {
    fn begin(share: &'a Share, is_suspect: bool, record: &'a CallRecord) -> Self {
        Self {
            share,
            is_suspect,
            record,
            began: Instant::now(),
            cpu: ThreadTime::now(),
        }
    }
}

impl Drop for HeldThread<'_> {
    fn drop(&mut self) {
        let ran = self.began.elapsed();
        let cpu = self.cpu.elapsed();
        // The machine ran something else meanwhile.
        self.record.held_up(ran.saturating_sub(cpu));
        self.record.ran(cpu);
        self.share
            .guest_threads
            .queue()
            .give_back(self.share.id, cpu.min(ran), self.is_suspect);
        self.share.guest_threads.hand_out(None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;
    use std::hint::black_box;
    use std::sync::atomic::AtomicU32;
    use tokio::runtime::Builder;

    const TICK: Duration = Duration::from_millis(1);

    /// Runs one thread for `ticks`, and returns how much each provider had. Each has as many
    /// endless calls as `calls` says.
    fn shares_of(calls: &[usize], ticks: u32) -> Vec<u32> {
        let mut queue = RunQueue::new(1);
        let ids: Vec<_> = calls.iter().map(|_| queue.add_share()).collect();
        for (id, calls) in ids.iter().zip(calls) {
            (0..*calls).for_each(|_| queue.wait(*id, *id, false));
        }

        let mut had = vec![0; calls.len()];
        for _ in 0..ticks {
            let id = queue.grant().unwrap();
            had[usize::try_from(id).unwrap()] += 1;
            queue.give_back(id, TICK, false);
            queue.wait(id, id, false);
        }
        had
    }

    #[test]
    fn providers_share_alike_however_many_calls_they_have() {
        assert_eq!(shares_of(&[1, 16, 5], 300), [100, 100, 100]);
    }

    #[test]
    fn provider_that_was_idle_has_a_head_start_and_no_more() {
        let mut queue = RunQueue::new(1);
        let busy = [queue.add_share(), queue.add_share()];
        let idle = queue.add_share();
        busy.iter().for_each(|id| queue.wait(*id, *id, false));

        let turn = |queue: &mut RunQueue<u64>| {
            let id = queue.grant().unwrap();
            queue.give_back(id, TICK, false);
            queue.wait(id, id, false);
            id
        };

        for _ in 0..10_000 {
            turn(&mut queue);
        }
        queue.wait(idle, idle, false);
        let first: Vec<_> = (0..50).map(|_| turn(&mut queue)).collect();
        assert!(first.iter().all(|id| *id == idle), "{first:?}");

        let then: Vec<_> = (0..300).map(|_| turn(&mut queue)).collect();
        let own = then.iter().filter(|id| **id == idle).count();
        assert!((95..=105).contains(&own), "{own}");
    }

    #[test]
    fn provider_that_had_little_as_a_suspect_does_not_make_up_for_it() {
        let mut queue = RunQueue::new(2);
        let (suspect, busy) = (queue.add_share(), queue.add_share());
        for _ in 0..4 {
            queue.wait(suspect, suspect, true);
            queue.wait(busy, busy, false);
        }

        // The busy one has one thread to itself, and holds it ten times as long.
        for _ in 0..10_000 {
            for _ in 0..2 {
                let Some(id) = queue.grant() else { continue };
                queue.give_back(id, if id == busy { TICK * 10 } else { TICK }, id == suspect);
                queue.wait(id, id, id == suspect);
            }
        }

        let lag = queue.shares[&busy]
            .used
            .saturating_sub(queue.shares[&suspect].used);
        assert!(lag <= CREDIT + TICK * 10, "{lag:?}");
    }

    #[test]
    fn suspects_hold_one_thread_together() {
        let mut queue = RunQueue::new(4);
        let (a, b, good) = (queue.add_share(), queue.add_share(), queue.add_share());
        queue.wait(a, "a", true);
        queue.wait(b, "b", true);
        queue.wait(good, "good", false);
        let granted: Vec<_> = std::iter::from_fn(|| queue.grant()).collect();
        assert_eq!(granted, ["a", "good"]);
        queue.give_back(a, TICK, true);
        assert_eq!(queue.grant(), Some("b"));
    }

    #[test]
    fn call_that_leaves_the_line_is_not_granted_a_thread() {
        let mut queue = RunQueue::new(1);
        let share = queue.add_share();
        queue.wait(share, "gone", false);
        queue.wait(share, "here", false);
        assert!(queue.leave(share, &"gone"));
        assert_eq!(queue.grant(), Some("here"));
        assert!(!queue.leave(share, &"here"), "it has a thread");
    }

    /// Acts as a guest that loops: burns time and yields, again and again.
    fn burning(times: u32) -> Pin<Box<impl Future<Output = ()>>> {
        let mut left = times;
        Box::pin(poll_fn(move |context| {
            let began = Instant::now();
            while began.elapsed() < TICK {
                black_box(0);
            }
            context.waker().wake_by_ref();
            left -= 1;
            if left == 0 {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        }))
    }

    #[test]
    fn short_call_passes_a_crowd_and_the_crowd_says_who_held_it_up() {
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let guest_threads = GuestThreads::new(1);
        let (crowd, good) = (Share::new(&guest_threads), Share::new(&guest_threads));

        let burn = || {
            runtime.spawn(Scheduled::new(
                burning(5_000),
                crowd.clone(),
                CallRecord::default(),
                false,
            ))
        };
        let burning_calls: Vec<_> = (0..16).map(|_| burn()).collect();

        let record = CallRecord::default();
        runtime.block_on(async {
            let call = tokio::spawn(Scheduled::new(
                burning(10),
                good.clone(),
                record.clone(),
                false,
            ));
            tokio::time::timeout(Duration::from_secs(20), call)
                .await
                .expect("it gets a thread")
                .unwrap();
        });

        assert!(good.ran() >= TICK * 5, "{:?}", good.ran());
        burning_calls
            .iter()
            .for_each(tokio::task::JoinHandle::abort);
        runtime.shutdown_background();
    }

    #[tokio::test]
    async fn call_that_waits_is_polled_once_until_it_is_woken() {
        let guest_threads = GuestThreads::new(2);
        let share = Share::new(&guest_threads);
        let polls = Arc::new(AtomicU32::new(0));
        let counted = polls.clone();
        let waits = Box::pin(poll_fn(move |_| {
            counted.fetch_add(1, Ordering::Relaxed);
            Poll::<()>::Pending
        }));

        let call = Scheduled::new(waits, share.clone(), CallRecord::default(), false);
        let waited = tokio::time::timeout(TICK * 50, call).await;
        assert!(waited.is_err());
        // The timeout polls it once more.
        assert!(polls.load(Ordering::Relaxed) <= 2, "{polls:?}");
        assert_eq!(guest_threads.queue().free, 2);
    }

    #[tokio::test]
    async fn dropped_calls_give_their_threads_back() {
        let guest_threads = GuestThreads::new(1);
        let (share, other) = (Share::new(&guest_threads), Share::new(&guest_threads));
        let call = || {
            Box::pin(Scheduled::new(
                burning(3),
                share.clone(),
                CallRecord::default(),
                false,
            ))
        };
        let take_the_thread = || {
            let waiter = Arc::new(Waiter {
                is_granted: AtomicBool::new(false),
                waker: Mutex::new(Waker::noop().clone()),
            });
            guest_threads.queue().wait(other.id, waiter, false);
            assert!(guest_threads.queue().grant().is_some());
        };

        for _ in 0..3 {
            take_the_thread();
            let (mut leaves, mut is_granted) = (call(), call());
            assert!(futures_util::poll!(&mut leaves).is_pending());
            assert!(futures_util::poll!(&mut is_granted).is_pending());
            drop(leaves);
            guest_threads.queue().give_back(other.id, TICK, false);
            guest_threads.hand_out(None);
            assert_eq!(guest_threads.queue().free, 0, "it is the other's turn");
            drop(is_granted);
            assert_eq!(guest_threads.queue().free, 1);
        }

        tokio::time::timeout(Duration::from_secs(20), call())
            .await
            .expect("a thread is free");
    }
}
