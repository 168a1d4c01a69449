//! The book in `docs/`: its pages, their links, and what they say to type.
//!
//! **Invariant:** no page is left out of the book, no link leads nowhere, and no command or
//! configuration of a page is one that the program refuses.

mod blocks;
mod built;
mod calls;
mod configurations;
mod markdown;
mod messages;
mod pages;
mod runs;

pub(crate) use markdown::anchor;
pub(crate) use runs::{expected, on_free_ports};

use markdown::Markdown;
use std::fs;
use std::path::{Path, PathBuf};

/// A page of the project.
#[derive(Debug)]
struct Page {
    /// From the folder of the project, with `/`.
    path: String,
    text: String,
    markdown: Markdown,
}

impl Page {
    fn read(path: String) -> Self {
        let text = fs::read_to_string(project(&path)).expect(&path);
        let markdown = Markdown::parse(&text);
        Self {
            path,
            text,
            markdown,
        }
    }

    /// Where a link of the page leads, from the folder of the project, and the anchor after `#`.
    /// `None` for another site.
    fn target(&self, link: &str) -> Option<(String, String)> {
        if link.contains("://") || link.starts_with("mailto:") {
            return None;
        }
        let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
        let target = match file {
            "" => self.path.clone(),
            file => plain(
                Path::new(&self.path).parent().unwrap_or(Path::new("")),
                file,
            ),
        };
        Some((target, anchor.to_owned()))
    }
}

/// A path without `.` and `..`.
fn plain(folder: &Path, file: &str) -> String {
    let mut parts: Vec<&str> = folder
        .to_str()
        .expect("paths of the project are text")
        .split('/')
        .collect();
    for part in file.split('/') {
        match part {
            "." | "" => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts.retain(|part| !part.is_empty());
    parts.join("/")
}

fn project(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

/// Every file below a folder of the project whose name has this end, sorted.
pub(crate) fn files_below(folder: &str, end: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(project(&folder)).expect("a folder of the project") {
            let entry = entry.expect("a readable folder");
            let path = format!(
                "{folder}/{}",
                entry.file_name().to_str().expect("names are text")
            );
            if entry.file_type().expect("a readable folder").is_dir() {
                folders.push(path);
            } else if path.ends_with(end) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// The pages of the book, without its list of contents.
fn book() -> Vec<Page> {
    let paths = files_below("docs", ".md")
        .into_iter()
        .filter(|path| path != "docs/SUMMARY.md");
    paths.map(Page::read).collect()
}

/// The pages beside the book.
fn beside() -> Vec<Page> {
    let paths = [
        "README.md",
        "ARCHITECTURE.md",
        "CHANGELOG.md",
        "CONTRIBUTING.md",
        "SECURITY.md",
        "providers/examples/README.md",
        "tests/peers/README.md",
        "wit/README.md",
    ];
    paths
        .iter()
        .map(|path| Page::read((*path).to_owned()))
        .collect()
}
