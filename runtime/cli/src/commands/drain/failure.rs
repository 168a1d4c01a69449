//! The ways in which a drain command fails: an exit code, a word for scripts, a sentence for
//! people.

use serde_json::{Map, Value};

/// What kind of failure it is. The numbers are part of the outside contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FailureKind {
    /// The dashboard was asked and said no, or anything else went wrong.
    Failed,
    /// The time was up before the agent was drained.
    TimedOut,
    /// The dashboard refused the secret (401, 403).
    Refused,
    /// Nothing answered, or what answered is not a dashboard.
    Unreachable,
    /// The drain was cancelled or expired during the wait, or none was on.
    NoLongerDraining,
    /// The command line, a secret or a file is wrong.
    Usage,
}

impl FailureKind {
    pub(super) fn exit_code(self) -> u8 {
        match self {
            Self::Failed => 1,
            Self::TimedOut => 2,
            Self::Refused => 3,
            Self::Unreachable => 4,
            Self::NoLongerDraining => 5,
            Self::Usage => crate::commands::USAGE,
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::TimedOut => "timeout",
            Self::Refused => "refused",
            Self::Unreachable => "unreachable",
            Self::NoLongerDraining => "no_longer_draining",
            Self::Usage => "usage",
        }
    }
}

/// Why a command failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct DrainFailure {
    pub(super) kind: FailureKind,
    /// One sentence for a person, without a full stop.
    pub(super) detail: String,
    /// What became of the drain, where `--cancel-on-timeout` asked for its end.
    pub(super) cancel: Option<CancelOutcome>,
}

/// The outcome of the cancel after a wait that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct CancelOutcome {
    pub(super) is_done: bool,
    pub(super) sentence: String,
}

impl DrainFailure {
    pub(super) fn new(kind: FailureKind, detail: impl Into<String>) -> Self {
        Self {
            kind,
            detail: detail.into(),
            cancel: None,
        }
    }

    pub(super) fn usage(detail: impl Into<String>) -> Self {
        Self::new(FailureKind::Usage, detail)
    }

    pub(super) fn failed(detail: impl Into<String>) -> Self {
        Self::new(FailureKind::Failed, detail)
    }

    pub(super) fn unreachable(detail: impl Into<String>) -> Self {
        Self::new(FailureKind::Unreachable, detail)
    }

    /// The object that `--json` prints.
    pub(super) fn to_json(&self) -> Map<String, Value> {
        let mut object = Map::new();
        object.insert("ok".to_owned(), false.into());
        object.insert("error".to_owned(), self.kind.word().into());
        object.insert("detail".to_owned(), self.detail.as_str().into());
        if let Some(cancel) = &self.cancel {
            object.insert("cancelled".to_owned(), cancel.is_done.into());
        }
        object
    }

    /// Says on stderr what happened.
    pub(super) fn tell(&self) {
        tell!("portcullis: {}", self.detail);
        if let Some(cancel) = &self.cancel {
            tell!("portcullis: {}", cancel.sentence);
        }
    }
}
