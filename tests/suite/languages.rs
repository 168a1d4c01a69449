//! The same provider in every language: built by its own tools, asked the same questions, the same
//! answers.

use portcullis_author::scaffold::{Language, ProviderKind};
use portcullis_tests::languages::{Scaffold, example, missing};
use portcullis_tests::{Home, Process, SOON, eventually, get};
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// How many languages must be there where everything is checked.
const AT_LEAST: usize = 8;

/// Who was asked for, and may be cut off.
struct LookUp {
    origin: String,
    asked: Arc<AtomicUsize>,
    is_cut_off: Arc<AtomicBool>,
}

impl LookUp {
    /// Knows alice and carol, knows that bob is gone, and is out of order for all others.
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let origin = format!("http://{}", listener.local_addr().expect("an address"));
        let look_up = Self {
            origin,
            asked: Arc::default(),
            is_cut_off: Arc::default(),
        };
        let (asked, is_cut_off) = (look_up.asked.clone(), look_up.is_cut_off.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                asked.fetch_add(1, Ordering::SeqCst);
                if !is_cut_off.load(Ordering::SeqCst) {
                    answer(stream);
                }
            }
        });
        look_up
    }
}

fn answer(stream: TcpStream) {
    let mut reader = BufReader::new(stream);
    let mut head = String::new();
    while reader.read_line(&mut head).is_ok_and(|read| read > 2) {}
    let status = match head.split(' ').nth(1) {
        Some("/principals/alice" | "/principals/carol") => "200 OK",
        Some("/principals/bob") => "410 Gone",
        _ => "500 Internal Server Error",
    };
    let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{{}}");
    let _ = reader.get_mut().write_all(answer.as_bytes());
}

const TABLE: &str = "# people\\n\\ngood-token-1 alice  metrics.read\\ngood-token-2 bob metrics.read\\n\
                     good-token-3 carol\\ngood-token-4 dave metrics.read\\n";

fn config(component: &Path, table: &str, look_up: &LookUp) -> String {
    format!(
        "dashboard:\n  token_routes: [{{path: /metrics, scope: metrics.read}}]\n  providers:\n    - name: example\n      \
         component: {}\n      config: {{tokens: \"{table}\", lookup: '{origin}/principals/'}}\n      \
         grants: {{scopes: [metrics.read], keyvalue: true, http: ['{origin}']}}\n      limits: {{deadline_ms: 10000}}\n",
        component.display(),
        origin = look_up.origin,
    )
}

fn status(dashboard: &Process, token: &str) -> u16 {
    let bearer = format!("Bearer {token}");
    get(&dashboard.url("/metrics"), &[("authorization", &bearer)]).status
}

/// Loud, and no failure: a machine need not have every language.
fn is_skipped(language: Language) -> bool {
    let Some(command) = missing(language) else {
        return false;
    };
    eprintln!(
        "SKIPPED: {} needs `{command}`, which does not work on this machine",
        language.title()
    );
    true
}

