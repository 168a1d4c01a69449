//! What one provider keeps from call to call: a key set it fetched, a nonce it has seen, a counter.
//!
//! Everything here may wait for a disk: call it off the runtime.

use super::blocking::BlockingShare;
use crate::auth::ProviderName;
use redb::backends::{FileBackend, InMemoryBackend};
use redb::{Database, DatabaseError, ReadableDatabase, ReadableTable, Table, TableDefinition};
use std::collections::HashMap;
use std::fmt;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Keys of one bucket.
pub const MAX_KEYS: u64 = 4_096;
/// Keys and values of one bucket together.
pub const MAX_BUCKET_BYTES: u64 = 4 * 1024 * 1024;
/// One key.
pub const MAX_KEY_BYTES: usize = 256;
/// One value.
pub const MAX_VALUE_BYTES: usize = 32 * 1024;
/// An entry is gone this long after it was last written: what nobody refreshes must not fill a bucket for ever.
pub const ENTRY_LIFE: Duration = Duration::from_secs(7 * 24 * 3600);
/// Keys in one page of a listing.
const PAGE: usize = 100;
/// What redb may keep in memory of one bucket.
const CACHE_BYTES: usize = 1024 * 1024;

/// Key to (end of life in seconds since the Unix epoch, value).
const ENTRIES: TableDefinition<'_, &str, (u64, &[u8])> = TableDefinition::new("entries");
/// Bytes and keys in use, by the two names below.
const USAGE: TableDefinition<'_, &str, u64> = TableDefinition::new("usage");
const BYTES: &str = "bytes";
const KEYS: &str = "keys";

/// Why a bucket did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub(super) enum BucketError {
    /// A cap of the bucket.
    #[error("{0}")]
    Full(String),
    /// The value is not a number, or would overflow.
    #[error("the value is no number that can grow by that much")]
    NotANumber,
    /// Another process has the file.
    #[error("the bucket is in use by another process")]
    InUse,
    /// The disk, or what is on it.
    #[error("the bucket cannot be used: {0}")]
    Storage(String),
}

impl<E: Into<redb::Error>> From<E> for BucketError {
    fn from(error: E) -> Self {
        match error.into() {
            redb::Error::DatabaseAlreadyOpen => Self::InUse,
            error => Self::Storage(error.to_string()),
        }
    }
}

/// Where the buckets of all providers stand. One provider has one bucket, however often it is loaded.
#[derive(Clone, Default)]
pub struct Buckets {
    folder: Option<PathBuf>,
    open: Arc<Mutex<HashMap<ProviderName, Weak<Bucket>>>>,
}

impl Buckets {
    /// Buckets that outlive the process, one file each.
    pub fn in_folder(folder: PathBuf) -> Self {
        Self { folder: Some(folder), open: Arc::default() }
    }

    /// Buckets that are forgotten with the process.
    pub fn in_memory() -> Self {
        Self::default()
    }

    /// The bucket of this provider. It is made when it is first used.
    pub fn of(&self, provider: &ProviderName) -> Arc<Bucket> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bucket) = open.get(provider).and_then(Weak::upgrade) {
            return bucket;
        }
        open.retain(|_, bucket| bucket.strong_count() > 0);
        let file = self.folder.as_ref().map(|folder| folder.join(format!("{provider}.redb")));
        let bucket = Arc::new(Bucket {
            file,
            database: OnceLock::new(),
            opening: Mutex::default(),
            threads: BlockingShare::default(),
        });
        open.insert(provider.clone(), Arc::downgrade(&bucket));
        bucket
    }
}

/// One provider's bucket.
pub struct Bucket {
    file: Option<PathBuf>,
    database: OnceLock<Database>,
    opening: Mutex<()>,
    pub(super) threads: BlockingShare,
}

impl fmt::Debug for Bucket {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Bucket").field("file", &self.file).finish_non_exhaustive()
    }
}

/// One page of a listing.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Page {
    pub(super) keys: Vec<String>,
    pub(super) next: Option<u64>,
}

impl Bucket {
    pub(super) fn get(&self, key: &str) -> Result<Option<Vec<u8>>, BucketError> {
        self.get_at(key, now())
    }

    pub(super) fn set(&self, key: &str, value: &[u8]) -> Result<(), BucketError> {
        self.write(|entries| entries.put(key, value, now()))
    }

    pub(super) fn delete(&self, key: &str) -> Result<(), BucketError> {
        self.write(|entries| entries.remove(key))
    }

