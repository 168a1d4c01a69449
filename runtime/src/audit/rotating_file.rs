//! A log file that is moved aside when it is full. (The rotation crates looked at either panic when the
//! folder is gone, or report a write as done that was not.)

use crate::atomic_file;
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
        Self { path, max_bytes, kept, open: None }
    }

    /// Appends whole lines. A file that was moved away or replaced, or could not be opened, is opened anew.
    pub(crate) fn append(&mut self, lines: &[u8]) -> io::Result<()> {
        if self.open.as_ref().is_some_and(|(_, len)| *len > 0 && len + lines.len() as u64 > self.max_bytes) {
            self.rotate()?;
        }
        drop(self.open.take_if(|(file, _)| !is_still_at(file, &self.path)));
        let (file, len) = match &mut self.open {
            Some(open) => open,
            None => self.open.insert(open(&self.path)?),
        };
        let written = file.write_all(lines);
        *len += lines.len() as u64;
        if written.is_err() {
            self.open = None;
        }
        written
    }

    fn rotate(&mut self) -> io::Result<()> {
        self.open = None;
        for number in (1..self.kept).rev() {
            rename_if_there(&self.numbered(number), &self.numbered(number + 1))?;
        }
        rename_if_there(&self.path, &self.numbered(1))
    }

    fn numbered(&self, number: u32) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push(format!(".{number}"));
        name.into()
    }
}

fn open(path: &Path) -> io::Result<(File, u64)> {
    if let Some(folder) = path.parent() {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    let file = atomic_file::open_own(OpenOptions::new().create(true).append(true), path)?;
    file.set_permissions(Permissions::from_mode(0o600))?;
    let len = file.metadata()?.len();
    Ok((file, len))
}

fn is_still_at(file: &File, path: &Path) -> bool {
    let (Ok(open), Ok(found)) = (file.metadata(), fs::symlink_metadata(path)) else { return false };
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

    #[test]
    fn full_files_are_moved_aside_and_the_oldest_dropped() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("logs/a.log");
        let mut log = RotatingFile::new(path.clone(), 10, 2);
        for line in ["one\n", "two\n", "three\n", "four\n", "five and more\n", "six\n"] {
            log.append(line.as_bytes()).unwrap();
        }
        let read = |suffix: &str| fs::read_to_string(format!("{}{suffix}", path.display())).unwrap();
        assert_eq!(
            (read(""), read(".1"), read(".2")),
            ("six\n".into(), "five and more\n".into(), "four\n".into())
        );
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 3);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn file_that_was_taken_away_is_made_anew() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.log");
        let mut log = RotatingFile::new(path.clone(), 1000, 2);
        log.append(b"one\n").unwrap();
        fs::remove_file(&path).unwrap();
        log.append(b"two\n").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two\n");
    }

    #[test]
    fn file_that_was_replaced_is_opened_anew_unless_it_is_a_fifo_or_a_link() {
        let folder = tempfile::tempdir().unwrap();
        let (path, other) = (folder.path().join("a.log"), folder.path().join("other"));
        let mut log = RotatingFile::new(path.clone(), 1000, 2);
        log.append(b"one\n").unwrap();
        fs::write(&other, "").unwrap();
        fs::set_permissions(&other, Permissions::from_mode(0o644)).unwrap();
        fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink(&other, &path).unwrap();
        assert!(log.append(b"two\n").is_err());
        assert_eq!(fs::metadata(&other).unwrap().permissions().mode() & 0o777, 0o644);
        fs::remove_file(&path).unwrap();
        rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
        assert!(log.append(b"three\n").is_err());
        fs::rename(&other, &path).unwrap();
        log.append(b"four\n").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"four\n");
    }

    #[test]
    fn failed_write_is_an_error_and_the_next_one_works() {
        let folder = tempfile::tempdir().unwrap();
        let blocker = folder.path().join("logs");
        fs::write(&blocker, "").unwrap();
        let mut log = RotatingFile::new(blocker.join("a.log"), 1000, 2);
        assert!(log.append(b"one\n").is_err());
        fs::remove_file(&blocker).unwrap();
        log.append(b"two\n").unwrap();
    }
}
