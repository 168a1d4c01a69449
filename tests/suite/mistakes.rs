//! What authors get wrong: each gets one sentence that says what to do.

use portcullis_author::scaffold::{Language, ProviderKind};
use portcullis_tests::languages::Scaffold;
use portcullis_tests::{Home, Process};
use std::fs;
use std::path::Path;

/// What `provider check` says of a file that does not pass.
fn complaint(component: &Path, more: &[&str]) -> String {
    let path = component.display().to_string();
    let checked = Process::run(
        &Home::new(),
        &[&["provider", "check", &path], more].concat(),
        &[],
    );
    assert_eq!(checked.code, Some(1), "{}", checked.stdout);
    checked.stdout
}

fn assert_complains(component: &Path, expected: &str) {
    let says = complaint(component, &[]);
    assert!(says.contains(expected), "{expected}\n{says}");
}

/// A provider in Rust, whose author changed one line of one file.
fn changed(parent: &Path, name: &str, file: &str, from: &str, to: &str) -> Scaffold {
    let scaffold = Scaffold::new(Language::Rust, ProviderKind::Token, name, parent);
    let path = scaffold.folder.join(file);
    let text = fs::read_to_string(&path).expect("a file of the scaffold");
    assert!(text.contains(from), "{from} is not in {file}");
    fs::write(path, text.replace(from, to)).expect("a file of the scaffold");
    scaffold
}

#[test]
fn files_that_are_no_component_of_ours() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let instances = "(core instance (instantiate $m))".repeat(17);
    let of_many_instances = format!("(component (core module $m (memory 1)) {instances})");
    for (text, expected) in [
        (
            "(module)",
            "it is a core module, not a component: build for wasm32-wasip2",
        ),
        (
            r#"(module (import "wasi_snapshot_preview1" "proc_exit" (func (param i32))))"#,
            "it is a core module that imports wasi_snapshot_preview1",
        ),
        (
            r#"(component (component $inner) (instance $i (instantiate $inner)) (export "other:world/thing@1.0.0" (instance $i)))"#,
            "is it built for the world of wit/provider.wit? It exports other:world/thing@1.0.0",
        ),
        (
            "(component (core module $m (memory 2000)) (core instance (instantiate $m)))",
            "`limits.memory_mib` allows (64)",
        ),
        (&of_many_instances, "`limits.core_instances` allows (16)"),
    ] {
        let path = folder.path().join("mistake.wasm");
        fs::write(
            &path,
            wat::parse_str(text).expect("the text is WebAssembly"),
        )
        .expect("a file");
        assert_complains(&path, expected);
    }
}

#[test]
fn export_that_was_forgotten() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let name = "forgot-export";
    let scaffold = changed(
        folder.path(),
        name,
        "src/lib.rs",
        "portcullis_guest::export!(MyProvider);",
        "",
    );
    assert_complains(
        &scaffold.build(),
        "it exports nothing. In Rust, `portcullis_guest::export!` is missing",
    );
}

#[test]
fn library_that_is_no_cdylib() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let scaffold = changed(
        folder.path(),
        "no-cdylib",
        "Cargo.toml",
        r#"["cdylib", "lib"]"#,
        r#"["lib"]"#,
    );
    scaffold.run(&scaffold.steps.build);
    let library = scaffold.component().with_file_name("libno_cdylib.rlib");
    assert_complains(&library, r#"put `crate-type = ["cdylib"]` under `[lib]`"#);
}

#[test]
fn program_with_a_main() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let scaffold = changed(
        folder.path(),
        "a-program",
        "Cargo.toml",
        "[lib]",
        "[[bin]]\nname = \"a-main\"\npath = \"main.rs\"\n\n[lib]",
    );
    fs::write(scaffold.folder.join("main.rs"), "fn main() {}\n").expect("a file");
    scaffold.run(&scaffold.steps.build);
    assert_complains(
        &scaffold.component().with_file_name("a-main.wasm"),
        "it is a program with a `main`",
    );
}

#[test]
fn trap_names_the_authors_own_functions() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let line = "let expected = host.setting(\"token\").unwrap_or_default();";
    let asks = format!("look_up_in_the_table(token);\n        {line}");
    let scaffold = changed(folder.path(), "it-traps", "src/lib.rs", line, &asks);
    let path = scaffold.folder.join("src/lib.rs");
    let text = fs::read_to_string(&path).expect("the source");
    let traps = "#[inline(never)]\nfn look_up_in_the_table(token: &str) {\n    assert!(token.len() > 1_000_000);\n}\n";
    fs::write(path, format!("{text}\n{traps}")).expect("the source");
    let says = complaint(
        &scaffold.build(),
        &["--setting", "token=good-token", "--token", "good-token"],
    );
    assert!(
        says.contains("trapped") && says.contains("look_up_in_the_table"),
        "{says}"
    );
}
