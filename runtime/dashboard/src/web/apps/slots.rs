//! Places for the requests and sockets of an application.
//!
//! **Invariant:** one caller never holds all of them: over HTTP/2 a few connections carry thousands
//! of requests.

use super::super::context::Context;
use portcullis_auth::{Permit, host_of};
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Most requests and sockets of one application in flight.
pub(super) const MAX_IN_FLIGHT: usize = 512;
/// Most of one caller.
pub(super) const MAX_PER_CALLER: usize = MAX_IN_FLIGHT / 4;

/// The callers whose requests are counted together.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Holder {
    /// A stranger's host. All whose address is not known count as one.
    Host(IpAddr),
    /// A person or a service.
    Caller {
        provider: Option<String>,
        name: String,
    },
}

impl Holder {
    /// The holder of a request. `None`: it came from this machine, and is not counted.
    pub(super) fn of(context: &Context, permit: Option<&Permit>) -> Option<Self> {
        if context.client.is_some_and(|address| address.is_loopback()) {
            return None;
        }
        Some(match permit {
            Some(permit) => Self::Caller {
                provider: permit.provider().map(ToString::to_string),
                name: permit.name().to_owned(),
            },
            None => Self::Host(host_of(context.client)),
        })
    }
}

type HeldSlots = HashMap<Arc<Holder>, usize>;

fn lock(counts: &Mutex<HeldSlots>) -> MutexGuard<'_, HeldSlots> {
    counts.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The places of an application.
pub(super) struct Slots {
    free: Arc<Semaphore>,
    held: Arc<Mutex<HeldSlots>>,
}

impl Slots {
    pub(super) fn new() -> Self {
        Self {
            free: Arc::new(Semaphore::new(MAX_IN_FLIGHT)),
            held: Arc::default(),
        }
    }

    /// Takes a place. `None`: all are taken, or the holder has as many as one may have.
    pub(super) fn take(&self, holder: Option<Holder>) -> Option<Slot> {
        let permit = self.free.clone().try_acquire_owned().ok()?;
        let holder = holder.map(Arc::new);
        if let Some(holder) = &holder {
            let mut held = lock(&self.held);
            let count = held.entry(holder.clone()).or_default();
            if *count >= MAX_PER_CALLER {
                return None;
            }
            *count += 1;
        }

        Some(Slot {
            holder,
            held: self.held.clone(),
            _permit: permit,
        })
    }
}

/// A place, until it is dropped.
pub(super) struct Slot {
    holder: Option<Arc<Holder>>,
    held: Arc<Mutex<HeldSlots>>,
    _permit: OwnedSemaphorePermit,
}

impl Drop for Slot {
    fn drop(&mut self) {
        let Some(holder) = &self.holder else { return };
        let mut held = lock(&self.held);
        if let Some(count) = held.get_mut(holder) {
            *count -= 1;
            if *count == 0 {
                held.remove(holder);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_caller_leaves_places_to_others() {
        let slots = Slots::new();
        let holder = |last: u8| Some(Holder::Host([192, 0, 2, last].into()));
        let mut of_one: Vec<_> = std::iter::from_fn(|| slots.take(holder(1))).collect();
        assert_eq!(of_one.len(), MAX_PER_CALLER);
        let of_another = slots.take(holder(2)).expect("there are others");
        of_one.pop();
        assert!(slots.take(holder(1)).is_some(), "a place was given back");
        drop((of_one, of_another));
        assert!(
            lock(&slots.held).is_empty(),
            "nothing is kept of a holder that is gone"
        );
    }

    #[test]
    fn callers_that_are_not_counted_share_all_places() {
        let slots = Slots::new();
        let all: Vec<_> = std::iter::from_fn(|| slots.take(None)).collect();
        assert_eq!(all.len(), MAX_IN_FLIGHT);
        assert!(
            slots
                .take(Some(Holder::Host([192, 0, 2, 1].into())))
                .is_none()
        );
    }
}
