//! Gives memory that was freed back to the system.
//!
//! What wasmtime keeps of a component are many small allocations, among those of requests. Once they
//! are freed, glibc keeps their pages for the arena of the thread that loaded the component, and
//! each reload may come from another thread.
//!
//! **Invariant:** at most one thread waits to do it, so reloads that follow each other cost one walk
//! over the heap per [`PAUSE`].

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

/// How long after the first of several drops the memory is given back.
const PAUSE: Duration = Duration::from_secs(1);

/// Whether a thread waits to give memory back.
static IS_DUE: AtomicBool = AtomicBool::new(false);

/// Gives freed memory back soon after it is dropped, on a thread of its own: no request waits for it.
pub(crate) struct GivesBack;

impl Drop for GivesBack {
    fn drop(&mut self) {
        if IS_DUE.swap(true, Ordering::AcqRel) {
            return;
        }
        let waiting = thread::Builder::new().name("heap".to_owned()).spawn(|| {
            thread::park_timeout(PAUSE);
            // Before the walk: what is dropped during it is given back by the next one.
            IS_DUE.store(false, Ordering::Release);
            give_back();
        });
        // Without a thread, the next drop tries again.
        if waiting.is_err() {
            IS_DUE.store(false, Ordering::Release);
        }
    }
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn give_back() {
    #[expect(unsafe_code, reason = "the allocator has no safe function for it")]
    // SAFETY: glibc lets any thread call it at any time. It returns whether memory was given back.
    let _was_any = unsafe { libc::malloc_trim(0) };
}

/// Other allocators do it by themselves.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
fn give_back() {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drops_that_follow_each_other_share_one_thread() {
        for _ in 0..10_000 {
            drop(GivesBack);
        }
        // One waits. One of a test beside this one may be giving memory back.
        assert!(threads_named_heap() <= 3);
    }

    /// Threads of this process by that name. Where the system does not list them, none.
    fn threads_named_heap() -> usize {
        let Ok(tasks) = std::fs::read_dir("/proc/self/task") else {
            return 0;
        };
        let name = |task: std::fs::DirEntry| std::fs::read_to_string(task.path().join("comm")).ok();
        tasks
            .filter_map(|task| name(task.ok()?))
            .filter(|name| name.trim() == "heap")
            .count()
    }
}
