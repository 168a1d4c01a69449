//! Runs providers as WebAssembly components, within their grants and limits.
//!
//! The rooms, from the lowest: `engine` (what all providers share), `host` (what a guest finds),
//! `contract` (what is asked and answered), `load` (from a file to a component), `call` (one call),
//! `guard` (what surrounds a provider's calls). `sandbox` and `provider` put them together, and
//! `asks` shows them to the gate.
//!
//! **Invariant:** nothing else names wasmtime. No state survives a call in guest memory: every call
//! gets a fresh instance, which is dropped when the call ends, however it ends.

mod asks;
mod call;
mod clock;
mod contract;
mod engine;
mod guard;
mod guest_text;
mod host;
mod load;
mod provider;
mod sandbox;
mod weak_map;

pub use contract::CONTRACT_VERSIONS;
pub use engine::SandboxSettings;
pub use engine::examination::{Examination, examine};
pub use engine::limits::{
    DEFAULT_COMPONENT_BYTES, DEFAULT_CORE_INSTANCES, DEFAULT_TABLE_ELEMENTS, Limits,
    MAX_ANSWER_BYTES, MAX_CALLS_IN_FLIGHT, MAX_HANDLES, MAX_RANDOM_BYTES, MAX_SIGN_INS_IN_FLIGHT,
    MAX_STACK_BYTES, MAX_TABLES,
};
pub use guard::health::{Health, QuarantineChange, QuarantineListener};
pub use guard::monitored_provider::{CallMeter, MonitoredProvider};
pub use guard::verification_cache::{CachedProvider, HitMeter};
pub use host::bucket::{Bucket, Buckets};
pub use host::entries::{ENTRY_LIFE, MAX_BUCKET_BYTES, MAX_KEY_BYTES, MAX_KEYS, MAX_VALUE_BYTES};
pub use host::grants::{Capabilities, HttpGrant, Origin};
pub use host::outbound::{
    MAX_REQUEST_BYTES, MAX_REQUESTS, MAX_RESPONSE_BYTES, address_not_granted,
};
pub use load::{
    ChildLimits, CompilerProcess, ComponentSource, Inspection, LoadError, Need, Unloadable,
    check_private, run_compiler,
};
pub use provider::{LoadedProvider, Observed, ProviderSpec, WasmProvider};
pub use sandbox::{Sandbox, SandboxError};
