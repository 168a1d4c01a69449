//! The first page of the documentation for authors, run as it stands.

use crate::book::{expected, on_free_ports};
use portcullis_author::scaffold::Language;
use portcullis_tests::languages::{author, missing};
use std::fs;
use std::path::Path;

fn page() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/providers/README.md");
    fs::read_to_string(path).expect("docs/providers/README.md")
}

/// The lines of the block below this heading.
fn block(page: &str, heading: &str) -> String {
    let (_, below) = page
        .split_once(&format!("\n### {heading}\n"))
        .expect(heading);
    let (_, block) = below.split_once("```sh\n").expect("a block of commands");
    block.split("```").next().unwrap_or_default().to_owned()
}

fn run(language: Language) {
    if let Some(command) = missing(language) {
        eprintln!(
            "SKIPPED: {} needs `{command}`, which does not work on this machine",
            language.title()
        );
        return;
    }
    let page = page();
    let script = block(&page, language.title()) + &block(&page, "Then, in any language");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let outcome = author(&on_free_ports(&script), folder.path());
    for expected in expected(&script) {
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