fn behaves_like_the_others(language: Language) {
    if is_skipped(language) {
        return;
    }
    let component = example(language);
    let look_up = LookUp::start();
    let home = Home::with_config(&config(&component, TABLE, &look_up));
    let mut dashboard = home.dashboard();

    assert_eq!(status(&dashboard, "good-token-1"), 200);
    let bearer = [("authorization", "Bearer good-token-1")];
    assert_eq!(
        get(&dashboard.url("/api/auth/whoami"), &bearer).json()["principal"],
        "alice"
    );
    assert_eq!(
        status(&dashboard, "good-token-3"),
        403,
        "carol has no scope"
    );
    for wrong in [
        "good-token",
        "good-token-11",
        "good-token-5",
        "GOOD-TOKEN-1",
        "people",
        "alice",
        "g",
    ] {
        assert_eq!(status(&dashboard, wrong), 401, "{wrong}");
    }

    assert_eq!(
        status(&dashboard, "good-token-4"),
        503,
        "the look-up answered 500"
    );
    let asked = look_up.asked.load(Ordering::SeqCst);
    assert_eq!(status(&dashboard, "good-token-2"), 401, "bob is gone");
    assert_eq!(status(&dashboard, "good-token-2"), 401);
    assert_eq!(
        look_up.asked.load(Ordering::SeqCst),
        asked + 1,
        "the bucket remembers"
    );
    look_up.is_cut_off.store(true, Ordering::SeqCst);
    assert_eq!(
        status(&dashboard, "good-token-1"),
        503,
        "the look-up is out of reach"
    );
    assert_eq!(status(&dashboard, "good-token-2"), 401, "bob stays revoked");
    assert!(dashboard.terminate().success());

    // Who is gone stays so over a restart.
    let mut dashboard = home.dashboard();
    assert_eq!(status(&dashboard, "good-token-2"), 401);
    eventually("why there was a 503 is audited", SOON, || {
        let faults = home
            .audit()
            .into_iter()
            .filter(|line| line["event"] == "provider_fault");
        faults
            .map(|line| line.to_string())
            .find(|line| line.contains("the look-up answered 500"))
    });
    assert!(dashboard.terminate().success());

    for (table, complaint) in [
        (
            "secret-of-nobody\\n",
            "`tokens`, line 1: it needs a token and a principal",
        ),
        (
            "# c\\na b\\n\\n  secret-of-nobody",
            "`tokens`, line 4: it needs a token and a principal",
        ),
    ] {
        home.write("portcullis.yaml", &config(&component, table, &look_up));
        let checked = Process::run(&home, &["config", "check"], &[]);
        assert_eq!(checked.code, Some(64));
        assert!(checked.stderr.contains(complaint), "{}", checked.stderr);
        assert!(
            !checked.stderr.contains("secret-of-nobody"),
            "{}",
            checked.stderr
        );
    }
    let without = config(&component, TABLE, &look_up).replace("tokens:", "other:");
    home.write("portcullis.yaml", &without);
    let checked = Process::run(&home, &["config", "check"], &[]);
    assert!(
        checked
            .stderr
            .contains("`tokens` is missing: one line a token"),
        "{}",
        checked.stderr
    );
}

/// Of every kind, as `provider new` writes it: it builds, its own tests pass, and so does
/// `provider check`.
fn begins_well(language: Language, kinds: &[ProviderKind]) {
    if is_skipped(language) {
        return;
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    for kind in kinds {
        let name = format!("{}-{}", language.name(), kind.name());
        let scaffold = Scaffold::new(language, *kind, &name, folder.path());
        scaffold.build();
        scaffold.run(&scaffold.steps.test);
        let component = scaffold.component();
        scaffold.run(&format!(
            "$PORTCULLIS provider check {} {}",
            component.display(),
            scaffold.steps.check
        ));
        if is_linked(language) {
            let again = format!(
                "$PORTCULLIS provider link {} -o again.wasm",
                component.display()
            );
            scaffold.run(&format!("{again} | grep 'nothing to link'"));
        }
    }
}

/// Whether the build of a scaffold ends with `provider link`.
fn is_linked(language: Language) -> bool {
    matches!(
        language,
        Language::Python | Language::JavaScript | Language::TypeScript
    )
}

/// A whole engine in every component takes half a minute to build and to compile: what
/// `first_steps` tries is not tried again.
fn kinds(language: Language) -> &'static [ProviderKind] {
    match language {
        Language::Python => &[ProviderKind::Password, ProviderKind::Redirect],
        // The same engine and the same tools: each of the two tries one of the kinds.
        Language::JavaScript => &[ProviderKind::Password],
        Language::TypeScript => &[ProviderKind::Redirect],
        _ => &ProviderKind::ALL,
    }
}

macro_rules! languages {
    ($($name:ident: $language:ident,)*) => {
        mod behaves_like_the_others {
            use super::*;
            $(#[test] fn $name() { behaves_like_the_others(Language::$language); })*
        }
        mod begins_well {
            use super::*;
            $(#[test] fn $name() { begins_well(Language::$language, kinds(Language::$language)); })*
        }
        const LISTED: &[Language] = &[$(Language::$language),*];
    };
}

languages! {
    rust: Rust,
    python: Python,
    javascript: JavaScript,
    typescript: TypeScript,
    go: Go,
    c: C,
    cpp: Cpp,
    zig: Zig,
    assemblyscript: AssemblyScript,
    wat: Wat,
}

#[test]
fn every_language_is_tried() {
    assert_eq!(LISTED, &Language::ALL[..]);
    let missing: Vec<_> = LISTED
        .iter()
        .filter_map(|language| Some((language.name(), missing(*language)?)))
        .collect();
    let there = LISTED.len() - missing.len();
    eprintln!(
        "{there} of {} languages are on this machine; missing: {missing:?}",
        LISTED.len()
    );
    #[expect(
        clippy::disallowed_methods,
        reason = "where everything is checked, CI says so"
    )]
    let is_ci = std::env::var_os("CI").is_some();
    assert!(!is_ci || there >= AT_LEAST, "{missing:?}");
}
