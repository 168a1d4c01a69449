//! Reads the files of a log, the oldest first, as they are at one instant.

use super::Rotation;
use super::files::{LOCK_FILE, take_lock};
use super::head::Heads;
use super::rotating_file::numbered;
use super::trail::name_of;
use portcullis_home::atomic_file;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Take};
use std::path::Path;

/// Longest line that is read as one; longer ones are read in pieces.
const MAX_LINE_BYTES: u64 = 1024 * 1024;

/// The files of a log, and what the home says of its end.
pub(super) struct LogFiles {
    /// The files of the log, the oldest first.
    pub(super) files: Vec<LogFile>,
    pub(super) heads: io::Result<Heads>,
}

/// A file of a log, as long as it was when it was opened.
pub(super) struct LogFile {
    pub(super) name: String,
    /// 0: the current file. 1: the one that was moved aside last.
    pub(super) number: u32,
    reader: BufReader<Take<File>>,
}

impl LogFiles {
    /// Opens what there is of the log. A writer waits meanwhile.
    pub(super) fn open(home: &Path, log: &Path, rotation: Rotation) -> io::Result<Self> {
        // A home that was copied has no writers, and stays as it is.
        let _lock = home.join(LOCK_FILE).exists().then(|| take_lock(home).ok());

        // Before the files: without the lock, the log may grow in between, and its end must not
        // look cut off.
        let heads = Heads::read(home);
        let mut files = Vec::new();
        for number in (0..=rotation.kept_files).rev() {
            let path = if number == 0 {
                log.to_owned()
            } else {
                numbered(log, number)
            };
            match atomic_file::open(&path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
                Ok(file) => {
                    let length = file.metadata()?.len();
                    let reader = BufReader::new(file.take(length));
                    files.push(LogFile {
                        name: name_of(&path),
                        number,
                        reader,
                    });
                }
            }
        }

        Ok(Self { files, heads })
    }
}

impl LogFile {
    /// Reads the next line, with its newline if it has one. Returns whether there was one.
    pub(super) fn next_line(&mut self, line: &mut Vec<u8>) -> io::Result<bool> {
        line.clear();
        self.reader
            .by_ref()
            .take(MAX_LINE_BYTES)
            .read_until(b'\n', line)?;
        Ok(!line.is_empty())
    }
}
