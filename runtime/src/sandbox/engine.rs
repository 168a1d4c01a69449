//! One engine for all providers: the pool that instances come from, the compiler's switches, the epoch.

use super::cache::ComponentCache;
use super::compiling::Compiling;
use super::contract::CONTRACT_VERSIONS;
use super::guest_runtime::{GuestRuntime, cores};
use super::host::{self, HostState};
use super::limits::{
    Limits, MAX_CALLS_IN_FLIGHT, MAX_HANDLES, MAX_INSTANCES, MAX_MEMORIES, MAX_STACK_BYTES,
    MAX_TABLE_ELEMENTS, MAX_TABLES,
};
use super::ticker::Ticker;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use wasmtime::component::Linker;
use wasmtime::{Collector, Config, Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig};

/// Kept resident of a slot between two calls: with `PAGEMAP_SCAN` (Linux 6.7) this takes page faults from five
/// to none, and StarlingMonkey's from 84 to 48, for which it need not be more; without it, keeping much is worse than
/// keeping nothing. It is also what a guest that writes everywhere can hold of each slot that it was in.
const KEEP_RESIDENT: usize = 384 * 1024;

/// What the sandbox as a whole needs to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SandboxSettings {
    /// The most memory that any provider may have.
    pub max_memory_bytes: usize,
    /// How many providers there will be: each is sure of all its calls in flight, whatever the others do.
    pub providers: usize,
    /// Calls at once, over all providers. Each may take as many memories as a component may have, and each of those
    /// reserves 4 GiB of addresses; beyond this many providers share.
    pub max_calls: usize,
    /// How often a running guest gives way to others.
    pub tick: Duration,
    /// Where compiled components are kept; none: they are compiled at every start.
    pub cache: Option<PathBuf>,
    /// The versions of the contract whose components are loaded, the newest first.
    pub contracts: &'static [&'static str],
}

impl SandboxSettings {
    /// Is a sandbox of these settings large enough for what the others ask?
    pub fn cover(&self, others: &Self) -> bool {
        self.max_memory_bytes >= others.max_memory_bytes
            && self.providers >= others.providers
            && self.max_calls >= others.max_calls
            && self.tick == others.tick
            && self.cache == others.cache
            && self.contracts == others.contracts
    }
}

impl Default for SandboxSettings {
    fn default() -> Self {
        Self {
            max_memory_bytes: Limits::default().memory_bytes,
            providers: 1,
            max_calls: 1024,
            tick: Duration::from_millis(1),
            cache: None,
            contracts: CONTRACT_VERSIONS,
        }
    }
}

/// The sandbox did not come up.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// The engine refused its configuration, or the system the address space.
    #[error("the WebAssembly engine cannot start: {0:#}")]
    Engine(wasmtime::Error),
    /// A thread could not be started.
    #[error("a thread of the sandbox cannot start: {0}")]
    Thread(io::Error),
}

/// Where providers are loaded and run.
pub struct Sandbox {
    pub(super) engine: Engine,
    pub(super) linker: Linker<HostState>,
    pub(super) cache: ComponentCache,
    pub(super) compiling: Compiling,
    /// One load for each core: compiling CPython takes 350 MiB, and a first start may have ten of it.
    pub(super) loads: Semaphore,
    pub(super) contracts: &'static [&'static str],
    pub(super) guests: GuestRuntime,
    pub(super) suspects: GuestRuntime,
    pub(super) ticker: Ticker,
}

impl Sandbox {
    /// Starts the engine, its ticker and the guests' runtime.
    ///
    /// # Errors
    /// The system gives no address space or no threads.
    pub fn start(settings: &SandboxSettings) -> Result<Arc<Self>, SandboxError> {
        let engine = Engine::new(&engine_config(settings, Enabled::Yes))
            .or_else(|_| Engine::new(&engine_config(settings, Enabled::No)))
            .map_err(SandboxError::Engine)?;
        let mut linker = Linker::new(&engine);
        host::link(&mut linker).map_err(SandboxError::Engine)?;
        let cache = ComponentCache::open(settings.cache.clone(), &engine);
        let guests = GuestRuntime::start().map_err(SandboxError::Thread)?;
        let suspects = GuestRuntime::start_for_suspects().map_err(SandboxError::Thread)?;
        let ticker = Ticker::start(engine.clone(), settings.tick).map_err(SandboxError::Thread)?;
        let contracts = settings.contracts;
        Ok(Arc::new(Self {
            engine,
            linker,
            cache,
            compiling: Compiling::default(),
            loads: Semaphore::new(cores()),
            contracts,
            guests,
            suspects,
            ticker,
        }))
    }
}

