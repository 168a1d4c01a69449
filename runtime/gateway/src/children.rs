//! The children of this process, as the kernel lists them.

use rustix::process::Pid;
use std::fs;

/// Returns the children of all threads of this process, with those that ended and were not reaped
/// yet. Returns none where `/proc` cannot be read.
///
/// The kernel does not freeze the list while it is read: a child may be missing when another one
/// ends meanwhile.
pub(super) fn children() -> Vec<Pid> {
    let Ok(threads) = fs::read_dir("/proc/self/task") else {
        return Vec::new();
    };
    let lists = threads
        .flatten()
        .filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok());
    let pids = lists.flat_map(|list| {
        list.split_whitespace()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    });

    pids.filter_map(|pid| Pid::from_raw(pid.parse().ok()?))
        .collect()
}
