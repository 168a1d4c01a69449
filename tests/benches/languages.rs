//! What a language costs: the table of `docs/providers/README.md`, from one run, after
//! `cargo build --release`: `cargo bench --package portcullis-tests --bench languages`, with names
//! of languages after `--` for those alone.
//!
//! The same example in every language whose tools are there, each built from clean, precompiled,
//! loaded, and asked about a token that it knows (settings and the bucket are read, nothing is
//! looked up). The last column is a ratio to Rust.

use portcullis_auth::{BearerToken, ProviderName, TokenVerdict};
use portcullis_author::scaffold::Language;
use portcullis_sandbox::{
    Buckets, Capabilities, ComponentSource, HttpGrant, Limits, Origin, ProviderSpec,
};
use portcullis_sandbox::{LoadedProvider, Sandbox, SandboxSettings};
use portcullis_tests::languages::{clean_example, missing, tool};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;

const CALLS: usize = 2_000;
const TOKEN: &str = "good-token-1";

fn main() {
    let runtime = Runtime::new().expect("a runtime");
    let mut rust_call = None;
    println!(
        "| language | tool | build from clean | component | precompiled | compile | load | call, median | p99 | memory | to Rust |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|");
    for language in wanted() {
        if let Some(program) = missing(language) {
            println!(
                "| {} | SKIPPED: `{program}` is missing | | | | | | | | | |",
                language.title()
            );
            continue;
        }
        let folder = tempfile::tempdir().expect("a temporary folder");
        let scaffold = clean_example(language, folder.path());
        let start = Instant::now();
        let component = scaffold.make();
        let built = start.elapsed();
        let row = runtime.block_on(measure(&component, folder.path()));
        let to_rust = row.median.as_secs_f64() / rust_call.get_or_insert(row.median).as_secs_f64();
        println!(
            "| {} | {} | {:.1} s | {} | {} | {:.1} s | {:.2} ms | {} us | {} us | {} KiB | {to_rust:.1} |",
            language.title(),
            tool(language, &scaffold.folder),
            built.as_secs_f64(),
            size(row.bytes),
            size(row.precompiled),
            row.compile.as_secs_f64(),
            row.load.as_secs_f64() * 1000.0,
            row.median.as_micros(),
            row.p99.as_micros(),
            row.memory / 1024,
        );
    }
}

fn wanted() -> Vec<Language> {
    let named: Vec<_> = std::env::args()
        .skip(1)
        .filter(|argument| !argument.starts_with("--"))
        .collect();
    let is_wanted =
        |language: &Language| named.is_empty() || named.contains(&language.title().to_lowercase());
    Language::ALL.into_iter().filter(is_wanted).collect()
}

struct Row {
    bytes: u64,
    precompiled: u64,
    compile: Duration,
    load: Duration,
    median: Duration,
    p99: Duration,
    memory: usize,
}

fn size(bytes: u64) -> String {
    if bytes < 1 << 20 {
        format!("{} KiB", bytes >> 10)
    } else {
        format!("{:.1} MiB", bytes as f64 / 1_048_576.0)
    }
}

async fn measure(component: &Path, folder: &Path) -> Row {
    let cache = folder.join("cache");
    fs::create_dir(&cache).expect("a folder");
    fs::set_permissions(&cache, fs::Permissions::from_mode(0o700)).expect("a folder of ours alone");
    let (compile, _) = load(component, &cache).await;
    // The median of some, each in an engine of its own: the first touches the file.
    let mut loads = Vec::new();
    let mut loaded = None;
    for _ in 0..5 {
        let (took, provider) = load(component, &cache).await;
        loads.push(took);
        loaded = Some(provider);
    }
    loads.sort();
    let provider = loaded.expect("one was loaded").provider;
    let token = BearerToken::by_hand(TOKEN.to_owned());
    let mut calls = Vec::with_capacity(CALLS);
    let mut memory = 0;
    for _ in 0..CALLS {
        let start = Instant::now();
        let observed = provider.observe(&token, provider.own_deadline()).await;
        calls.push(start.elapsed());
        memory = memory.max(observed.used.memory_bytes);
        assert!(
            matches!(observed.verdict, Ok(TokenVerdict::Recognized(_))),
            "{:?}",
            observed.verdict
        );
    }
    calls.sort();
    Row {
        bytes: fs::metadata(component).expect("the component").len(),
        precompiled: files(&cache),
        compile,
        load: loads[loads.len() / 2],
        median: calls[CALLS / 2],
        p99: calls[CALLS * 99 / 100],
        memory,
    }
}

/// Reading, compiling (or finding compiled), linking, and the two questions that are asked at load.
async fn load(component: &Path, cache: &Path) -> (Duration, LoadedProvider) {
    let settings = SandboxSettings {
        cache: Some(cache.to_owned()),
        ..SandboxSettings::default()
    };
    let sandbox: Arc<Sandbox> = Sandbox::start(&settings).expect("a sandbox");
    let name = ProviderName::new("example").expect("a name");
    let nowhere = Origin::parse("https://nowhere.invalid").expect("an origin");
    let spec = ProviderSpec {
        capabilities: Capabilities {
            http: vec![HttpGrant::of(nowhere)],
            bucket: Some(Buckets::in_memory().of(&name)),
        },
        name,
        source: ComponentSource::File(PathBuf::from(component)),
        sha256: None,
        settings: BTreeMap::from([("tokens".to_owned(), format!("{TOKEN} alice metrics.read\n"))]),
        limits: Limits::default(),
        link_modules: false,
    };
    let start = Instant::now();
    let loaded = sandbox.load(spec).await.expect("the example loads");
    (start.elapsed(), loaded)
}

fn files(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).expect("the folder");
    entries
        .map(|entry| entry.expect("an entry").path())
        .map(|path| {
            if path.is_dir() {
                files(&path)
            } else {
                fs::metadata(path).expect("a file").len()
            }
        })
        .sum()
}
