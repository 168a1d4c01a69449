//! `cargo xtask prose`: counts constructs that make comments and documents hard to read, beside
//! their counts in projects whose prose is plain. A report: no count fails.
//!
//! **Invariant:** code spans and code blocks are not read as prose.

mod construct;
mod text;

use crate::files::files;
use anyhow::Context;
use comfy_table::Table;
use comfy_table::presets::ASCII_MARKDOWN;
use construct::{ANCHORS, CONSTRUCTS, Construct};
use std::fs;
use std::io::Write;
use std::path::Path;
use text::Text;

/// Reads every Rust source and every Markdown document of the project, and prints one row per
/// construct.
///
/// # Errors
///
/// A folder or file cannot be read, or stdout is closed.
pub(crate) fn run() -> anyhow::Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let comments = read(&root, "rs", text::comments)?;
    let documents = read(&root, "md", text::paragraphs)?;

    let mut table = Table::new();
    table.load_preset(ASCII_MARKDOWN).set_header(
        ["per 1,000 words", "comments", "documents"]
            .iter()
            .chain(&ANCHORS),
    );
    for construct in &CONSTRUCTS {
        table.add_row(row(construct, &comments, &documents));
    }

    let mut out = std::io::stdout().lock();
    writeln!(
        out,
        "{} comments, {} words; {} words of documents",
        comments.len(),
        words(&comments),
        words(&documents)
    )?;
    writeln!(out, "{table}")?;
    for construct in CONSTRUCTS
        .iter()
        .filter(|construct| construct.is_of_doc_comments())
    {
        writeln!(
            out,
            "{}: {}",
            construct.name,
            share_of_doc_comments(construct, &comments)
        )?;
    }
    Ok(())
}

/// One line of the report: ours in comments and documents, then the anchors' in comments.
fn row(construct: &Construct, comments: &[Text], documents: &[Text]) -> Vec<String> {
    let in_documents = if construct.is_of_doc_comments() {
        "-".to_owned()
    } else {
        rate(construct, documents)
    };
    let anchors = construct
        .anchors
        .iter()
        .map(|known| known.map_or("unknown".to_owned(), |rate| format!("{rate:.1}")));

    [
        construct.name.to_owned(),
        rate(construct, comments),
        in_documents,
    ]
    .into_iter()
    .chain(anchors)
    .collect()
}

/// Occurrences per 1,000 words, to one decimal place.
fn rate(construct: &Construct, texts: &[Text]) -> String {
    let found: usize = texts.iter().map(|text| construct.count(text)).sum();
    format!("{:.1}", 1000.0 * found as f64 / words(texts).max(1) as f64)
}

/// How many doc comments it is, and of a hundred.
fn share_of_doc_comments(construct: &Construct, comments: &[Text]) -> String {
    let found: usize = comments.iter().map(|text| construct.count(text)).sum();
    let all = comments.iter().filter(|text| text.is_doc).count();
    format!(
        "{found} of {all}, {:.1} %",
        100.0 * found as f64 / all.max(1) as f64
    )
}

fn words(texts: &[Text]) -> usize {
    texts.iter().map(|text| text.words.len()).sum()
}

/// Returns the texts of all files below `root` whose names end in `extension`.
fn read(root: &Path, extension: &str, texts: fn(&str) -> Vec<Text>) -> anyhow::Result<Vec<Text>> {
    let mut found = Vec::new();
    for path in files(root, extension)? {
        let source =
            fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
        found.extend(texts(&source));
    }
    Ok(found)
}
