//! What this process holds, memory and open files, and what its machine is called.

use serde::Serialize;
use std::fs;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(5);
const LOOK: Duration = Duration::from_millis(50);

/// What this process holds at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Footprint {
    /// Resident memory in bytes.
    pub memory_bytes: u64,
    /// The number of open file descriptors.
    pub open_files: usize,
}

impl Footprint {
    /// Reads the present values from `/proc`; zeros where there is none.
    pub fn now() -> Self {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = resident.and_then(|text| text.trim().trim_end_matches(" kB").parse::<u64>().ok());
        let open_files = fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
        Self {
            memory_bytes: kib.unwrap_or_default() * 1024,
            open_files,
        }
    }

    /// Waits a bounded time until no more files are open than at `level`: connections take a moment
    /// to close.
    pub async fn settled(level: Self) -> Self {
        let end = Instant::now() + PATIENCE;
        loop {
            let now = Self::now();
            if now.open_files <= level.open_files || Instant::now() > end {
                return now;
            }
            tokio::time::sleep(LOOK).await;
        }
    }
}

/// This machine's own name.
pub(super) fn host_name() -> String {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    match name.trim() {
        "" => "localhost.localdomain".to_owned(),
        name => name.to_owned(),
    }
}
