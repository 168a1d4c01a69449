//! A check at every call of the host by a guest: a guest that has run for a tick yields.
//!
//! wasmtime's own checks are at function entries and loops only. Code that calls the host in a
//! straight line never reaches one, and neither does the host's work in between (a memory that is
//! filled, a table that is copied). With this, what runs between two checks is at most one host
//! function or one function body of the guest, and the survey bounds the latter.

use crate::engine::ticker::Ticks;
use crate::host::HostState;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use wasmtime::{CallHook, CallHookHandler, StoreContextMut};

/// The checks of one store.
pub(crate) struct Checkpoint {
    ticks: Ticks,
    /// The tick at which the guest next yields.
    due: AtomicU64,
}

impl Checkpoint {
    /// The first check is due between one tick from now and two.
    pub(crate) fn new(ticks: Ticks) -> Self {
        let due = AtomicU64::new(ticks.now() + 2);
        Self { ticks, due }
    }

    fn is_due(&self, state: &mut HostState) -> bool {
        self.ticks.now() >= self.due.load(Ordering::Relaxed)
            || state.limits.has_outgrown_the_fast_path()
    }

    /// The guest runs again: its next tick begins now.
    fn resume(&self) {
        self.due.store(self.ticks.now() + 1, Ordering::Relaxed);
    }
}

type CheckFuture<'a> = Pin<Box<dyn Future<Output = wasmtime::Result<()>> + Send + 'a>>;

// Written without `async_trait`, so that a check that is not due allocates nothing: there are a
// dozen in a short call.
impl CallHookHandler<HostState> for Checkpoint {
    fn handle_call_event<'life0, 'life1, 'async_trait>(
        &'life0 self,
        mut store: StoreContextMut<'life1, HostState>,
        event: CallHook,
    ) -> CheckFuture<'async_trait>
    where
        'life0: 'async_trait,
        'life1: 'async_trait,
        Self: 'async_trait,
    {
        if is_of_a_guest(event) && self.is_due(store.data_mut()) {
            Box::pin(GiveWay(self, false))
        } else {
            Box::pin(GoOn)
        }
    }
}

/// Returns whether a guest calls the host, or returns from it. (The host calls the guest once or
/// twice per call.)
fn is_of_a_guest(event: CallHook) -> bool {
    matches!(event, CallHook::CallingHost | CallHook::ReturningFromHost)
}

struct GoOn;

impl Future for GoOn {
    type Output = wasmtime::Result<()>;

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
        Poll::Ready(Ok(()))
    }
}

/// A future that is pending once, so that the guest yields.
struct GiveWay<'a>(&'a Checkpoint, bool);

impl Future for GiveWay<'_> {
    type Output = wasmtime::Result<()>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if self.1 {
            self.0.resume();
            return Poll::Ready(Ok(()));
        }
        self.1 = true;
        context.waker().wake_by_ref();
        Poll::Pending
    }
}