    /// Adds to a number in one step; a key that is not there counts as zero.
    pub(super) fn increment(&self, key: &str, delta: u64) -> Result<u64, BucketError> {
        self.write(|entries| {
            let now = now();
            let old = entries.live(key, now)?.unwrap_or_else(|| b"0".to_vec());
            let old: Option<u64> = String::from_utf8(old).ok().and_then(|text| text.parse().ok());
            let new = old.and_then(|old| old.checked_add(delta)).ok_or(BucketError::NotANumber)?;
            entries.put(key, new.to_string().as_bytes(), now)?;
            Ok(new)
        })
    }

    /// A page of keys in order, after skipping as many.
    pub(super) fn list(&self, skip: u64) -> Result<Page, BucketError> {
        let read = self.database()?.begin_read()?;
        let table = read.open_table(ENTRIES)?;
        let now = now();
        let mut keys = Vec::new();
        for (place, entry) in (0..).zip(table.iter()?) {
            let (key, value) = entry?;
            if place < skip || value.value().0 <= now {
                continue;
            }
            if keys.len() == PAGE {
                return Ok(Page { keys, next: Some(place) });
            }
            keys.push(key.value().to_owned());
        }
        Ok(Page { keys, next: None })
    }

    fn get_at(&self, key: &str, now: u64) -> Result<Option<Vec<u8>>, BucketError> {
        let read = self.database()?.begin_read()?;
        let found = read.open_table(ENTRIES)?.get(key)?;
        Ok(found.and_then(|entry| live(entry.value(), now)))
    }

