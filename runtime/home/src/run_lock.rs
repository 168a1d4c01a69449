//! The lock of one run of the gateway: `turns/<process id>-<start time>.lock` in the home.
//!
//! The gateway takes the lock, and every process that it starts inherits the descriptor: the
//! guards, and from them all processes of their turns. The kernel releases the lock when the last
//! of them has ended, so it shows what is left of the turns even after the gateway and a guard were
//! killed together. A process that closes the descriptor is not seen.
//!
//! **Invariant:** a lock file is removed only while no process holds it, and files with other names
//! are left alone.

use crate::atomic_file;
use crate::home_lock::{HomeLock, LockState, probe};
use crate::process_start_time;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The folder of the lock files in the home.
pub const RUN_LOCKS: &str = "turns";

/// The lock of this run.
#[derive(Debug)]
pub struct RunLock {
    path: PathBuf,
    lock: HomeLock,
}

impl RunLock {
    /// Takes the lock. Every process that is started from now on holds it too.
    ///
    /// # Errors
    /// The folder or the file cannot be made, or another process holds the lock.
    pub fn take(folder: &Path) -> io::Result<Self> {
        atomic_file::make_folder(folder)?;
        let path = folder.join(Run::of_this_process().file_name());
        let lock = HomeLock::take(&path, b"")?;
        let lock =
            lock.ok_or_else(|| io::Error::other("another process holds the lock of this run"))?;
        lock.let_children_inherit()?;
        Ok(Self { path, lock })
    }

    /// Releases the lock, and removes its file unless a process of a turn is left.
    pub fn end(self) {
        let Self { path, lock } = self;
        drop(lock);
        remove_if_free(&path);
    }
}

/// A run of the gateway, by its process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Run {
    pid: u32,
    /// In clock ticks since boot; 0 where it is not known.
    start_time: u64,
}

impl Run {
    fn of_this_process() -> Self {
        let pid = std::process::id();
        Self {
            pid,
            start_time: process_start_time(pid).unwrap_or_default(),
        }
    }

    fn file_name(self) -> String {
        format!("{}-{}.lock", self.pid, self.start_time)
    }

    fn parse(name: &str) -> Option<Self> {
        let (pid, start_time) = name.strip_suffix(".lock")?.split_once('-')?;
        let run = Self {
            pid: pid.parse().ok()?,
            start_time: start_time.parse().ok()?,
        };
        // `+7` and `007` are numbers as well, but no names that a gateway makes.
        (run.file_name() == name).then_some(run)
    }
}

/// Returns the lock files in the folder; none where the folder does not exist.
///
/// # Errors
/// The folder cannot be read.
pub fn lock_files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut files = Vec::new();
    for entry in entries {
        let path = entry?.path();
        if path
            .file_name()
            .and_then(OsStr::to_str)
            .and_then(Run::parse)
            .is_some()
        {
            files.push(path);
        }
    }

    Ok(files)
}

/// Removes the lock file if no process holds its lock. Returns false where a process holds it, or
/// may hold it.
pub fn remove_if_free(file: &Path) -> bool {
    match probe(file) {
        LockState::Free => {
            // A file that stays is tried again at the next start.
            let _ = fs::remove_file(file);
            true
        }
        LockState::Absent => true,
        LockState::Held(_) | LockState::Unknown(_) => false,
    }
}

/// Says why a process of a turn may be left over a home whose gateway does not run. Returns `None`
/// when none is left.
pub fn leftover_turns(home: &Path) -> Option<String> {
    doubt_of_end(&home.join(RUN_LOCKS))
}

/// Says why a process of a turn may be left although no gateway runs. Returns `None` when none is
/// left.
pub(crate) fn doubt_of_end(folder: &Path) -> Option<String> {
    let files = match lock_files(folder) {
        Ok(files) => files,
        Err(error) => return Some(format!("{RUN_LOCKS}/ cannot be looked at: {error}")),
    };
    files.iter().find_map(|file| match probe(file) {
        LockState::Free | LockState::Absent => None,
        LockState::Held(_) => {
            Some("the gateway is gone, and work of its turns continues".to_owned())
        }
        LockState::Unknown(error) => {
            Some(format!("{} cannot be looked at: {error}", file.display()))
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_that_a_gateway_makes_are_lock_files() {
        assert_eq!(
            Run::parse("7-123.lock"),
            Some(Run {
                pid: 7,
                start_time: 123
            })
        );
        let this = Run::of_this_process();
        assert_eq!(Run::parse(&this.file_name()), Some(this));
        for name in [
            "",
            ".lock",
            "-.lock",
            "7.lock",
            "7-.lock",
            "-7.lock",
            "-7-1.lock",
            "+7-1.lock",
            "07-1.lock",
            "7-01.lock",
            "7-1-1.lock",
            "7-1.lock ",
            "7-1.LOCK",
            "7-1.lock.bak",
            "4294967296-1.lock",
            "7-18446744073709551616.lock",
            "../7-1.lock",
        ] {
            assert_eq!(Run::parse(name), None, "{name}");
        }
    }

    #[test]
    fn file_is_removed_once_its_lock_is_free() {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join(RUN_LOCKS);
        assert_eq!(doubt_of_end(&folder), None);
        fs::create_dir(&folder).unwrap();
        let file = folder.join("7-123.lock");
        let lock = HomeLock::take(&file, b"").unwrap().unwrap();
        assert_eq!(lock_files(&folder).unwrap(), std::slice::from_ref(&file));
        assert!(doubt_of_end(&folder).is_some() && !remove_if_free(&file) && file.exists());
        drop(lock);
        assert_eq!(doubt_of_end(&folder), None);
        assert!(remove_if_free(&file) && !file.exists() && remove_if_free(&file));
    }

    #[test]
    fn what_cannot_be_looked_at_is_in_doubt() {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join(RUN_LOCKS);
        fs::create_dir_all(folder.join("7-123.lock")).unwrap();
        assert!(doubt_of_end(&folder).is_some() && !remove_if_free(&folder.join("7-123.lock")));
        fs::remove_dir_all(&folder).unwrap();
        fs::write(&folder, "").unwrap();
        assert!(doubt_of_end(&folder).is_some());
    }
}
