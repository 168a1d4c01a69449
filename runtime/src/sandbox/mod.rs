//! Providers as WebAssembly components: what one may do, and what happens to one that tries more.
//!
//! **Invariant:** nothing else names wasmtime. No state survives a call in guest memory: every call gets a
//! fresh instance, which is dropped whatever happens to it.

mod bindings;
mod cache;
mod component;
mod convert;
mod engine;
mod fault;
mod guest_runtime;
mod host;
mod limits;
mod output;
mod provider;

pub use component::{ComponentSource, Inspection, LoadError, Need, REQUIRED_EXPORT};
pub use engine::{Sandbox, SandboxError, SandboxSettings};
pub use limits::{
    Limits, MAX_ANSWER_BYTES, MAX_CALLS_IN_FLIGHT, MAX_COMPONENT_BYTES, MAX_HANDLES, MAX_INSTANCES,
    MAX_RANDOM_BYTES, MAX_STACK_BYTES, MAX_TABLE_ELEMENTS, MAX_TABLES,
};
pub use provider::{LoadedProvider, ProviderSpec, WasmProvider};
