use super::error::LoadError;
use portcullis_home::atomic_file;
use std::borrow::Cow;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Largest file that is read. What counts against a provider's own limit is less: custom sections
/// are left out.
pub(super) const MAX_FILE_BYTES: u64 = 128 * 1024 * 1024;

/// Where a component comes from.
#[derive(Clone, Debug)]
pub enum ComponentSource {
    /// A file of the operator's.
    File(PathBuf),
    /// One that came with the binary.
    Bundled(&'static [u8]),
}

impl ComponentSource {
    /// The refusal of a file that is not WebAssembly and has more bytes than a component may have:
    /// what it is does not matter.
    pub(crate) fn instead_of(&self, error: LoadError, bytes: usize, limit: u64) -> LoadError {
        match self {
            Self::File(path) if bytes as u64 > limit => LoadError::TooLarge {
                path: path.to_owned(),
                mib: limit >> 20,
            },
            _ => error,
        }
    }

    /// Reads the bytes that are hashed and compiled.
    ///
    /// # Errors
    /// The file cannot be read, or is too large.
    pub fn read(&self) -> Result<Cow<'static, [u8]>, LoadError> {
        match self {
            Self::Bundled(bytes) => Ok(Cow::Borrowed(bytes)),
            Self::File(path) => read_bounded(path).map(Cow::Owned),
        }
    }
}

fn read_bounded(path: &Path) -> Result<Vec<u8>, LoadError> {
    let failed = |cause| LoadError::Unreadable {
        path: path.to_owned(),
        cause: Arc::new(cause),
    };
    let mut file = atomic_file::open(path).map_err(failed)?;
    let length = file.metadata().map_err(failed)?.len().min(MAX_FILE_BYTES);
    let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or_default());

    file.by_ref()
        .take(MAX_FILE_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(LoadError::TooLarge {
            path: path.to_owned(),
            mib: MAX_FILE_BYTES >> 20,
        });
    }
    Ok(bytes)
}
