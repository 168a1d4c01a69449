//! `ARCHITECTURE.md` is a map of what is there: its paths exist, its arrows are those of the
//! manifests, and no way through it is long.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Most files along one walk.
const MAX_FILES_OF_A_WALK: usize = 25;
/// Most files that answer one question.
const MAX_FILES_OF_AN_ANSWER: usize = 3;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

#[expect(clippy::panic, reason = "a file that cannot be read is named")]
fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn map() -> String {
    read(&root().join("ARCHITECTURE.md"))
}

/// The sections, each with its heading.
fn sections(map: &str) -> impl Iterator<Item = (&str, &str)> {
    map.split("\n## ")
        .filter_map(|section| section.split_once('\n'))
}

/// What stands in backticks. A block is one such text.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// The file or folder that a text names. It is a path if it ends with `.rs`, or begins with a crate
/// or with a folder of the root.
fn target(quoted: &str) -> Option<PathBuf> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '/');
    let first = quoted.split('/').next().filter(|first| !first.is_empty())?;
    let runtime = root().join("runtime");
    let is_in_a_crate = runtime.join(first).is_dir();
    let has_a_known_start = quoted.contains('/') && (is_in_a_crate || root().join(first).is_dir());
    let is_source = Path::new(quoted)
        .extension()
        .is_some_and(|ending| ending == "rs");
    let is_path = quoted.chars().all(is_plain) && (is_source || has_a_known_start);
    let base = if is_in_a_crate { runtime } else { root() };
    is_path.then(|| base.join(quoted))
}

#[test]
fn every_path_on_the_map_exists() {
    let map = map();
    let paths: Vec<_> = quoted(&map)
        .filter_map(|quoted| Some((quoted, target(quoted)?)))
        .collect();
    assert!(paths.len() > 100, "the paths were found");
    let missing: Vec<_> = paths
        .iter()
        .filter(|(_, target)| !target.exists())
        .map(|(quoted, _)| quoted)
        .collect();
    assert!(missing.is_empty(), "{missing:#?}");
}

#[test]
fn walks_are_short() {
    let map = map();
    let walks: Vec<_> = sections(&map)
        .filter(|(heading, _)| heading.starts_with("Life of "))
        .collect();
    assert!(walks.len() > 5, "the walks were found");
    for (heading, walk) in walks {
        let files: BTreeSet<_> = quoted(walk).filter_map(target).collect();
        assert!(
            (1..=MAX_FILES_OF_A_WALK).contains(&files.len()),
            "{heading}: {} files",
            files.len()
        );
    }
}

#[test]
fn answers_lead_to_the_place() {
    let map = map();
    let (_, table) = sections(&map)
        .find(|(heading, _)| *heading == "Where is ...?")
        .expect("a section of answers");
    let rows: Vec<_> = table
        .lines()
        .filter_map(|line| line.strip_prefix("| ")?.split_once(" | "))
        .collect();
    assert!(rows.len() > 10, "the answers were found");
    // The first row is the head of the table.
    for (what, place) in &rows[1..] {
        let (paths, names): (Vec<_>, Vec<_>) =
            quoted(place).partition(|quoted| target(quoted).is_some());
        assert!(
            (1..=MAX_FILES_OF_AN_ANSWER).contains(&paths.len()),
            "{what}: {} files",
            paths.len()
        );
        let sources: Vec<_> = paths
            .into_iter()
            .filter_map(target)
            .map(|path| read(&path))
            .collect();
        for name in names {
            assert!(
                sources.iter().any(|source| source.contains(name)),
                "{what}: no {name}"
            );
        }
    }
}

#[test]
fn arrows_on_the_map_are_those_of_the_manifests() {
    let map = map();
    let (_, rest) = map.split_once("```arrows\n").expect("a block of arrows");
    let (block, _) = rest.split_once("```").expect("the end of the block");
    let on_the_map: BTreeMap<_, _> = block.lines().map(arrows_of_a_line).collect();

    let crates = fs::read_dir(root().join("runtime")).expect("the crates are there");
    let crates = crates.map(|entry| entry.expect("a readable folder").path());
    let in_the_manifests: BTreeMap<_, _> = crates
        .filter(|path| path.join("Cargo.toml").exists())
        .map(|path| arrows_of_a_crate(&path))
        .collect();
    assert_eq!(on_the_map, in_the_manifests);
}

/// Reads `a -> b, c`.
fn arrows_of_a_line(line: &str) -> (String, BTreeSet<String>) {
    let (name, uses) = line.split_once("->").unwrap_or((line, ""));
    let uses = uses
        .split(',')
        .map(str::trim)
        .filter(|name| !name.is_empty());
    (name.trim().to_owned(), uses.map(str::to_owned).collect())
}

/// The crates of `runtime/` that a crate depends on, outside its tests and its build script.
fn arrows_of_a_crate(folder: &Path) -> (String, BTreeSet<String>) {
    let manifest = read(&folder.join("Cargo.toml"));
    let (_, rest) = manifest
        .split_once("[dependencies]\n")
        .expect("a table of dependencies");
    let table = rest.split("\n[").next().unwrap_or_default();
    let uses = table
        .lines()
        .filter_map(|line| line.strip_prefix("portcullis-")?.split_once('.'));
    let name = folder
        .file_name()
        .expect("a folder has a name")
        .to_string_lossy()
        .into_owned();
    (name, uses.map(|(name, _)| name.to_owned()).collect())
}
