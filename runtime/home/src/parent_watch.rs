//! Ending with the process that started this one, however that ended: `kill -9` runs no destructor.
//!
//! **Invariant:** a parent that died before the watch began is noticed, and no other process is
//! taken for it.

use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, PidfdFlags, getppid, pidfd_open};
use std::io;
use std::thread;

/// Calls `on_death` on a thread of its own once the parent, whose process id is `parent`, is gone.
///
/// # Errors
/// It has ended already or was never the parent, or no thread can be started.
pub fn watch_parent(parent: u32, on_death: impl FnOnce() + Send + 'static) -> io::Result<()> {
    let parent = i32::try_from(parent).ok().and_then(Pid::from_raw);
    let parent =
        parent.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "no such process id"))?;
    let alive = pidfd_open(parent, PidfdFlags::empty())?;
    // It may have ended before it was opened, and its id may belong to another process.
    if getppid() != Some(parent) {
        return Err(io::Error::other("the parent process has ended"));
    }

    let watch = move || {
        while poll(&mut [PollFd::new(&alive, PollFlags::IN)], None).is_err() {}
        on_death();
    };
    thread::Builder::new()
        .name("parent-watch".into())
        .spawn(watch)?;
    Ok(())
}
