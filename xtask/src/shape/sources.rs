//! The sources of each crate of a checkout.

use super::figures::Figures;
use super::syntax::{self, Source};
use crate::files::files;
use anyhow::Context;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Returns the sources by crate, as its folder below `root`. Folders named `tests` are left out,
/// and sources that belong to no crate.
///
/// # Errors
///
/// A folder cannot be read.
pub(super) fn of_each_crate(root: &Path) -> anyhow::Result<BTreeMap<String, Vec<PathBuf>>> {
    let mut crates: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
    for file in files(root, "rs")? {
        let below = file.strip_prefix(root).unwrap_or(&file);
        let is_test = below.iter().any(|part| part == "tests");
        let Some(folder) = below
            .ancestors()
            .skip(1)
            .find(|folder| is_crate(&root.join(folder)))
        else {
            continue;
        };
        if !is_test {
            crates
                .entry(folder.display().to_string())
                .or_default()
                .push(file.clone());
        }
    }

    Ok(crates)
}

/// Returns whether a folder is a crate's, and not that of a workspace alone.
fn is_crate(folder: &Path) -> bool {
    let manifest = fs::read_to_string(folder.join("Cargo.toml")).unwrap_or_default();
    manifest.lines().any(|line| line.trim() == "[package]")
}

/// Counts the sources of one crate, without files that are modules for tests.
///
/// # Errors
///
/// A file cannot be read, or is not Rust.
pub(super) fn count(files: &[PathBuf]) -> anyhow::Result<Figures> {
    let mut for_tests = Vec::new();
    let mut sources = Vec::new();
    for file in files {
        let source = read(file)?;
        for_tests.extend(
            source
                .test_modules
                .iter()
                .map(|module| children_of(file).join(module)),
        );
        sources.push((file, source.figures));
    }

    let mut figures = Figures::default();
    for (file, of_file) in sources {
        if !for_tests.iter().any(|module| is_within(file, module)) {
            figures.add(of_file);
        }
    }
    Ok(figures)
}

fn read(file: &Path) -> anyhow::Result<Source> {
    let text = fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))?;
    syntax::read(&text).with_context(|| format!("{} is not Rust", file.display()))
}

/// Returns the folder in which the modules of a source stand.
fn children_of(file: &Path) -> PathBuf {
    let folder = file.parent().unwrap_or(Path::new(""));
    match file.file_stem().and_then(|stem| stem.to_str()) {
        Some("lib" | "main" | "mod") | None => folder.to_owned(),
        Some(stem) => folder.join(stem),
    }
}

/// Returns whether a file is the module at this path without ending, or lies in its folder.
fn is_within(file: &Path, module: &Path) -> bool {
    file.starts_with(module) || file == module.with_extension("rs").as_path()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes files, each with a folder above it.
    fn write(root: &Path, files: &[(&str, &str)]) {
        for (path, text) in files {
            let file = root.join(path);
            fs::create_dir_all(file.parent().expect("a folder above")).expect("a folder");
            fs::write(file, text).expect("a file");
        }
    }

    #[test]
    fn sources_belong_to_the_nearest_crate_and_tests_to_none() {
        let root = tempfile::tempdir().expect("a folder");
        write(
            root.path(),
            &[
                ("Cargo.toml", "[workspace]\n"),
                ("build.rs", ""),
                ("one/Cargo.toml", "[package]\nname = \"one\"\n"),
                ("one/src/lib.rs", ""),
                ("one/tests/suite.rs", ""),
                ("one/two/Cargo.toml", "[package]\nname = \"two\"\n"),
                ("one/two/src/main.rs", ""),
                ("one/target/out.rs", ""),
            ],
        );
        let crates = of_each_crate(root.path()).expect("readable");
        let folders: Vec<_> = crates
            .iter()
            .map(|(name, files)| (name.as_str(), files.len()))
            .collect();
        assert_eq!(folders, [("one", 1), ("one/two", 1)]);
    }

    #[test]
    fn module_for_tests_in_a_file_of_its_own_is_not_counted() {
        let root = tempfile::tempdir().expect("a folder");
        let names = [
            "lib.rs",
            "checks.rs",
            "checks/deep.rs",
            "part.rs",
            "part/checks.rs",
            "part/other.rs",
        ];
        let files: Vec<_> = names.iter().map(|name| root.path().join(name)).collect();
        let declares = "#[cfg(test)]\nmod checks;\nfn f() {}\n";
        let texts = [
            declares,
            "fn g() {}\n",
            "fn h() {}\n",
            declares,
            "fn i() {}\n",
            "fn j() {}\n",
        ];
        write(
            root.path(),
            &names.into_iter().zip(texts).collect::<Vec<_>>(),
        );
        assert_eq!(count(&files).expect("Rust").functions.len(), 3);
    }

    #[test]
    fn source_that_is_not_rust_is_named() {
        let root = tempfile::tempdir().expect("a folder");
        write(root.path(), &[("lib.rs", "fn f(")]);
        let failure = count(&[root.path().join("lib.rs")]).expect_err("not Rust");
        assert!(
            failure.to_string().ends_with("lib.rs is not Rust"),
            "{failure}"
        );
    }
}
