//! The book as mdBook makes it.

use super::{book, plain, project};
use portcullis_tests::languages::author;
use std::fs;
use std::path::Path;

/// What the script says where mdBook is missing.
const MISSING: &str = "mdbook is not here";

/// Builds the book into a folder. Returns whether mdBook is there to do so.
fn build(folder: &Path) -> bool {
    let script = format!(
        "command -v mdbook >/dev/null || {{ echo '{MISSING}'; exit 0; }}\nmdbook build --dest-dir '{}' '{}'",
        folder.display(),
        project("docs").display()
    );
    let said = author(&script, folder);
    assert!(!said.contains("ERROR"), "{said}");
    !said.contains(MISSING)
}

/// The targets of the links within the page's own text.
fn links(html: &str) -> Vec<&str> {
    let main = html
        .split("<main>")
        .nth(1)
        .and_then(|rest| rest.split("</main>").next())
        .unwrap_or_default();
    let links = main
        .split("href=\"")
        .skip(1)
        .filter_map(|rest| rest.split('"').next());
    links
        .filter(|link| !link.contains("://") && !link.starts_with("mailto:"))
        .collect()
}

/// Whether a link of the page `path` leads to a file of the book, and to its anchor.
fn leads_somewhere(built: &Path, path: &str, link: &str) -> bool {
    let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
    let target = match file {
        "" => path.to_owned(),
        file => plain(Path::new(path).parent().unwrap_or(Path::new("")), file),
    };
    let target = built.join(target);
    match anchor {
        "" => target.is_file(),
        anchor => {
            fs::read_to_string(target).is_ok_and(|html| html.contains(&format!("id=\"{anchor}\"")))
        }
    }
}

#[test]
fn links_of_the_built_book_lead_somewhere() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    if !build(folder.path()) {
        eprintln!("SKIPPED: {MISSING}, so the book is not built");
        return;
    }
    let mut count = 0;
    let mut broken = Vec::new();
    for page in book() {
        let path = page
            .path
            .trim_start_matches("docs/")
            .replace(".md", ".html");
        let html = fs::read_to_string(folder.path().join(&path)).expect(&path);
        for link in links(&html) {
            count += 1;
            if !leads_somewhere(folder.path(), &path, link) {
                broken.push(format!("{path}: {link}"));
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
    assert!(count > 200, "the pages have links: {count}");
}
