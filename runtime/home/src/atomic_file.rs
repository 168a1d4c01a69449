//! Small files that two programs share: replaced whole, and read within bounds. A reader sees the
//! old content or the new, never a part of either.
//!
//! **Invariant:** a name is only ever changed by a rename within its folder, and no read blocks.

use rustix::fs::OFlags;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, fchown};
use std::path::{Path, PathBuf};

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
    let mut file = tempfile::Builder::new()
        .prefix(&temporary_prefix(path))
        .suffix(TEMPORARY)
        .tempfile_in(folder)?;
    give_to_owner_of(folder, file.as_file())?;
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
pub(crate) const MAX_BYTES: u64 = 64 * 1024;

/// Opens a regular file to read. A FIFO or device at its name is an error, and is not waited for.
///
/// # Errors
/// It is not there, is no regular file, or may not be read.
pub fn open(path: &Path) -> io::Result<File> {
    open_regular(OpenOptions::new().read(true), path, OFlags::NONBLOCK)
}

/// Opens a regular file of our own with these options, and makes it for its owner alone (0600)
/// where they say so. A link at its name is an error: what it points to is not ours to write, or to
/// change the mode of.
///
/// # Errors
/// It is no regular file, or may not be opened so.
pub fn open_own(options: &mut OpenOptions, path: &Path) -> io::Result<File> {
    open_regular(
        options.mode(0o600),
        path,
        OFlags::NONBLOCK | OFlags::NOFOLLOW,
    )
}

fn open_regular(options: &mut OpenOptions, path: &Path, flags: OFlags) -> io::Result<File> {
    let file = options
        .custom_flags(flags.bits().cast_signed())
        .open(path)
        .map_err(|error| {
            let is_link = flags.contains(OFlags::NOFOLLOW)
                && error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error());
            if is_link {
                io::Error::other("it is a symbolic link, which is not followed here")
            } else {
                error
            }
        })?;

    if file.metadata()?.is_file() {
        Ok(file)
    } else {
        Err(io::Error::other("it is not a file"))
    }
}

/// Reads a small file.
///
/// # Errors
/// It cannot be opened, or is too long to be one of these.
pub fn read(path: &Path) -> io::Result<Vec<u8>> {
    read_at_most(path, MAX_BYTES)
}

/// Reads a file of at most `max_bytes`.
///
/// # Errors
/// It cannot be opened, or is longer.
pub fn read_at_most(path: &Path, max_bytes: u64) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    open(path)?.take(max_bytes + 1).read_to_end(&mut content)?;
    if content.len() as u64 > max_bytes {
        return Err(io::Error::other("it is too long"));
    }
    Ok(content)
}

/// Makes a removal or rename in the folder survive a loss of power.
///
/// # Errors
/// The folder cannot be opened or synced.
pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Removes what a process that was killed in the middle of [`replace`] left beside `path`. Best
/// effort.
pub fn sweep(path: &Path) {
    for left in leftovers(path).unwrap_or_default() {
        let _ = fs::remove_file(left);
    }
}

/// Returns the temporary files of [`replace`] beside `path`: those of processes that were killed,
/// and of one that replaces it now.
///
/// # Errors
/// The folder cannot be read.
pub fn leftovers(path: &Path) -> io::Result<Vec<PathBuf>> {
    let prefix = temporary_prefix(path);
    let is_temporary = |name: &str| name.starts_with(&prefix) && name.ends_with(TEMPORARY);
    let entries = fs::read_dir(folder_of(path))?.flatten();
    let left = entries.filter(|entry| entry.file_name().to_str().is_some_and(is_temporary));
    Ok(left.map(|entry| entry.path()).collect())
}

/// Makes a folder for its owner alone (0700), and those above it. A folder that root makes in
/// another user's home is given to that user.
///
/// # Errors
/// The folder cannot be made or given away.
pub fn make_folder(folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }

    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)?;
    // Not through a link that took its place: what the link points to is not ours to give away.
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW;
    let made = OpenOptions::new()
        .read(true)
        .custom_flags(flags.bits().cast_signed())
        .open(folder)?;
    give_to_owner_of(folder_of(folder), &made)
}

