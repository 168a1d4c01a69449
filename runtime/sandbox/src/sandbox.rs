//! Where providers are loaded and run: what the rooms make up.

use crate::engine::{Machinery, SandboxSettings, start_engine};
use crate::host::outbound::PublicTls;
use crate::host::{self, HostState};
use crate::load::Compilers;
use std::io;
use std::sync::Arc;
use wasmtime::component::Linker;

/// The sandbox did not come up.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// The engine refused its configuration, or the system the address space.
    #[error("the WebAssembly engine cannot start: {0:#}")]
    Engine(wasmtime::Error),
    /// A thread could not be started.
    #[error("the threads of the sandbox cannot start: {0}")]
    Thread(io::Error),
}

/// Where providers are loaded and run.
pub struct Sandbox {
    pub(crate) machinery: Arc<Machinery>,
    pub(crate) linker: Linker<HostState>,
    pub(crate) compilers: Arc<Compilers>,
    pub(crate) contracts: &'static [&'static str],
    pub(crate) public_tls: PublicTls,
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
        let machinery = Machinery::start(engine, settings).map_err(SandboxError::Thread)?;

        Ok(Arc::new(Self {
            machinery: Arc::new(machinery),
            linker,
            compilers: Arc::new(compilers),
            contracts: settings.contracts,
            public_tls: PublicTls::new(settings.system_roots.clone()),
        }))
    }
}
