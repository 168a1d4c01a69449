//! The calls of one provider that may be in flight at a time.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::AbortHandle;

/// Slots of one kind of call.
pub(crate) struct CallSlots {
    free: Arc<Semaphore>,
    limit: usize,
    /// Calls that continue although their callers have disconnected: their outcome still shows how
    /// the provider is. One ends early when a caller that is still there needs its slot.
    given_up: Mutex<Vec<AbortHandle>>,
}

impl CallSlots {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            free: Arc::new(Semaphore::new(limit)),
            limit,
            given_up: Mutex::default(),
        }
    }

    /// Returns the number of slots, free and taken.
    pub(crate) fn limit(&self) -> usize {
        self.limit
    }

    /// Takes a slot, and waits for at most `wait`. Returns `None` if all are taken by calls whose
    /// callers wait.
    pub(crate) async fn take(&self, wait: Duration) -> Option<OwnedSemaphorePermit> {
        if let Ok(slot) = self.free.clone().try_acquire_owned() {
            return Some(slot);
        }
        self.end_one();
        tokio::time::timeout(wait, self.free.clone().acquire_owned())
            .await
            .ok()?
            .ok()
    }

    /// Keeps a call whose caller has disconnected, so that it can be ended when another caller
    /// needs its slot.
    pub(crate) fn give_up(&self, call: AbortHandle) {
        let mut given_up = self.given_up.lock().unwrap_or_else(PoisonError::into_inner);
        given_up.retain(|call| !call.is_finished());
        given_up.push(call);
    }

    /// Ends the call that was given up last, since it would take the longest.
    fn end_one(&self) {
        let mut given_up = self.given_up.lock().unwrap_or_else(PoisonError::into_inner);
        given_up.retain(|call| !call.is_finished());
        if let Some(call) = given_up.pop() {
            call.abort();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::pending;

    const SHORT: Duration = Duration::from_millis(20);
    const LONG: Duration = Duration::from_secs(20);

    #[tokio::test]
    async fn caller_that_is_there_gets_the_slot_of_one_that_is_gone() {
        let slots = CallSlots::new(2);
        let held = slots.take(SHORT).await.unwrap();
        let slot = slots.take(SHORT).await.unwrap();
        let call = tokio::spawn(async move {
            let _held = slot;
            pending::<()>().await;
        });

        assert!(slots.take(SHORT).await.is_none(), "its caller waits");
        slots.give_up(call.abort_handle());
        assert!(!call.is_finished(), "it goes on while there is room");

        let taken = slots.take(LONG).await.unwrap();
        assert!(call.await.unwrap_err().is_cancelled());
        drop((held, taken));
    }

    #[tokio::test]
    async fn calls_that_are_over_are_forgotten() {
        let slots = CallSlots::new(1);
        for _ in 0..100 {
            let call = tokio::spawn(async {});
            let handle = call.abort_handle();
            call.await.unwrap();
            slots.give_up(handle);
        }
        assert!(slots.given_up.lock().unwrap().len() <= 1);
    }
}
