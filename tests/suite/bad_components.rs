//! Files that are no providers: each gets a sentence that says why, and the others keep serving.

use portcullis_tests::{Browser, Finished, Home, Process, SOON, eventually, get, guest};
use std::fs::{self, File};
use std::path::Path;

/// One line for each bad file: its provider's name, its entry in the configuration, what is said of
/// it.
fn bad_files(folder: &Path) -> Vec<(&'static str, String, &'static str)> {
    let write = |name: &str, bytes: &[u8]| {
        let path = folder.join(name);
        fs::write(&path, bytes).expect("a file in the folder");
        path.display().to_string()
    };
    let text = |wat: &str| wat::parse_str(wat).expect("the text is WebAssembly");
    let large = folder.join("large.wasm");
    File::create(&large)
        .and_then(|file| file.set_len((32 << 20) + 1))
        .expect("a file in the folder");
    let fifo = folder.join("fifo.wasm");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &fifo,
        rustix::fs::FileType::Fifo,
        0o600.into(),
        0,
    )
    .expect("a FIFO");
    let nested = format!("{}{}", "(component".repeat(50), ")".repeat(50));
    let known = guest("known").display().to_string();
    let valid = fs::read(guest("known")).expect("the guest was built");
    vec![
        (
            "not-wasm",
            write("text.wasm", b"#!/bin/sh\necho hello\n"),
            "it is not WebAssembly",
        ),
        ("empty", write("empty.wasm", b""), "it is not WebAssembly"),
        (
            "core-module",
            write("core.wasm", &text("(module)")),
            "it is a core module, not a component",
        ),
        (
            "other-world",
            write("world.wasm", &text("(component)")),
            "it exports nothing",
        ),
        (
            "cut-off",
            write("cut.wasm", &valid[..valid.len() / 2]),
            "it is not a valid component",
        ),
        (
            "nested",
            write("nested.wasm", &text(&nested)),
            "components are nested in it deeper",
        ),
        ("large", large.display().to_string(), "is over 32 MiB"),
        (
            "missing",
            folder.join("nowhere.wasm").display().to_string(),
            "No such file",
        ),
        ("fifo", fifo.display().to_string(), "it is not a file"),
        ("folder", folder.display().to_string(), "it is not a file"),
        (
            "greedy",
            guest("greedy").display().to_string(),
            "it imports test:greedy/secrets, which no provider may have",
        ),
        (
            "trips",
            guest("trips").display().to_string(),
            "it failed when it was asked what it supports",
        ),
        (
            "refuses",
            guest("refuses").display().to_string(),
            "it takes no bearer tokens and signs nobody in",
        ),
        (
            "digest",
            format!("{known}, sha256: '{}'", "0".repeat(64)),
            "its SHA-256 digest is",
        ),
        (
            "settings",
            "'builtin:service-keys', config: {keys: [{sha256: abc, principal: p}]}".into(),
            "keys[0].sha256",
        ),
    ]
}

fn home_with_bad_files() -> (Home, Vec<(&'static str, &'static str)>) {
    let home = Home::new();
    let files = bad_files(home.path());
    let entries: String = files
        .iter()
        .map(|(name, component, _)| format!("    - {{name: {name}, component: {component}}}\n"))
        .collect();
    home.write(
        "portcullis.yaml",
        &format!(
            "dashboard:\n  token_routes: [{{path: /metrics, scope: metrics.read}}]\n  providers:\n{entries}    \
             - {{name: known, component: {}, grants: {{scopes: [metrics.read]}}}}\n",
            guest("known").display()
        ),
    );
    (
        home,
        files
            .into_iter()
            .map(|(name, _, complaint)| (name, complaint))
            .collect(),
    )
}

