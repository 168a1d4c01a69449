//! What a guest finds when it calls the host: its own settings, what it was granted, and the
//! bounded empty minimum that every standard library asks for.
//!
//! - This file: the state of a store and the linker; [`settings`], [`keyvalue`], [`logging`],
//!   [`outbound`]: what a guest calls.
//! - [`grants`]: what an operator grants; [`address`]: the addresses that a name may lead to.
//! - [`bucket`], [`entries`]: what a provider keeps, on the disk and in memory; [`blocking`]: work
//!   that waits for a disk or a resolver; [`output`]: what it prints.
//! - [`bindings`]: the WASI interfaces that the host implements itself.
//!
//! **Invariant:** a guest reaches nothing that its provider was not granted, and nothing that it
//! sends is used without a bound.

pub(crate) mod address;
pub(crate) mod bindings;
pub(crate) mod blocking;
pub(crate) mod bucket;
pub(crate) mod entries;
pub(crate) mod grants;
pub(crate) mod keyvalue;
pub(crate) mod logging;
pub(crate) mod outbound;
pub(crate) mod output;
pub(crate) mod settings;

use crate::call::record::CallRecord;
use crate::engine::guest_memory::MemoryShare;
use crate::engine::limits::{
    CallLimits, Limits, MAX_HANDLES, MAX_HANDLES_WITH_HTTP, MAX_RANDOM_BYTES,
};
use crate::host::bucket::Bucket;
use crate::host::outbound::{HttpCapability, Outbound};
use crate::host::output::Printer;
use std::collections::BTreeMap;
use std::sync::Arc;
use wasmtime::component::{Linker, ResourceTable};
use wasmtime_wasi::cli::{WasiCli, WasiCliView};
use wasmtime_wasi::filesystem::{WasiFilesystem, WasiFilesystemView};
use wasmtime_wasi::p2::bindings::{cli, filesystem, random, sockets};
use wasmtime_wasi::random::WasiRandom;
use wasmtime_wasi::sockets::{WasiSockets, WasiSocketsView};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};

/// An HTTP header or trailer section that a guest makes or gets.
const MAX_FIELD_BYTES: usize = 32 * 1024;

/// What every call of a provider gets.
#[derive(Clone)]
pub(crate) struct ProviderResources {
    pub(crate) settings: Arc<BTreeMap<String, String>>,
    pub(crate) limits: Limits,
    pub(crate) http: Option<Arc<HttpCapability>>,
    pub(crate) bucket: Option<Arc<Bucket>>,
}

/// The state of one call.
pub(crate) struct HostState {
    pub(crate) settings: Arc<BTreeMap<String, String>>,
    /// Built only when the guest calls WASI: most never do.
    wasi: Option<WasiCtx>,
    http: WasiHttpCtx,
    outbound: Outbound,
    pub(crate) bucket: Option<Arc<Bucket>>,
    pub(crate) table: ResourceTable,
    pub(crate) limits: CallLimits,
    pub(crate) record: CallRecord,
}

impl HostState {
    pub(crate) fn new(
        resources: &ProviderResources,
        memory: MemoryShare,
        record: CallRecord,
    ) -> Self {
        let mut table = ResourceTable::new();
        table.set_max_capacity(if resources.http.is_some() {
            MAX_HANDLES_WITH_HTTP
        } else {
            MAX_HANDLES
        });

        let mut http = WasiHttpCtx::new();
        http.set_field_size_limit(MAX_FIELD_BYTES);

        Self {
            settings: resources.settings.clone(),
            wasi: None,
            http,
            outbound: Outbound::new(resources.http.clone(), record.clone()),
            bucket: resources.bucket.clone(),
            table,
            limits: CallLimits::new(resources.limits, memory, record.clone()),
            record,
        }
    }
}

impl WasiHttpView for HostState {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView {
            hooks: &mut self.outbound,
            table: &mut self.table,
            ctx: &mut self.http,
        }
    }
}

impl WasiView for HostState {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        let ctx = self.wasi.get_or_insert_with(|| empty_wasi(&self.record));
        WasiCtxView {
            ctx,
            table: &mut self.table,
        }
    }
}

/// No arguments, no environment, no folders, no network; what is printed goes to the log.
fn empty_wasi(record: &CallRecord) -> WasiCtx {
    WasiCtx::builder()
        .stdout(Printer(record.clone()))
        .stderr(Printer(record.clone()))
        .max_random_size(MAX_RANDOM_BYTES)
        .allow_tcp(false)
        .allow_udp(false)
        .allow_ip_name_lookup(false)
        .build()
}

/// The interfaces that need a grant.
pub(crate) fn link_granted(
    linker: &mut Linker<HostState>,
    http: bool,
    keyvalue: bool,
) -> wasmtime::Result<()> {
    if http {
        wasmtime_wasi_http::p2::add_only_http_to_linker_async(linker)?;
    }
    if keyvalue {
        keyvalue::link(linker)?;
    }
    Ok(())
}

/// What every guest may import.
pub(crate) fn link(linker: &mut Linker<HostState>) -> wasmtime::Result<()> {
    settings::link(linker)?;
    logging::link(linker)?;
    wasmtime_wasi::p2::add_to_linker_proxy_interfaces_async(linker)?;
    random::insecure::add_to_linker::<_, WasiRandom>(linker, |state| state.ctx().ctx.random())?;
    random::insecure_seed::add_to_linker::<_, WasiRandom>(linker, |state| {
        state.ctx().ctx.random()
    })?;
    cli::exit::add_to_linker::<_, WasiCli>(linker, HostState::cli)?;
    cli::environment::add_to_linker::<_, WasiCli>(linker, HostState::cli)?;
    cli::terminal_input::add_to_linker::<_, WasiCli>(linker, HostState::cli)?;
    cli::terminal_output::add_to_linker::<_, WasiCli>(linker, HostState::cli)?;
    cli::terminal_stdin::add_to_linker::<_, WasiCli>(linker, HostState::cli)?;
    cli::terminal_stdout::add_to_linker::<_, WasiCli>(linker, HostState::cli)?;
    cli::terminal_stderr::add_to_linker::<_, WasiCli>(linker, HostState::cli)?;
    filesystem::preopens::add_to_linker::<_, WasiFilesystem>(linker, HostState::filesystem)?;
    filesystem::types::add_to_linker::<_, WasiFilesystem>(linker, HostState::filesystem)?;

    link_sockets(linker)
}

/// CPython's standard library asks for them. None is ever made: `empty_wasi` allows neither TCP nor
/// UDP nor the look-up of a name.
fn link_sockets(linker: &mut Linker<HostState>) -> wasmtime::Result<()> {
    let options = sockets::network::LinkOptions::default();
    sockets::network::add_to_linker::<_, WasiSockets>(linker, &options, HostState::sockets)?;
    sockets::instance_network::add_to_linker::<_, WasiSockets>(linker, HostState::sockets)?;
    sockets::ip_name_lookup::add_to_linker::<_, WasiSockets>(linker, HostState::sockets)?;
    sockets::tcp_create_socket::add_to_linker::<_, WasiSockets>(linker, HostState::sockets)?;
    sockets::tcp::add_to_linker::<_, WasiSockets>(linker, HostState::sockets)?;
    sockets::udp_create_socket::add_to_linker::<_, WasiSockets>(linker, HostState::sockets)?;
    sockets::udp::add_to_linker::<_, WasiSockets>(linker, HostState::sockets)
}
