//! A log file that is moved aside when it is full. (The rotation crates looked at either panic when
//! the folder is gone, or report a write as done that was not.)

use portcullis_home::atomic_file;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

pub(crate) struct RotatingFile {
    path: PathBuf,
    max_bytes: u64,
    kept: u32,
    open: Option<(File, u64)>,
}

impl RotatingFile {
    /// At most `kept` full files beside the current one: `path.1` is the youngest.
    pub(crate) fn new(path: PathBuf, max_bytes: u64, kept: u32) -> Self {
        Self {
            path,
            max_bytes,
            kept,
            open: None,
        }
    }

    /// Returns whether the file at the path is the one that was written to last, with what was
    /// written to it alone.
    pub(super) fn is_untouched(&self) -> bool {
        let Some((file, len)) = &self.open else {
            return false;
        };
        is_still_at(file, &self.path) && file.metadata().is_ok_and(|found| found.len() == *len)
    }

    /// Opens the file that is at the path now, and makes it if there is none.
    pub(super) fn open(&mut self) -> io::Result<()> {
        self.open = None;
        self.open = Some(open(&self.path)?);
        Ok(())
    }

    /// Returns whether the file has lines, and would be too long with this number of bytes more.
    pub(super) fn is_too_full_for(&self, bytes: usize) -> bool {
        self.open
            .as_ref()
            .is_some_and(|(_, len)| *len > 0 && len + bytes as u64 > self.max_bytes)
    }

    /// Appends whole lines to a log that rotates by itself. A file that was moved away or replaced,
    /// or could not be opened, is opened anew.
    pub(crate) fn append_rotating(&mut self, lines: &[u8]) -> io::Result<()> {
        if self.is_too_full_for(lines.len()) {
            self.rotate()?;
        }
        if !self
            .open
            .as_ref()
            .is_some_and(|(file, _)| is_still_at(file, &self.path))
        {
            self.open()?;
        }
        self.append(lines)
    }

    /// Appends whole lines. After an error the file is no longer [untouched](Self::is_untouched).
    pub(super) fn append(&mut self, lines: &[u8]) -> io::Result<()> {
        let Some((file, len)) = &mut self.open else {
            return Err(io::Error::other("the file is not open"));
        };
        let written = file.write_all(lines);
        *len += lines.len() as u64;
        if written.is_err() {
            self.open = None;
        }
        written
    }

    /// Moves the full file aside, and opens a new one.
    pub(super) fn rotate(&mut self) -> io::Result<()> {
        self.open = None;
        for number in (1..self.kept).rev() {
            rename_if_there(&self.numbered(number), &self.numbered(number + 1))?;
        }
        rename_if_there(&self.path, &self.numbered(1))?;
        self.open()
    }

    fn numbered(&self, number: u32) -> PathBuf {
        numbered(&self.path, number)
    }
}

/// The path of a file that was moved aside: 1 is the youngest.
pub(super) fn numbered(path: &Path, number: u32) -> PathBuf {
    let mut name = path.to_owned().into_os_string();
    name.push(format!(".{number}"));
    name.into()
}

fn open(path: &Path) -> io::Result<(File, u64)> {
    if let Some(folder) = path.parent() {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)?;
    }
    let file = atomic_file::open_own(OpenOptions::new().create(true).append(true), path)?;
    file.set_permissions(Permissions::from_mode(0o600))?;
    // A command of root must not leave a file that the dashboard cannot write.
    atomic_file::give_to_owner_of(atomic_file::folder_of(path), &file)?;
    let len = file.metadata()?.len();
    Ok((file, len))
}

fn is_still_at(file: &File, path: &Path) -> bool {
    let (Ok(open), Ok(found)) = (file.metadata(), fs::symlink_metadata(path)) else {
        return false;
    };
    (open.dev(), open.ino()) == (found.dev(), found.ino())
}

fn rename_if_there(from: &Path, to: &Path) -> io::Result<()> {
    match fs::rename(from, to) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes a line as a log does.
    fn write(log: &mut RotatingFile, line: &[u8]) -> io::Result<()> {
        if !log.is_untouched() {
            log.open()?;
        }
        if log.is_too_full_for(line.len()) {
            log.rotate()?;
        }
        log.append(line)
    }

    #[test]
    fn full_files_are_moved_aside_and_the_oldest_dropped() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("logs/a.log");
        let mut log = RotatingFile::new(path.clone(), 10, 2);
        for line in [
            "one\n",
            "two\n",
            "three\n",
            "four\n",
            "five and more\n",
            "six\n",
        ] {
            write(&mut log, line.as_bytes()).unwrap();
        }
        let read =
            |suffix: &str| fs::read_to_string(format!("{}{suffix}", path.display())).unwrap();
        assert_eq!(
            (read(""), read(".1"), read(".2")),
            ("six\n".into(), "five and more\n".into(), "four\n".into())
        );
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 3);
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
    }

    #[test]
    fn file_that_was_taken_away_or_written_to_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.log");
        let mut log = RotatingFile::new(path.clone(), 1000, 2);
        assert!(!log.is_untouched());
        write(&mut log, b"one\n").unwrap();
        assert!(log.is_untouched());
        fs::write(&path, "one\nmore\n").unwrap();
        assert!(!log.is_untouched());
        fs::remove_file(&path).unwrap();
        assert!(!log.is_untouched());
        write(&mut log, b"two\n").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two\n");
    }

    #[test]
    fn file_that_was_replaced_is_opened_anew_unless_it_is_a_fifo_or_a_link() {
        let folder = tempfile::tempdir().unwrap();
        let (path, other) = (folder.path().join("a.log"), folder.path().join("other"));
        let mut log = RotatingFile::new(path.clone(), 1000, 2);
        write(&mut log, b"one\n").unwrap();
        fs::write(&other, "").unwrap();
        fs::set_permissions(&other, Permissions::from_mode(0o644)).unwrap();
        fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink(&other, &path).unwrap();
        assert!(write(&mut log, b"two\n").is_err());
        assert_eq!(
            fs::metadata(&other).unwrap().permissions().mode() & 0o777,
            0o644
        );
        fs::remove_file(&path).unwrap();
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &path,
            rustix::fs::FileType::Fifo,
            0o600.into(),
            0,
        )
        .unwrap();
        assert!(write(&mut log, b"three\n").is_err());
        fs::rename(&other, &path).unwrap();
        write(&mut log, b"four\n").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"four\n");
    }

    #[test]
    fn failed_write_is_an_error_and_the_next_one_works() {
        let folder = tempfile::tempdir().unwrap();
        let blocker = folder.path().join("logs");
        fs::write(&blocker, "").unwrap();
        let mut log = RotatingFile::new(blocker.join("a.log"), 1000, 2);
        assert!(write(&mut log, b"one\n").is_err());
        fs::remove_file(&blocker).unwrap();
        write(&mut log, b"two\n").unwrap();
    }
}
