//! When something last passed between a client and an application.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// The last moment of activity, and who has to act next. Clones share it.
#[derive(Clone)]
pub(super) struct Activity(Arc<Mutex<Moment>>);

struct Moment {
    at: Instant,
    waits_for_client: bool,
}

impl Activity {
    pub(super) fn begin() -> Self {
        Self(Arc::new(Mutex::new(Moment {
            at: Instant::now(),
            waits_for_client: false,
        })))
    }

    fn moment(&self) -> MutexGuard<'_, Moment> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that something has passed.
    pub(super) fn note(&self) {
        *self.moment() = Moment {
            at: Instant::now(),
            waits_for_client: false,
        };
    }

    /// Notes that the application has taken all that the client has sent so far of a body.
    pub(super) fn wait_for_client(&self) {
        self.moment().waits_for_client = true;
    }

    /// Returns whether the client has to send more before anything can pass.
    pub(super) fn waits_for_client(&self) -> bool {
        self.moment().waits_for_client
    }

    /// Waits until nothing has passed for this long.
    pub(super) async fn idle_for(&self, limit: Duration) {
        loop {
            let end = self.moment().at + limit;
            if end <= Instant::now() {
                return;
            }
            tokio::time::sleep_until(end).await;
        }
    }
}
