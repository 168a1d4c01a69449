//! What the system says of processes: processor time, memory, open files.

use rustix::param::clock_ticks_per_second;
use rustix::process::{Resource, getrlimit, setrlimit};
use std::fs;
use std::time::Duration;

/// Lets this process and its children open as many files as the hard limit allows.
pub(crate) fn raise_open_files() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // A lower limit is reported where it matters.
    let _ = setrlimit(Resource::Nofile, limit);
}

/// The number of files that this process may open. `None`: there is no limit.
pub(crate) fn open_files() -> Option<usize> {
    getrlimit(Resource::Nofile)
        .current
        .and_then(|limit| usize::try_from(limit).ok())
}

/// Processor time of these processes and of all that they started, user and system, in the steps of
/// the system's clock (10 ms on Linux).
pub(crate) fn cpu_time(roots: &[u32]) -> Duration {
    roots
        .iter()
        .flat_map(|root| family(*root))
        .filter_map(cpu_time_of)
        .sum()
}

/// Bytes of a process in memory (`VmRSS`).
pub(crate) fn resident_bytes(process: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .expect("the process runs");
    let kib = line
        .split_whitespace()
        .next()
        .and_then(|number| number.parse::<u64>().ok());
    kib.expect("a number of KiB") * 1024
}

/// The process and its descendants.
fn family(root: u32) -> Vec<u32> {
    let mut all = vec![root];
    let mut next = 0;
    while let Some(process) = all.get(next).copied() {
        let tasks = fs::read_dir(format!("/proc/{process}/task"))
            .into_iter()
            .flatten()
            .flatten();
        let lists = tasks.filter_map(|task| fs::read_to_string(task.path().join("children")).ok());
        let children: Vec<u32> = lists
            .flat_map(|list| {
                list.split_whitespace()
                    .filter_map(|id| id.parse().ok())
                    .collect::<Vec<_>>()
            })
            .collect();
        all.extend(children);
        next += 1;
    }
    all
}

fn cpu_time_of(process: u32) -> Option<Duration> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // After the name, which may hold anything, come the state and ten more fields before utime and
    // stime.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let user: u64 = fields.get(11)?.parse().ok()?;
    let system: u64 = fields.get(12)?.parse().ok()?;
    Some(Duration::from_secs_f64(
        (user + system) as f64 / clock_ticks_per_second() as f64,
    ))
}
