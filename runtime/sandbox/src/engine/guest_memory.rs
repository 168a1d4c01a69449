//! The memory of all guests together. Each call holds as much of it as its linear memories have, so
//! that no number of calls and providers takes more of the machine than the operator allows.
//!
//! Half of it is divided among the providers, so that each can make calls when the others hold all
//! they can. The other half goes to the provider that asks first.

use crate::engine::limits::MAX_FAST_MEMORY_BYTES;
use crate::engine::machine;
use portcullis_auth::ProviderFault;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// WebAssembly's page, which is what is counted.
const PAGE_BYTES: usize = 64 * 1024;
const MIB: usize = 1024 * 1024;
/// The smallest default: one call of a provider with the default memory limit.
const LEAST_DEFAULT: usize = 64 * MIB;

/// What all calls may take.
pub(crate) struct GuestMemory {
    common: Arc<Semaphore>,
    pages_per_provider: usize,
    limit_mib: usize,
}

/// What the calls of one provider may take.
pub(crate) struct ProviderMemory {
    own: Arc<Semaphore>,
    own_pages: usize,
    common: Arc<Semaphore>,
    limit_mib: usize,
}

/// What one call holds.
pub(crate) struct MemoryShare {
    /// The provider's own part, and the common one.
    from: [Arc<Semaphore>; 2],
    /// What is held of each.
    held: [Option<OwnedSemaphorePermit>; 2],
    limit_mib: usize,
}

impl GuestMemory {
    /// `None`: a quarter of what the machine or the container has.
    pub(crate) fn new(limit_bytes: Option<usize>, providers: usize) -> Self {
        let bytes = limit_bytes.unwrap_or_else(default_bytes);
        let half = pages_of(bytes) / 2;
        Self {
            common: Arc::new(Semaphore::new(pages_of(bytes) - half)),
            pages_per_provider: half / providers.max(1),
            limit_mib: bytes / MIB,
        }
    }

    /// One provider's part, and what it may take beyond that.
    pub(crate) fn of_a_provider(&self) -> ProviderMemory {
        ProviderMemory {
            own: Arc::new(Semaphore::new(self.pages_per_provider)),
            own_pages: self.pages_per_provider,
            common: self.common.clone(),
            limit_mib: self.limit_mib,
        }
    }
}

impl ProviderMemory {
    /// Takes the memory that a call begins with. Waits a bounded time for other calls to end.
    ///
    /// # Errors
    /// Other calls did not free enough memory within `wait`.
    pub(crate) async fn reserve(
        &self,
        bytes: usize,
        wait: Duration,
    ) -> Result<MemoryShare, ProviderFault> {
        let from = [self.own.clone(), self.common.clone()];
        let mut share = MemoryShare {
            from,
            held: [None, None],
            limit_mib: self.limit_mib,
        };
        if share.grow_to(bytes).is_ok() {
            return Ok(share);
        }

        // Waits for the provider's own calls to end, if they can free enough.
        let part = usize::from(pages_of(bytes) > self.own_pages);
        let pages = permits(pages_of(bytes));
        match tokio::time::timeout(wait, share.from[part].clone().acquire_many_owned(pages)).await {
            Ok(Ok(held)) => {
                share.held[part] = Some(held);
                Ok(share)
            }
            _ => Err(share.saturated()),
        }
    }
}

impl MemoryShare {
    /// Makes the share as large as this, if it is not.
    ///
    /// # Errors
    /// Other calls hold the rest.
    pub(crate) fn grow_to(&mut self, bytes: usize) -> Result<(), ProviderFault> {
        let more = pages_of(bytes).saturating_sub(self.pages());
        if more == 0 {
            return Ok(());
        }

        for part in 0..2 {
            let Ok(taken) = self.from[part]
                .clone()
                .try_acquire_many_owned(permits(more))
            else {
                continue;
            };
            match &mut self.held[part] {
                Some(held) => held.merge(taken),
                none => *none = Some(taken),
            }
            return Ok(());
        }
        Err(self.saturated())
    }

    /// Returns whether it is more than a call may have on a thread that serves requests.
    pub(crate) fn is_large(&self) -> bool {
        self.pages() > MAX_FAST_MEMORY_BYTES / PAGE_BYTES
    }

    fn pages(&self) -> usize {
        self.held
            .iter()
            .flatten()
            .map(OwnedSemaphorePermit::num_permits)
            .sum()
    }

    fn saturated(&self) -> ProviderFault {
        ProviderFault::Saturated {
            limit: self.limit_mib,
            unit: "MiB of memory for all calls together",
        }
    }
}

fn pages_of(bytes: usize) -> usize {
    bytes.div_ceil(PAGE_BYTES).min(Semaphore::MAX_PERMITS)
}

fn permits(pages: usize) -> u32 {
    u32::try_from(pages).unwrap_or(u32::MAX)
}

fn default_bytes() -> usize {
    usize::try_from(machine::memory_bytes() / 4)
        .unwrap_or(usize::MAX)
        .max(LEAST_DEFAULT)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHORT: Duration = Duration::from_millis(20);

    #[tokio::test]
    async fn calls_share_what_there_is_and_give_it_back() {
        let memory = GuestMemory::new(Some(16 * MIB), 1).of_a_provider();
        let mut first = memory.reserve(4 * MIB, SHORT).await.unwrap();
        let second = memory.reserve(8 * MIB, SHORT).await.unwrap();
        assert!(memory.reserve(5 * MIB, SHORT).await.is_err());
        assert!(first.grow_to(8 * MIB).is_ok());
        assert!(first.grow_to(5 * MIB).is_ok(), "it has that");
        assert!(matches!(
            first.grow_to(9 * MIB),
            Err(ProviderFault::Saturated { limit: 16, .. })
        ));

        drop(first);
        let third = memory.reserve(8 * MIB, SHORT).await.unwrap();
        let waits = memory.reserve(8 * MIB, Duration::from_secs(20));
        let release = async { drop(third) };
        assert!(tokio::join!(waits, release).0.is_ok());
        drop(second);
        assert_eq!(
            memory.own.available_permits() + memory.common.available_permits(),
            16 * MIB / PAGE_BYTES
        );
    }

    #[tokio::test]
    async fn provider_that_takes_all_it_can_leaves_the_others_their_part() {
        let memory = GuestMemory::new(Some(64 * MIB), 2);
        let (greedy, good) = (memory.of_a_provider(), memory.of_a_provider());
        let mut held = Vec::new();
        while let Ok(share) = greedy.reserve(MIB, Duration::ZERO).await {
            held.push(share);
        }
        assert_eq!(held.len(), 48, "its own 16 MiB, and the 32 that are common");
        let mut calls = Vec::new();
        for _ in 0..16 {
            calls.push(good.reserve(MIB, SHORT).await.unwrap());
        }
        assert!(good.reserve(MIB, SHORT).await.is_err());
    }
}
