//! The first page of the documentation for authors, run as it stands.

use portcullis::scaffold::Language;
use portcullis_tests::languages::{author, missing};
use std::fs;
use std::net::TcpListener;
use std::path::Path;

/// The port that the page names.
const PORT: &str = "9119";

fn page() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/providers/README.md");
    fs::read_to_string(path).expect("docs/providers/README.md")
}

/// The lines of the block below this heading.
fn block(page: &str, heading: &str) -> String {
    let (_, below) = page.split_once(&format!("\n### {heading}\n")).expect(heading);
    let (_, block) = below.split_once("```sh\n").expect("a block of commands");
    block.split("```").next().unwrap_or_default().to_owned()
}

fn run(language: Language) {
    if let Some(command) = missing(language) {
        eprintln!("SKIPPED: {} needs `{command}`, which does not work on this machine", language.title());
        return;
    }
    let page = page();
    let script = block(&page, language.title()) + &block(&page, "Then, in any language");
    let free =
        TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port").port();
    // What is started in the background is ended with the script.
    let script =
        script.replace(PORT, &free.to_string()).replace(" &\n", " &\nSERVER=$!\ntrap 'kill $SERVER' EXIT\n");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let outcome = author(&script, folder.path());
    for expected in script.lines().filter_map(|line| line.strip_prefix("#> ")) {
        assert!(outcome.contains(expected), "{expected}\n\n{outcome}");
    }
}

#[test]
fn rust() {
    run(Language::Rust);
}

#[test]
fn python() {
    run(Language::Python);
}

#[test]
fn javascript() {
    run(Language::JavaScript);
}
