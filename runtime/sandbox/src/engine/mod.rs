//! The engine that all providers share, and what it is made of.
//!
//! - This file: the settings, the switches of the compiler, the pool that instances come from, what
//!   all calls share.
//! - [`ticker`]: the thread that advances the epoch.
//! - [`guest_runtime`]: the threads of guests that take their time; [`scheduler`]: which guest runs
//!   next on them.
//! - [`lane`]: the two kinds of calls that must not hold each other up.
//! - [`limits`]: what one call may use; [`guest_memory`]: what all of them may use together.
//! - [`heap`]: gives freed memory back to the system.
//! - [`machine`]: what the machine has; [`examination`]: what the sandbox finds on it.
//!
//! **Invariant:** no provider's load can take what another one's calls were promised.

pub(crate) mod examination;
pub(crate) mod guest_memory;
pub(crate) mod guest_runtime;
pub(crate) mod heap;
pub(crate) mod lane;
pub(crate) mod limits;
pub(crate) mod machine;
pub(crate) mod scheduler;
pub(crate) mod ticker;

use crate::contract::CONTRACT_VERSIONS;
use crate::engine::guest_memory::GuestMemory;
use crate::engine::guest_runtime::GuestRuntime;
use crate::engine::lane::Lanes;
use crate::engine::limits::{
    DEFAULT_CORE_INSTANCES, DEFAULT_TABLE_ELEMENTS, Limits, MAX_CALLS_IN_FLIGHT, MAX_MEMORIES,
    MAX_SIGN_INS_IN_FLIGHT, MAX_STACK_BYTES, MAX_TABLES,
};
use crate::engine::ticker::Ticker;
use crate::load::CompilerProcess;
use portcullis_net::trust::SystemRoots;
use std::io;
use std::path::PathBuf;
use std::time::Duration;
use wasmtime::{Config, Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig};

/// Calls that one provider may have in flight, of both kinds.
const CALLS_PER_PROVIDER: usize = MAX_CALLS_IN_FLIGHT + MAX_SIGN_INS_IN_FLIGHT;
/// The smallest pool. Where not even this fits into the address space, instances are allocated on
/// demand.
const LEAST_CALLS: usize = 16;
/// What wasmtime reserves for each memory of a pool: all that 32 bits can name, and a guard.
const ADDRESSES_PER_MEMORY: u64 = 4 * 1024 * 1024 * 1024 + 32 * 1024 * 1024;
/// Memories beyond one per call, for components that are composed of two.
const SPARE_MEMORIES: usize = 16;

/// Kept resident of a slot between two calls: with `PAGEMAP_SCAN` (Linux 6.7) this takes page
/// faults from five to none, and StarlingMonkey's from 84 to 48, for which it need not be more;
/// without it, keeping much is worse than keeping nothing. It is also what a guest that writes
/// everywhere can hold of each slot that it was in.
const KEEP_RESIDENT: usize = 384 * 1024;
/// The same for each table of a slot, so that all its tables keep no more than its memory does.
const KEEP_TABLE_RESIDENT: usize = KEEP_RESIDENT / MAX_TABLES;

/// What the sandbox as a whole needs to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SandboxSettings {
    /// The most memory that any provider may have.
    pub max_memory_bytes: usize,
    /// The largest table that any provider may have, in elements.
    pub max_table_elements: usize,
    /// The most core instances that any provider's component may have.
    pub max_core_instances: usize,
    /// How many providers there will be. The pool has room for all calls of each. With none there
    /// is no pool.
    pub providers: usize,
    /// Calls at once, over all providers: beyond this many providers share. Each reserves 4 GiB of
    /// addresses.
    pub max_calls: usize,
    /// Memory of all calls together, in bytes. `None`: a quarter of what the machine or the
    /// container has.
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
    /// Where the system's certificate authorities are, which providers' requests trust besides
    /// Mozilla's.
    pub system_roots: SystemRoots,
}

