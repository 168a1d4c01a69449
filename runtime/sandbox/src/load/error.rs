use crate::contract;
use crate::contract::CONTRACT_VERSIONS;
use portcullis_auth::ProviderFault;
use serde::{Deserialize, Serialize};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

/// Export names that a message lists.
const LISTED_EXPORTS: usize = 5;

/// Why a provider was not loaded. Its fault alone: the other providers are loaded.
#[derive(Clone, Debug, thiserror::Error)]
pub enum LoadError {
    /// The file cannot be read.
    #[error("cannot read {path}: {cause}")]
    Unreadable {
        /// The file that was named.
        path: PathBuf,
        /// What the system says.
        cause: Arc<io::Error>,
    },
    /// The file is larger than any component, or than a component may be and none.
    #[error(
        "{path} is over {mib} MiB: is it the .wasm that was built for release? `wasm-tools strip -a` takes debug information out of it"
    )]
    TooLarge {
        /// The file that was named.
        path: PathBuf,
        /// What it may have.
        mib: u64,
    },
    /// The file is something else.
    #[error("it is not WebAssembly (a .wasm file starts with the bytes 00 61 73 6d)")]
    NotWasm,
    /// The file is a Rust library that was not linked.
    #[error(
        "it is a Rust library, not WebAssembly: put `crate-type = [\"cdylib\"]` under `[lib]` in its Cargo.toml"
    )]
    RustLibrary,
    /// The file is a core module.
    #[error(
        "it is a core module, not a component: build for wasm32-wasip2, or wrap it with `wasm-tools component new`"
    )]
    CoreModule,
    /// The file is a core module of a toolchain for the older WASI.
    #[error(
        "it is a core module that imports wasi_snapshot_preview1: build for wasm32-wasip2, or wrap it with \
         `wasm-tools component new --adapt` and the preview 1 adapter for reactors"
    )]
    Preview1Module,
    /// The bytes are not those that the configuration names.
    #[error("its SHA-256 digest is {found}, but the configuration says {expected}")]
    DigestDiffers {
        /// The digest of the file.
        found: String,
        /// The digest in the configuration.
        expected: String,
    },
    /// Its bytes cannot be made into native code.
    #[error(transparent)]
    Unloadable(#[from] Unloadable),
    /// It consists of more than the provider's limits allow.
    #[error("it has {found} {unit}, more than `limits.{setting}` allows ({limit})")]
    OverLimit {
        /// How many it has.
        found: u64,
        /// How many it may have.
        limit: u64,
        /// The parts that are counted, such as tables.
        unit: &'static str,
        /// The setting that allows more, up to its ceiling.
        setting: &'static str,
    },
    /// A call begins with more memory than all calls together leave to one.
    #[error(
        "a call begins with {mib} MiB of memories and tables, and `dashboard.sandbox.memory_mib` ({limit_mib}) leaves \
         {reach_mib} MiB to one call: half of it, and this provider's part of the other half"
    )]
    BeyondAllMemory {
        /// What a call begins with.
        mib: usize,
        /// What one call may have when there is no other.
        reach_mib: usize,
        /// What all calls together may have.
        limit_mib: usize,
    },
    /// It is a component of something else.
    #[error(
        "it does not export {}, which every provider must: {}",
        contract::interface("provider", CONTRACT_VERSIONS[0]),
        what_it_is_instead(.exports)
    )]
    NotAProvider {
        /// What it exports instead.
        exports: Vec<String>,
    },
    /// It is a provider of a version of the contract that this binary does not know.
    #[error("it is built for version {found} of portcullis:auth; this binary accepts {}", accepted.join(", "))]
    UnknownContract {
        /// The version that the component exports.
        found: String,
        /// The versions that this binary accepts.
        accepted: &'static [&'static str],
    },
    /// It imports something that is not there for it.
    #[error("it imports {name}, {why}")]
    NotGranted {
        /// The name of the import.
        name: String,
        /// What could be done.
        why: &'static str,
    },
    /// An import or export has another type than the contract says.
    #[error("it does not fit the host: {0}")]
    Unfit(String),
    /// The provider cannot work with its settings.
    #[error("config: {0}")]
    BadSettings(String),
    /// The provider failed when it was asked what it supports.
    #[error("it failed when it was asked what it supports: {0}")]
    Faulted(ProviderFault),
    /// The provider accepts a token that was never issued.
    #[error("it accepted a token that the host had just made up, so it would accept any")]
    AcceptsAnything,
    /// The provider fails on a token that is merely unknown.
    #[error("it failed when it was asked about an unknown token: {0}")]
    FailedSelfCheck(ProviderFault),
    /// The provider has nothing to do.
    #[error("it takes no bearer tokens and signs nobody in, so it would never be asked")]
    Useless,
}

