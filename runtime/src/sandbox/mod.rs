//! Providers as WebAssembly components: what one may do, and what happens to one that tries more.
//!
//! **Invariant:** nothing else names wasmtime. No state survives a call in guest memory: every call gets a
//! fresh instance, which is dropped when the call ends, however it ends.

mod address;
mod asks;
mod bindings;
mod blocking;
mod bucket;
mod call;
mod caller;
mod checkpoint;
mod contract;
mod contract_0_1;
mod convert;
mod engine;
mod entries;
mod examination;
mod fault;
mod fresh;
mod grants;
mod guarded;
mod guest_memory;
mod guest_runtime;
mod health;
mod host;
mod keyvalue;
mod lane;
mod limits;
mod linking;
mod load;
mod logging;
mod machine;
mod outbound;
mod output;
mod pace;
mod provider;
mod quarantine;
mod record;
mod settings;
mod sign_in;
mod sign_out;
mod slots;
mod ticker;
mod turns;
mod verification_cache;

pub use bucket::{Bucket, Buckets};
pub use contract::CONTRACT_VERSIONS;
pub use engine::{Sandbox, SandboxError, SandboxSettings};
pub use entries::{ENTRY_LIFE, MAX_BUCKET_BYTES, MAX_KEY_BYTES, MAX_KEYS, MAX_VALUE_BYTES};
pub use examination::{ENGINE, Examination, examine};
pub use grants::{HttpGrant, Origin, Powers};
pub use guarded::{CallMeter, Guarded};
pub use health::{Health, QuarantineChange, QuarantineListener};
pub use limits::{
    DEFAULT_COMPONENT_BYTES, DEFAULT_CORE_INSTANCES, DEFAULT_TABLE_ELEMENTS, Limits, MAX_ANSWER_BYTES,
    MAX_CALLS_IN_FLIGHT, MAX_HANDLES, MAX_RANDOM_BYTES, MAX_SIGN_INS_IN_FLIGHT, MAX_STACK_BYTES, MAX_TABLES,
};
pub use load::{
    ChildLimits, CompilerProcess, ComponentSource, Inspection, LoadError, Need, Unloadable, check_private,
    run_compiler,
};
pub use outbound::{MAX_REQUEST_BYTES, MAX_REQUESTS, MAX_RESPONSE_BYTES, address_not_granted};
pub use provider::{LoadedProvider, Observed, ProviderSpec, WasmProvider};
pub use verification_cache::{CachedProvider, HitMeter};
