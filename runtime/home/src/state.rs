use serde::de::IntoDeserializer;
use serde::de::value::{self, StrDeserializer};
use serde::{Deserialize, Serialize};

/// The gateway's state, as it is written to the status file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GatewayState {
    /// The gateway starts, and accepts no turns yet.
    Starting,
    /// The gateway accepts turns.
    Running,
    /// Refusing new turns until the drain ends; the process stays.
    Draining,
    /// Ending. No other state than `Stopped` follows.
    Stopping,
    /// The gateway has ended.
    Stopped,
    /// The gateway could not start.
    StartupFailed,
}

/// What the marker and the signals ask of the gateway.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Demand {
    /// Whether a marker drains.
    pub drain: bool,
    /// Whether the process was asked to end.
    pub shutdown: bool,
}

/// Why the gateway's process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExitReason {
    /// A signal, or the end of the process that started it.
    Signal,
    /// A restart request: its supervisor starts it again.
    Restart,
}

impl ExitReason {
    /// The word in the status file.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Signal => "signal",
            Self::Restart => "restart",
        }
    }
}

impl GatewayState {
    /// Every state, in the order of a life.
    pub const ALL: [Self; 6] = [
        Self::Starting,
        Self::Running,
        Self::Draining,
        Self::Stopping,
        Self::Stopped,
        Self::StartupFailed,
    ];

    /// Returns the word in the status file, in log lines and in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Draining => "draining",
            Self::Stopping => "stopping",
            Self::Stopped => "stopped",
            Self::StartupFailed => "startup_failed",
        }
    }

    /// Returns the state with this name in the status file.
    pub fn named(word: &str) -> Option<Self> {
        let word: StrDeserializer<'_, value::Error> = word.into_deserializer();
        Self::deserialize(word).ok()
    }

    /// The state that the demand leads to. A shutdown always wins and never goes back.
    #[must_use]
    pub fn next(self, demand: Demand) -> Self {
        match self {
            Self::Stopping | Self::Stopped | Self::StartupFailed => self,
            _ if demand.shutdown => Self::Stopping,
            _ if demand.drain => Self::Draining,
            _ => Self::Running,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::GatewayState::*;
    use super::*;

    #[test]
    fn the_whole_table() {
        let idle = Demand::default();
        let drain = Demand {
            drain: true,
            shutdown: false,
        };
        let shutdown = Demand {
            drain: false,
            shutdown: true,
        };
        let both = Demand {
            drain: true,
            shutdown: true,
        };
        for (from, demand, to) in [
            (Starting, idle, Running),
            (Starting, drain, Draining),
            (Starting, shutdown, Stopping),
            (Running, idle, Running),
            (Running, drain, Draining),
            (Running, both, Stopping),
            (Draining, idle, Running),
            (Draining, drain, Draining),
            (Draining, shutdown, Stopping),
            (Stopping, idle, Stopping),
            (Stopping, drain, Stopping),
            (Stopped, idle, Stopped),
            (StartupFailed, idle, StartupFailed),
        ] {
            assert_eq!(from.next(demand), to, "{from:?} {demand:?}");
        }
    }
}
