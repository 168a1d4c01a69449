//! Providers as WebAssembly components: what one may do, and what happens to one that tries more.
//!
//! **Invariant:** nothing else names wasmtime. No state survives a call in guest memory: every call gets a
//! fresh instance, which is dropped whatever happens to it.

mod address;
mod bindings;
mod blocking;
mod bucket;
mod cache;
mod call;
mod caller;
mod compiling;
mod component;
mod contract;
mod convert;
mod engine;
mod entries;
mod fault;
mod file_identity;
mod fresh;
mod grants;
mod guarded;
mod guest_runtime;
mod health;
mod host;
mod keyvalue;
mod lane;
mod limits;
mod linking;
mod logging;
mod nesting;
mod outbound;
mod output;
mod pace;
mod provider;
mod quarantine;
mod record;
mod settings;
mod sign_in;
mod ticker;
mod verification_cache;

pub use bucket::{Bucket, Buckets};
pub use component::{ComponentSource, Inspection, LoadError, Need};
pub use contract::CONTRACT_VERSIONS;
pub use engine::{Sandbox, SandboxError, SandboxSettings};
pub use entries::{ENTRY_LIFE, MAX_BUCKET_BYTES, MAX_KEY_BYTES, MAX_KEYS, MAX_VALUE_BYTES};
pub use grants::{HttpGrant, Origin, Powers};
pub use guarded::{CallMeter, Guarded};
pub use health::{Health, QuarantineChange, QuarantineListener};
pub use limits::{
    Limits, MAX_ANSWER_BYTES, MAX_CALLS_IN_FLIGHT, MAX_COMPONENT_BYTES, MAX_HANDLES, MAX_INSTANCES,
    MAX_RANDOM_BYTES, MAX_SIGN_INS_IN_FLIGHT, MAX_STACK_BYTES, MAX_TABLE_ELEMENTS, MAX_TABLES,
};
pub use outbound::{MAX_REQUEST_BYTES, MAX_REQUESTS, MAX_RESPONSE_BYTES};
pub use provider::{LoadedProvider, Observed, ProviderSpec, WasmProvider};
pub use verification_cache::{CachedProvider, HitMeter};
