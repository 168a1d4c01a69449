//! A runtime for guests alone, at a lower priority: the routes of the host never wait behind a guest.

use std::io;
use tokio::runtime::{Builder, Handle, Runtime};

/// How much lower (nice value) the guests' threads stand than those that serve requests.
const NICE: i32 = 10;

/// Ends with the process, without waiting for a guest.
pub(super) struct GuestRuntime(Option<Runtime>);

impl GuestRuntime {
    pub(super) fn start() -> io::Result<Self> {
        let threads = std::thread::available_parallelism().map_or(2, Into::into);
        Builder::new_multi_thread()
            .thread_name("guest")
            .worker_threads(threads)
            // A looping guest gives way every millisecond. Looking at new calls and timers only every 61st
            // time, as is the default, would let sixty of them pass before a good provider's call.
            .global_queue_interval(1)
            .event_interval(1)
            .enable_all()
            .on_thread_start(lower_priority)
            .build()
            .map(|runtime| Self(Some(runtime)))
    }

    pub(super) fn handle(&self) -> Handle {
        self.0.as_ref().expect("the runtime is there until it is dropped").handle().clone()
    }
}

impl Drop for GuestRuntime {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// On Linux a priority belongs to a thread. Where lowering it is not allowed, guests merely share alike.
fn lower_priority() {
    let _ = rustix::process::setpriority_process(Some(rustix::thread::gettid()), NICE);
}
