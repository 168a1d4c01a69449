//! Locks in a home: one process per role.
//!
//! They are `flock` locks on small files, as the original's lock is. The kernel releases a lock
//! when its process ends for any reason, and shows it to processes of other users and in other pid
//! namespaces.
//!
//! **Invariant:** this module never removes a lock file, follows no link at its path, and waits for
//! no FIFO there.

use crate::atomic_file::{folder_of, give_to_owner_of, open_own};
use rustix::io::{FdFlags, fcntl_setfd};
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// Held by the gateway, ours or the original's.
pub const GATEWAY_LOCK: &str = "gateway.lock";
/// Held by the dashboard.
pub const DASHBOARD_LOCK: &str = "dashboard.lock";
/// The lock that `portcullis up` holds.
pub const UP_LOCK: &str = "up.lock";

/// Maximum number of bytes that are read from a lock file.
const MAX_RECORD_BYTES: u64 = 64 * 1024;

/// How long a lock that another process holds is tried again.
const PATIENCE: Duration = Duration::from_millis(500);
const RETRY_INTERVAL: Duration = Duration::from_millis(10);

/// A lock that this process holds, until it is dropped.
#[derive(Debug)]
pub struct HomeLock {
    path: PathBuf,
    file: File,
}

/// The state of a lock.
#[derive(Debug)]
pub enum LockState {
    /// A process holds the lock. The bytes are the content of the file.
    Held(Vec<u8>),
    /// No process holds the lock.
    Free,
    /// There is no lock file.
    Absent,
    /// The lock cannot be probed.
    Unknown(io::Error),
}

impl HomeLock {
    /// Takes the lock and writes `record` into its file. Returns `None` if another process holds
    /// the lock.
    ///
    /// # Errors
    /// The file cannot be opened for writing, or is not a regular file.
    pub fn take(path: &Path, record: &[u8]) -> io::Result<Option<Self>> {
        let until = Instant::now() + PATIENCE;
        loop {
            let mut options = OpenOptions::new();
            let mut file = open_own(
                options.create(true).truncate(false).read(true).write(true),
                path,
            )?;
            match file.try_lock() {
                Ok(()) => {}
                // A look at the lock takes it for an instant.
                Err(TryLockError::WouldBlock) if Instant::now() < until => {
                    thread::park_timeout(RETRY_INTERVAL);
                    continue;
                }
                Err(TryLockError::WouldBlock) => return Ok(None),
                Err(TryLockError::Error(error)) => return Err(error),
            }
            // The original removes a lock file whose holder it does not recognise, so the lock must
            // be on the file that is at the path now.
            if is_at(&file, path)? {
                give_to_owner_of(folder_of(path), &file)?;
                file.set_len(0)?;
                file.rewind()?;
                // The lock is held without its record as well: readers then cannot identify the
                // holder.
                let _ = file.write_all(record);
                return Ok(Some(Self {
                    path: path.to_owned(),
                    file,
                }));
            }
        }
    }

    /// Takes the lock again if its file was removed. Returns false if another process holds the
    /// lock by then.
    ///
    /// # Errors
    /// As [`Self::take`].
    pub fn renew(&mut self, record: &[u8]) -> io::Result<bool> {
        if is_at(&self.file, &self.path)? {
            return Ok(true);
        }
        let Some(renewed) = Self::take(&self.path, record)? else {
            return Ok(false);
        };
        *self = renewed;
        Ok(true)
    }

    /// Lets every process that this one starts from now on inherit the lock. The kernel releases it
    /// when the last process that has it ends.
    ///
    /// # Errors
    /// The system refuses it.
    pub(crate) fn let_children_inherit(&self) -> io::Result<()> {
        Ok(fcntl_setfd(&self.file, FdFlags::empty())?)
    }
}

/// Returns whether a process holds the lock. Holds a shared lock for an instant if none does.
pub fn probe(path: &Path) -> LockState {
    match look(path) {
        Ok(state) => state,
        Err(error) if error.kind() == io::ErrorKind::NotFound => LockState::Absent,
        Err(error) => LockState::Unknown(error),
    }
}

fn look(path: &Path) -> io::Result<LockState> {
    // One look at a time: many at once would hold the lock without a gap, and no process could take
    // it.
    static LOOKING: Mutex<()> = Mutex::new(());
    let _looking = LOOKING.lock().unwrap_or_else(PoisonError::into_inner);

    let file = open_own(OpenOptions::new().read(true), path)?;
    match file.try_lock_shared() {
        Ok(()) => Ok(LockState::Free),
        Err(TryLockError::WouldBlock) => {
            let mut record = Vec::new();
            file.take(MAX_RECORD_BYTES).read_to_end(&mut record)?;
            Ok(LockState::Held(record))
        }
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// Returns whether this open file is the one at the path.
fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    let opened = file.metadata()?;
    match fs::symlink_metadata(path) {
        Ok(there) => Ok((there.dev(), there.ino()) == (opened.dev(), opened.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_holder_at_a_time() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join(GATEWAY_LOCK);
        assert!(matches!(probe(&path), LockState::Absent));
        let lock = HomeLock::take(&path, b"me").unwrap().unwrap();
        assert!(HomeLock::take(&path, b"you").unwrap().is_none());
        assert!(matches!(probe(&path), LockState::Held(record) if record == b"me"));
        drop(lock);
        assert!(matches!(probe(&path), LockState::Free));
        assert!(HomeLock::take(&path, b"you").unwrap().is_some());
    }

    #[test]
    fn lock_can_be_taken_while_others_look_at_it() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join(GATEWAY_LOCK);
        fs::write(&path, "").unwrap();
        let until = Instant::now() + Duration::from_millis(300);
        thread::scope(|scope| {
            for _ in 0..16 {
                scope.spawn(|| {
                    while Instant::now() < until {
                        probe(&path);
                    }
                });
            }
            while Instant::now() < until {
                assert!(HomeLock::take(&path, b"me").unwrap().is_some());
            }
        });
    }

    #[test]
    fn removed_file_is_made_and_locked_again() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join(GATEWAY_LOCK);
        let mut lock = HomeLock::take(&path, b"me").unwrap().unwrap();
        fs::remove_file(&path).unwrap();
        assert!(lock.renew(b"me").unwrap());
        assert!(matches!(probe(&path), LockState::Held(_)));

        fs::remove_file(&path).unwrap();
        let other = HomeLock::take(&path, b"you").unwrap();
        assert!(other.is_some() && !lock.renew(b"me").unwrap());
    }

    #[test]
    fn links_and_devices_are_errors() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join(GATEWAY_LOCK);
        std::os::unix::fs::symlink(home.path().join("elsewhere"), &path).unwrap();
        assert!(
            HomeLock::take(&path, b"")
                .unwrap_err()
                .to_string()
                .contains("symbolic link")
        );
        assert!(matches!(probe(&path), LockState::Unknown(_)));
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        assert!(HomeLock::take(&path, b"").is_err());
    }
}
