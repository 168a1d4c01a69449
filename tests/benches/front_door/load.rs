//! One load: a generator against one server for some seconds, and the processor time of the server
//! meanwhile.

use super::child::{Child, Role};
use super::generator::Outcome;
use super::process::cpu_time;
use serde::Serialize;
use std::time::Duration;

/// What came of one load.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Measured {
    outcome: Outcome,
    /// Processor time of the processes under test.
    cpu: Duration,
}

impl Measured {
    /// Requests, or handshakes.
    pub(crate) fn per_second(&self) -> f64 {
        self.outcome.count as f64 / self.outcome.seconds
    }

    pub(crate) fn p50_ms(&self) -> f64 {
        self.outcome.p50_ms
    }

    pub(crate) fn p99_ms(&self) -> f64 {
        self.outcome.p99_ms
    }

    /// Microseconds of the processes under test, per request or handshake.
    pub(crate) fn cpu_each(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / self.outcome.count as f64
    }

    /// Processor time of the generator, in cores.
    pub(crate) fn generator_cores(&self) -> f64 {
        self.outcome.generator_seconds / self.outcome.seconds
    }
}

/// Runs a load. `processes` are those under test, with all that they started.
pub(crate) fn run(role: Role, plan: &impl Serialize, processes: &[u32], name: &str) -> Measured {
    let mut generator = Child::start(role, plan);
    // It says when it begins to count, and what it found at the end.
    generator.read::<()>();
    let before = cpu_time(processes);
    let outcome: Outcome = generator.read();
    let cpu = cpu_time(processes).saturating_sub(before);
    let is_right = outcome.count > 0 && outcome.wrong == 0;
    assert!(is_right, "{name}: a fast mistake is no result: {outcome:?}");
    Measured { outcome, cpu }
}
