//! The pages as a whole: the list of contents, links, length, and what no page says.

use super::{Page, beside, book, project};
use std::collections::BTreeMap;
use std::path::Path;

/// A longer page begins with links to its sections.
const LONG: usize = 1_200;

#[test]
fn every_page_is_once_in_the_list_of_contents() {
    let summary = Page::read("docs/SUMMARY.md".to_owned());
    let mut listed: BTreeMap<String, usize> = BTreeMap::new();
    for link in summary.markdown.links() {
        let (target, _) = summary
            .target(&link)
            .expect("the list has pages of the book alone");
        *listed.entry(target).or_default() += 1;
    }
    let expected: BTreeMap<_, _> = book().into_iter().map(|page| (page.path, 1)).collect();
    assert_eq!(listed, expected, "left: docs/SUMMARY.md, right: docs/");
}

#[test]
fn every_link_leads_somewhere() {
    let mut broken = Vec::new();
    for page in book().iter().chain(&beside()) {
        let links = page.markdown.links();
        let complaints = links
            .iter()
            .filter_map(|link| Some((link, complaint(page, link)?)));
        broken.extend(complaints.map(|(link, why)| format!("{}: {link}: {why}", page.path)));
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

/// What is wrong with a link.
fn complaint(page: &Page, link: &str) -> Option<&'static str> {
    let (target, anchor) = page.target(link)?;
    if page.path.starts_with("docs/") && !target.starts_with("docs/") {
        return Some("the book has no files outside of docs/");
    }
    if !project(&target).exists() {
        return Some("there is no such file");
    }
    if anchor.is_empty() {
        return None;
    }
    if Path::new(&target).extension().is_none_or(|end| end != "md") {
        return Some("only pages have anchors");
    }
    let headings = Page::read(target).markdown.headings();
    let is_there = headings.iter().any(|heading| heading.anchor == anchor);
    (!is_there).then_some("the page has no such heading")
}

#[test]
fn long_pages_begin_with_links_to_their_sections() {
    let mut missing = Vec::new();
    for page in book().into_iter().chain(beside()) {
        let words = page.text.split_whitespace().count();
        if words <= LONG {
            continue;
        }
        let links = page.markdown.links();
        let is_linked = |anchor: &str| {
            links
                .iter()
                .any(|link| link.strip_prefix('#') == Some(anchor))
        };
        let sections = page
            .markdown
            .headings()
            .into_iter()
            .filter(|heading| heading.level == 2);
        let unlinked = sections.filter(|heading| !is_linked(&heading.anchor));
        missing.extend(
            unlinked.map(|heading| format!("{} ({words} words): {}", page.path, heading.text)),
        );
    }
    assert!(
        missing.is_empty(),
        "no link at the head of the page leads to\n{}",
        missing.join("\n")
    );
}

/// The first part of a path that a page may name: of the routes, and of a system that follows the
/// File Hierarchy Standard.
const ROOTS: &[&str] = &[
    // Routes, and paths of applications.
    ".well-known",
    "_portcullis",
    "admin",
    "agents",
    "api",
    "app",
    "assets",
    "auth",
    "ds-assets",
    "favicon.ico",
    "fonts",
    "fonts-terminal",
    "health",
    "healthz",
    "hermes",
    "hooks",
    "login",
    "metrics",
    "portcullis-verify",
    "readyz",
    "v1",
    "x",
    // Folders.
    "dev",
    "etc",
    "home",
    "proc",
    "run",
    "srv",
    "usr",
    "var",
];

/// The first part of each absolute path in the text.
fn roots(text: &str) -> impl Iterator<Item = &str> {
    let starts = text.match_indices('/').filter(|(at, _)| {
        let before = text[..*at].chars().next_back();
        before.is_none_or(|c| c.is_whitespace() || "`\"'(=:,[{".contains(c))
    });
    let is_name = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    starts.filter_map(move |(at, _)| {
        let rest = &text[at + 1..];
        let root = rest.split(|c: char| !is_name(c)).next().unwrap_or_default();
        // Not a size of a network, nor a word in capitals that stands for a path.
        root.starts_with(|c: char| c.is_ascii_lowercase() || "._".contains(c))
            .then_some(root)
    })
}

#[test]
fn pages_name_no_path_of_the_machine_that_they_were_written_on() {
    let mut unknown = Vec::new();
    let at_the_top = beside().into_iter().filter(|page| !page.path.contains('/'));
    for page in book().into_iter().chain(at_the_top) {
        let strange = roots(&page.text).filter(|root| !ROOTS.contains(root));
        unknown.extend(strange.map(|root| format!("{}: /{root}", page.path)));
    }
    unknown.sort();
    unknown.dedup();
    assert!(
        unknown.is_empty(),
        "neither a route nor a usual folder:\n{}",
        unknown.join("\n")
    );
}

#[test]
fn pages_describe_today() {
    // A commit is history, which belongs into commit messages.
    let is_commit = |word: &str| {
        let is_hex = word
            .bytes()
            .all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
        let has = |is: fn(&u8) -> bool| word.as_bytes().iter().any(is);
        (7..=12).contains(&word.len())
            && is_hex
            && has(u8::is_ascii_digit)
            && has(u8::is_ascii_alphabetic)
    };
    for page in book() {
        let prose = page.markdown.without_code();
        let mut words = prose.split(|c: char| !c.is_ascii_alphanumeric());
        let commit = words.find(|word| is_commit(word));
        assert_eq!(commit, None, "{} names a commit", page.path);
    }
}
