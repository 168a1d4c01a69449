//! What most requests do, a number of times each. `suite/instructions.rs` counts the instructions.
//!
//! Between two calls of [`mark`] lies one path, by turns with what prepares the next. A folder for
//! compiled components is the argument: the second run compiles nothing.

use portcullis_auth::{BearerToken, ProviderName, TokenVerdict};
use portcullis_dashboard::config::{Environment, load_text};
use portcullis_dashboard::web::CookieSealer;
use portcullis_home::MarkerFile;
use portcullis_sandbox::{
    Capabilities, ComponentSource, Limits, LoadedProvider, ProviderSpec, Sandbox, SandboxSettings,
};
use portcullis_tests::{bare_guest, linked_guest};
use std::collections::BTreeMap;
use std::fs;
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};

const TOKEN: &str = "good-token-0123456789";
const NEVER: Duration = Duration::from_secs(3600);

/// Callgrind writes down what it counted whenever this is called.
#[inline(never)]
fn mark() {
    black_box(());
}

/// Measures one path. Its first runs, which touch everything for the first time, are not counted.
fn path(name: &str, times: u32, mut run: impl FnMut()) {
    (0..3).for_each(|_| run());
    mark();
    (0..times).for_each(|_| run());
    mark();
    println!("{name}\t{times}");
}

fn main() {
    let home = std::env::args()
        .nth(1)
        .map(PathBuf::from)
        .expect("a folder");
    // Before there is a sandbox: what its threads still do would be counted as the host's.
    of_the_host(&home);

    let runtime = Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    // Counting is slow: a call that yields after each millisecond would never end at once. And the
    // counter has no addresses for more than a few calls.
    let settings = SandboxSettings {
        max_calls: 2,
        tick: NEVER,
        cache: Some(home.join("cache")),
        ..SandboxSettings::default()
    };
    let sandbox = Sandbox::start(&settings).expect("a sandbox");
    for (name, component) in [
        ("call, std guest", linked_guest("minimal")),
        ("call, no WASI imports", bare_guest()),
    ] {
        let loaded = load(&runtime, &sandbox, &component);
        let token = BearerToken::by_hand(TOKEN.into());
        path(name, 200, || {
            let observed = runtime.block_on(
                loaded
                    .provider
                    .observe(&token, loaded.provider.own_deadline()),
            );
            assert!(
                matches!(observed.verdict, Ok(TokenVerdict::Recognized(_))),
                "{:?}",
                observed.verdict
            );
        });
    }
}

fn load(runtime: &Runtime, sandbox: &Arc<Sandbox>, component: &Path) -> LoadedProvider {
    let spec = ProviderSpec {
        name: ProviderName::new("measured").expect("a name"),
        source: ComponentSource::File(component.to_owned()),
        sha256: None,
        settings: BTreeMap::from([("token".to_owned(), TOKEN.to_owned())]),
        capabilities: Capabilities::default(),
        limits: Limits {
            deadline: NEVER,
            ..Limits::default()
        },
        link_modules: false,
    };
    runtime
        .block_on(sandbox.load(spec))
        .expect("a provider that loads")
}

fn of_the_host(home: &Path) {
    let header = format!("Bearer {TOKEN}");
    path("bearer token out of its header", 1_000, || {
        assert!(BearerToken::from_headers([black_box(header.as_bytes())]).is_ok());
    });
    let sealer = CookieSealer::new([b"a secret of the dashboard, at least 32 bytes".as_slice()]);
    let session = "x".repeat(600);
    let sealed = sealer.seal("hermes_session_at", &session);
    path("cookie, seal", 200, || {
        assert!(
            !sealer
                .seal("hermes_session_at", black_box(&session))
                .is_empty()
        );
    });
    path("cookie, open", 200, || {
        assert!(
            sealer
                .open::<String>("hermes_session_at", black_box(&sealed))
                .is_some()
        );
    });
    fs::create_dir_all(home).expect("a folder");
    let marker = MarkerFile::new(home);
    let content = portcullis_tests::marker_of_one_lease();
    path("drain marker, write", 50, || {
        marker.write(black_box(&content)).expect("a folder of ours");
    });
    path("drain marker, read", 200, || drop(black_box(marker.read())));
    let entries = (1..=100)
        .map(|n| format!("    - {{name: p{n}, component: provider.wasm, config: {{a: b}}}}\n"));
    let text = format!("dashboard:\n  providers:\n{}", entries.collect::<String>());
    path("configuration of 100 providers", 5, || {
        load_text(
            home.to_owned(),
            None,
            black_box(&text),
            Environment::default(),
        )
        .expect("no mistake");
    });
}
