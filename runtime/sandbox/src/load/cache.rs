//! Artifacts on disk, keyed by the digest of the component, by whether its modules were linked, and
//! by the engine that compiled it.
//!
//! **Invariant:** only this user can write the folder (0700), and nothing is loaded that does not
//! have the digest it was stored with. The digest covers the key: a file that was copied or moved to
//! the name of another component is not loaded as that component. The folder is bounded: an artifact
//! that is written displaces those that were used longest ago. Files are read, not mapped: a mapped
//! file that is cut short later ends the process.

use super::artifact::{Artifact, MAGIC};
use super::compile::COMPILER_VERSION;
use portcullis_home::atomic_file::{self, Durability};
use std::fs::{self, DirBuilder};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};
use wasmtime::Engine;

const PRIVATE: u32 = 0o700;
/// Largest artifact that is read or written. CPython's has 33 MiB.
pub(super) const MAX_ARTIFACT_BYTES: u64 = 256 * 1024 * 1024;

/// Most artifacts in the folder. Each version of a component, and of this program, makes another
/// one.
const MAX_ARTIFACTS: usize = 256;
/// Size of all artifacts together, in bytes.
const MAX_FOLDER_BYTES: u64 = 1024 * 1024 * 1024;
/// A temporary file of this age belongs to a process that was killed while it wrote.
const LEFTOVER_AGE: Duration = Duration::from_secs(3_600);

/// Names the native code that one engine makes of a component.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct CodeKey {
    /// The SHA-256 digest of the component's file, in hex.
    pub(crate) digest: String,
    /// Whether its core modules are linked first: that is other code.
    pub(crate) link_modules: bool,
}

pub(super) struct ArtifactCache {
    folder: Option<PathBuf>,
    is_read_only: bool,
    engine_key: u64,
}

impl ArtifactCache {
    /// Opens a folder, which is made if it is not there. A folder that cannot be trusted is not
    /// used: components are then compiled at every start.
    pub(super) fn open(folder: Option<PathBuf>, engine: &Engine) -> Self {
        let folder = folder.filter(|folder| match make_private(folder) {
            Ok(()) => true,
            Err(error) => {
                tracing::warn!(folder = %folder.display(), %error, "compiled components are not cached");
                false
            }
        });
        Self {
            folder,
            is_read_only: false,
            engine_key: engine_key(engine),
        }
    }

    /// Opens a folder whose artifacts are read, if it can be trusted. Nothing in it is written,
    /// removed or made.
    pub(super) fn open_to_read(folder: Option<PathBuf>, engine: &Engine) -> Self {
        let folder = folder.filter(|folder| check_private(folder).is_ok());
        Self {
            folder,
            is_read_only: true,
            engine_key: engine_key(engine),
        }
    }

    /// Reads an artifact, checks it, and notes that it was used. One that is damaged is removed and
    /// counts as absent.
    pub(super) fn load(&self, key: &CodeKey) -> Option<Artifact> {
        let name = self.name(key);
        let path = self.folder.as_ref()?.join(&name);
        let mut bytes = Vec::new();
        let mut file = atomic_file::open(&path).ok()?;
        file.by_ref()
            .take(MAX_ARTIFACT_BYTES + 1)
            .read_to_end(&mut bytes)
            .ok()?;

        match Artifact::read(bytes, &name) {
            Ok(artifact) => {
                if !self.is_read_only {
                    let _ = file.set_modified(SystemTime::now());
                }
                Some(artifact)
            }
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "a compiled component is compiled again");
                if !self.is_read_only {
                    let _ = fs::remove_file(&path);
                }
                None
            }
        }
    }

    /// Writes an artifact, sealed with its key, unless the folder is only read. A failure costs a
    /// compilation at the next start.
    pub(super) fn store(&self, mut artifact: Artifact, key: &CodeKey) {
        let Some(folder) = self.folder.as_ref().filter(|_| !self.is_read_only) else {
            return;
        };
        let name = self.name(key);
        artifact.seal_as(&name);
        let path = folder.join(name);
        match atomic_file::replace(&path, artifact.bytes(), Durability::Synced) {
            Ok(()) => trim(folder, MAX_ARTIFACTS, MAX_FOLDER_BYTES),
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "a compiled component could not be cached");
            }
        }
    }

    /// Returns the name of the artifact's file, which holds the whole key.
    fn name(&self, key: &CodeKey) -> String {
        let CodeKey {
            digest,
            link_modules,
        } = key;
        let linked = if *link_modules { "-linked" } else { "" };
        format!("{digest}{linked}-{:016x}.cwasm", self.engine_key)
    }
}

/// Artifacts of another engine, compiler or layout have another key.
fn engine_key(engine: &Engine) -> u64 {
    let mut hasher = DefaultHasher::new();
    engine.precompile_compatibility_hash().hash(&mut hasher);
    COMPILER_VERSION.hash(&mut hasher);
    MAGIC.hash(&mut hasher);
    hasher.finish()
}

/// Removes the files that were used longest ago, until no more than `max_files` with `max_bytes`
/// are left, and what killed processes left. Best effort.
fn trim(folder: &Path, max_files: usize, max_bytes: u64) {
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    let file = |entry: fs::DirEntry| {
        let metadata = entry.metadata().ok().filter(fs::Metadata::is_file)?;
        Some((metadata.modified().ok()?, metadata.len(), entry.path()))
    };
    let mut files: Vec<_> = entries.flatten().filter_map(file).collect();
    files.sort_unstable_by(|one, other| other.cmp(one));

    let mut bytes: u64 = 0;
    for (index, (used, length, path)) in files.iter().enumerate() {
        bytes += length;
        let is_temporary = path.extension().is_some_and(|extension| extension == "tmp");
        let is_leftover = is_temporary && used.elapsed().is_ok_and(|age| age > LEFTOVER_AGE);
        if index >= max_files || bytes > max_bytes || is_leftover {
            let _ = fs::remove_file(path);
        }
    }
}

