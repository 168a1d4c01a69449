//! Artifacts on disk, keyed by the digest of the component and by the engine that compiled it.
//!
//! **Invariant:** the folder is ours alone (0700), and nothing is loaded that does not have the digest it was stored
//! with. Files are read, not mapped: a mapped file that is cut short later ends the process.

use super::artifact::Artifact;
use super::compile::COMPILER_VERSION;
use crate::atomic_file::{self, Durability};
use std::fs::{self, DirBuilder};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use wasmtime::Engine;

const PRIVATE: u32 = 0o700;
/// Largest artifact that is read or written. CPython's has 33 MiB.
pub(super) const MAX_ARTIFACT_BYTES: u64 = 256 * 1024 * 1024;

pub(super) struct ArtifactCache {
    folder: Option<PathBuf>,
    engine_key: u64,
}

impl ArtifactCache {
    /// Opens a folder, which is made if it is not there. A folder that cannot be trusted is not used: components are then
    /// compiled at every start.
    pub(super) fn open(folder: Option<PathBuf>, engine: &Engine) -> Self {
        let mut hasher = DefaultHasher::new();
        engine.precompile_compatibility_hash().hash(&mut hasher);
        COMPILER_VERSION.hash(&mut hasher);
        let folder = folder.filter(|folder| match make_private(folder) {
            Ok(()) => true,
            Err(error) => {
                tracing::warn!(folder = %folder.display(), %error, "compiled components are not cached");
                false
            }
        });
        Self { folder, engine_key: hasher.finish() }
    }

    /// Reads an artifact and checks it. One that is damaged is removed and counts as absent.
    pub(super) fn load(&self, digest: &str) -> Option<Artifact> {
        let path = self.path(digest)?;
        let mut bytes = Vec::new();
        let mut file = atomic_file::open(&path).ok()?;
        file.by_ref().take(MAX_ARTIFACT_BYTES + 1).read_to_end(&mut bytes).ok()?;
        match Artifact::read(bytes) {
            Ok(artifact) => Some(artifact),
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "a compiled component is compiled again");
                let _ = fs::remove_file(&path);
                None
            }
        }
    }

    pub(super) fn store(&self, artifact: &Artifact, digest: &str) {
        let Some(path) = self.path(digest) else { return };
        if let Err(error) = atomic_file::replace(&path, artifact.bytes(), Durability::Synced) {
            tracing::warn!(path = %path.display(), %error, "a compiled component could not be cached");
        }
    }

    fn path(&self, digest: &str) -> Option<PathBuf> {
        let name = format!("{digest}-{:016x}.cwasm", self.engine_key);
        self.folder.as_ref().map(|folder| folder.join(name))
    }
}

/// Makes the folder, or checks that the one that is there belongs to this user alone.
fn make_private(folder: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(PRIVATE).create(folder)?;
    let found = fs::symlink_metadata(folder)?;
    let ours = rustix::process::geteuid().as_raw();
    if !found.is_dir() || found.uid() != ours || found.mode() & 0o777 != PRIVATE {
        return Err(io::Error::other("the cache folder must belong to this user, with mode 0700"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::survey::Facts;
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn only_a_private_folder_is_trusted() {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join("cache/components");
        make_private(&folder).unwrap();
        make_private(&folder).unwrap();
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).unwrap();
        assert!(make_private(&folder).is_err());
        let link = home.path().join("link");
        std::os::unix::fs::symlink(&folder, &link).unwrap();
        assert!(make_private(&link).is_err());
    }

    #[test]
    fn damaged_artifact_counts_as_absent_and_is_removed() {
        let home = tempfile::tempdir().unwrap();
        let cache = ArtifactCache::open(Some(home.path().join("cache")), &Engine::default());
        let artifact = Artifact::new(Facts::default(), &[7; 4_096]);
        cache.store(&artifact, "digest");
        assert_eq!(cache.load("digest").unwrap().code(), artifact.code());

        let path = cache.path("digest").unwrap();
        let mut bytes = fs::read(&path).unwrap();
        bytes[1_024..1_536].fill(0);
        fs::write(&path, &bytes).unwrap();
        assert!(cache.load("digest").is_none());
        assert!(!path.exists());
    }
}