impl LoadError {
    /// Returns the reason as one word, for metrics.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Unreadable { .. } => "unreadable",
            Self::TooLarge { .. } => "too_large",
            Self::NotWasm
            | Self::RustLibrary
            | Self::CoreModule
            | Self::Preview1Module
            | Self::NotAProvider { .. } => "not_a_provider",
            Self::DigestDiffers { .. } => "digest_differs",
            Self::Unloadable(_) => "unloadable",
            Self::OverLimit { .. } | Self::BeyondAllMemory { .. } => "over_limit",
            Self::UnknownContract { .. } => "unknown_contract",
            Self::NotGranted { .. } => "not_granted",
            Self::Unfit(_) => "unfit",
            Self::BadSettings(_) => "bad_settings",
            Self::Faulted(_) | Self::FailedSelfCheck(_) => "faulted",
            Self::AcceptsAnything => "accepts_anything",
            Self::Useless => "useless",
        }
    }
}

/// Why a component cannot be made into native code. The compiler's process says it, so it can be
/// written as JSON.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum Unloadable {
    /// It is not valid.
    #[error("it is not a valid component: {0}")]
    Invalid(String),
    /// Components are nested in components, and so on.
    #[error("components are nested in it deeper than {limit} levels; toolchains nest them once")]
    TooDeep {
        /// Levels that are accepted.
        limit: usize,
    },
    /// It consists of more parts than are accepted of any component.
    #[error("it has {found} {unit}; at most {limit} are accepted of a component")]
    TooMany {
        /// How many it has, or as many as were counted before it was refused.
        found: u64,
        /// How many are accepted.
        limit: u64,
        /// The parts that are counted, such as tables.
        unit: String,
    },
    /// It instantiates a component or module whose content is not in the file.
    #[error(
        "it instantiates a {0} that it imports or takes out of an instance, which is not supported: compose it so that \
         each is defined in the file"
    )]
    InstantiatesUnknown(String),
    /// It uses a feature of WebAssembly that no provider may use.
    #[error("it uses {0}, which providers may not use")]
    Forbidden(String),
    /// Its core modules were to be linked into one, and cannot be.
    #[error(
        "its core modules cannot be linked into one: {0}; without `link_modules` it runs as it is"
    )]
    NotLinked(String),
    /// The compiler does not end.
    #[error("it was not compiled within {seconds} s, so the compiler was ended")]
    TooSlow {
        /// The time that the compiler may take.
        seconds: u64,
    },
    /// The compiler needs too much memory.
    #[error("compiling it takes more than {mib} MiB of memory, so the compiler was ended")]
    TooMuchMemory {
        /// The memory that the compiler may take.
        mib: u64,
    },
    /// The system starts no process now: it may do so later.
    #[error("the compiler's process cannot start now: {0}")]
    NotStarted(String),
    /// The compiler was ended by a signal that the host did not send.
    #[error(
        "the system killed the compiler (SIGKILL), perhaps for want of memory: give the machine, the service or the \
         container more"
    )]
    Killed,
    /// The compiler has failed in another way.
    #[error("the compiler fails on it: {0}")]
    CompilerFailed(String),
}

fn what_it_is_instead(exports: &[String]) -> String {
    match exports {
        [] => "it exports nothing. In Rust, `portcullis_guest::export!` is missing, or the library is no `cdylib`".to_owned(),
        exports if exports.iter().any(|name| name.starts_with("wasi:cli/run@")) => {
            "it is a program with a `main`. Build a library: `crate-type = [\"cdylib\"]` in Rust, a reactor elsewhere".to_owned()
        }
        exports => {
            let listed = exports.iter().take(LISTED_EXPORTS).cloned().collect::<Vec<_>>().join(", ");
            let more = match exports.len().saturating_sub(LISTED_EXPORTS) {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            format!("is it built for the world of wit/provider.wit? It exports {listed}{more}")
        }
    }
}
