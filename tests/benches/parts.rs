//! What the parts of a request cost, beside the least that the same work can cost:
//! `cargo bench --package portcullis-tests --bench parts`.
//!
//! `call` is one check of a token in a fresh instance, from the runtime that serves requests, as
//! the gate makes it: `product` is ours with its limits, records and deadline; `minimum` is
//! wasmtime alone, configured alike; `on demand` is wasmtime without its pool, and `naive` that
//! with a linker for every call as well. `load` is a provider that was compiled before. What is
//! measured can be chosen: `-- heavy`.

use criterion::{
    BenchmarkId, Criterion, SamplingMode, Throughput, criterion_group, criterion_main,
};
use portcullis_auth::{
    BearerToken, Decision, Gate, People, PeopleGate, ProviderName, Registered, Registry,
    RequestFacts, Required, TokenRoutes, TokenVerdict,
};
use portcullis_author::scaffold::{Language, ProviderKind};
use portcullis_dashboard::config::{Environment, load_text};
use portcullis_dashboard::web::CookieSealer;
use portcullis_home::MarkerFile;
use portcullis_sandbox::{
    Capabilities, ComponentSource, Limits, LoadedProvider, ProviderSpec, Sandbox, SandboxSettings,
};
use portcullis_tests::languages::{Scaffold, missing};
use portcullis_tests::{bare_guest, linked_guest};
use std::collections::{BTreeMap, BTreeSet};
use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;

#[path = "minimum/mod.rs"]
mod minimum;

const PATH: &str = "/measured";
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
        capabilities: Capabilities::default(),
        limits: Limits::default(),
        link_modules: false,
    };
    runtime
        .block_on(sandbox.load(spec))
        .expect("a provider that loads")
}

