//! `cargo xtask shape`: how dense the code of a checkout is, per crate and in all. A report: no
//! figure fails.
//!
//! **Invariant:** tests are not counted: neither what is built for tests alone, nor the folders
//! named `tests`.

mod figures;
mod for_tests;
mod sources;
mod syntax;
mod token;

use anyhow::ensure;
use clap::Args;
use comfy_table::Table;
use comfy_table::presets::ASCII_MARKDOWN;
use figures::{COLUMNS, Figures, LONG_FUNCTION_LINES};
use std::io::Write;
use std::path::{Path, PathBuf};

/// What to count.
#[derive(Args)]
pub(crate) struct Options {
    /// Folder of a checkout; by default, this one.
    folder: Option<PathBuf>,
}

/// Counts every crate of the checkout, and prints one row per crate and one for all.
///
/// # Errors
///
/// The folder has no crate, a file cannot be read or is not Rust, or stdout is closed.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let this_checkout = || Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let root = options.folder.clone().unwrap_or_else(this_checkout);
    let crates = sources::of_each_crate(&root)?;
    ensure!(
        !crates.is_empty(),
        "{} has no crate with Rust sources",
        root.display()
    );

    let mut table = Table::new();
    table
        .load_preset(ASCII_MARKDOWN)
        .set_header(["crate"].iter().chain(&COLUMNS));
    let mut all = Figures::default();
    for (name, files) in crates {
        let figures = sources::count(&files)?;
        table.add_row(row(&name, &figures));
        all.add(figures);
    }
    table.add_row(row("all", &all));

    let mut out = std::io::stdout().lock();
    writeln!(out, "{table}")?;
    writeln!(
        out,
        "Tokens of a function are those of its body. A long function has {LONG_FUNCTION_LINES} lines or more."
    )?;
    Ok(())
}

fn row(name: &str, figures: &Figures) -> Vec<String> {
    [name.to_owned()]
        .into_iter()
        .chain(figures.cells())
        .collect()
}
