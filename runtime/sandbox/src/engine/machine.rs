//! What the machine, or the container, has.

use rustix::process::{Resource, getrlimit};
use std::fs;

/// Files in which Linux writes how much memory this process's group may use: version 2 of control
/// groups as a container sees it, and version 1. The word `max` stands for no limit.
const GROUP_LIMITS: &[&str] = &[
    "/sys/fs/cgroup/memory.max",
    "/sys/fs/cgroup/memory.high",
    "/sys/fs/cgroup/memory/memory.limit_in_bytes",
];
/// What is assumed where the system does not say.
const UNKNOWN_BYTES: u64 = 1024 * 1024 * 1024;

/// Memory that this process may use, in bytes: the machine's, or less where a control group or the
/// address space of this process is limited.
pub(crate) fn memory_bytes() -> u64 {
    let machine = fs::read_to_string("/proc/meminfo")
        .ok()
        .and_then(|text| total_of(&text));
    let groups = own_groups()
        .into_iter()
        .chain(GROUP_LIMITS.iter().map(|&path| path.to_owned()));
    let limits = groups.filter_map(|path| fs::read_to_string(path).ok()?.trim().parse().ok());
    limits
        .chain(machine)
        .chain(address_space())
        .min()
        .unwrap_or(UNKNOWN_BYTES)
}

/// The most addresses that this process may use, in bytes, if that is limited.
pub(crate) fn address_space() -> Option<u64> {
    getrlimit(Resource::As).current
}

/// The limits on memory that this process has, for a person who reads that memory was refused.
/// `None`: it has none.
pub(crate) fn memory_limits_in_words() -> Option<String> {
    let limits = [
        (Resource::As, "RLIMIT_AS (`ulimit -v`)"),
        (Resource::Data, "RLIMIT_DATA (`ulimit -d`)"),
    ];
    let named: Vec<_> = limits
        .into_iter()
        .filter_map(|(resource, name)| Some((getrlimit(resource).current?, name)))
        .map(|(bytes, name)| format!("{name} is {} MiB", bytes >> 20))
        .collect();
    (!named.is_empty()).then(|| named.join(", "))
}

/// Outside a container, the limit stands in the folder of this process's own group, and in those
/// above.
fn own_groups() -> Vec<String> {
    let Ok(text) = fs::read_to_string("/proc/self/cgroup") else {
        return Vec::new();
    };
    let Some(mut group) = text.lines().find_map(|line| line.strip_prefix("0::")) else {
        return Vec::new();
    };
    let mut files = Vec::new();
    while !group.is_empty() && group != "/" {
        files.push(format!("/sys/fs/cgroup{group}/memory.max"));
        group = group.rsplit_once('/').map_or("", |(above, _)| above);
    }
    files
}

/// `MemTotal` of /proc/meminfo, in bytes.
fn total_of(meminfo: &str) -> Option<u64> {
    let line = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_what_the_system_says() {
        assert_eq!(
            total_of("MemTotal:       24650000 kB\nMemFree: 1 kB\n"),
            Some(24_650_000 * 1024)
        );
        assert_eq!(total_of("nothing"), None);
        assert!(memory_bytes() > 0);
    }
}
