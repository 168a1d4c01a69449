//! `provider link`, and `link_modules`: a component with fewer core modules answers as before.

use portcullis_tests::{Finished, Home, Process, Reply, SOON, eventually, get, guest};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// A constant of the linked module would be read from a global of its own.
const NOT_LINKABLE: &str = r#"(component
    (core module $a (global (export "base") i64 i64.const 7))
    (core module $b (import "a" "base" (global $base i64)) (global i64 global.get $base))
    (core instance $a (instantiate $a))
    (core instance (instantiate $b (with "a" (instance $a)))))"#;

fn link(home: &Home, component: &Path, output: &Path) -> Finished {
    let (component, output) = (
        component.display().to_string(),
        output.display().to_string(),
    );
    Process::run(home, &["provider", "link", &component, "-o", &output], &[])
}

/// A component of this text in a home.
fn of_text(home: &Home, text: &str) -> PathBuf {
    let path = home.file("text.wasm");
    fs::write(
        &path,
        wat::parse_str(text).expect("the text is WebAssembly"),
    )
    .expect("a file");
    path
}

/// The guest `known`, linked by the command.
fn linked_guest(home: &Home) -> PathBuf {
    let linked = home.file("linked.wasm");
    let done = link(home, &guest("known"), &linked);
    assert_eq!(done.code, Some(0), "{}", done.stderr);
    linked
}

fn config(component: &Path, more: &str) -> String {
    format!(
        "dashboard:\n  token_routes: [{{path: /metrics, scope: metrics.read}}]\n  providers:\n    - name: known\n      \
         component: {}\n      grants: {{scopes: [metrics.read]}}\n{more}",
        component.display()
    )
}

fn call(dashboard: &Process, token: &str) -> Reply {
    get(
        &dashboard.url("/metrics"),
        &[("authorization", &format!("Bearer {token}"))],
    )
}

/// The answers to a token that is known, to one without the scope, and to one that is not known.
fn assert_answers(dashboard: &Process) {
    let answers =
        ["good-token", "scopeless-token", "other"].map(|token| call(dashboard, token).status);
    assert_eq!(answers, [200, 403, 401]);
}

#[test]
fn component_that_the_command_linked_answers_as_before() {
    let home = Home::new();
    let linked = home.file("linked.wasm");
    let done = link(&home, &guest("known"), &linked);
    assert_eq!(done.code, Some(0), "{}", done.stderr);
    let (before, after) = (
        fs::read(guest("known")).expect("it"),
        fs::read(&linked).expect("it"),
    );
    let says = format!(
        "Linked {} (3 modules, {} bytes) into {} (2 modules, {} bytes)\n",
        guest("known").display(),
        before.len(),
        linked.display(),
        after.len()
    );
    assert_eq!(done.stdout, says);
    let mode = |path: &Path| fs::metadata(path).expect("it").permissions().mode();
    fs::write(home.file("plain"), "").expect("a file");
    assert_eq!(
        mode(&linked),
        mode(&home.file("plain")),
        "as every tool of a build makes it"
    );

    home.write("portcullis.yaml", &config(&linked, ""));
    let dashboard = home.dashboard();
    assert_answers(&dashboard);
    let linked = linked.display().to_string();
    let checked = Process::run(
        &home,
        &["provider", "check", &linked, "--token", "good-token"],
        &[],
    );
    assert_eq!(checked.code, Some(0), "{}", checked.stdout);
    let shown = Process::run(&home, &["provider", "inspect", &linked], &[]);
    assert!(
        shown.stdout.contains("core    2 instances\n"),
        "{}",
        shown.stdout
    );

    let inspect = |component: &str| {
        let shown = Process::run(&home, &["provider", "inspect", "--json", component], &[]);
        serde_json::from_str::<serde_json::Value>(&shown.stdout).expect("JSON")
    };
    assert!(inspect(&linked)["linked"].is_null());
    let before = inspect(&guest("known").display().to_string());
    assert_eq!(
        (
            &before["core_instances"],
            &before["linked"]["core_instances"]
        ),
        (&3.into(), &2.into())
    );
}

