//! What one provider keeps from call to call: a key set it fetched, a nonce it has seen, a counter.
//!
//! Entries are read from memory, where the caps on them are worked out as well. A bucket of the
//! home has a database beside them, which is read when it is opened and has each write first. redb
//! alone would not do: a page that its cache does not have is read from the disk, so every `get`
//! would need a thread that may block. That costs 106 µs per call instead of 12. A cache that holds
//! all pages would be the same copy.
//!
//! Opening the database and writing to it wait for a disk: off the runtime.
//!
//! redb panics on some damaged files. That is a failure of the store, which no provider answers for:
//! such a panic is caught here, and the bucket is then out of use until the next start.

use crate::clock::now;
use crate::host::blocking::BlockingShare;
use crate::host::entries::{Changes, Entries, Entry, EntryError};
use crate::weak_map::WeakMap;
use portcullis_auth::ProviderName;
use portcullis_home::atomic_file;
use redb::backends::FileBackend;
use redb::{Database, DatabaseError, ReadableDatabase, ReadableTable, TableDefinition};
use std::fmt;
use std::fs::{self, OpenOptions};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock, RwLockReadGuard};

/// What redb may keep in memory of one bucket, beside what is kept of it anyway.
const CACHE_BYTES: usize = 256 * 1024;

/// Key to (end of life in seconds since the Unix epoch, value).
const ENTRIES: TableDefinition<'_, &str, (u64, &[u8])> = TableDefinition::new("entries");

/// Why a bucket did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BucketError {
    /// It cannot hold that.
    #[error(transparent)]
    Entry(#[from] EntryError),
    /// Another process has the file.
    #[error("the bucket is in use by another process")]
    InUse,
    /// The disk, or what is on it.
    #[error("the bucket cannot be used: {0}")]
    Storage(String),
    /// redb finds what is on the disk damaged, or panics on it.
    #[error("the bucket cannot be used: its file is damaged")]
    Damaged,
}

/// Converts an error of any of redb's types.
fn storage(error: impl Into<redb::Error>) -> BucketError {
    match error.into() {
        redb::Error::DatabaseAlreadyOpen => BucketError::InUse,
        redb::Error::Corrupted(_) => BucketError::Damaged,
        error => BucketError::Storage(error.to_string()),
    }
}

/// Where the buckets of all providers stand. One provider has one bucket, however often it is
/// loaded.
#[derive(Clone, Default)]
pub struct Buckets {
    folder: Option<PathBuf>,
    open: Arc<WeakMap<ProviderName, Bucket>>,
}

impl Buckets {
    /// Buckets that outlive the process, one file each.
    pub fn in_folder(folder: PathBuf) -> Self {
        Self {
            folder: Some(folder),
            open: Arc::default(),
        }
    }

    /// Buckets that are forgotten with the process.
    pub fn in_memory() -> Self {
        Self::default()
    }

    /// Returns the bucket of this provider, which is made when it is first used.
    pub fn of(&self, provider: &ProviderName) -> Arc<Bucket> {
        self.open.get_or_make(provider.clone(), || Bucket {
            file: self
                .folder
                .as_ref()
                .map(|folder| folder.join(format!("{provider}.redb"))),
            kept: OnceLock::new(),
            is_damaged: AtomicBool::new(false),
            opening: Mutex::default(),
            threads: BlockingShare::default(),
        })
    }
}

/// The bucket of one provider.
pub struct Bucket {
    file: Option<PathBuf>,
    kept: OnceLock<Kept>,
    /// The file is damaged: redb is not asked again.
    is_damaged: AtomicBool,
    opening: Mutex<()>,
    pub(crate) threads: BlockingShare,
}

/// The entries, and the database that has them on the disk.
#[derive(Default)]
struct Kept {
    /// Locked for a whole write, so that the next write finds what was written. `None`: the bucket
    /// ends with the process.
    database: Mutex<Option<Database>>,
    entries: RwLock<Entries>,
}

impl fmt::Debug for Bucket {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Bucket")
            .field("file", &self.file)
            .finish_non_exhaustive()
    }
}