impl SandboxSettings {
    /// Returns whether a sandbox of these settings is large enough for what the others ask.
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

/// What the calls of all providers share.
pub(crate) struct Machinery {
    pub(crate) engine: Engine,
    pub(crate) memory: GuestMemory,
    /// The guests' threads. Sign-ins have their own.
    pub(crate) guests: Lanes<GuestRuntime>,
    pub(crate) ticker: Ticker,
}

impl Machinery {
    /// Starts the ticker of this engine and the guests' threads.
    ///
    /// # Errors
    /// A thread cannot be started.
    pub(crate) fn start(engine: Engine, settings: &SandboxSettings) -> io::Result<Self> {
        let checks = GuestRuntime::start("guest")?;
        let sign_ins = GuestRuntime::start("sign-in")?;
        let ticker = Ticker::start(engine.clone(), settings.tick)?;
        let memory = GuestMemory::new(settings.guest_memory_bytes, settings.providers);
        Ok(Self {
            engine,
            memory,
            guests: Lanes::of(checks, sign_ins),
            ticker,
        })
    }
}

/// What native code depends on beside the component: code that was compiled for one is not loaded
/// for another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Codegen {
    /// Addresses that each linear memory reserves, in bytes. `None`: all that a 32-bit address can
    /// name, so that most accesses need no check.
    pub(crate) reservation: Option<u64>,
}

/// An engine that compiles and runs nothing.
pub(crate) fn compiler_engine(codegen: Codegen) -> wasmtime::Result<Engine> {
    Engine::new(&base_config(codegen))
}

/// The engine with the largest pool, up to what is configured, that fits into the address space.
pub(crate) fn start_engine(settings: &SandboxSettings) -> wasmtime::Result<(Engine, Codegen)> {
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
    let cramped = Codegen {
        reservation: Some(settings.max_memory_bytes as u64),
    };
    Ok((compiler_engine(cramped)?, cramped))
}

/// Calls that the pool should have room for. During a reload the old providers finish their calls
/// beside the new ones.
pub(crate) fn wanted_calls(settings: &SandboxSettings) -> usize {
    ((settings.providers + 1) * CALLS_PER_PROVIDER).min(settings.max_calls)
}

/// Returns how many calls reserve half of the addresses that this process may use. Threads and
/// allocations need the rest.
pub(crate) fn calls_that_leave_room() -> usize {
    let Some(limit) = machine::address_space() else {
        return usize::MAX;
    };
    usize::try_from(limit / 2 / ADDRESSES_PER_MEMORY).unwrap_or(usize::MAX)
}

pub(crate) fn base_config(codegen: Codegen) -> Config {
    let mut config = Config::new();
    config
        .memory_init_cow(true)
        .epoch_interruption(true)
        .max_wasm_stack(MAX_STACK_BYTES)
        .async_stack_size(MAX_STACK_BYTES + 512 * 1024)
        .parallel_compilation(true)
        // Signature checks are 3.5 times slower without it (128-bit products).
        .wasm_wide_arithmetic(true)
        // wasmtime joins two components by a module of its own with both memories. The survey
        // refuses a component whose own modules have several.
        .wasm_multi_memory(true)
        // Proposals that no provider needs, switched off: each is a way in.
        .wasm_gc(false)
        .wasm_function_references(false)
        .wasm_exceptions(false)
        .wasm_threads(false)
        .shared_memory(false)
        .wasm_memory64(false)
        .concurrency_support(false)
        // There is no heap for references to host objects (`externref`): a component with one is
        // refused when it is compiled, not when it is called.
        .gc_support(false);

    if let Some(bytes) = codegen.reservation {
        config
            .memory_reservation(bytes)
            .memory_guard_size(64 * 1024)
            .memory_reservation_for_growth(0);
    }
    config
}

pub(crate) fn pool_config(
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
        // What a guest wrote goes back to the system at the end of its call. Gathered, it would
        // wait for more: a guest that writes to all its memory then holds a slot of it for each of
        // its last calls. Native stacks, which no guest can read, are not cleared: that would be an
        // `madvise` for each call, by which threads that run guests flush each other's address
        // translations. A guest that recurses so leaves up to MAX_STACK_BYTES in a slot.
        .decommit_batch_size(1)
        .pagemap_scan(pagemap_scan);

    if pagemap_scan == Enabled::Yes {
        pool.linear_memory_keep_resident(KEEP_RESIDENT)
            .table_keep_resident(KEEP_TABLE_RESIDENT);
    }
    pool
}
