//! What earlier runs of the gateway left of their turns.
//!
//! When a guard is killed together with its gateway, the processes of its turn become children of
//! init. They hold the lock of their run ([`RunLock`](portcullis_home::RunLock)), by which they are
//! found, killed and counted.
//!
//! **Invariant:** a process is killed only while it holds the lock of an earlier run, and never by
//! its id alone, which another process may have by then.

use portcullis_home::{lock_files, remove_if_free};
use rustix::process::{Pid, PidfdFlags, Signal, getpid, pidfd_open, pidfd_send_signal};
use std::collections::HashSet;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::time::{sleep, timeout};

/// How long guards may take to end the turns of a gateway that was killed.
const GUARD_PATIENCE: Duration = Duration::from_millis(500);

/// How long killed processes may take to end.
const KILL_PATIENCE: Duration = Duration::from_secs(5);

/// Pause between two looks at the locks.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// The locks of earlier runs that are still held.
#[derive(Debug)]
pub(super) struct Leftovers {
    locks: Vec<PathBuf>,
}

impl Leftovers {
    /// Kills what earlier runs left, waits until it is gone, and removes the lock files that are
    /// free. Returns the locks that are held by processes that it cannot find or kill, such as
    /// those in another pid namespace.
    ///
    /// Call it before this run takes its own lock.
    ///
    /// # Errors
    /// The folder of the lock files cannot be read.
    pub(super) async fn end(folder: &Path) -> io::Result<Self> {
        let mut leftovers = Self {
            locks: lock_files(folder)?,
        };
        // A guard without its gateway ends its turn by itself, and finds even what has closed the
        // lock's descriptor.
        let _ = timeout(GUARD_PATIENCE, leftovers.wait()).await;

        let mut killed = HashSet::new();
        let _ = timeout(KILL_PATIENCE, leftovers.kill(&mut killed)).await;
        if !killed.is_empty() {
            let processes = killed.len();
            tracing::warn!(
                processes,
                "killed what an earlier run of the gateway left of its turns"
            );
        }
        for lock in &leftovers.locks {
            let lock = lock.display();
            tracing::warn!(%lock, "a process of an earlier run's turn may be left: it counts as a turn until it ends");
        }
        Ok(leftovers)
    }

    /// Returns how many locks are still held, and removes the files of the others.
    pub(super) fn count(&mut self) -> usize {
        self.locks.retain(|lock| !remove_if_free(lock));
        self.locks.len()
    }

    async fn wait(&mut self) {
        while self.count() > 0 {
            sleep(LOOK_INTERVAL).await;
        }
    }

    /// Kills the holders of the locks until no lock is held. A process may start another one before
    /// it is killed, so one look is not enough.
    async fn kill(&mut self, killed: &mut HashSet<Pid>) {
        while self.count() > 0 {
            for lock in &self.locks {
                killed.extend(kill_holders(lock));
            }
            sleep(LOOK_INTERVAL).await;
        }
    }
}

/// Kills every process that holds the lock, and returns those that it could send the signal.
fn kill_holders(lock: &Path) -> Vec<Pid> {
    processes()
        .into_iter()
        .filter(|process| kill_if_holder(*process, lock))
        .collect()
}

fn kill_if_holder(pid: Pid, lock: &Path) -> bool {
    if !holds(pid, lock) {
        return false;
    }
    let Ok(process) = pidfd_open(pid, PidfdFlags::empty()) else {
        return false;
    };
    // If the id went to another process before it was opened, that one does not hold the lock.
    holds(pid, lock) && pidfd_send_signal(&process, Signal::KILL).is_ok()
}

/// Returns every process in this pid namespace but this one.
fn processes() -> Vec<Pid> {
    // A `/proc` of another pid namespace has ids that belong to other processes here.
    let this = std::process::id().to_string();
    if !fs::read_link("/proc/self").is_ok_and(|id| id == Path::new(&this)) {
        return Vec::new();
    }

    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    let ids = entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());

    // A turn of an earlier run may have started this gateway.
    ids.filter_map(Pid::from_raw)
        .filter(|pid| *pid != getpid())
        .collect()
}

/// Returns whether the process holds the lock. A process that only has the file open, such as a
/// backup or a dashboard that looks whether the lock is held, does not.
fn holds(pid: Pid, lock: &Path) -> bool {
    let process = PathBuf::from(format!("/proc/{pid}"));
    let Ok(mut descriptors) = fs::read_dir(process.join("fd")) else {
        return false;
    };
    descriptors.any(|descriptor| {
        let Ok(descriptor) = descriptor else {
            return false;
        };
        let info = process.join("fdinfo").join(descriptor.file_name());
        is_file(&descriptor.path(), lock) && has_exclusive_lock(&info)
    })
}

fn is_file(descriptor: &Path, lock: &Path) -> bool {
    // The name comes first, since a look at the file itself can block, as on a network drive that
    // is gone.
    let has_name =
        fs::read_link(descriptor).is_ok_and(|target| target.file_name() == lock.file_name());
    let inode = |path: &Path| fs::metadata(path).map(|file| (file.dev(), file.ino())).ok();
    has_name && inode(lock).is_some_and(|there| inode(descriptor) == Some(there))
}

/// The kernel lists the locks of an open file in its `fdinfo`, for every process that has inherited
/// it.
fn has_exclusive_lock(info: &Path) -> bool {
    let is_exclusive =
        |line: &str| line.starts_with("lock:") && line.contains("FLOCK") && line.contains("WRITE");
    fs::read_to_string(info).is_ok_and(|text| text.lines().any(is_exclusive))
}
