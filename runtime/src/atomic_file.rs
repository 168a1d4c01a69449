//! Replacing a file whole: a reader sees the old content or the new, never a part of either.
//!
//! **Invariant:** a name is only ever changed by a rename within its folder.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

/// What a finished [`replace`] promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// Survives a loss of power: the file and the folder are synced.
    Synced,
    /// Survives the death of the process.
    Renamed,
}

const TEMPORARY: &str = ".tmp";

/// Writes `content` to a temporary file (0600) beside `path` and renames it over `path`.
///
/// # Errors
/// The folder cannot be written, or `path` is a folder. The old content then still stands.
pub fn replace(path: &Path, content: &[u8], durability: Durability) -> io::Result<()> {
    let folder = folder_of(path);
    let mut file =
        tempfile::Builder::new().prefix(&temporary_prefix(path)).suffix(TEMPORARY).tempfile_in(folder)?;
    file.write_all(content)?;
    if durability == Durability::Synced {
        file.as_file().sync_all()?;
    }
    file.persist(path).map_err(|refused| refused.error)?;
    match durability {
        Durability::Synced => sync_folder(folder),
        Durability::Renamed => Ok(()),
    }
}

/// Makes a removal or rename in the folder survive a loss of power.
///
/// # Errors
/// The folder cannot be opened or synced.
pub fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Removes what a process that was killed in the middle of [`replace`] left beside `path`. Best effort.
pub fn sweep(path: &Path) {
    let prefix = temporary_prefix(path);
    let Ok(entries) = fs::read_dir(folder_of(path)) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        if name.to_str().is_some_and(|name| name.starts_with(&prefix) && name.ends_with(TEMPORARY)) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

fn temporary_prefix(path: &Path) -> String {
    format!("{}.", path.file_name().unwrap_or_default().to_string_lossy())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn replacing_leaves_one_private_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.json");
        for durability in [Durability::Renamed, Durability::Synced] {
            replace(&path, b"new", durability).unwrap();
            assert_eq!(fs::read(&path).unwrap(), b"new");
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
            assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        }
    }

    #[test]
    fn replacing_a_folder_fails_and_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.json");
        fs::create_dir(&path).unwrap();
        assert!(replace(&path, b"new", Durability::Renamed).is_err());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn sweeping_takes_only_leftovers() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["state.json", "state.json.x1.tmp", "other.json.x1.tmp", "state.json.bak"] {
            fs::write(folder.path().join(name), "").unwrap();
        }
        sweep(&folder.path().join("state.json"));
        let mut left: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, ["other.json.x1.tmp", "state.json", "state.json.bak"]);
    }
}