impl Bucket {
    /// Returns the entries if that needs no waiting: the bucket is open, and no write holds the
    /// lock.
    pub(crate) fn glimpse(&self) -> Option<RwLockReadGuard<'_, Entries>> {
        self.kept.get()?.entries.try_read().ok()
    }

    /// What is in it.
    pub(crate) fn entries(&self) -> Result<RwLockReadGuard<'_, Entries>, BucketError> {
        Ok(self
            .kept()?
            .entries
            .read()
            .unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn set(&self, key: &str, value: &[u8]) -> Result<(), BucketError> {
        self.write(|entries| Ok(((), entries.put(key, value, now())?)))
    }

    pub(crate) fn delete(&self, key: &str) -> Result<(), BucketError> {
        self.write(|entries| Ok(((), entries.remove(key))))
    }

    /// Adds to a number in one step; a key that is not there counts as zero.
    pub(crate) fn increment(&self, key: &str, delta: u64) -> Result<u64, BucketError> {
        self.write(|entries| entries.increment(key, delta, now()))
    }

    /// Makes one transaction. A bucket with a file has it on disk before this returns and before a
    /// call reads it. After an error nothing has changed.
    fn write<T>(
        &self,
        plan: impl FnOnce(&Entries) -> Result<(T, Changes), EntryError>,
    ) -> Result<T, BucketError> {
        let kept = self.kept()?;
        let mut database = kept.database.lock().unwrap_or_else(PoisonError::into_inner);
        if self.is_damaged.load(Ordering::Relaxed) {
            return Err(BucketError::Damaged);
        }

        let (outcome, changes) =
            plan(&kept.entries.read().unwrap_or_else(PoisonError::into_inner))?;
        if !changes.is_empty() {
            if let Some(open) = &*database {
                let written = self.on_disk(|| commit(open, &changes).map_err(storage));
                if matches!(written, Err(BucketError::Damaged)) {
                    // redb writes when it is dropped, and may panic again.
                    let damaged = database.take();
                    let _ = catch_unwind(AssertUnwindSafe(|| drop(damaged)));
                }
                written?;
            }
            kept.entries
                .write()
                .unwrap_or_else(PoisonError::into_inner)
                .apply(changes);
        }

        Ok(outcome)
    }

    fn kept(&self) -> Result<&Kept, BucketError> {
        if let Some(kept) = self.kept.get() {
            return Ok(kept);
        }
        // One call opens it; those that come meanwhile find it open.
        let _opening = self.opening.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(kept) = self.kept.get() {
            return Ok(kept);
        }
        let kept = match &self.file {
            Some(path) => self.on_disk(|| Self::open(path))?,
            None => Kept::default(),
        };
        Ok(self.kept.get_or_init(|| kept))
    }

    /// Opens a file that is there, so that damage is found and logged before the first call needs
    /// the bucket. Blocks on the disk.
    pub(crate) fn look_for_damage(&self) {
        let Some(path) = self.file.as_ref().filter(|path| path.exists()) else {
            return;
        };
        match self.kept() {
            // Damage is logged where it is found.
            Ok(_) | Err(BucketError::Damaged) => {}
            Err(error) => {
                tracing::error!(file = %path.display(), %error, "the bucket of a provider does not open");
            }
        }
    }

    /// Does something with redb. If the file is damaged, which redb says or panics on, that is
    /// logged once, and redb is not asked again.
    fn on_disk<T>(&self, work: impl FnOnce() -> Result<T, BucketError>) -> Result<T, BucketError> {
        if self.is_damaged.load(Ordering::Relaxed) {
            return Err(BucketError::Damaged);
        }
        let outcome =
            catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| Err(BucketError::Damaged));
        if matches!(outcome, Err(BucketError::Damaged))
            && !self.is_damaged.swap(true, Ordering::Relaxed)
        {
            let file = self.file.as_deref().unwrap_or(Path::new("")).display();
            tracing::error!(
                %file,
                "the file of a provider's bucket is damaged, and the bucket is out of use: restore or remove the file, \
                 and restart the dashboard"
            );
        }
        outcome
    }

    fn open(path: &Path) -> Result<Kept, BucketError> {
        let mut database = open_database(path).map_err(storage)?;
        // Reads every page: a damaged one would be found only by the call that needs it. A file has
        // a few MiB at most.
        if !database.check_integrity().map_err(storage)? {
            tracing::warn!(file = %path.display(), "the file of a provider's bucket was damaged and has been repaired");
        }
        commit(&database, &Changes::new()).map_err(storage)?;

        let mut entries = Entries::default();
        entries.apply(everything(&database).map_err(storage)?);
        Ok(Kept {
            database: Mutex::new(Some(database)),
            entries: RwLock::new(entries),
        })
    }
}

fn open_database(path: &Path) -> Result<Database, DatabaseError> {
    let backend = FileBackend::new(private_file(path)?)?;
    Database::builder()
        .set_cache_size(CACHE_BYTES)
        .create_with_backend(backend)
}

fn commit(database: &Database, changes: &Changes) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    let mut table = transaction.open_table(ENTRIES)?;
    for (key, entry) in changes {
        match entry {
            Some(entry) => drop(table.insert(key.as_str(), (entry.until, &*entry.value))?),
            None => drop(table.remove(key.as_str())?),
        }
    }
    drop(table);
    Ok(transaction.commit()?)
}

fn everything(database: &Database) -> Result<Changes, redb::Error> {
    let table = database.begin_read()?.open_table(ENTRIES)?;
    let entry = |(until, value): (u64, &[u8])| Entry {
        until,
        value: value.to_vec(),
    };
    let entries = table.iter()?.map(|read| {
        let (key, value) = read?;
        Ok((key.value().to_owned(), Some(entry(value.value()))))
    });
    entries.collect()
}

