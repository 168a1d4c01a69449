//! Components that a machine made up, ten thousand of them: none crashes the host, and none is
//! believed.

use portcullis_auth::{BearerToken, ProviderFault, ProviderName, TokenVerdict};
use portcullis_sandbox::{
    Capabilities, ComponentSource, Limits, LoadError, ProviderSpec, Sandbox, SandboxSettings,
};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};
use wasm_smith::{Component, Config, Module};
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::{Resolve, WorldId};

const COUNT: u64 = 5_000;

/// The same bytes for the same number, and different ones for another (splitmix64).
fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed;
    let word = |_| {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        (mixed ^ (mixed >> 27))
            .wrapping_mul(0x94d0_49bb_1331_11eb)
            .to_le_bytes()
    };
    (0..length / 8).flat_map(word).collect()
}

/// Leaked: the sandbox takes the bytes of the binary, or a file.
fn source(bytes: Vec<u8>) -> ComponentSource {
    ComponentSource::Bundled(Vec::leak(bytes))
}

/// What became of them.
#[derive(Debug, Default)]
struct Tally {
    /// Not loaded without any call.
    refused: usize,
    /// Called, and not loaded: the question whether it takes tokens failed, or the answer was no.
    failed_at_load: usize,
    /// Asked about a token.
    asked: usize,
}

fn run_all(components: impl Iterator<Item = Vec<u8>>) -> Tally {
    let sandbox = Sandbox::start(&SandboxSettings::default()).expect("a sandbox");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let token = BearerToken::by_hand("a-token-that-nobody-issued".into());
    let limits = Limits {
        deadline: Duration::from_millis(20),
        ..Limits::default()
    };
    let mut tally = Tally::default();
    for component in components {
        let spec = ProviderSpec {
            name: ProviderName::new("made-up").expect("a name"),
            source: source(component),
            sha256: None,
            settings: BTreeMap::new(),
            capabilities: Capabilities::default(),
            limits,
            link_modules: false,
        };
        runtime.block_on(async {
            let loaded = match sandbox.load(spec).await {
                Ok(loaded) => loaded,
                Err(LoadError::Faulted(_) | LoadError::Useless) => {
                    return tally.failed_at_load += 1;
                }
                Err(_) => return tally.refused += 1,
            };
            tally.asked += 1;
            let observed = loaded
                .provider
                .observe(&token, Instant::now() + limits.deadline)
                .await;
            match observed.verdict {
                // By chance, one vouches for a caller without a name.
                Ok(verdict) => assert!(
                    !matches!(verdict, TokenVerdict::Recognized(_)),
                    "{verdict:?}"
                ),
                Err(fault) => assert!(!matches!(fault.fault, ProviderFault::Host(_)), "{fault}"),
            }
        });
    }
    tally
}

#[test]
fn made_up_components_are_refused() {
    let component = |seed| {
        let noise = noise(seed, 2048);
        let mut noise = arbitrary::Unstructured::new(&noise);
        Component::new(Config::default(), &mut noise)
            .map(|component| component.to_bytes())
            .unwrap_or_default()
    };
    let tally = run_all((0..COUNT).map(component));
    assert_eq!(
        tally.refused,
        usize::try_from(COUNT).expect("a count"),
        "{tally:?}"
    );
}

#[test]
fn made_up_providers_are_called_and_never_believed() {
    let mut resolve = Resolve::default();
    let wit = Path::new(env!("CARGO_MANIFEST_DIR")).join("../wit");
    let (package, _) = resolve.push_dir(wit).expect("the contract");
    let world = resolve
        .select_world(&[package], Some("auth-provider"))
        .expect("the world");
    let tally = run_all((0..COUNT).map(|seed| provider(seed, &resolve, world)));
    assert!(
        tally.failed_at_load > 1_000 && tally.asked > 200,
        "{tally:?}"
    );
}

/// A module with the contract's exports, and random content beside them.
fn provider(seed: u64, resolve: &Resolve, world: WorldId) -> Vec<u8> {
    const EXPORTS: &str = r#"(module
        (memory (export "memory") 1)
        (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) unreachable)
        (func (export "portcullis:auth/provider@0.2.0#supports-token") (result i32) unreachable)
        (func (export "portcullis:auth/provider@0.2.0#verify-token") (param i32 i32) (result i32) unreachable)
        (func (export "portcullis:auth/provider@0.2.0#verify-session") (param i32 i32) (result i32) unreachable))"#;
    let config = Config {
        exports: Some(wat::parse_str(EXPORTS).expect("the text is WebAssembly")),
        max_imports: 0,
        max_memories: 1,
        max_memory32_bytes: 1 << 20,
        max_funcs: 10,
        max_instructions: 60,
        // Every other one, so that some get past the first question and others fail at it.
        disallow_traps: seed.is_multiple_of(2),
        multi_value_enabled: false,
        gc_enabled: false,
        // With them come references to objects of the host, which no provider may have.
        reference_types_enabled: false,
        exceptions_enabled: false,
        memory64_enabled: false,
        threads_enabled: false,
        custom_page_sizes_enabled: false,
        ..Config::default()
    };
    let noise = noise(seed, 4096);
    let mut noise = arbitrary::Unstructured::new(&noise);
    let Ok(module) = Module::new(config, &mut noise) else {
        return Vec::new();
    };
    let mut module = module.to_bytes();
    embed_component_metadata(&mut module, resolve, world, StringEncoding::UTF8)
        .expect("a module takes metadata");
    let encoder = ComponentEncoder::default().validate(false).module(&module);
    encoder
        .and_then(|mut encoder| encoder.encode())
        .unwrap_or_default()
}
