//! Small files that two programs share: replaced whole, and read within bounds. A reader sees the old content or
//! the new, never a part of either.
//!
//! **Invariant:** a name is only ever changed by a rename within its folder, and no read blocks.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
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

/// More than any of these files has.
const MAX_BYTES: u64 = 64 * 1024;

/// Opens a regular file to read. A FIFO or device that somebody left at its name is an error, not a wait.
///
/// # Errors
/// It is not there, is no regular file, or may not be read.
pub fn open(path: &Path) -> io::Result<File> {
    let nonblock = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    let file = OpenOptions::new().read(true).custom_flags(nonblock).open(path)?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::Error::other("it is not a file")) }
}

/// Reads a small file.
///
/// # Errors
/// It cannot be opened, or is too long to be one of these.
pub fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    open(path)?.take(MAX_BYTES + 1).read_to_end(&mut content)?;
    if content.len() as u64 > MAX_BYTES {
        return Err(io::Error::other("it is too long"));
    }
    Ok(content)
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
