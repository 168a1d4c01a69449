//! Limits of this user on descriptors and threads. Those of a service may differ: systemd sets its
//! own.

use super::Finding;
use rustix::process::{Resource, geteuid, getrlimit};
use std::fs;

/// Half of the descriptors are for connections, and the engine, the guests and the files of the
/// home need some as well.
const TOO_FEW_DESCRIPTORS: u64 = 128;
const FEW_DESCRIPTORS: u64 = 4_096;
/// Threads of the runtime, of the guests and of files, over both processes. They grow with the
/// load.
const TOO_FEW_THREADS: u64 = 64;
const FEW_THREADS: u64 = 512;
/// Where a container finds the limit on its tasks.
const CONTAINER_TASKS: &str = "/sys/fs/cgroup/pids.max";

pub(super) fn check() -> Vec<Finding> {
    // The dashboard raises its own limit to the maximum.
    let descriptors = getrlimit(Resource::Nofile).maximum;
    // The kernel does not apply this limit to root.
    let of_the_user = getrlimit(Resource::Nproc)
        .current
        .filter(|_| !geteuid().is_root());
    let threads = of_the_user.into_iter().chain(container_tasks()).min();

    vec![
        judged(
            "descriptors",
            descriptors,
            TOO_FEW_DESCRIPTORS,
            FEW_DESCRIPTORS,
            "LimitNOFILE= or `ulimit -n`",
        ),
        judged(
            "threads",
            threads,
            TOO_FEW_THREADS,
            FEW_THREADS,
            "TasksMax=, LimitNPROC= or `ulimit -u`",
        ),
    ]
}

/// `None`: the word `max`, or no such limit.
fn container_tasks() -> Option<u64> {
    fs::read_to_string(CONTAINER_TASKS)
        .ok()?
        .trim()
        .parse()
        .ok()
}

fn judged(
    check: &'static str,
    limit: Option<u64>,
    too_few: u64,
    few: u64,
    raised_by: &str,
) -> Finding {
    let Some(limit) = limit else {
        return Finding::ok(check, "there is no limit");
    };
    let what = format!("the limit is {limit}");
    let fix = format!("raise the limit to {few} or more: {raised_by}");
    if limit < too_few {
        return Finding::error(check, what)
            .because("a few callers use it up")
            .mended_by(fix);
    }

    match limit < few {
        true => Finding::warn(check, what)
            .because("many callers at once use it up")
            .mended_by(fix),
        false => Finding::ok(check, what),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limit_is_judged_by_its_size() {
        for (limit, expected) in [
            (Some(9), "error"),
            (Some(10), "warn"),
            (Some(20), "ok"),
            (None, "ok"),
        ] {
            let finding = judged("descriptors", limit, 10, 20, "x").to_string();
            assert!(finding.starts_with(expected), "{finding}");
        }
    }
}
