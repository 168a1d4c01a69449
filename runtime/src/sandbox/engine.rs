//! One engine for all providers: the pool that instances come from, the compiler's switches, the epoch.

use super::cache::ComponentCache;
use super::guest_runtime::GuestRuntime;
use super::host::{self, HostState};
use super::limits::{Limits, MAX_HANDLES, MAX_INSTANCES, MAX_STACK_BYTES, MAX_TABLE_ELEMENTS, MAX_TABLES};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;
use wasmtime::component::Linker;
use wasmtime::{Collector, Config, Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig};

/// How often a running guest gives way to others.
const TICK: Duration = Duration::from_millis(1);
/// Instances at once, over all providers. With a reservation of 4 GiB of addresses each.
const POOL_SLOTS: u32 = 256;
/// Kept resident of a slot between two calls: with `PAGEMAP_SCAN` this takes page faults from five to none.
const KEEP_RESIDENT: usize = 256 * 1024;
const STACK_KEEP_RESIDENT: usize = 64 * 1024;

/// What the sandbox as a whole needs to know.
#[derive(Clone, Debug)]
pub struct SandboxSettings {
    /// The most memory that any provider may have.
    pub max_memory_bytes: usize,
    /// Where compiled components are kept; none: they are compiled at every start.
    pub cache: Option<PathBuf>,
}

impl Default for SandboxSettings {
    fn default() -> Self {
        Self { max_memory_bytes: Limits::default().memory_bytes, cache: None }
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
    pub(super) guests: GuestRuntime,
    _ticker: Ticker,
}

impl Sandbox {
    /// Starts the engine, its ticker and the guests' runtime.
    ///
    /// # Errors
    /// The system gives no address space or no threads.
    pub fn start(settings: &SandboxSettings) -> Result<Arc<Self>, SandboxError> {
        let engine = Engine::new(&engine_config(settings)).map_err(SandboxError::Engine)?;
        let mut linker = Linker::new(&engine);
        host::link(&mut linker).map_err(SandboxError::Engine)?;
        let cache = ComponentCache::open(settings.cache.clone(), &engine);
        let guests = GuestRuntime::start().map_err(SandboxError::Thread)?;
        let ticker = Ticker::start(engine.clone()).map_err(SandboxError::Thread)?;
        Ok(Arc::new(Self { engine, linker, cache, guests, _ticker: ticker }))
    }
}

fn engine_config(settings: &SandboxSettings) -> Config {
    let mut config = Config::new();
    config
        .allocation_strategy(InstanceAllocationStrategy::Pooling(pool_config(settings)))
        .memory_init_cow(true)
        .epoch_interruption(true)
        .max_wasm_stack(MAX_STACK_BYTES)
        .async_stack_size(MAX_STACK_BYTES + 512 * 1024)
        .async_stack_zeroing(true)
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

fn pool_config(settings: &SandboxSettings) -> PoolingAllocationConfig {
    let mut pool = PoolingAllocationConfig::default();
    let per_component = u32::try_from(MAX_INSTANCES).unwrap_or(u32::MAX);
    let tables_per_component = u32::try_from(MAX_TABLES).unwrap_or(u32::MAX);
    pool.total_component_instances(POOL_SLOTS)
        .total_core_instances(POOL_SLOTS * 4)
        .total_memories(POOL_SLOTS)
        .total_tables(POOL_SLOTS * 4)
        .total_stacks(POOL_SLOTS)
        .total_gc_heaps(0)
        .max_core_instances_per_component(per_component)
        .max_tables_per_component(tables_per_component)
        .max_memory_size(settings.max_memory_bytes)
        .table_elements(MAX_TABLE_ELEMENTS)
        .max_unused_warm_slots(POOL_SLOTS)
        .linear_memory_keep_resident(KEEP_RESIDENT)
        .table_keep_resident(KEEP_RESIDENT)
        .async_stack_keep_resident(STACK_KEEP_RESIDENT)
        .decommit_batch_size(32)
        .pagemap_scan(Enabled::Auto);
    pool
}

/// Bounds on one store that are not the limiter's.
pub(super) fn bound_store(store: &mut wasmtime::Store<HostState>) {
    store.limiter(|state| &mut state.limits);
    store.set_hostcall_fuel(super::MAX_ANSWER_BYTES);
    store.set_max_component_handles(MAX_HANDLES);
    store.set_epoch_deadline(1);
    // Gives way at every tick and never kills: the wall clock around the call does.
    store.epoch_deadline_async_yield_and_update(1);
}

/// The one thread that advances the epoch.
struct Ticker(Arc<AtomicBool>);

impl Ticker {
    fn start(engine: Engine) -> io::Result<Self> {
        let stopped = Arc::new(AtomicBool::new(false));
        let stop = stopped.clone();
        thread::Builder::new().name("epoch".into()).spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                thread::park_timeout(TICK);
                engine.increment_epoch();
            }
        })?;
        Ok(Self(stopped))
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
