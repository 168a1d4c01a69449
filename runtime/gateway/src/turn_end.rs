//! How a turn ended, and how the answer to its client describes that.

use std::fmt;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::Duration;

/// How a turn ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum TurnEnd {
    /// Its command ended with this exit code.
    Exited(i32),
    /// Its command could not be run.
    NotRun(String),
    /// It took longer than this, which is `gateway.turn_timeout_seconds`.
    TimedOut(Duration),
    /// A request ended it.
    Stopped,
    /// This signal killed its guard, and what was left of the turn was killed.
    GuardKilled(i32),
}

impl fmt::Display for TurnEnd {
    /// Writes the end of a turn for the log.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exited(code) => write!(formatter, "exit code {code}"),
            Self::NotRun(error) => write!(formatter, "not run: {error}"),
            Self::TimedOut(limit) => write!(formatter, "timed out after {} s", limit.as_secs()),
            Self::Stopped => formatter.write_str("ended by a request"),
            Self::GuardKilled(signal) => {
                write!(formatter, "its guard was killed by signal {signal}")
            }
        }
    }
}

impl TurnEnd {
    /// A guard exits with the command's exit code.
    pub(super) fn of_guard(status: io::Result<ExitStatus>) -> Self {
        match status {
            Ok(status) => match status.signal() {
                Some(signal) => Self::GuardKilled(signal),
                None => Self::Exited(status.code().unwrap_or_default()),
            },
            Err(error) => Self::NotRun(error.to_string()),
        }
    }

    /// The command's exit code, if the command ended by itself.
    pub(super) fn exit_code(&self) -> Option<i32> {
        match self {
            Self::Exited(code) => Some(*code),
            Self::NotRun(_) | Self::TimedOut(_) | Self::Stopped | Self::GuardKilled(_) => None,
        }
    }

    /// The code of an answer about a turn that failed.
    pub(super) fn code(&self) -> &'static str {
        match self {
            Self::TimedOut(_) => "turn_timeout",
            Self::Exited(_) | Self::NotRun(_) | Self::Stopped | Self::GuardKilled(_) => {
                "turn_failed"
            }
        }
    }

    /// What went wrong, in a sentence; `None` for exit code 0.
    pub(super) fn error(&self) -> Option<String> {
        Some(match self {
            Self::Exited(0) => return None,
            Self::Exited(code) => format!("the turn's command ended with exit code {code}"),
            Self::NotRun(error) => format!("the turn's command could not be run: {error}"),
            Self::TimedOut(limit) => format!(
                "the turn took longer than gateway.turn_timeout_seconds allows ({}), so it was ended",
                limit.as_secs()
            ),
            Self::Stopped => "the turn was ended by a request".to_owned(),
            Self::GuardKilled(signal) => {
                format!(
                    "signal {signal} killed the process that guards the turn, so the turn was killed"
                )
            }
        })
    }
}
