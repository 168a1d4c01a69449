//! The end of a log file.

use portcullis_home::atomic_file;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

/// The last `bytes` of a file, or all of it if it is shorter.
///
/// # Errors
/// The file cannot be read.
pub(super) fn file_end(path: &Path, bytes: u64) -> io::Result<Vec<u8>> {
    let mut file = atomic_file::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(bytes)))?;
    let mut end = Vec::new();
    file.take(bytes).read_to_end(&mut end)?;
    Ok(end)
}