/// Gives a file that root wrote to the owner of its folder: the processes over a home run as that
/// user.
///
/// # Errors
/// The folder cannot be looked at, or the file cannot be given away.
pub fn give_to_owner_of(folder: &Path, file: &File) -> io::Result<()> {
    if !rustix::process::geteuid().is_root() {
        return Ok(());
    }
    let owner = fs::metadata(folder)?;
    let given = file.metadata()?;
    // A file with a second name can be another user's, linked here so that root gives it away. The
    // links of a folder are its subfolders.
    if owner.uid() != 0 && (given.is_dir() || given.nlink() == 1) {
        fchown(file, Some(owner.uid()), Some(owner.gid()))?;
    }
    Ok(())
}

/// The folder of a path; the working folder for a name alone.
pub fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

fn temporary_prefix(path: &Path) -> String {
    format!(
        "{}.",
        path.file_name().unwrap_or_default().to_string_lossy()
    )
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
            assert_eq!(
                fs::metadata(&path).unwrap().permissions().mode() & 0o777,
                0o600
            );
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

    /// What it would do for another user, only root can try.
    #[test]
    fn folder_that_root_makes_belongs_to_the_owner_of_the_home() {
        if !rustix::process::geteuid().is_root() {
            return;
        }
        let home = tempfile::tempdir().unwrap();
        std::os::unix::fs::chown(home.path(), Some(65_534), Some(65_534)).unwrap();
        let folder = home.path().join("acme");
        make_folder(&folder).unwrap();
        let made = fs::metadata(&folder).unwrap();
        assert_eq!(
            (made.uid(), made.permissions().mode() & 0o777),
            (65_534, 0o700)
        );

        let elsewhere = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(elsewhere.path().join("none"), home.path().join("link"))
            .unwrap();
        assert!(
            make_folder(&home.path().join("link")).is_err(),
            "a link is not followed"
        );
    }

    #[test]
    fn neither_a_fifo_nor_a_folder_is_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let fifo = folder.path().join("fifo");
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &fifo,
            rustix::fs::FileType::Fifo,
            0o600.into(),
            0,
        )
        .unwrap();
        for path in [fifo.as_path(), folder.path()] {
            assert!(read(path).is_err());
            assert!(open_own(OpenOptions::new().append(true), path).is_err());
        }
        let _reader =
            rustix::fs::open(&fifo, OFlags::RDONLY | OFlags::NONBLOCK, 0o600.into()).unwrap();
        assert!(
            open_own(OpenOptions::new().append(true), &fifo).is_err(),
            "with a reader as well"
        );
    }

    #[test]
    fn links_lead_to_nothing_of_ours() {
        let folder = tempfile::tempdir().unwrap();
        let (target, link) = (folder.path().join("target"), folder.path().join("link"));
        fs::write(&target, "theirs").unwrap();
        std::os::unix::fs::symlink(&target, &link).unwrap();
        assert!(open_own(OpenOptions::new().append(true).create(true), &link).is_err());
        assert_eq!(
            read(&link).unwrap(),
            b"theirs",
            "configuration may be a link"
        );
    }

    #[test]
    fn what_is_too_long_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs::write(&path, "12345").unwrap();
        assert!(read_at_most(&path, 4).is_err());
        assert_eq!(read_at_most(&path, 5).unwrap(), b"12345");
    }

    #[test]
    fn sweeping_takes_only_leftovers() {
        let folder = tempfile::tempdir().unwrap();
        for name in [
            "state.json",
            "state.json.x1.tmp",
            "other.json.x1.tmp",
            "state.json.bak",
        ] {
            fs::write(folder.path().join(name), "").unwrap();
        }
        sweep(&folder.path().join("state.json"));
        let mut left: Vec<_> = fs::read_dir(folder.path())
            .unwrap()
            .map(|e| e.unwrap().file_name())
            .collect();
        left.sort();
        assert_eq!(left, ["other.json.x1.tmp", "state.json", "state.json.bak"]);
    }
}
