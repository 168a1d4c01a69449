//! The messages that `docs/troubleshoot.md` explains are those of the program.

use super::{Page, files_below, project};
use std::fs;

/// Folders of the project that have no messages of the program.
const OTHERS: [&str; 4] = ["docs", "fuzz", "target", "tests"];

/// All sources as one text, with the lines of each string joined.
fn sources() -> String {
    let entries = fs::read_dir(project(""))
        .expect("the folder of the project")
        .flatten();
    let folders = entries.filter(|entry| entry.path().is_dir());
    let names = folders.filter_map(|entry| entry.file_name().into_string().ok());
    let names = names.filter(|name| !name.starts_with('.') && !OTHERS.contains(&name.as_str()));
    let paths = names.flat_map(|folder| files_below(&folder, ".rs"));
    let texts = paths.map(|path| fs::read_to_string(project(&path)).expect(&path));
    texts.map(|text| joined(&text)).collect()
}

/// Returns the text with each string that a backslash continues in the next line joined to one
/// line.
fn joined(text: &str) -> String {
    let mut parts = text.split("\\\n");
    let mut joined = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        joined.push_str(part.trim_start());
    }
    joined.replace("\\\"", "\"")
}

/// The messages in the first column of the tables.
fn messages(page: &str) -> Vec<&str> {
    let cells = page
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once("` |"));
    cells.map(|(message, _)| message).collect()
}

#[test]
fn messages_that_the_docs_explain_are_in_the_program() {
    let page = Page::read("docs/troubleshoot.md".to_owned());
    let messages = messages(&page.text);
    assert!(messages.len() >= 40, "{}", messages.len());
    let sources = sources();
    let mut missing = Vec::new();
    for message in messages {
        let mut parts = message
            .split("...")
            .map(str::trim)
            .filter(|part| part.len() > 3);
        missing.extend(
            parts
                .find(|part| !sources.contains(part))
                .map(|part| format!("{part:?} of {message:?}")),
        );
    }
    assert!(missing.is_empty(), "no source has\n{}", missing.join("\n"));
}

#[test]
fn strings_of_several_lines_are_joined() {
    assert_eq!(
        joined("\"one \\\n        two \\\"x\\\"\""),
        "\"one two \"x\"\""
    );
    assert_eq!(messages("| `a ... b` | c |\n| d | `e` |\n"), ["a ... b"]);
}
