use super::ProviderFault;
use jiff::Timestamp;
use serde::Serialize;
use std::fmt;
use std::time::Duration;

/// What one call used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Usage {
    /// Linear memory at its end, in bytes.
    pub memory_bytes: usize,
    /// Wall clock, in seconds when it is written down.
    #[serde(rename = "seconds", serialize_with = "as_seconds")]
    pub elapsed: Duration,
}

fn as_seconds<S: serde::Serializer>(elapsed: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(elapsed.as_secs_f64())
}

fn all_as_seconds<S: serde::Serializer>(
    times: &[Duration],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(times.iter().map(Duration::as_secs_f64))
}

/// A call that gave no verdict, and what it used up to then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallFault {
    /// The reason, with the limit where one was met.
    pub fault: ProviderFault,
    /// Time and memory that the call used.
    pub used: Usage,
}

impl From<ProviderFault> for CallFault {
    /// The fault of a call that never began, and so used nothing.
    fn from(fault: ProviderFault) -> Self {
        Self {
            fault,
            used: Usage::default(),
        }
    }
}

impl fmt::Display for CallFault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Usage {
            memory_bytes,
            elapsed,
        } = self.used;
        write!(
            formatter,
            "{} (used {} ms, {memory_bytes} bytes)",
            self.fault,
            elapsed.as_millis()
        )
    }
}

/// A fault as it is shown to an operator.
#[derive(Clone, Debug, Serialize)]
pub struct FaultReport {
    /// When the fault happened.
    pub at: Timestamp,
    /// The kind of the fault as one word: [`ProviderFault::kind`].
    pub fault: &'static str,
    /// The fault in words, with the limit.
    pub reason: String,
    /// Time and memory that the call used.
    pub used: Usage,
}

/// Whether a provider is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ProviderState {
    /// It is asked.
    Serving,
    /// It is not asked: repeated faults have shut it out for a while.
    Quarantined,
}

/// How long the last calls took, wall clock; in seconds when it is written down.
#[derive(Clone, Debug, Serialize)]
pub struct Latency {
    /// Over how many calls.
    pub calls: usize,
    /// Half of them took no longer.
    #[serde(rename = "median_seconds", serialize_with = "as_seconds")]
    pub median: Duration,
    /// One in a hundred took longer.
    #[serde(rename = "p99_seconds", serialize_with = "as_seconds")]
    pub p99: Duration,
    /// The time of each of the last calls, the newest last.
    #[serde(rename = "recent_seconds", serialize_with = "all_as_seconds")]
    pub recent: Vec<Duration>,
}

/// Processor time that a provider's calls have had and missed since it was loaded; in seconds when
/// it is written down.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Spent {
    /// Time in which its guests ran. Calls that are over within a tick or two count by the wall
    /// clock.
    #[serde(rename = "cpu_seconds", serialize_with = "as_seconds")]
    pub cpu: Duration,
    /// Time in which its guests could have run, but other providers or programs had the processor.
    #[serde(rename = "held_up_seconds", serialize_with = "as_seconds")]
    pub held_up: Duration,
}

/// How many calls of a provider ran where, since it was loaded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Placements {
    /// Calls that ended on the thread of their request.
    pub request_thread: u64,
    /// Calls that began on the thread of their request and continued on the guests' threads.
    pub moved: u64,
    /// Checks of tokens and sessions that began on the guests' threads.
    pub guest_thread: u64,
    /// Calls that began on the threads for sign-ins.
    pub sign_in_thread: u64,
}

impl Placements {
    /// Returns each place by its name in the metrics, with its calls.
    pub fn by_place(&self) -> [(&'static str, u64); 4] {
        let Self {
            request_thread,
            moved,
            guest_thread,
            sign_in_thread,
        } = *self;
        [
            ("request_thread", request_thread),
            ("moved", moved),
            ("guest_thread", guest_thread),
            ("sign_in_thread", sign_in_thread),
        ]
    }
}

/// How a provider is doing.
#[derive(Clone, Debug, Serialize)]
pub struct HealthReport {
    /// Whether it is asked.
    pub state: ProviderState,
    /// The last faults, the newest first.
    pub faults: Vec<FaultReport>,
    /// How long its last calls took; `None` before the first.
    pub latency: Option<Latency>,
    /// What its calls have had of the processor.
    pub spent: Spent,
    /// Where its calls ran. Only the metrics show it.
    #[serde(skip)]
    pub placements: Placements,
}

/// Something that can say how a provider is doing.
pub trait ProviderHealth: Send + Sync {
    /// How it is doing now.
    fn report(&self) -> HealthReport;
}
