//! The least that hosts a provider: wasmtime with the settings that were measured best, and nothing
//! of Portcullis. And what the same call costs without them.

use std::path::Path;
use std::sync::Arc;
use wasmtime::component::{
    Component, ComponentExportIndex, ComponentType, InstancePre, Lift, Linker, Lower, ResourceTable,
};
use wasmtime::{
    Config, Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, Store,
};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

const MEMORY_BYTES: usize = 64 << 20;
const SLOTS: u32 = 64;

#[derive(ComponentType, Lift)]
#[component(record)]
struct TokenPrincipal {
    principal: String,
    scopes: Vec<String>,
    groups: Vec<String>,
}

#[derive(ComponentType, Lift)]
#[component(variant)]
enum ProviderError {
    #[component(name = "unavailable")]
    Unavailable(String),
}

#[derive(ComponentType, Lower)]
#[component(variant)]
enum StoreError {
    #[component(name = "upstream")]
    #[expect(dead_code, reason = "the interface has it")]
    Upstream(String),
    #[component(name = "io")]
    #[expect(dead_code, reason = "the interface has it")]
    Io(String),
}

type Answer = (Result<Option<TokenPrincipal>, ProviderError>,);

/// How a host makes its calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// A pool that keeps what instances touch, everything looked up once, WASI's context only when
    /// it is asked for.
    Minimum,
    /// The same without the pool.
    OnDemand,
    /// As the first page of a tutorial has it: a linker and a context for every call.
    Naive,
}

struct State {
    token: Arc<str>,
    wasi: Option<WasiCtx>,
    table: ResourceTable,
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        let ctx = self.wasi.get_or_insert_with(|| WasiCtx::builder().build());
        WasiCtxView {
            ctx,
            table: &mut self.table,
        }
    }
}

/// A host of one provider, which knows one token.
pub(crate) struct Host {
    way: Way,
    engine: Engine,
    component: Component,
    linked: InstancePre<State>,
    verify_token: ComponentExportIndex,
    token: Arc<str>,
}

impl Host {
    /// The least that it takes.
    pub(crate) fn minimum(component: &Path, token: &str) -> Self {
        Self::new(Way::Minimum, component, token)
    }

    /// One of each kind.
    pub(crate) fn all(component: &Path, token: &str) -> Vec<Self> {
        [Way::Minimum, Way::OnDemand, Way::Naive]
            .map(|way| Self::new(way, component, token))
            .into()
    }

    fn new(way: Way, component: &Path, token: &str) -> Self {
        let engine = Engine::new(&config(way)).expect("an engine");
        let component = Component::from_file(&engine, component).expect("a component");
        let linked = linker(&engine)
            .instantiate_pre(&component)
            .expect("a component that fits");
        let provider = component
            .get_export_index(None, "portcullis:auth/provider@0.2.0")
            .expect("a provider");
        let verify_token = component
            .get_export_index(Some(&provider), "verify-token")
            .expect("its function");
        Self {
            way,
            engine,
            component,
            linked,
            verify_token,
            token: token.into(),
        }
    }

    pub(crate) fn name(&self) -> &'static str {
        match self.way {
            Way::Minimum => "minimum",
            Way::OnDemand => "on demand",
            Way::Naive => "naive",
        }
    }

    /// One call in a fresh instance.
    pub(crate) async fn knows(&self, token: &str) -> bool {
        let wasi = (self.way == Way::Naive).then(|| WasiCtx::builder().build());
        let state = State {
            token: self.token.clone(),
            wasi,
            table: ResourceTable::new(),
        };
        let mut store = Store::new(&self.engine, state);
        store.set_epoch_deadline(1_000_000);
        let instance = match self.way {
            Way::Naive => {
                linker(&self.engine)
                    .instantiate_async(&mut store, &self.component)
                    .await
            }
            Way::Minimum | Way::OnDemand => self.linked.instantiate_async(&mut store).await,
        };
        let instance = instance.expect("an instance");
        let verify = instance
            .get_typed_func::<(&str,), Answer>(&mut store, self.verify_token)
            .expect("its type");
        let (answer,) = verify
            .call_async(&mut store, (token,))
            .await
            .expect("an answer");
        match answer {
            Ok(Some(known)) => {
                !known.principal.is_empty() && !known.scopes.is_empty() && known.groups.is_empty()
            }
            Ok(None) => false,
            Err(ProviderError::Unavailable(why)) => why.is_empty(),
        }
    }
}

fn config(way: Way) -> Config {
    let mut config = Config::new();
    config.epoch_interruption(true).wasm_wide_arithmetic(true);
    if way == Way::Naive {
        return config;
    }
    config.concurrency_support(false);
    if way == Way::Minimum {
        let mut pool = PoolingAllocationConfig::default();
        pool.total_component_instances(SLOTS)
            .total_core_instances(SLOTS * 16)
            .total_memories(SLOTS * 2)
            .max_memories_per_component(2)
            .max_tables_per_component(16)
            .table_elements(20_000)
            .total_tables(SLOTS * 16)
            .total_stacks(SLOTS)
            .max_memory_size(MEMORY_BYTES)
            .max_unused_warm_slots(SLOTS * 4)
            .linear_memory_keep_resident(384 << 10)
            .table_keep_resident(384 << 10)
            .pagemap_scan(Enabled::Auto);
        config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    }
    config
}

fn linker(engine: &Engine) -> Linker<State> {
    let mut linker = Linker::new(engine);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker).expect("WASI");
    linker
        .instance("wasi:config/store@0.2.0-rc.1")
        .and_then(|mut store| {
            store.func_wrap(
                "get",
                |store: wasmtime::StoreContextMut<'_, State>, (_,): (String,)| {
                    Ok((Ok::<_, StoreError>(Some(store.data().token.to_string())),))
                },
            )?;
            store.func_wrap("get-all", |_: wasmtime::StoreContextMut<'_, State>, ()| {
                Ok((Ok::<Vec<(String, String)>, StoreError>(Vec::new()),))
            })
        })
        .expect("the settings");
    linker
}
