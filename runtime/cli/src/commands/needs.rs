//! What a service needs of the system, compared with the limits of this process before it begins.
//!
//! **Invariant:** a service whose limits are too low ends here with one sentence. Later, libraries
//! would panic when a thread does not start, and the allocator ends a process that gets no memory.

use anyhow::{Context, Result, bail};
use portcullis_net::runtime;
use rustix::process::{Resource, getrlimit};
use std::thread;
use tokio::runtime::{Builder, Runtime};

const MIB: u64 = 1024 * 1024;

/// Threads of the dashboard that belong to no runtime: the main one's large stack, the audit log,
/// the access log, the drain marker, ended sessions, the epoch, two watchers of files, the watcher
/// of the parent; and one for the process of the compiler.
const DASHBOARD_THREADS: usize = 10;
/// Runtimes of the sandbox: of checks and of sign-ins.
const GUEST_RUNTIMES: usize = 2;
/// Threads of the gateway that belong to no runtime: the main one's large stack, the watchers of
/// the marker, of its folder and of the parent.
const GATEWAY_THREADS: usize = 4;

/// Memory of a service beside its threads, and per thread, that counts against `RLIMIT_DATA`. On
/// two cores a dashboard with 18 threads works with 44 MiB and is ended by the allocator with 40.
const DATA_BYTES: u64 = 16 * MIB;
const DATA_BYTES_PER_THREAD: u64 = 2 * MIB;
/// The same for `RLIMIT_AS`, where the binary and the reserves of the allocator count as well. On
/// two cores, the outcome of limits of up to 224 MiB depends on the order in which threads allocate.
const ADDRESSES: u64 = 192 * MIB;
const ADDRESSES_PER_THREAD: u64 = 4 * MIB;

/// Builds the runtime of the dashboard.
///
/// # Errors
/// A limit of this process is below what the dashboard needs.
pub(super) fn of_dashboard() -> Result<Runtime> {
    let cores = cores();
    service(cores, GUEST_RUNTIMES * (cores + 1) + DASHBOARD_THREADS)
}

/// Builds the runtime of the gateway.
///
/// # Errors
/// A limit of this process is below what the gateway needs.
pub(super) fn of_gateway() -> Result<Runtime> {
    service(cores(), GATEWAY_THREADS)
}

fn service(workers: usize, others: usize) -> Result<Runtime> {
    let limit = |resource| getrlimit(resource).current;
    check_memory(
        workers + 1 + others,
        limit(Resource::Data),
        limit(Resource::As),
    )?;
    runtime(workers, others)
}

/// Builds a runtime, if the system starts its threads and as many others.
///
/// # Errors
/// The system does not start them.
pub(super) fn runtime(workers: usize, others: usize) -> Result<Runtime> {
    runtime::start(&mut Builder::new_multi_thread(), workers, others)
        .context("there are too few threads to run on")
}

/// Threads that can run at once.
pub(super) fn cores() -> usize {
    thread::available_parallelism().map_or(2, Into::into)
}

/// Compares limits in bytes with what a service with this many threads needs.
fn check_memory(threads: usize, data: Option<u64>, addresses: Option<u64>) -> Result<()> {
    let threads = threads as u64;
    for (limit, needed, name, option) in [
        (
            data,
            DATA_BYTES + threads * DATA_BYTES_PER_THREAD,
            "RLIMIT_DATA",
            "`ulimit -d`, `LimitDATA`",
        ),
        (
            addresses,
            ADDRESSES + threads * ADDRESSES_PER_THREAD,
            "RLIMIT_AS",
            "`ulimit -v`, `LimitAS`",
        ),
    ] {
        if let Some(limit) = limit.filter(|limit| *limit < needed) {
            bail!(
                "the limit on this process's memory, {name}, is {} MiB, and {threads} threads need {} MiB: raise it \
                 ({option}). To bound the memory of a service, use its control group (`MemoryMax`, `--memory`)",
                limit / MIB,
                needed / MIB
            );
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limit_below_the_need_is_named_with_the_need() {
        assert!(check_memory(20, None, None).is_ok());
        assert!(check_memory(20, Some(56 * MIB), Some(272 * MIB)).is_ok());
        let refused = |data, addresses| {
            check_memory(20, data, addresses)
                .expect_err("it is too low")
                .to_string()
        };
        let said = refused(Some(40 * MIB), None);
        assert!(
            said.contains("RLIMIT_DATA, is 40 MiB, and 20 threads need 56 MiB"),
            "{said}"
        );
        let said = refused(None, Some(160 * MIB));
        assert!(
            said.contains("RLIMIT_AS, is 160 MiB, and 20 threads need 272 MiB"),
            "{said}"
        );
    }
}
