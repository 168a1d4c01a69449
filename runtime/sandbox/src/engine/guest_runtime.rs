//! Threads for guests that take their time, at a lower priority than those that serve requests.
//! Providers share them fairly ([`scheduler`](crate::engine::scheduler)). A call that is quick is
//! over before it gets here (`call::pace`).

use crate::engine::scheduler::GuestThreads;
use portcullis_net::runtime;
use std::io;
use std::sync::Arc;
use tokio::runtime::{Builder, Handle, Runtime};

/// How much lower (nice value) the guests' threads stand than those that serve requests.
const NICE: i32 = 10;

/// Ends with the process, without waiting for a guest.
pub(crate) struct GuestRuntime {
    runtime: Option<Runtime>,
    threads: Arc<GuestThreads>,
}

impl GuestRuntime {
    /// Starts one thread per core.
    ///
    /// # Errors
    /// A thread cannot be started.
    pub(crate) fn start(name: &'static str) -> io::Result<Self> {
        Self::with_threads(name, cores())
    }

    fn with_threads(name: &'static str, threads: usize) -> io::Result<Self> {
        let mut builder = Builder::new_multi_thread();
        builder
            .thread_name(name)
            // A looping guest yields every millisecond. Looking at new calls and timers only every
            // 61st time, as is the default, would let sixty of them pass before a good provider's
            // call. Looking at new calls every time would let those starve that have given way: a
            // heavy provider's, at its second millisecond.
            .global_queue_interval(2)
            .event_interval(1)
            .on_thread_start(lower_priority);
        let runtime = runtime::start(&mut builder, threads, 0)?;
        Ok(Self {
            runtime: Some(runtime),
            threads: GuestThreads::new(threads),
        })
    }

    /// Returns the queue that decides which call runs next on these threads.
    pub(crate) fn threads(&self) -> &Arc<GuestThreads> {
        &self.threads
    }

    pub(crate) fn handle(&self) -> &Handle {
        self.runtime
            .as_ref()
            .expect("the runtime is there until it is dropped")
            .handle()
    }
}

impl Drop for GuestRuntime {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Threads that can run at once.
pub(crate) fn cores() -> usize {
    std::thread::available_parallelism().map_or(2, Into::into)
}

/// On Linux a priority belongs to a thread. Where lowering it is not allowed, guests merely share
/// alike.
fn lower_priority() {
    let _ = rustix::process::setpriority_process(Some(rustix::thread::gettid()), NICE);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;
    use std::hint::black_box;
    use std::sync::mpsc;
    use std::task::Poll;

    /// Works as a guest does between two ticks.
    fn work() {
        for step in 0..200_000 {
            black_box(step);
        }
    }

    #[test]
    fn call_that_has_given_way_is_not_passed_by_newcomers_for_ever() {
        let guests = GuestRuntime::with_threads("guest", 1).unwrap();
        let (over, next) = mpsc::channel();
        let newcomer = || {
            let over = over.clone();
            drop(guests.handle().spawn(async move {
                work();
                let _ = over.send(());
            }));
        };

        (0..300).for_each(|_| newcomer());

        let mut ticks = 10;
        let heavy = guests.handle().spawn(poll_fn(move |context| {
            work();
            // Yields as wasmtime does.
            context.waker().wake_by_ref();
            ticks -= 1;
            if ticks > 0 {
                Poll::Pending
            } else {
                Poll::Ready(())
            }
        }));

        for _ in 0..10_000 {
            if heavy.is_finished() {
                return;
            }
            next.recv().unwrap();
            newcomer();
        }
        panic!("it is never its turn");
    }
}
