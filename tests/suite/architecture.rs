//! The walls of the house: which module may use which, and who alone may name what.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// What each module of `runtime/src` may use of ours. `cli` and `main` are the binary, over the library.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    ("atomic_file", &[]),
    ("exposition", &[]),
    ("flood_limit", &[]),
    ("home_lock", &["atomic_file"]),
    ("parent_watch", &[]),
    ("request_id", &[]),
    ("trust", &["atomic_file"]),
    ("tls", &["atomic_file", "trust"]),
    ("listen", &["tls"]),
    ("users_file", &["atomic_file"]),
    ("secret_strength", &[]),
    ("auth", &[]),
    ("audit", &["auth", "atomic_file", "flood_limit", "home_lock"]),
    ("sandbox", &["auth", "atomic_file", "flood_limit", "trust"]),
    ("drain", &["auth", "atomic_file", "secret_strength"]),
    ("gateway", &["drain", "atomic_file", "exposition", "home_lock", "listen", "parent_watch"]),
    ("web", &["auth", "audit", "drain", "exposition", "gateway", "listen", "request_id", "trust"]),
    ("bundled", &[]),
    ("conformance", &["auth", "sandbox"]),
    ("scaffold", &["sandbox"]),
    ("torture", &["auth", "bundled", "sandbox"]),
    (
        "config",
        &[
            "atomic_file",
            "auth",
            "drain",
            "sandbox",
            "tls",
            "trust",
            "users_file",
            "web",
            "bundled",
            "secret_strength",
        ],
    ),
    (
        "app",
        &[
            "atomic_file",
            "auth",
            "audit",
            "bundled",
            "config",
            "drain",
            "gateway",
            "home_lock",
            "listen",
            "sandbox",
            "secret_strength",
            "tls",
            "web",
        ],
    ),
    (
        "cli",
        &[
            "app",
            "atomic_file",
            "audit",
            "auth",
            "bundled",
            "config",
            "conformance",
            "drain",
            "flood_limit",
            "gateway",
            "home_lock",
            "parent_watch",
            "request_id",
            "sandbox",
            "scaffold",
            "secret_strength",
            "tls",
            "torture",
            "trust",
            "users_file",
            // Its OpenAPI document alone.
            "web",
        ],
    ),
    ("main", &["cli"]),
];

/// Words that only these places may use.
const ONLY_IN: &[(&str, &[&str])] = &[
    ("wasmtime", &["sandbox/", "exposition/build_info.rs"]),
    ("axum", &["web/", "gateway/server.rs", "app/mod.rs"]),
    ("hyper", &["listen.rs", "listen/", "sandbox/outbound/cause.rs", "web/apps/"]),
    ("std::env", &["config/environment.rs", "cli/up.rs", "cli/gateway.rs", "cli/known_name.rs"]),
    (
        "std::fs",
        &[
            "atomic_file.rs",
            "exposition/process.rs",
            "home_lock.rs",
            "trust.rs",
            "users_file.rs",
            "audit/",
            "drain/",
            "gateway/",
            "sandbox/",
            "torture/process.rs",
            "config/",
            "app/",
            "cli/",
        ],
    ),
    (
        "Instant::now",
        &[
            "audit/files.rs",
            "sandbox/",
            "conformance/",
            "torture/",
            "web/",
            "cli/",
            "gateway/restart_watch.rs",
            "gateway/runner.rs",
            "gateway/watcher.rs",
            "home_lock.rs",
            "listen/",
        ],
    ),
    (
        "Timestamp::now",
        &[
            "audit/",
            "sandbox/health.rs",
            "drain/control.rs",
            "gateway/",
            "web/access_log.rs",
            "web/status.rs",
            "web/drain.rs",
            "app/certificate.rs",
            "cli/doctor/certificate.rs",
        ],
    ),
    ("sd_notify", &["cli/service_manager.rs"]),
    ("unsafe", &["sandbox/load/compiler.rs"]),
];

