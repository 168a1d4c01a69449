//! One engine for all providers: the pool that instances come from, the compiler's switches, the epoch.

use super::checkpoint::Checkpoint;
use super::contract::CONTRACT_VERSIONS;
use super::guest_memory::GuestMemory;
use super::guest_runtime::GuestRuntime;
use super::host::{self, HostState};
use super::lane::Lanes;
use super::limits::{
    DEFAULT_CORE_INSTANCES, DEFAULT_TABLE_ELEMENTS, Limits, MAX_CALLS_IN_FLIGHT, MAX_HANDLES, MAX_MEMORIES,
    MAX_SIGN_INS_IN_FLIGHT, MAX_STACK_BYTES, MAX_TABLES,
};
use super::load::{CompilerProcess, Compilers};
use super::machine;
use super::outbound::PublicTls;
use super::ticker::Ticker;
use crate::trust::SystemRoots;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use wasmtime::component::Linker;
use wasmtime::{Config, Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig};

/// Calls that one provider may have in flight, of both kinds.
const CALLS_PER_PROVIDER: usize = MAX_CALLS_IN_FLIGHT + MAX_SIGN_INS_IN_FLIGHT;
/// The smallest pool. Where not even this fits into the address space, instances are allocated on demand.
const LEAST_CALLS: usize = 16;
/// What wasmtime reserves for each memory of a pool: all that 32 bits can name, and a guard.
const ADDRESSES_PER_MEMORY: u64 = 4 * 1024 * 1024 * 1024 + 32 * 1024 * 1024;
/// Memories beyond one per call, for components that are composed of two.
const SPARE_MEMORIES: usize = 16;

/// Kept resident of a slot between two calls: with `PAGEMAP_SCAN` (Linux 6.7) this takes page faults from five
/// to none, and StarlingMonkey's from 84 to 48, for which it need not be more; without it, keeping much is worse than
/// keeping nothing. It is also what a guest that writes everywhere can hold of each slot that it was in.
const KEEP_RESIDENT: usize = 384 * 1024;

/// What the sandbox as a whole needs to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SandboxSettings {
    /// The most memory that any provider may have.
    pub max_memory_bytes: usize,
    /// The largest table that any provider may have, in elements.
    pub max_table_elements: usize,
    /// The most core instances that any provider's component may have.
    pub max_core_instances: usize,
    /// How many providers there will be. The pool has room for all calls of each. With none there is no pool.
    pub providers: usize,
    /// Calls at once, over all providers: beyond this many providers share. Each reserves 4 GiB of addresses.
    pub max_calls: usize,
    /// Memory of all calls together, in bytes. `None`: a quarter of what the machine or the container has.
    pub guest_memory_bytes: Option<usize>,
    /// The process that compiles components. `None`: this one.
    pub compiler: Option<CompilerProcess>,
    /// How often a running guest yields to others.
    pub tick: Duration,
    /// Where compiled components are kept; none: they are compiled at every start.
    pub cache: Option<PathBuf>,
    /// Whether compiled components are only read, for commands that change nothing in the home.
    pub cache_is_read_only: bool,
    /// The versions of the contract whose components are loaded, the newest first.
    pub contracts: &'static [&'static str],
    /// Where the system's certificate authorities are, which providers' requests trust besides Mozilla's.
    pub system_roots: SystemRoots,
}

impl SandboxSettings {
    /// Whether a sandbox of these settings is large enough for what the others ask.
    pub fn cover(&self, others: &Self) -> bool {
        let largest = Self {
            max_memory_bytes: self.max_memory_bytes.max(others.max_memory_bytes),
            max_table_elements: self.max_table_elements.max(others.max_table_elements),
            max_core_instances: self.max_core_instances.max(others.max_core_instances),
            providers: self.providers.max(others.providers),
            max_calls: self.max_calls.max(others.max_calls),
            ..others.clone()
        };
        *self == largest
    }
}

