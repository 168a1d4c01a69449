//! What one call may use, and what happens when a guest asks for more.

use crate::call::record::CallRecord;
use crate::engine::guest_memory::MemoryShare;
use portcullis_auth::ProviderFault;
use std::num::NonZeroU32;
use std::sync::atomic::Ordering;
use std::time::Duration;
use wasmtime::ResourceLimiter;

/// Largest component without its custom sections, in bytes, unless the operator sets another limit.
pub const DEFAULT_COMPONENT_BYTES: u64 = 32 * 1024 * 1024;
/// Core instances of one component, unless the operator sets another limit. CPython has 14 when its
/// modules are not linked, and one more for each extension module; StarlingMonkey and Go have 4,
/// Rust has 3.
pub const DEFAULT_CORE_INSTANCES: usize = 16;
/// Elements of one table, unless the operator sets another limit.
pub const DEFAULT_TABLE_ELEMENTS: usize = 20_000;
/// Bytes lifted out of a guest in one call. The memory limit does not bound them: the items of a
/// list may all point at one buffer. A session with all the groups and tokens that it may have
/// takes some 90,000.
pub const MAX_ANSWER_BYTES: usize = 128 * 1024;
/// Component handles, and entries of the resource table.
pub const MAX_HANDLES: usize = 1_000;
/// The same for a provider that may call out: a request that it makes and keeps is text in the
/// host's memory.
pub(crate) const MAX_HANDLES_WITH_HTTP: usize = 100;
/// Tables of one component.
pub const MAX_TABLES: usize = 16;
/// What wasmtime keeps of one element of a table: a pointer. Tables of other references do not
/// compile (`gc_support`).
pub(crate) const TABLE_ELEMENT_BYTES: usize = size_of::<usize>();
/// Random bytes at once: making them is host work that no epoch interrupts.
pub const MAX_RANDOM_BYTES: u64 = 64 * 1024;
/// Size of the guest's stack, in bytes.
pub const MAX_STACK_BYTES: usize = 512 * 1024;
/// Maximum concurrent calls per provider. A further call waits for a moment, and is then refused as
/// saturated.
pub const MAX_CALLS_IN_FLIGHT: usize = 16;
/// The same for calls that sign people in, which wait for people's passwords to be hashed and for
/// identity providers: strangers who begin many of them must not hold up who is signed in.
pub const MAX_SIGN_INS_IN_FLIGHT: usize = 8;
/// Wall clock of one call, unless the operator sets another limit. It is enough for any provider.
pub(crate) const DEFAULT_DEADLINE: Duration = Duration::from_millis(1_000);
/// Calls by which a provider is judged. The quarantine looks at the last ones, and after a fault
/// this many must succeed until the provider is no suspect.
pub(crate) const JUDGED_CALLS: u32 = 20;
/// Memories of one component. Their sizes are added up against [`Limits::memory_bytes`].
pub(crate) const MAX_MEMORIES: usize = 2;
/// Linear memory of a call that may still run on a thread that serves requests: filling it takes
/// about a millisecond.
pub(crate) const MAX_FAST_MEMORY_BYTES: usize = 8 * 1024 * 1024;

/// The limits that an operator sets for one provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Linear memory of one call, all memories together.
    pub memory_bytes: usize,
    /// Wall clock of one call: the guest, its host calls, and the wait to start.
    pub deadline: Duration,
    /// Calls per second, over all callers.
    pub calls_per_second: NonZeroU32,
    /// Largest component without its custom sections, in bytes.
    pub component_bytes: u64,
    /// Elements of one table.
    pub table_elements: usize,
    /// Core instances of the component.
    pub core_instances: usize,
}

/// More than two cores can do. An operator lowers it for a provider that takes long to refuse a
/// token.
const DEFAULT_CALLS_PER_SECOND: NonZeroU32 =
    NonZeroU32::new(100_000).expect("a constant that is not zero");

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory_bytes: 64 * 1024 * 1024,
            deadline: DEFAULT_DEADLINE,
            calls_per_second: DEFAULT_CALLS_PER_SECOND,
            component_bytes: DEFAULT_COMPONENT_BYTES,
            table_elements: DEFAULT_TABLE_ELEMENTS,
            core_instances: DEFAULT_CORE_INSTANCES,
        }
    }
}

/// Counts what one call uses. Asking for too much traps at once and is recorded, so that the host
/// can name the fault even if the guest hides it.
pub(crate) struct CallLimits {
    limits: Limits,
    share: MemoryShare,
    /// Shared with the caller that waits for the call and may cut it off.
    record: CallRecord,
    /// Bytes of all tables. They count towards the memory of all calls together, not towards
    /// [`Limits::memory_bytes`].
    table_bytes: usize,
    pub(crate) denied: Option<ProviderFault>,
    was_large: bool,
}

