//! The files of a checkout.

use anyhow::Context;
use std::fs;
use std::path::{Path, PathBuf};

/// Folders that hold nothing which people of this project wrote.
const SKIPPED: [&str; 3] = ["target", "node_modules", ".git"];

/// Returns the files below `folder` whose names end in `extension`, in no order.
///
/// # Errors
///
/// A folder cannot be read.
pub(crate) fn files(folder: &Path, extension: &str) -> anyhow::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))? {
        let entry = entry?;
        let path = entry.path();
        let is_skipped = SKIPPED.iter().any(|name| entry.file_name() == *name);
        if entry.file_type()?.is_dir() && !is_skipped {
            found.extend(files(&path, extension)?);
        } else if path.extension().is_some_and(|end| end == extension) && path.is_file() {
            found.push(path);
        }
    }
    Ok(found)
}