#[test]
fn check_names_every_bad_component_with_its_line() {
    let (home, complaints) = home_with_bad_files();
    let before = fs::read_dir(home.path()).expect("the home").count();
    let Finished {
        code,
        stdout,
        stderr,
    } = Process::run(&home, &["config", "check"], &[]);
    assert_eq!(code, Some(64), "{stderr}");
    for (index, (name, complaint)) in complaints.iter().enumerate() {
        let place = format!("portcullis.yaml:{}:", index + 4);
        let provider = format!(": provider `{name}`: ");
        let is_about = |line: &&str| line.contains(&place) && line.contains(&provider);
        let line = stderr.lines().find(is_about);
        assert!(
            line.is_some_and(|line| line.contains(complaint)),
            "{place} {complaint}\n{stderr}"
        );
    }
    assert!(stdout.contains("known: loaded"), "{stdout}");
    // Only the log of this very run is new.
    assert_eq!(
        fs::read_dir(home.path()).expect("the home").count(),
        before + 1,
        "check changes nothing"
    );
}

#[test]
fn the_others_go_on_and_the_broken_are_shown() {
    let (home, complaints) = home_with_bad_files();
    let dashboard = home.dashboard();
    assert_eq!(
        get(
            &dashboard.url("/metrics"),
            &[("authorization", "Bearer good-token")]
        )
        .status,
        200
    );
    let ready = get(&dashboard.url("/readyz"), &[]).json();
    assert_eq!(
        (
            &ready["providers"]["loaded"],
            &ready["providers"]["refused"]
        ),
        (&1.into(), &complaints.len().into())
    );
    eventually("each refusal is audited", SOON, || {
        let refused = home
            .audit()
            .into_iter()
            .filter(|line| line["event"] == "provider_refused")
            .count();
        (refused == complaints.len()).then_some(())
    });
    let list = Process::run(&home, &["provider", "list"], &[]);
    assert_eq!(list.code, Some(0));
    for (name, complaint) in complaints {
        let line = list.stdout.lines().find(|line| line.starts_with(name));
        assert!(
            line.is_some_and(|line| line.contains("refused") && line.contains(complaint)),
            "{name}: {}",
            list.stdout
        );
    }
}

#[test]
fn loading_that_takes_long_is_told_of_meanwhile() {
    let entry = |name: &str| format!("{{name: {name}, component: {}", guest(name).display());
    let (slow, quick) = (entry("dawdles"), entry("known"));
    let home = Home::with_config(&format!(
        "dashboard: {{providers: [{slow}, limits: {{deadline_ms: 5000}}}}, {quick}}}]}}"
    ));
    let log = home.dashboard().log();
    let place = |words: &[&str]| {
        log.lines()
            .position(|line| words.iter().all(|word| line.contains(word)))
    };
    let told = place(&["loading providers", "done=1 of=2"]);
    let refused = place(&["asked what it supports"]);
    assert!(told.is_some() && told < refused, "{log}");
}

#[test]
fn sign_in_at_a_provider_that_is_still_being_loaded_is_to_be_tried_again() {
    let entry = |name: &str| format!("{{name: {name}, component: {}", guest(name).display());
    let (slow, quick) = (entry("dawdles"), entry("known"));
    let home = Home::with_config(&format!(
        "dashboard: {{providers: [{slow}, limits: {{deadline_ms: 20000}}}}, {quick}}}]}}"
    ));
    let dashboard = home.dashboard();
    let body = r#"{"provider": "dawdles", "username": "ada", "password": "x"}"#;
    let answer = Browser::default().post(&dashboard.url("/auth/password-login"), body);
    assert_eq!(
        (answer.status, answer.header("retry-after")),
        (503, Some("1")),
        "{}",
        answer.body
    );
    let begun = get(&dashboard.url("/auth/login?provider=dawdles"), &[]);
    let location = begun.header("location").unwrap_or_default();
    assert!(
        begun.status == 302 && location.contains("failed=unanswered"),
        "{} {location}",
        begun.status
    );
}

#[test]
fn pinned_digest_that_fits_is_loaded() {
    use sha2::{Digest, Sha256};
    let digest = hex::encode(Sha256::digest(
        fs::read(guest("known")).expect("the guest was built"),
    ));
    let entry = format!(
        "{{name: known, component: {}, sha256: '{digest}'}}",
        guest("known").display()
    );
    let home = Home::with_config(&format!("dashboard: {{providers: [{entry}]}}"));
    assert_eq!(Process::run(&home, &["config", "check"], &[]).code, Some(0));
}