impl CallLimits {
    pub(crate) fn new(limits: Limits, share: MemoryShare, record: CallRecord) -> Self {
        let was_large = share.is_large();
        Self {
            limits,
            share,
            record,
            table_bytes: 0,
            denied: None,
            was_large,
        }
    }

    /// Returns whether the call has more memory than it may have on a thread that serves requests.
    /// True once: the call then yields and continues on the guests' threads.
    pub(crate) fn has_outgrown_the_fast_path(&mut self) -> bool {
        let has_outgrown = !self.was_large && self.share.is_large();
        self.was_large |= has_outgrown;
        has_outgrown
    }

    fn deny(&mut self, fault: ProviderFault) -> wasmtime::Result<bool> {
        let refusal = wasmtime::format_err!("{fault}");
        self.denied = Some(fault);
        Err(refusal)
    }
}

impl ResourceLimiter for CallLimits {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        // Beyond what the memory itself declares: an ordinary "no", and nothing that was used.
        if maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(false);
        }

        let used = self.record.memory().load(Ordering::Relaxed);
        let wanted = used.saturating_add(desired.saturating_sub(current));
        let limit = self.limits.memory_bytes;
        if wanted > limit {
            return self.deny(ProviderFault::OutOfMemory {
                wanted,
                limit,
                unit: "bytes of memory",
            });
        }
        let with_tables = wanted.saturating_add(self.table_bytes);
        if let Err(fault) = self.share.grow_to(with_tables) {
            return self.deny(fault);
        }

        self.record.memory().store(wanted, Ordering::Relaxed);
        Ok(true)
    }

    fn table_growing(
        &mut self,
        current: usize,
        wanted: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let limit = self.limits.table_elements;
        if wanted > limit {
            return self.deny(ProviderFault::OutOfMemory {
                wanted,
                limit,
                unit: "table elements",
            });
        }
        // Beyond what the table itself declares, as for a memory.
        if maximum.is_some_and(|maximum| wanted > maximum) {
            return Ok(false);
        }

        let more = wanted
            .saturating_sub(current)
            .saturating_mul(TABLE_ELEMENT_BYTES);
        let tables = self.table_bytes.saturating_add(more);
        let memory = self.record.memory().load(Ordering::Relaxed);
        if let Err(fault) = self.share.grow_to(memory.saturating_add(tables)) {
            return self.deny(fault);
        }

        self.table_bytes = tables;
        Ok(true)
    }

    fn instances(&self) -> usize {
        self.limits.core_instances
    }

    fn tables(&self) -> usize {
        MAX_TABLES
    }

    fn memories(&self) -> usize {
        MAX_MEMORIES
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::guest_memory::GuestMemory;

    const MIB: usize = 1024 * 1024;

    /// The limits of a call of the only provider, of which all calls together may have 16 MiB.
    async fn call() -> CallLimits {
        let memory = GuestMemory::new(Some(16 * MIB), 1).of_a_provider();
        let share = memory.reserve(MIB, Duration::ZERO).await.unwrap();
        let limits = Limits {
            table_elements: 200_000,
            ..Limits::default()
        };
        CallLimits::new(limits, share, CallRecord::default())
    }

    #[tokio::test]
    async fn tables_count_towards_the_memory_of_all_calls() {
        let mut call = call().await;
        assert!(call.memory_growing(0, 4 * MIB, None).unwrap());
        // 1.5 MiB each.
        for _ in 0..7 {
            assert!(call.table_growing(0, 200_000, None).unwrap());
        }
        assert!(call.has_outgrown_the_fast_path());
        assert!(call.memory_growing(4 * MIB, 5 * MIB, None).unwrap());
        assert!(call.table_growing(0, 200_000, None).is_err());
        assert!(
            matches!(call.denied, Some(ProviderFault::Saturated { .. })),
            "{:?}",
            call.denied
        );
        assert_eq!(call.record.memory().load(Ordering::Relaxed), 5 * MIB);
    }

    #[tokio::test]
    async fn table_that_is_refused_more_takes_nothing() {
        let mut call = call().await;
        assert!(call.table_growing(0, 10, Some(20)).unwrap());
        for _ in 0..100 {
            assert!(!call.table_growing(10, 200_000, Some(20)).unwrap());
        }
        assert_eq!(call.table_bytes, 10 * TABLE_ELEMENT_BYTES);
        assert!(call.table_growing(10, 200_001, Some(20)).is_err());
        assert!(matches!(
            call.denied,
            Some(ProviderFault::OutOfMemory { .. })
        ));
    }
}