/// `pagemap_scan` is refused by kernels that do not have it.
fn engine_config(settings: &SandboxSettings, pagemap_scan: Enabled) -> Config {
    let mut config = Config::new();
    config
        .allocation_strategy(InstanceAllocationStrategy::Pooling(pool_config(settings, pagemap_scan)))
        .memory_init_cow(true)
        .epoch_interruption(true)
        .max_wasm_stack(MAX_STACK_BYTES)
        .async_stack_size(MAX_STACK_BYTES + 512 * 1024)
        .parallel_compilation(true)
        // Signature checks are 3.5 times slower without it (128-bit products).
        .wasm_wide_arithmetic(true)
        // Proposals that no provider needs, switched off: each is a way in.
        .wasm_gc(false)
        .wasm_function_references(false)
        .wasm_exceptions(false)
        .wasm_threads(false)
        .shared_memory(false)
        .wasm_memory64(false)
        .wasm_multi_memory(false)
        .concurrency_support(false)
        .collector(Collector::Null);
    config
}

fn pool_config(settings: &SandboxSettings, pagemap_scan: Enabled) -> PoolingAllocationConfig {
    // Twice: during a reload the old providers finish their calls beside the new ones.
    let calls = (settings.providers.max(1) * MAX_CALLS_IN_FLIGHT * 2).min(settings.max_calls);
    let count = |per_call: usize| u32::try_from(calls * per_call).unwrap_or(u32::MAX);
    let per_component = |limit: usize| u32::try_from(limit).unwrap_or(u32::MAX);
    let mut pool = PoolingAllocationConfig::default();
    pool.total_component_instances(count(1))
        .total_core_instances(count(MAX_INSTANCES))
        .total_memories(count(MAX_MEMORIES))
        .total_tables(count(MAX_TABLES))
        .total_stacks(count(1))
        .total_gc_heaps(0)
        .max_core_instances_per_component(per_component(MAX_INSTANCES))
        .max_memories_per_component(per_component(MAX_MEMORIES))
        .max_tables_per_component(per_component(MAX_TABLES))
        // A linked module has those of all its members.
        .max_tables_per_module(per_component(MAX_TABLES))
        .max_memory_size(settings.max_memory_bytes)
        .table_elements(MAX_TABLE_ELEMENTS)
        .max_unused_warm_slots(count(1))
        // What a guest wrote goes back to the system at the end of its call. Gathered, it would wait for more: a guest
        // that writes to all its memory then holds a slot of it for each of its last calls. Native stacks, which no
        // guest can read, are not cleared: that would be an `madvise` for each call, by which threads that run guests
        // flush each other's address translations. A guest that recurses so leaves up to MAX_STACK_BYTES in a slot.
        .decommit_batch_size(1)
        .pagemap_scan(pagemap_scan);
    if pagemap_scan == Enabled::Yes {
        pool.linear_memory_keep_resident(KEEP_RESIDENT).table_keep_resident(KEEP_RESIDENT);
    }
    pool
}

/// Bounds on one store that are not the limiter's.
pub(super) fn bound_store(store: &mut wasmtime::Store<HostState>) {
    store.limiter(|state| &mut state.limits);
    store.set_hostcall_fuel(super::MAX_ANSWER_BYTES);
    store.set_max_component_handles(MAX_HANDLES);
    start_ticks(store);
    // Gives way at every tick and never kills: the wall clock around the call does.
    store.epoch_deadline_async_yield_and_update(1);
}

/// The guest gives way between one tick from now and two, by when the last one was.
pub(super) fn start_ticks(store: &mut wasmtime::Store<HostState>) {
    store.set_epoch_deadline(2);
}
