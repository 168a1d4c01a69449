//! What the machine gives to the sandbox, tried out: for `portcullis doctor`.

use crate::engine::machine;
use crate::engine::{
    Codegen, SandboxSettings, base_config, calls_that_leave_room, compiler_engine, pool_config,
    wanted_calls,
};
use wasmtime::{Enabled, Engine, InstanceAllocationStrategy, Module};

/// A module with one function that does nothing.
const SMALLEST_CODE: &[u8] = &[
    0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00, // version 1
    0x01, 0x04, 0x01, 0x60, 0x00, 0x00, // one type: () -> ()
    0x03, 0x02, 0x01, 0x00, // one function of it
    0x0a, 0x04, 0x01, 0x02, 0x00, 0x0b, // its body: end
];

/// What the machine gives.
#[derive(Debug)]
pub struct Examination {
    /// Whether native code can be made and its memory made executable; else why not.
    pub native_code: Result<(), String>,
    /// Whether the kernel has `PAGEMAP_SCAN` (Linux 6.7), with which a call costs fewer page
    /// faults. `None`: there is no room even for the smallest pool, so it cannot be tried.
    pub pagemap_scan: Option<bool>,
    /// Calls that the providers may have in flight together.
    pub wanted_calls: usize,
    /// Calls that the limit on address space (`RLIMIT_AS`) leaves room for.
    pub possible_calls: usize,
    /// Memory that this process may use, in bytes.
    pub memory_bytes: u64,
}

/// Tries out what a sandbox with these settings needs of the machine. Nothing is kept.
pub fn examine(settings: &SandboxSettings) -> Examination {
    Examination {
        native_code: try_native_code().map_err(|error| format!("{error:#}")),
        pagemap_scan: try_pagemap_scan(settings),
        wanted_calls: wanted_calls(settings),
        possible_calls: calls_that_leave_room(),
        memory_bytes: machine::memory_bytes(),
    }
}

fn try_native_code() -> wasmtime::Result<()> {
    let engine = compiler_engine(Codegen::default())?;
    Module::new(&engine, SMALLEST_CODE).map(drop)
}

fn try_pagemap_scan(settings: &SandboxSettings) -> Option<bool> {
    let starts = |pagemap_scan| {
        let mut config = base_config(Codegen::default());
        let pool = pool_config(settings, 1, pagemap_scan);
        config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
        Engine::new(&config).is_ok()
    };
    starts(Enabled::No).then(|| starts(Enabled::Yes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn machine_of_the_tests_runs_native_code() {
        let found = examine(&SandboxSettings::default());
        assert_eq!(found.native_code, Ok(()));
        assert!(found.wanted_calls > 0 && found.memory_bytes > 0);
    }
}
