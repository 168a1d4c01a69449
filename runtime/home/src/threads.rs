//! Whether the system lets this process start the threads that it needs.
//!
//! Libraries panic or abort when one of their threads cannot be started: tokio while it builds a
//! runtime, notify in the destructor of its watcher. So the number is tried out beforehand.
//!
//! **Invariant:** threads that were started to try are gone, also for the system's limits, when
//! [`check`] returns.

use rustix::process::{Resource, getrlimit};
use rustix::thread::gettid;
use std::fs;
use std::io;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

/// How long the system may take to forget a thread that has ended. It takes microseconds.
const PATIENCE: Duration = Duration::from_secs(1);
/// Between two looks at a thread that has ended.
const LOOK_INTERVAL: Duration = Duration::from_micros(100);

/// Starts and ends `needed` threads.
///
/// # Errors
/// They cannot all be started. The error names what is needed, what can be had, and the limits.
pub fn check(needed: usize) -> io::Result<()> {
    let mut started = Vec::with_capacity(needed);
    let mut refusal = None;
    for _ in 0..needed {
        let park = || {
            thread::park();
            gettid().as_raw_pid()
        };
        match thread::Builder::new().spawn(park) {
            Ok(thread) => started.push(thread),
            Err(error) => {
                refusal = Some(error);
                break;
            }
        }
    }

    let available = started.len();
    for thread in &started {
        thread.thread().unpark();
    }
    let ended: Vec<_> = started
        .into_iter()
        .filter_map(|thread| thread.join().ok())
        .collect();

    // A thread that was joined counts against the limits for some microseconds more.
    let deadline = Instant::now() + PATIENCE;
    for id in ended {
        let task = format!("/proc/self/task/{id}");
        while Path::new(&task).exists() && Instant::now() < deadline {
            thread::park_timeout(LOOK_INTERVAL);
        }
    }

    match refusal {
        None => Ok(()),
        Some(error) => Err(io::Error::new(
            error.kind(),
            sentence(needed, available, &error, &known_limits()),
        )),
    }
}

fn sentence(needed: usize, available: usize, error: &io::Error, limits: &[String]) -> String {
    let limits = match limits {
        [] => String::new(),
        limits => format!("; {}", limits.join(", ")),
    };
    format!(
        "{needed} more threads are needed, and the system starts {available} ({error}{limits}): raise the limits of this \
         user, service or container on threads (`ulimit -u`, `TasksMax`, `--pids-limit`) and memory"
    )
}

/// The limits on threads that can be read, each as a few words.
fn known_limits() -> Vec<String> {
    let of_user = getrlimit(Resource::Nproc)
        .current
        .map(|limit| format!("RLIMIT_NPROC is {limit}"));
    let of_group = fs::read_to_string(group_file())
        .ok()
        .and_then(|text| text.trim().parse::<u64>().ok())
        .map(|limit| format!("pids.max is {limit}"));
    of_user.into_iter().chain(of_group).collect()
}

/// The file of the limit of this process's control group. In a container the group is the root.
fn group_file() -> String {
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let group = groups
        .lines()
        .find_map(|line| line.strip_prefix("0::"))
        .unwrap_or_default();
    format!("/sys/fs/cgroup{}/pids.max", group.trim_end_matches('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_that_were_tried_out_are_gone() {
        let own_threads = || fs::read_dir("/proc/self/task").unwrap().count();
        let before = own_threads();
        check(256).unwrap();
        // Other tests start threads meanwhile, but not as many.
        assert!(own_threads() < before + 128);
    }

    #[test]
    fn refusal_names_the_need_and_the_limits() {
        let error = io::Error::from(io::ErrorKind::WouldBlock);
        let said = sentence(19, 4, &error, &["RLIMIT_NPROC is 12".to_owned()]);
        assert!(
            said.starts_with("19 more threads are needed, and the system starts 4 ("),
            "{said}"
        );
        assert!(said.contains("; RLIMIT_NPROC is 12): raise"), "{said}");
    }
}
