//! What one call may use, and what a guest is told when it asks for more.

use super::record::CallRecord;
use std::num::NonZeroU32;
use std::sync::atomic::Ordering;
use std::time::Duration;
use wasmtime::ResourceLimiter;

/// Largest component file, since compiling is not covered by wasmtime's promises.
pub const MAX_COMPONENT_BYTES: u64 = 32 * 1024 * 1024;
/// Bytes lifted out of a guest in one call. The memory limit does not bound them: the items of a list may
/// all point at one buffer.
pub const MAX_ANSWER_BYTES: usize = 64 * 1024;
/// Component handles, and entries of the resource table.
pub const MAX_HANDLES: usize = 1_000;
/// The same for a provider that may call out: a request that it makes and keeps is text in the host's memory.
pub(super) const MAX_HANDLES_WITH_HTTP: usize = 100;
/// Core instances of one component.
pub const MAX_INSTANCES: usize = 16;
/// Tables of one component.
pub const MAX_TABLES: usize = 16;
/// Elements of one table.
pub const MAX_TABLE_ELEMENTS: usize = 20_000;
/// Random bytes at once: making them is host work that no epoch interrupts.
pub const MAX_RANDOM_BYTES: u64 = 64 * 1024;
/// The guest's stack.
pub const MAX_STACK_BYTES: usize = 512 * 1024;
/// Calls in flight a provider. One more waits for a moment, and is then told that the provider is unavailable.
pub const MAX_CALLS_IN_FLIGHT: usize = 16;
/// The same for calls that sign people in, which wait for people's passwords to be hashed and for identity providers:
/// strangers who begin many of them must not hold up who is signed in.
pub const MAX_SIGN_INS_IN_FLIGHT: usize = 8;
/// Memories of one component. Their sizes are added up against [`Limits::memory_bytes`].
pub(super) const MAX_MEMORIES: usize = 2;

/// The limits that an operator sets for one provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Linear memory of one call, all memories together.
    pub memory_bytes: usize,
    /// Wall clock of one call: the guest, its host calls, and the wait to start.
    pub deadline: Duration,
    /// Calls a second, over all callers.
    pub calls_per_second: NonZeroU32,
}

/// More than two cores can do: there to be lowered for a provider that is slow to say no.
const DEFAULT_CALLS_PER_SECOND: NonZeroU32 = NonZeroU32::new(100_000).expect("a constant that is not zero");

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory_bytes: 64 * 1024 * 1024,
            deadline: Duration::from_millis(1_000),
            calls_per_second: DEFAULT_CALLS_PER_SECOND,
        }
    }
}

/// What was asked for when a limit said no.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Denied {
    pub(super) wanted: usize,
    pub(super) limit: usize,
    pub(super) unit: &'static str,
}

/// Counts what one call uses. Asking for too much traps at once and is remembered, so that the fault can be
/// named whatever the guest makes of it.
pub(super) struct CallLimits {
    memory_limit: usize,
    /// Shared with whoever waits for the call, who may have to cut it off.
    record: CallRecord,
    pub(super) denied: Option<Denied>,
}

impl CallLimits {
    pub(super) fn new(limits: Limits, record: CallRecord) -> Self {
        Self { memory_limit: limits.memory_bytes, record, denied: None }
    }

    fn deny(&mut self, wanted: usize, limit: usize, unit: &'static str) -> wasmtime::Result<bool> {
        self.denied = Some(Denied { wanted, limit, unit });
        Err(wasmtime::format_err!("{wanted} {unit} wanted, limit {limit}"))
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
        if wanted > self.memory_limit {
            return self.deny(wanted, self.memory_limit, "bytes of memory");
        }
        self.record.memory().store(wanted, Ordering::Relaxed);
        Ok(true)
    }

    fn table_growing(&mut self, _: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        if desired > MAX_TABLE_ELEMENTS {
            return self.deny(desired, MAX_TABLE_ELEMENTS, "table elements");
        }
        Ok(true)
    }

    fn instances(&self) -> usize {
        MAX_INSTANCES
    }

    fn tables(&self) -> usize {
        MAX_TABLES
    }

    fn memories(&self) -> usize {
        MAX_MEMORIES
    }
}