impl Default for SandboxSettings {
    fn default() -> Self {
        Self {
            max_memory_bytes: Limits::default().memory_bytes,
            max_table_elements: DEFAULT_TABLE_ELEMENTS,
            max_core_instances: DEFAULT_CORE_INSTANCES,
            providers: 1,
            max_calls: 1024,
            guest_memory_bytes: None,
            compiler: None,
            tick: Duration::from_millis(1),
            cache: None,
            cache_is_read_only: false,
            contracts: CONTRACT_VERSIONS,
            system_roots: SystemRoots::default(),
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
    #[error(
        "a thread of the sandbox cannot start ({0}): raise the limits of this user or service on \
         threads, memory and open files"
    )]
    Thread(io::Error),
}

/// Where providers are loaded and run.
pub struct Sandbox {
    pub(super) engine: Engine,
    pub(super) linker: Linker<HostState>,
    pub(super) compilers: Arc<Compilers>,
    pub(super) contracts: &'static [&'static str],
    pub(super) memory: GuestMemory,
    /// The guests' threads. Sign-ins have their own.
    pub(super) guests: Lanes<GuestRuntime>,
    pub(super) ticker: Ticker,
    pub(super) public_tls: PublicTls,
}

impl Sandbox {
    /// Starts the engine, its ticker and the guests' runtimes.
    ///
    /// # Errors
    /// The system gives no address space or no threads.
    pub fn start(settings: &SandboxSettings) -> Result<Arc<Self>, SandboxError> {
        let (engine, codegen) = start_engine(settings).map_err(SandboxError::Engine)?;
        let mut linker = Linker::new(&engine);
        host::link(&mut linker).map_err(SandboxError::Engine)?;
        let compilers = Compilers::new(&engine, codegen, settings);
        let checks = GuestRuntime::start("guest").map_err(SandboxError::Thread)?;
        let sign_ins = GuestRuntime::start("sign-in").map_err(SandboxError::Thread)?;
        let ticker = Ticker::start(engine.clone(), settings.tick).map_err(SandboxError::Thread)?;
        Ok(Arc::new(Self {
            engine,
            linker,
            compilers: Arc::new(compilers),
            contracts: settings.contracts,
            memory: GuestMemory::new(settings.guest_memory_bytes, settings.providers),
            guests: Lanes::of(checks, sign_ins),
            ticker,
            public_tls: PublicTls::new(settings.system_roots.clone()),
        }))
    }
}

/// What native code depends on beside the component: code that was compiled for one is not loaded for another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Codegen {
    /// Addresses that each linear memory reserves, in bytes. `None`: all that a 32-bit address can name, so that most
    /// accesses need no check.
    pub(super) reservation: Option<u64>,
}

/// An engine that compiles and runs nothing.
pub(super) fn compiler_engine(codegen: Codegen) -> wasmtime::Result<Engine> {
    Engine::new(&base_config(codegen))
}

/// The engine with the largest pool, up to what is configured, that fits into the address space.
fn start_engine(settings: &SandboxSettings) -> wasmtime::Result<(Engine, Codegen)> {
    let roomy = Codegen::default();
    if settings.providers == 0 {
        return Ok((compiler_engine(roomy)?, roomy));
    }

    let wanted = wanted_calls(settings);
    let mut calls = wanted.min(calls_that_leave_room());
    while calls >= LEAST_CALLS.min(wanted) {
        // `PAGEMAP_SCAN` is refused by kernels before Linux 6.7.
        for pagemap_scan in [Enabled::Yes, Enabled::No] {
            let mut config = base_config(roomy);
            let pool = pool_config(settings, calls, pagemap_scan);
            config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
            if let Ok(engine) = Engine::new(&config) {
                if calls < wanted {
                    tracing::warn!(
                        calls,
                        wanted,
                        "the address space has no room for all calls that the providers may have in flight"
                    );
                }
                return Ok((engine, roomy));
            }
        }
        calls /= 2;
    }

    tracing::warn!(
        "the address space has no room for a pool of instances: they are allocated on demand, so calls take longer \
         (raise the limit on address space, `ulimit -v`)"
    );
    let cramped = Codegen { reservation: Some(settings.max_memory_bytes as u64) };
    Ok((compiler_engine(cramped)?, cramped))
}

