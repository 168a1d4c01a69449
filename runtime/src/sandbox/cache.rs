//! Compiled components on disk, keyed by the digest of the component and by the engine that compiled it; and which digest
//! a file has, for as long as it stays as it is.
//!
//! **Invariant:** nothing is loaded from a folder that anybody else could write: loading compiled code is
//! running it.

use super::file_identity::FileIdentity;
use super::linking;
use crate::atomic_file::{self, Durability};
use std::fs::{self, DirBuilder};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use wasmtime::Engine;
use wasmtime::component::Component;

const PRIVATE: u32 = 0o700;

pub(super) struct ComponentCache {
    folder: Option<PathBuf>,
    engine_key: u64,
}

impl ComponentCache {
    /// A cache that cannot be used is no cache: components are then compiled at every start.
    pub(super) fn open(folder: Option<PathBuf>, engine: &Engine) -> Self {
        let mut hasher = DefaultHasher::new();
        engine.precompile_compatibility_hash().hash(&mut hasher);
        linking::VERSION.hash(&mut hasher);
        let folder = folder.filter(|folder| match make_private(folder) {
            Ok(()) => true,
            Err(error) => {
                tracing::warn!(folder = %folder.display(), %error, "compiled components are not cached");
                false
            }
        });
        Self { folder, engine_key: hasher.finish() }
    }

    pub(super) fn load(&self, engine: &Engine, digest: &str) -> Option<Component> {
        let path = self.path(digest)?;
        if !path.exists() {
            return None;
        }
        #[expect(unsafe_code, reason = "how compiled code is loaded")]
        // SAFETY: the folder is ours alone (`make_private`), so this file is one that `store` wrote, whole,
        // for this very engine and version, whose hash is in its name.
        let loaded = unsafe { Component::deserialize_file(engine, &path) };
        loaded
            .inspect_err(|error| tracing::debug!(%error, "a cached component does not load: compiling"))
            .ok()
    }

    pub(super) fn store(&self, component: &Component, digest: &str) {
        let Some(path) = self.path(digest) else { return };
        let stored = component
            .serialize()
            .map_err(|error| io::Error::other(error.to_string()))
            .and_then(|code| atomic_file::replace(&path, &code, Durability::Synced));
        if let Err(error) = stored {
            tracing::warn!(path = %path.display(), %error, "a compiled component could not be cached");
        }
    }

    /// The digest that this file had when it was read.
    pub(super) fn digest_of(&self, file: &FileIdentity) -> Option<String> {
        let remembered = atomic_file::read(&self.folder.as_ref()?.join(file.name())).ok()?;
        String::from_utf8(remembered).ok()
    }

    pub(super) fn remember(&self, file: &FileIdentity, digest: &str) {
        let Some(folder) = &self.folder else { return };
        let path = folder.join(file.name());
        if let Err(error) = atomic_file::replace(&path, digest.as_bytes(), Durability::Renamed) {
            tracing::debug!(path = %path.display(), %error, "a file will be hashed again at the next start");
        }
    }

    fn path(&self, digest: &str) -> Option<PathBuf> {
        let name = format!("{digest}-{:016x}.cwasm", self.engine_key);
        self.folder.as_ref().map(|folder| folder.join(name))
    }
}

/// Makes the folder, or checks that the one that is there is ours and nobody else's.
fn make_private(folder: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(PRIVATE).create(folder)?;
    let found = fs::symlink_metadata(folder)?;
    let ours = rustix::process::geteuid().as_raw();
    if !found.is_dir() || found.uid() != ours || found.mode() & 0o777 != PRIVATE {
        return Err(io::Error::other("the cache folder must be ours, with mode 0700"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
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
}
