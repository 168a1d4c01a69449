//! What a guest finds when it calls the host: its own settings, and the bounded empty minimum that every
//! standard library asks for.

use super::limits::{CallLimits, Limits, MAX_HANDLES, MAX_RANDOM_BYTES};
use super::output::Output;
use std::sync::Arc;
use wasmtime::component::{Linker, ResourceTable};
use wasmtime_wasi::cli::{WasiCli, WasiCliView};
use wasmtime_wasi::filesystem::{WasiFilesystem, WasiFilesystemView};
use wasmtime_wasi::p2::bindings::{cli, filesystem, random};
use wasmtime_wasi::random::WasiRandom;
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_config::{WasiConfig, WasiConfigVariables};

/// The state of one call.
pub(super) struct HostState {
    settings: Arc<WasiConfigVariables>,
    /// Built only when the guest calls WASI: most never do.
    wasi: Option<WasiCtx>,
    table: ResourceTable,
    pub(super) limits: CallLimits,
    pub(super) output: Output,
}

impl HostState {
    pub(super) fn new(settings: Arc<WasiConfigVariables>, limits: Limits) -> Self {
        let mut table = ResourceTable::new();
        table.set_max_capacity(MAX_HANDLES);
        Self { settings, wasi: None, table, limits: CallLimits::new(limits), output: Output::default() }
    }
}

impl WasiView for HostState {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        let ctx = self.wasi.get_or_insert_with(|| empty_wasi(&self.output));
        WasiCtxView { ctx, table: &mut self.table }
    }
}

/// No arguments, no environment, no folders, no network; what is printed goes to the log.
fn empty_wasi(output: &Output) -> WasiCtx {
    WasiCtx::builder()
        .stdout(output.clone())
        .stderr(output.clone())
        .max_random_size(MAX_RANDOM_BYTES)
        .allow_tcp(false)
        .allow_udp(false)
        .build()
}

/// Everything that a guest may import today.
pub(super) fn link(linker: &mut Linker<HostState>) -> wasmtime::Result<()> {
    wasmtime_wasi_config::add_to_linker(linker, |state: &mut HostState| WasiConfig::from(&*state.settings))?;
    wasmtime_wasi::p2::add_to_linker_proxy_interfaces_async(linker)?;
    random::insecure::add_to_linker::<_, WasiRandom>(linker, |state| state.ctx().ctx.random())?;
    random::insecure_seed::add_to_linker::<_, WasiRandom>(linker, |state| state.ctx().ctx.random())?;
    cli::exit::add_to_linker::<_, WasiCli>(linker, HostState::cli)?;
    cli::environment::add_to_linker::<_, WasiCli>(linker, HostState::cli)?;
    cli::terminal_input::add_to_linker::<_, WasiCli>(linker, HostState::cli)?;
    cli::terminal_output::add_to_linker::<_, WasiCli>(linker, HostState::cli)?;
    cli::terminal_stdin::add_to_linker::<_, WasiCli>(linker, HostState::cli)?;
    cli::terminal_stdout::add_to_linker::<_, WasiCli>(linker, HostState::cli)?;
    cli::terminal_stderr::add_to_linker::<_, WasiCli>(linker, HostState::cli)?;
    filesystem::preopens::add_to_linker::<_, WasiFilesystem>(linker, HostState::filesystem)?;
    filesystem::types::add_to_linker::<_, WasiFilesystem>(linker, HostState::filesystem)?;
    Ok(())
}