fn call(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    let sandbox = Sandbox::start(&SandboxSettings::default()).expect("a sandbox");
    let mut group = criterion.benchmark_group("call");
    for (name, component) in [
        ("std guest", linked_guest("minimal")),
        ("no WASI imports", bare_guest()),
    ] {
        let loaded = load(&runtime, &sandbox, &component);
        let token = BearerToken::by_hand(TOKEN.into());
        group.bench_function(BenchmarkId::new("product", name), |bencher| {
            bencher.to_async(&runtime).iter(|| async {
                let by = loaded.provider.own_deadline();
                let observed = loaded.provider.observe(&token, by).await;
                assert!(matches!(
                    black_box(observed.verdict),
                    Ok(TokenVerdict::Recognized(_))
                ));
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

/// Languages that bring their runtime with them, as `provider new` has them: without pause, and
/// with a pause between calls, when the caches are cold.
fn heavy(criterion: &mut Criterion) {
    const PAUSE: Duration = Duration::from_millis(4);
    let runtime = Runtime::new().expect("a runtime");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut group = criterion.benchmark_group("heavy");
    group.sampling_mode(SamplingMode::Flat);
    for language in [Language::JavaScript, Language::Python] {
        if let Some(program) = missing(language) {
            println!("{}: SKIPPED, `{program}` is missing", language.title());
            continue;
        }
        let component = Scaffold::new(
            language,
            ProviderKind::Token,
            language.name(),
            folder.path(),
        )
        .build();
        let sandbox = Sandbox::start(&SandboxSettings::default()).expect("a sandbox");
        let loaded = load(&runtime, &sandbox, &component);
        let token = BearerToken::by_hand(TOKEN.into());
        for (name, pause) in [("product", None), ("product, one every 4 ms", Some(PAUSE))] {
            group.bench_function(BenchmarkId::new(name, language.title()), |bencher| {
                bencher.to_async(&runtime).iter_custom(|times| {
                    let (provider, token) = (&loaded.provider, &token);
                    async move {
                        let mut spent = Duration::ZERO;
                        for _ in 0..times {
                            if let Some(pause) = pause {
                                tokio::time::sleep(pause).await;
                            }
                            let start = Instant::now();
                            let observed = provider.observe(token, provider.own_deadline()).await;
                            spent += start.elapsed();
                            assert!(matches!(observed.verdict, Ok(TokenVerdict::Recognized(_))));
                        }
                        spent
                    }
                });
            });
        }
        let host = minimum::Host::minimum(&component, TOKEN);
        group.bench_function(BenchmarkId::new(host.name(), language.title()), |bencher| {
            bencher.to_async(&runtime).iter(|| async {
                assert!(black_box(host.knows(TOKEN).await));
            });
        });
    }
    group.finish();
}

/// A provider whose component was compiled before, into a sandbox that runs: linked, and asked
/// about its settings and what it supports.
fn load_again(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let settings = SandboxSettings {
        cache: Some(folder.path().join("cache")),
        ..SandboxSettings::default()
    };
    let sandbox = Sandbox::start(&settings).expect("a sandbox");
    for (name, component) in [
        ("std guest", linked_guest("minimal")),
        ("no WASI imports", bare_guest()),
    ] {
        load(&runtime, &sandbox, &component);
        criterion.bench_function(&format!("load/{name}"), |bencher| {
            bencher.iter(|| load(&runtime, &sandbox, &component));
        });
    }
}

/// A gate with `providers` providers, of which the last knows the token.
fn gate(loaded: &LoadedProvider, providers: usize) -> Gate {
    let stranger = |number| Registered {
        token: Some(loaded.provider.clone()),
        ..Registered::new(
            ProviderName::new(&format!("p{number}")).expect("a name"),
            BTreeSet::new(),
        )
    };
    let registry =
        Registry::new((1..=providers).map(stranger).collect()).expect("names of their own");
    let routes = TokenRoutes::default().with(PATH, Required::NoScope);
    Gate::new(
        routes,
        registry,
        Arc::new(People::new(PeopleGate::Sessions)),
    )
}

/// An unknown token is asked of every provider: ten providers cost ten calls, and nothing more.
fn chain(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    let sandbox = Sandbox::start(&SandboxSettings {
        providers: 4,
        ..SandboxSettings::default()
    });
    let loaded = load(
        &runtime,
        &sandbox.expect("a sandbox"),
        &linked_guest("minimal"),
    );
    let mut group = criterion.benchmark_group("chain");
    for providers in [1, 2, 10, 100] {
        let gate = gate(&loaded, providers);
        group.throughput(Throughput::Elements(providers as u64));
        group.bench_function(BenchmarkId::from_parameter(providers), |bencher| {
            bencher.to_async(&runtime).iter(|| async {
                let now = Instant::now();
                let by = now + Duration::from_secs(60);
                let facts =
                    RequestFacts::of_a_machine(PATH, vec![b"Bearer unknown-token"], now, by);
                let judgement = gate.decide(&facts).await;
                assert!(
                    judgement.faults.is_empty()
                        && matches!(judgement.decision, Decision::Refused(_))
                );
            });
        });
    }
    group.finish();
}

/// As many calls on two threads as on one: what they keep from each other by sharing a pool.
fn threads(criterion: &mut Criterion) {
    const CALLS: usize = 2_000;
    let runtime = Runtime::new().expect("a runtime");
    let sandbox = Sandbox::start(&SandboxSettings {
        providers: 4,
        ..SandboxSettings::default()
    });
    let loaded = load(
        &runtime,
        &sandbox.expect("a sandbox"),
        &linked_guest("minimal"),
    );
    let mut group = criterion.benchmark_group("threads");
    for threads in [1, 2] {
        group.throughput(Throughput::Elements((CALLS * threads) as u64));
        group.bench_function(BenchmarkId::from_parameter(threads), |bencher| {
            bencher.iter(|| {
                std::thread::scope(|scope| {
                    for _ in 0..threads {
                        scope.spawn(|| {
                            runtime.block_on(async {
                                let token = BearerToken::by_hand(TOKEN.into());
                                for _ in 0..CALLS {
                                    let observed = loaded
                                        .provider
                                        .observe(&token, loaded.provider.own_deadline())
                                        .await;
                                    assert!(observed.verdict.is_ok());
                                }
                            });
                        });
                    }
                });
            });
        });
    }
    group.finish();
}

fn host(criterion: &mut Criterion) {
    let header = format!("Bearer {TOKEN}");
    criterion.bench_function("host/bearer token out of its header", |bencher| {
        bencher.iter(|| BearerToken::from_headers([black_box(header.as_bytes())]).map(drop));
    });
    let sealer = CookieSealer::new([b"a secret of the dashboard, at least 32 bytes".as_slice()]);
    let content = "x".repeat(600);
    criterion.bench_function("host/cookie, seal", |bencher| {
        bencher.iter(|| sealer.seal("hermes_session_at", black_box(&content)));
    });
    let sealed = sealer.seal("hermes_session_at", &content);
    criterion.bench_function("host/cookie, open", |bencher| {
        bencher.iter(|| {
            sealer
                .open::<String>("hermes_session_at", black_box(&sealed))
                .expect("our own")
        });
    });
    let home = tempfile::tempdir().expect("a temporary folder");
    let marker = MarkerFile::new(home.path());
    let content = portcullis_tests::marker_of_one_lease();
    criterion.bench_function("host/drain marker, write with fsync", |bencher| {
        bencher.iter(|| marker.write(black_box(&content)).expect("a folder of ours"));
    });
    criterion.bench_function("host/drain marker, read", |bencher| {
        bencher.iter(|| black_box(marker.read()));
    });
    let providers: String = (0..100)
        .map(|number| {
            format!("    - {{name: p{number}, component: provider.wasm, config: {{a: b}}}}\n")
        })
        .collect();
    let text = format!("dashboard:\n  providers:\n{providers}");
    criterion.bench_function("host/configuration of 100 providers", |bencher| {
        bencher.iter(|| {
            load_text(
                home.path().to_owned(),
                None,
                black_box(&text),
                Environment::default(),
            )
            .expect("no mistake")
        });
    });
}

criterion_group!(parts, call, load_again, heavy, chain, threads, host);
criterion_main!(parts);