#[test]
fn component_with_nothing_to_link_is_copied() {
    let home = Home::new();
    let (linked, again) = (linked_guest(&home), home.file("again.wasm"));
    fs::write(&again, "of an earlier build").expect("a file");
    let done = link(&home, &linked, &again);
    assert_eq!(done.code, Some(0), "{}", done.stderr);
    assert!(
        done.stdout.starts_with("There is nothing to link in "),
        "{}",
        done.stdout
    );
    assert_eq!(
        fs::read(&again).expect("it"),
        fs::read(&linked).expect("it")
    );
}

#[test]
fn what_cannot_be_linked_leaves_no_file() {
    let home = Home::new();
    let output = home.file("linked.wasm");
    let text = home.file("notes.wasm");
    fs::write(&text, "no WebAssembly").expect("a file");
    let missing = home.file("missing.wasm");
    for (component, expected) in [
        (text, "notes.wasm: it is not a component"),
        (missing, "cannot read "),
        (
            of_text(&home, NOT_LINKABLE),
            "text.wasm cannot be linked: it would then need a feature",
        ),
    ] {
        let done = link(&home, &component, &output);
        assert_eq!(done.code, Some(1), "{expected}");
        assert!(done.stderr.contains(expected), "{}", done.stderr);
        assert!(!output.exists(), "{expected}");
    }
    let not_linkable = of_text(&home, NOT_LINKABLE).display().to_string();
    let shown = Process::run(&home, &["provider", "inspect", &not_linkable], &[]);
    let core = "core    2 instances  (cannot be linked: it would then need a feature";
    assert!(shown.stdout.contains(core), "{}", shown.stdout);

    let module = of_text(&home, "(module)");
    assert!(
        link(&home, &module, &output)
            .stderr
            .contains("text.wasm: it is not a component")
    );
}

#[test]
fn output_is_a_file_of_its_own() {
    let home = Home::new();
    let component = home.file("known.wasm");
    fs::copy(guest("known"), &component).expect("a file");
    std::os::unix::fs::symlink(&component, home.file("other-name.wasm")).expect("a link");
    let folder = home.path().to_owned();
    for (output, code, expected) in [
        (
            component.clone(),
            64,
            "known.wasm would be overwritten: name another file with --output",
        ),
        (home.file("other-name.wasm"), 64, "would be overwritten"),
        (folder, 64, "is not a file"),
        (
            home.file("missing/linked.wasm"),
            1,
            "missing/linked.wasm: No such file or directory",
        ),
    ] {
        let done = link(&home, &component, &output);
        assert_eq!(done.code, Some(code), "{}", done.stderr);
        assert!(done.stderr.contains(expected), "{}", done.stderr);
    }
    assert_eq!(
        fs::read(&component).expect("it"),
        fs::read(guest("known")).expect("it")
    );
}

/// What `/readyz` shows of the provider.
fn shown(dashboard: &Process) -> serde_json::Value {
    get(&dashboard.url("/readyz"), &[]).json()["providers"]["detail"][0].clone()
}

#[test]
fn host_links_where_the_configuration_says_so() {
    let home = Home::with_config(&config(&guest("known"), ""));
    let dashboard = home.dashboard();
    let plain = shown(&dashboard);
    assert!(plain["link_modules"].is_null(), "{plain}");

    home.write(
        "portcullis.yaml",
        &config(&guest("known"), "      link_modules: true\n"),
    );
    let linked = eventually("a reload turns it on", SOON, || {
        Some(shown(&dashboard)).filter(|shown| shown["link_modules"] == true)
    });
    assert_eq!(
        linked["component"], plain["component"],
        "the digest of the file"
    );
    assert_answers(&dashboard);
}

#[test]
fn host_refuses_what_it_cannot_link_by_the_line_that_says_so() {
    let home = Home::new();
    let component = of_text(&home, NOT_LINKABLE);
    let check = |more: &str| {
        home.write("portcullis.yaml", &config(&component, more));
        let checked = Process::run(&home, &["config", "check"], &[]);
        assert_eq!(checked.code, Some(64), "{}", checked.stderr);
        checked.stderr
    };
    let refused = check("      link_modules: true\n");
    assert!(refused.contains("portcullis.yaml:7:7: "), "{refused}");
    assert!(
        refused.contains("its core modules cannot be linked into one: "),
        "{refused}"
    );
    assert!(
        refused.contains("without `link_modules` it runs as it is"),
        "{refused}"
    );
    assert!(
        check("").contains("it does not export portcullis:auth/provider@"),
        "it is compiled"
    );
}