    /// One transaction, on disk before this returns; an error leaves everything as it was.
    fn write<T>(
        &self,
        change: impl FnOnce(&mut Entries<'_>) -> Result<T, BucketError>,
    ) -> Result<T, BucketError> {
        let transaction = self.database()?.begin_write()?;
        let outcome = change(&mut Entries {
            entries: transaction.open_table(ENTRIES)?,
            usage: transaction.open_table(USAGE)?,
        })?;
        transaction.commit()?;
        Ok(outcome)
    }

    fn database(&self) -> Result<&Database, BucketError> {
        if let Some(database) = self.database.get() {
            return Ok(database);
        }
        // One call opens it; those that come meanwhile find it open.
        let _opening = self.opening.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(database) = self.database.get() {
            return Ok(database);
        }
        let database = self.open()?;
        Ok(self.database.get_or_init(|| database))
    }

    fn open(&self) -> Result<Database, BucketError> {
        let mut builder = Database::builder();
        builder.set_cache_size(CACHE_BYTES);
        let database = match &self.file {
            None => builder.create_with_backend(InMemoryBackend::new())?,
            Some(path) => builder
                .create_with_backend(FileBackend::new(private_file(path).map_err(DatabaseError::from)?)?)?,
        };
        let transaction = database.begin_write()?;
        transaction.open_table(ENTRIES)?;
        transaction.open_table(USAGE)?;
        transaction.commit()?;
        Ok(database)
    }
}

fn private_file(path: &Path) -> io::Result<fs::File> {
    if let Some(folder) = path.parent() {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

fn live((until, value): (u64, &[u8]), now: u64) -> Option<Vec<u8>> {
    (until > now).then(|| value.to_vec())
}

/// The tables within one transaction.
struct Entries<'a> {
    entries: Table<'a, &'static str, (u64, &'static [u8])>,
    usage: Table<'a, &'static str, u64>,
}

impl Entries<'_> {
    fn live(&self, key: &str, now: u64) -> Result<Option<Vec<u8>>, BucketError> {
        Ok(self.entries.get(key)?.and_then(|entry| live(entry.value(), now)))
    }

    fn put(&mut self, key: &str, value: &[u8], now: u64) -> Result<(), BucketError> {
        if key.is_empty() || key.len() > MAX_KEY_BYTES {
            return Err(BucketError::Full(format!(
                "a key has 1 to {MAX_KEY_BYTES} bytes, not {}",
                key.len()
            )));
        }
        if value.len() > MAX_VALUE_BYTES {
            return Err(BucketError::Full(format!(
                "a value has at most {MAX_VALUE_BYTES} bytes, not {}",
                value.len()
            )));
        }
        self.remove(key)?;
        if let Err(full) = self.room_for(key, value) {
            self.sweep(now)?;
            self.room_for(key, value).map_err(|_| full)?;
        }
        self.entries.insert(key, (now + ENTRY_LIFE.as_secs(), value))?;
        self.count(1, size(key, value))
    }

    fn remove(&mut self, key: &str) -> Result<(), BucketError> {
        let removed = self.entries.remove(key)?.map(|entry| size(key, entry.value().1));
        match removed {
            Some(bytes) => self.count(-1, -bytes),
            None => Ok(()),
        }
    }

    fn room_for(&self, key: &str, value: &[u8]) -> Result<(), BucketError> {
        let bytes = self.used(BYTES)?.saturating_add_signed(size(key, value));
        if bytes > MAX_BUCKET_BYTES {
            return Err(BucketError::Full(format!("the bucket is full ({MAX_BUCKET_BYTES} bytes)")));
        }
        if self.used(KEYS)? >= MAX_KEYS {
            return Err(BucketError::Full(format!("the bucket is full ({MAX_KEYS} keys)")));
        }
        Ok(())
    }

    /// Throws away what is past its life.
    fn sweep(&mut self, now: u64) -> Result<(), BucketError> {
        let mut dead = Vec::new();
        for entry in self.entries.iter()? {
            let (key, value) = entry?;
            if value.value().0 <= now {
                dead.push(key.value().to_owned());
            }
        }
        dead.iter().try_for_each(|key| self.remove(key))
    }

    fn used(&self, what: &str) -> Result<u64, BucketError> {
        Ok(self.usage.get(what)?.map_or(0, |entry| entry.value()))
    }

    fn count(&mut self, keys: i64, bytes: i64) -> Result<(), BucketError> {
        for (what, change) in [(KEYS, keys), (BYTES, bytes)] {
            let used = self.used(what)?.saturating_add_signed(change);
            self.usage.insert(what, used)?;
        }
        Ok(())
    }
}

/// Both caps are far below what a signed number holds.
fn size(key: &str, value: &[u8]) -> i64 {
    i64::try_from(key.len() + value.len()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn name(text: &str) -> ProviderName {
        ProviderName::new(text).unwrap()
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
    fn counter_counts_in_one_step() {
        let bucket = bucket();
        assert_eq!((bucket.increment("n", 2).unwrap(), bucket.increment("n", 3).unwrap()), (2, 5));
        bucket.set("n", u64::MAX.to_string().as_bytes()).unwrap();
        assert!(matches!(bucket.increment("n", 1), Err(BucketError::NotANumber)));
        bucket.set("n", b"text").unwrap();
        assert!(matches!(bucket.increment("n", 1), Err(BucketError::NotANumber)));
    }

    #[test]
    fn full_bucket_says_so_and_loses_nothing() {
        let bucket = bucket();
        let value = vec![1; MAX_VALUE_BYTES];
        let fitting = MAX_BUCKET_BYTES / (MAX_VALUE_BYTES as u64 + 3);
        for index in 0..fitting {
            bucket.set(&format!("{index:03}"), &value).unwrap();
        }
        assert!(matches!(bucket.set("one more", &value), Err(BucketError::Full(_))));
        bucket.set("000", &value).expect("writing again what is there needs no more room");
        assert!(matches!(bucket.set("k", &vec![1; MAX_VALUE_BYTES + 1]), Err(BucketError::Full(_))));
        assert!(matches!(bucket.set(&"k".repeat(MAX_KEY_BYTES + 1), b""), Err(BucketError::Full(_))));
        assert!(matches!(bucket.set("", b""), Err(BucketError::Full(_))));
        bucket.delete("000").unwrap();
        bucket.set("one more", &value).unwrap();
    }

    #[test]
    fn entries_die_and_make_room() {
        let bucket = bucket();
        bucket.write(|entries| entries.put("old", &[1; MAX_VALUE_BYTES], 0)).unwrap();
        assert_eq!(bucket.get("old").unwrap(), None);
        assert!(bucket.get_at("old", 1).unwrap().is_some());
        bucket.write(|entries| entries.usage.insert(KEYS, MAX_KEYS).map(drop).map_err(Into::into)).unwrap();
        bucket.set("new", b"").expect("the dead one made room");
    }

    #[test]
    fn listing_comes_in_pages() {
        let bucket = bucket();
        bucket
            .write(|entries| (0..250).try_for_each(|index| entries.put(&format!("{index:03}"), b"", now())))
            .unwrap();
        let first = bucket.list(0).unwrap();
        assert_eq!((first.keys.len(), first.next), (PAGE, Some(100)));
        let last = bucket.list(200).unwrap();
        assert_eq!((last.keys.len(), last.next), (50, None));
        assert_eq!(bucket.list(u64::MAX).unwrap().keys.len(), 0);
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
        assert_eq!(buckets.of(&name("p")).get("k").unwrap().as_deref(), Some(&b"v"[..]));
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&folder), mode(&folder.join("p.redb"))), (0o700, 0o600));
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
        calls.into_iter().for_each(|call| call.join().unwrap().unwrap());
        assert_eq!(bucket.get("n").unwrap().as_deref(), Some(&b"8"[..]));
    }

    #[test]
    fn broken_file_is_an_error_not_an_empty_bucket() {
        let home = tempfile::tempdir().unwrap();
        fs::write(home.path().join("p.redb"), b"this is no database").unwrap();
        let buckets = Buckets::in_folder(home.path().to_owned());
        assert!(matches!(buckets.of(&name("p")).get("k"), Err(BucketError::Storage(_))));
    }
}