/// Makes the folder, or checks that the one that is there belongs to this user alone.
fn make_private(folder: &Path) -> io::Result<()> {
    DirBuilder::new()
        .recursive(true)
        .mode(PRIVATE)
        .create(folder)?;
    check_private(folder)
}

/// Checks that a folder of compiled components can be trusted: it belongs to this user alone.
///
/// # Errors
/// It cannot be looked at, is no folder, belongs to another user, or has another mode than 0700.
pub fn check_private(folder: &Path) -> io::Result<()> {
    let found = fs::symlink_metadata(folder)?;
    let ours = rustix::process::geteuid().as_raw();
    if !found.is_dir() || found.uid() != ours || found.mode() & 0o777 != PRIVATE {
        return Err(io::Error::other(
            "the cache folder must belong to this user, with mode 0700",
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::survey::Facts;
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    impl ArtifactCache {
        fn path(&self, key: &CodeKey) -> PathBuf {
            self.folder.as_ref().unwrap().join(self.name(key))
        }
    }

    fn artifact() -> Artifact {
        Artifact::new(Facts::default(), &[7; 4_096])
    }

    fn key() -> CodeKey {
        CodeKey {
            digest: "digest".to_owned(),
            link_modules: false,
        }
    }

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
        cache.store(artifact(), &key());
        assert_eq!(cache.load(&key()).unwrap().code(), artifact().code());

        let path = cache.path(&key());
        let mut bytes = fs::read(&path).unwrap();
        bytes[1_024..1_536].fill(0);
        fs::write(&path, &bytes).unwrap();
        assert!(cache.load(&key()).is_none());
        assert!(!path.exists());
    }

    #[test]
    fn file_under_the_name_of_another_key_counts_as_absent() {
        let home = tempfile::tempdir().unwrap();
        let cache = ArtifactCache::open(Some(home.path().join("cache")), &Engine::default());
        let other_engine = ArtifactCache {
            folder: cache.folder.clone(),
            is_read_only: false,
            engine_key: !cache.engine_key,
        };
        let other_component = CodeKey {
            digest: "other".to_owned(),
            ..key()
        };
        let linked = CodeKey {
            link_modules: true,
            ..key()
        };
        cache.store(artifact(), &key());
        let stored = cache.path(&key());

        for (reader, other) in [
            (&cache, other_component),
            (&cache, linked),
            (&other_engine, key()),
        ] {
            let swapped = reader.path(&other);
            fs::copy(&stored, &swapped).unwrap();
            assert!(reader.load(&other).is_none(), "{other:?}");
            assert!(!swapped.exists());
        }
        assert!(cache.load(&key()).is_some());
    }

    #[test]
    fn linked_code_of_a_component_is_kept_apart() {
        let home = tempfile::tempdir().unwrap();
        let cache = ArtifactCache::open(Some(home.path().join("cache")), &Engine::default());
        let linked = CodeKey {
            link_modules: true,
            ..key()
        };
        cache.store(Artifact::new(Facts::default(), b"as it is"), &key());
        assert!(cache.load(&linked).is_none());

        cache.store(Artifact::new(Facts::default(), b"linked"), &linked);
        assert_eq!(cache.load(&key()).unwrap().code(), b"as it is");
        assert_eq!(cache.load(&linked).unwrap().code(), b"linked");
    }

    #[test]
    fn cache_that_is_only_read_leaves_everything_as_it_is() {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join("cache");
        let engine = Engine::default();
        ArtifactCache::open_to_read(Some(folder.clone()), &engine).store(artifact(), &key());
        assert!(!folder.exists());

        let cache = ArtifactCache::open(Some(folder.clone()), &engine);
        cache.store(artifact(), &key());
        let reader = ArtifactCache::open_to_read(Some(folder), &engine);
        assert_eq!(reader.load(&key()).unwrap().code(), artifact().code());
        fs::write(cache.path(&key()), "damaged").unwrap();
        assert!(reader.load(&key()).is_none());
        assert!(cache.path(&key()).exists());
    }

    #[test]
    fn artifacts_that_were_used_longest_ago_make_room() {
        let folder = tempfile::tempdir().unwrap();
        let now = SystemTime::now();
        let make = |name: &str, minutes: u64| {
            let file = fs::File::create(folder.path().join(name)).unwrap();
            file.set_len(10).unwrap();
            file.set_modified(now - Duration::from_secs(60 * minutes))
                .unwrap();
        };
        let left = || {
            let entries = fs::read_dir(folder.path()).unwrap();
            let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
            names.sort();
            names
        };

        let all = [
            ("a.cwasm", 1),
            ("b.cwasm", 4),
            ("c.cwasm", 2),
            ("old.tmp", 90),
            ("young.tmp", 3),
        ];
        for (name, minutes) in all {
            make(name, minutes);
        }

        trim(folder.path(), 4, 1_000);
        assert_eq!(left(), ["a.cwasm", "b.cwasm", "c.cwasm", "young.tmp"]);
        trim(folder.path(), 3, 1_000);
        assert_eq!(left(), ["a.cwasm", "c.cwasm", "young.tmp"]);
        trim(folder.path(), 3, 20);
        assert_eq!(left(), ["a.cwasm", "c.cwasm"]);
    }
}