fn sources() -> BTreeMap<String, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../runtime/src");
    let mut files = BTreeMap::new();
    collect(&root, &root, &mut files);
    assert!(files.len() > 50, "the sources were found");
    files
}

fn collect(root: &Path, folder: &Path, files: &mut BTreeMap<String, String>) {
    for entry in fs::read_dir(folder).expect("the sources are there") {
        let path: PathBuf = entry.expect("a readable folder").path();
        if path.is_dir() {
            collect(root, &path, files);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            let name = path.strip_prefix(root).expect("below the root").display().to_string();
            files.insert(name, production_code(&fs::read_to_string(&path).expect("a source is text")));
        }
    }
}

/// The file without its comments and its unit tests.
fn production_code(text: &str) -> String {
    let code = text.split("#[cfg(test)]").next().unwrap_or_default();
    let is_code = |line: &&str| !line.trim_start().starts_with("//");
    code.lines()
        .filter(is_code)
        .map(|line| line.split(" // ").next().unwrap_or_default())
        .collect::<Vec<_>>()
        .join("\n")
}

fn module_of(file: &str) -> &str {
    file.split('/').next().unwrap_or(file).trim_end_matches(".rs")
}

/// The modules that a file uses, by `crate::NAME` or, in the binary, `portcullis::NAME`.
fn imports(file: &str, text: &str) -> BTreeSet<String> {
    let roots: &[&str] =
        if matches!(module_of(file), "cli" | "main") { &["portcullis::"] } else { &["crate::"] };
    let name = |rest: &str| rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    roots.iter().flat_map(|root| text.split(root).skip(1).map(name)).filter(|name| !name.is_empty()).collect()
}

#[test]
fn modules_use_only_what_they_may() {
    let table: BTreeMap<_, _> = MAY_IMPORT.iter().copied().collect();
    let mut wrong = Vec::new();
    for (file, text) in sources() {
        let module = module_of(&file);
        if module == "lib" {
            continue;
        }
        let allowed = table.get(module).unwrap_or_else(|| panic!("{file}: `{module}` is not in the table"));
        for import in imports(&file, &text) {
            if import != module && !allowed.contains(&import.as_str()) {
                wrong.push(format!("{file} uses {import}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn table_of_imports_is_one_way() {
    let order: Vec<_> = MAY_IMPORT.iter().map(|(module, _)| *module).collect();
    for (position, (module, allowed)) in MAY_IMPORT.iter().enumerate() {
        for import in *allowed {
            let behind = order.iter().position(|known| known == import);
            let is_binary = *module == "main" || *module == "cli";
            assert!(
                behind.is_some_and(|behind| behind < position) || is_binary,
                "{module} -> {import} points up"
            );
        }
    }
}

#[test]
fn some_names_have_one_home() {
    let mut wrong = Vec::new();
    for (file, text) in sources() {
        for (word, homes) in ONLY_IN {
            let is_home =
                homes.iter().any(|home| file == *home || (home.ends_with('/') && file.starts_with(home)));
            if !is_home && mentions(&text, word) {
                wrong.push(format!("{file} names {word}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// As a word of its own: `unsafe_code` is not `unsafe`.
fn mentions(text: &str, word: &str) -> bool {
    let is_part = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
    text.match_indices(word).any(|(at, _)| {
        !is_part(text[..at].chars().next_back()) && !is_part(text[at + word.len()..].chars().next())
    })
}

#[test]
fn every_folder_of_the_library_states_its_invariant() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../runtime/src");
    for (module, _) in
        MAY_IMPORT.iter().filter(|(module, _)| !matches!(*module, "cli" | "main" | "bundled" | "app"))
    {
        let folder = root.join(module).join("mod.rs");
        let file = if folder.exists() { folder } else { root.join(format!("{module}.rs")) };
        let text = fs::read_to_string(&file).expect("the module is there");
        assert!(text.contains("//! **Invariant:**"), "{} states no invariant", file.display());
    }
}