fn private_file(path: &Path) -> io::Result<fs::File> {
    if let Some(folder) = path.parent() {
        atomic_file::make_folder(folder)?;
    }
    atomic_file::open_own(
        OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false),
        path,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn name(text: &str) -> ProviderName {
        ProviderName::new(text).unwrap()
    }

    impl Bucket {
        fn get(&self, key: &str) -> Result<Option<Vec<u8>>, BucketError> {
            Ok(self.entries()?.get(key, now()).map(<[u8]>::to_vec))
        }
    }

    fn bucket() -> Arc<Bucket> {
        Buckets::in_memory().of(&name("p"))
    }

    #[test]
    fn what_is_kept_is_found_again() {
        let bucket = bucket();
        assert_eq!(bucket.get("k").unwrap(), None);
        bucket.set("k", b"one").unwrap();
        bucket.set("k", b"two").unwrap();
        assert_eq!(bucket.get("k").unwrap().as_deref(), Some(&b"two"[..]));
        bucket.delete("k").unwrap();
        assert_eq!(bucket.get("k").unwrap(), None);
    }

    #[test]
    fn bucket_outlives_its_provider_in_a_private_file() {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join("keyvalue");
        let buckets = Buckets::in_folder(folder.clone());
        let first = buckets.of(&name("p"));
        first.set("k", b"v").unwrap();
        // Loaded again beside the old one: the same bucket, not a second lock on its file.
        assert!(Arc::ptr_eq(&first, &buckets.of(&name("p"))));
        assert_eq!(buckets.of(&name("q")).get("k").unwrap(), None);
        drop(first);
        assert_eq!(
            buckets.of(&name("p")).get("k").unwrap().as_deref(),
            Some(&b"v"[..])
        );
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(
            (mode(&folder), mode(&folder.join("p.redb"))),
            (0o700, 0o600)
        );
    }

    #[test]
    fn first_calls_open_it_together() {
        let home = tempfile::tempdir().unwrap();
        let bucket = Buckets::in_folder(home.path().to_owned()).of(&name("p"));
        let start = Arc::new(std::sync::Barrier::new(8));

        let calls: Vec<_> = (0..8)
            .map(|_| {
                let (bucket, start) = (bucket.clone(), start.clone());
                std::thread::spawn(move || {
                    start.wait();
                    bucket.increment("n", 1).map(drop)
                })
            })
            .collect();

        calls
            .into_iter()
            .for_each(|call| call.join().unwrap().unwrap());
        assert_eq!(bucket.get("n").unwrap().as_deref(), Some(&b"8"[..]));
    }

    #[test]
    fn broken_file_is_an_error_not_an_empty_bucket() {
        let home = tempfile::tempdir().unwrap();
        fs::write(home.path().join("p.redb"), b"this is no database").unwrap();
        let buckets = Buckets::in_folder(home.path().to_owned());
        assert!(matches!(
            buckets.of(&name("p")).get("k"),
            Err(BucketError::Storage(_) | BucketError::Damaged)
        ));
    }

    #[test]
    fn zeroed_sector_of_the_file_is_an_error_of_the_store() {
        const SECTOR: usize = 512;
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("p.redb");
        let open = || Buckets::in_folder(home.path().to_owned()).of(&name("p"));
        let bucket = open();
        for number in 0..64 {
            bucket.set(&format!("key-{number}"), &[7; 256]).unwrap();
        }
        drop(bucket);
        let good = fs::read(&path).unwrap();
        let is_used = |sector: &usize| {
            good[*sector..*sector + SECTOR]
                .iter()
                .any(|byte| *byte != 0)
        };

        let mut failures = 0;
        for sector in (0..good.len()).step_by(SECTOR).filter(is_used) {
            let mut damaged = good.clone();
            damaged[sector..sector + SECTOR].fill(0);
            fs::write(&path, damaged).unwrap();
            // A panic here would end the test.
            let bucket = open();
            bucket.look_for_damage();
            let outcome = bucket
                .set("another", b"value")
                .and_then(|()| bucket.get("key-1"));
            failures += usize::from(outcome.is_err());
        }
        assert!(failures > 0, "no sector was needed");
    }

    #[test]
    fn bucket_on_which_the_store_panicked_is_not_asked_again() {
        let home = tempfile::tempdir().unwrap();
        let bucket = Buckets::in_folder(home.path().to_owned()).of(&name("p"));
        let damaged = bucket.on_disk::<()>(|| panic!("a page makes no sense"));
        assert!(matches!(damaged, Err(BucketError::Damaged)));
        assert!(matches!(bucket.set("k", b"v"), Err(BucketError::Damaged)));
    }
}
