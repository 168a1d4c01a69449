//! What the parts of a request cost, beside the least that the same work can cost:
//! `cargo bench --package portcullis-tests --bench parts`.
//!
//! `call` is one check of a token in a fresh instance, from the runtime that serves requests, as the gate makes it:
//! `product` is ours with its limits, records and deadline; `minimum` is wasmtime alone, configured alike; `on demand`
//! is wasmtime without its pool, and `naive` that with a linker for every call as well.

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use portcullis::auth::{BearerToken, ProviderName, TokenVerdict};
use portcullis::sandbox::{
    ComponentSource, Limits, LoadedProvider, Powers, ProviderSpec, Sandbox, SandboxSettings,
};
use portcullis_tests::{bare_guest, guest};
use std::collections::BTreeMap;
use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use tokio::runtime::Runtime;

#[path = "minimum/mod.rs"]
mod minimum;

const TOKEN: &str = "good-token-0123456789";

fn settings() -> BTreeMap<String, String> {
    [("token".to_owned(), TOKEN.to_owned())].into()
}

fn load(runtime: &Runtime, sandbox: &Arc<Sandbox>, component: &Path) -> LoadedProvider {
    let spec = ProviderSpec {
        name: ProviderName::new("measured").expect("a name"),
        source: ComponentSource::File(component.to_owned()),
        sha256: None,
        settings: settings(),
        powers: Powers::default(),
        limits: Limits::default(),
    };
    runtime.block_on(sandbox.load(spec)).expect("a provider that loads")
}

fn call(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    let sandbox = Sandbox::start(&SandboxSettings::default()).expect("a sandbox");
    let mut group = criterion.benchmark_group("call");
    for (name, component) in [("std guest", guest("minimal")), ("no WASI imports", bare_guest())] {
        let loaded = load(&runtime, &sandbox, &component);
        let token = BearerToken::by_hand(TOKEN.into());
        group.bench_function(BenchmarkId::new("product", name), |bencher| {
            bencher.to_async(&runtime).iter(|| async {
                let by = loaded.provider.own_deadline();
                let observed = loaded.provider.observe(&token, by).await;
                assert!(matches!(black_box(observed.verdict), Ok(TokenVerdict::Recognized(_))));
            });
        });
        for host in minimum::Host::all(&component, TOKEN) {
            group.bench_function(BenchmarkId::new(host.name(), name), |bencher| {
                bencher.to_async(&runtime).iter(|| async {
                    assert!(black_box(host.knows(TOKEN).await));
                });
            });
        }
    }
    group.finish();
}

fn bearer(criterion: &mut Criterion) {
    let header = format!("Bearer {TOKEN}");
    criterion.bench_function("bearer token out of its header", |bencher| {
        bencher.iter(|| BearerToken::from_headers([black_box(header.as_bytes())]).map(drop));
    });
}

criterion_group!(parts, call, bearer);
criterion_main!(parts);