/// Calls that the pool should have room for. During a reload the old providers finish their calls beside the new ones.
pub(super) fn wanted_calls(settings: &SandboxSettings) -> usize {
    ((settings.providers + 1) * CALLS_PER_PROVIDER).min(settings.max_calls)
}

/// As many as reserve half of the addresses that a limit leaves this process: threads and allocations need some, too.
pub(super) fn calls_that_leave_room() -> usize {
    let Some(limit) = machine::address_space() else { return usize::MAX };
    usize::try_from(limit / 2 / ADDRESSES_PER_MEMORY).unwrap_or(usize::MAX)
}

pub(super) fn base_config(codegen: Codegen) -> Config {
    let mut config = Config::new();
    config
        .memory_init_cow(true)
        .epoch_interruption(true)
        .max_wasm_stack(MAX_STACK_BYTES)
        .async_stack_size(MAX_STACK_BYTES + 512 * 1024)
        .parallel_compilation(true)
        // Signature checks are 3.5 times slower without it (128-bit products).
        .wasm_wide_arithmetic(true)
        // wasmtime joins two components by a module of its own with both memories. The survey refuses a component whose
        // own modules have several.
        .wasm_multi_memory(true)
        // Proposals that no provider needs, switched off: each is a way in.
        .wasm_gc(false)
        .wasm_function_references(false)
        .wasm_exceptions(false)
        .wasm_threads(false)
        .shared_memory(false)
        .wasm_memory64(false)
        .concurrency_support(false)
        // There is no heap for references to host objects (`externref`): a component with one is refused when it is
        // compiled, not when it is called.
        .gc_support(false);
    if let Some(bytes) = codegen.reservation {
        config.memory_reservation(bytes).memory_guard_size(64 * 1024).memory_reservation_for_growth(0);
    }
    config
}

pub(super) fn pool_config(
    settings: &SandboxSettings,
    calls: usize,
    pagemap_scan: Enabled,
) -> PoolingAllocationConfig {
    let whole = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    let mut pool = PoolingAllocationConfig::default();
    pool.total_component_instances(whole(calls))
        .total_core_instances(whole(calls * settings.max_core_instances))
        .total_memories(whole(calls + SPARE_MEMORIES.min(calls)))
        .total_tables(whole(calls * MAX_TABLES))
        .total_stacks(whole(calls))
        .total_gc_heaps(0)
        .max_core_instances_per_component(whole(settings.max_core_instances))
        .max_memories_per_component(whole(MAX_MEMORIES))
        .max_tables_per_component(whole(MAX_TABLES))
        // A linked module has those of all its members.
        .max_tables_per_module(whole(MAX_TABLES))
        .max_memory_size(settings.max_memory_bytes)
        .table_elements(settings.max_table_elements)
        .max_unused_warm_slots(whole(calls))
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
pub(super) fn bound_store(store: &mut wasmtime::Store<HostState>, ticker: &Ticker) {
    store.call_hook_async(Checkpoint::new(ticker.ticks()));
    store.limiter(|state| &mut state.limits);
    store.set_hostcall_fuel(super::MAX_ANSWER_BYTES);
    store.set_max_component_handles(MAX_HANDLES);
    start_ticks(store);
    // The guest yields at every tick and is never killed here: the wall clock around the call does that.
    store.epoch_deadline_async_yield_and_update(1);
}

/// Lets the guest run for one to two ticks from now, depending on when the last tick was, before it yields.
pub(super) fn start_ticks(store: &mut wasmtime::Store<HostState>) {
    store.set_epoch_deadline(2);
}
