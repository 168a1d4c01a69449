//! What is made from the definitions of keys, routes, commands and variables: the printed
//! documents, and the pages in `docs/reference`, which the tests write anew when they differ.

mod audit_events;
mod commands;
mod configuration;
mod gateway;
mod home;
mod http;
mod names;
mod status;

use crate::book::anchor;
use portcullis_tests::{Home, Process};
use serde_json::Value;
use std::fs;
use std::path::Path;

/// Checks that a page of `docs/reference` has this text. Writes it and fails when it has another.
#[expect(clippy::panic, reason = "the page has to be committed")]
pub(crate) fn check_page(name: &str, text: &str) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/reference");
    let path = folder.join(name);
    if fs::read_to_string(&path).unwrap_or_default() == text {
        return;
    }
    fs::create_dir_all(&folder).expect("docs/ is there");
    fs::write(&path, text).expect("docs/reference is there");
    panic!("docs/reference/{name} differed from its source. It is written anew: commit it");
}

/// Links to the sections of a page, for its head.
fn contents(sections: &str) -> String {
    let headings = sections.lines().filter_map(|line| line.strip_prefix("## "));
    headings
        .map(|heading| format!("- [{heading}](#{})\n", anchor(heading)))
        .collect()
}

/// The JSON that a command prints.
fn printed(arguments: &[&str]) -> Value {
    let finished = Process::run(&Home::new(), arguments, &[]);
    assert_eq!(finished.code, Some(0), "{}", finished.stderr);
    serde_json::from_str(&finished.stdout).expect("JSON")
}

/// Text for a cell of a table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}
