//! The memory of all guests together. Each call holds as much of it as its linear memories and its
//! tables have, so that no number of calls and providers takes more of the machine than the operator
//! allows.
//!
//! Half of it is divided among the providers, so that each can make calls when the others hold all
//! they can. The other half goes to the provider that asks first. One call may have both: its
//! provider's part and the common half.

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
    common_pages: usize,
    pages_per_provider: usize,
    limit_mib: usize,
}

/// What the calls of one provider may take.
pub(crate) struct ProviderMemory {
    own: Arc<Semaphore>,
    own_pages: usize,
    common: Arc<Semaphore>,
    common_pages: usize,
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
        let common_pages = pages_of(bytes) - half;
        Self {
            common: Arc::new(Semaphore::new(common_pages)),
            common_pages,
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
            common_pages: self.common_pages,
            limit_mib: self.limit_mib,
        }
    }

    /// Returns the most that one call may have when there is no other, in bytes.
    pub(crate) fn reach_bytes(&self) -> usize {
        (self.common_pages + self.pages_per_provider).saturating_mul(PAGE_BYTES)
    }

    /// Returns what all calls may take, in MiB.
    pub(crate) fn limit_mib(&self) -> usize {
        self.limit_mib
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

        let pages = pages_of(bytes);
        let Some(least_own) = self.least_own_pages(pages) else {
            return Err(share.saturated());
        };
        // Waits for the provider's own calls to end, if they can free enough. Else the common part
        // is needed as well: of the provider's own, this takes what is free.
        let of_own = if pages <= self.own_pages {
            pages
        } else {
            self.own
                .available_permits()
                .clamp(least_own, self.own_pages)
        };
        let wanted = [of_own, pages - of_own];
        match tokio::time::timeout(wait, share.wait_for(wanted)).await {
            Ok(Some(())) => Ok(share),
            _ => Err(share.saturated()),
        }
    }

    /// Pages of the provider's own that a call of this size needs, since the common part has no
    /// more than the rest. `None`: both together are too small for it.
    fn least_own_pages(&self, pages: usize) -> Option<usize> {
        let least = pages.saturating_sub(self.common_pages);
        (least <= self.own_pages).then_some(least)
    }
}

impl MemoryShare {
    /// Makes the share as large as this, if it is not: of one part if that has enough, else of both.
    ///
    /// # Errors
    /// Other calls hold the rest.
    pub(crate) fn grow_to(&mut self, bytes: usize) -> Result<(), ProviderFault> {
        let more = pages_of(bytes).saturating_sub(self.pages());
        if more == 0 {
            return Ok(());
        }

        for part in 0..2 {
            if let Some(taken) = self.try_take(part, more) {
                self.hold(part, taken);
                return Ok(());
            }
        }

        // Tried again only if another call took some in between.
        loop {
            let [own, common] = [0, 1].map(|part| self.from[part].available_permits());
            let of_own = own.min(more);
            let of_common = more - of_own;
            if common < of_common {
                return Err(self.saturated());
            }
            if let Some(own) = self.try_take(0, of_own)
                && let Some(common) = self.try_take(1, of_common)
            {
                self.hold(0, own);
                self.hold(1, common);
                return Ok(());
            }
        }
    }

    fn try_take(&self, part: usize, pages: usize) -> Option<OwnedSemaphorePermit> {
        let from = self.from[part].clone();
        from.try_acquire_many_owned(permits(pages)).ok()
    }

    /// Takes as many pages of each part, in turn, and waits for them. `None` never happens: the
    /// semaphores are not closed.
    async fn wait_for(&mut self, wanted: [usize; 2]) -> Option<()> {
        for (part, pages) in wanted.into_iter().enumerate() {
            let from = self.from[part].clone();
            let taken = from.acquire_many_owned(permits(pages)).await.ok()?;
            self.hold(part, taken);
        }
        Some(())
    }

    fn hold(&mut self, part: usize, taken: OwnedSemaphorePermit) {
        match &mut self.held[part] {
            Some(held) => held.merge(taken),
            none => *none = Some(taken),
        }
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
    async fn call_may_have_its_providers_part_and_the_common_one() {
        let all = GuestMemory::new(Some(64 * MIB), 1);
        assert_eq!(all.reach_bytes(), 64 * MIB);
        let memory = all.of_a_provider();
        let whole = memory.reserve(64 * MIB, SHORT).await.unwrap();
        assert!(memory.reserve(MIB, SHORT).await.is_err());
        drop(whole);

        let mut share = memory.reserve(MIB, SHORT).await.unwrap();
        assert!(share.grow_to(41 * MIB).is_ok(), "40 MiB at once");
        assert!(share.grow_to(64 * MIB).is_ok());
        assert!(share.grow_to(65 * MIB).is_err());
        drop(share);
        assert!(
            memory.reserve(65 * MIB, SHORT).await.is_err(),
            "it never fits"
        );

        // A failed attempt gives back what it took of one part.
        let held = memory.reserve(40 * MIB, SHORT).await.unwrap();
        let mut other = memory.reserve(MIB, SHORT).await.unwrap();
        assert!(other.grow_to(30 * MIB).is_err());
        assert!(memory.reserve(30 * MIB, SHORT).await.is_err());
        assert!(other.grow_to(24 * MIB).is_ok());
        drop((held, other));
        assert_eq!(memory.own.available_permits(), 32 * MIB / PAGE_BYTES);
        assert_eq!(memory.common.available_permits(), 32 * MIB / PAGE_BYTES);
    }

    #[tokio::test]
    async fn call_that_needs_both_parts_waits_for_them() {
        let memory = GuestMemory::new(Some(64 * MIB), 1).of_a_provider();
        let first = memory.reserve(40 * MIB, SHORT).await.unwrap();
        let waits = memory.reserve(50 * MIB, Duration::from_secs(20));
        let release = async { drop(first) };
        let waited = tokio::join!(waits, release).0;
        assert_eq!(waited.map(|share| share.pages()), Ok(50 * MIB / PAGE_BYTES));
    }

    #[test]
    fn several_providers_reach_less_than_all() {
        let memory = GuestMemory::new(Some(64 * MIB), 4);
        assert_eq!((memory.reach_bytes(), memory.limit_mib()), (40 * MIB, 64));
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
