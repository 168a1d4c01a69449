//! Why spans were not exported, and whether another attempt may succeed.

use super::collector::{MAX_ANSWER_BYTES, PATIENCE};
use http::StatusCode;
use portcullis_net::tls_error::cause_in_words;
use std::error::Error as StdError;
use std::iter::successors;

/// Why spans were not taken.
#[derive(Debug, thiserror::Error)]
pub(super) enum ExportFailure {
    /// There is no connection, or it ended without an answer.
    #[error("the collector cannot be reached: {0}")]
    Unreachable(String),
    /// There was no answer in time.
    #[error("the collector did not answer within {} s", PATIENCE.as_secs())]
    Slow,
    /// The status of HTTP is no success.
    #[error("the collector answered {0}")]
    Refused(StatusCode),
    /// The status of gRPC is not OK.
    #[error("the collector answered {name}")]
    Failed {
        /// The name of the status code.
        name: &'static str,
        /// Whether the same batch may succeed later.
        may_pass: bool,
    },
    /// The answer has no status of gRPC.
    #[error("the answer has no grpc-status: the endpoint does not speak gRPC")]
    NoGrpcStatus,
    /// The status of gRPC, which stands at the end, was not reached.
    #[error("the answer of the collector is longer than {} KiB", MAX_ANSWER_BYTES / 1024)]
    TooLong,
}

impl ExportFailure {
    /// Returns whether the same request may succeed later (OTLP 1, "Retryable Response Codes" and
    /// "Failures").
    pub(super) fn may_pass(&self) -> bool {
        match self {
            Self::Unreachable(_) | Self::Slow => true,
            // For gRPC, these are the statuses of HTTP that stand for UNAVAILABLE.
            Self::Refused(status) => matches!(status.as_u16(), 429 | 502 | 503 | 504),
            Self::Failed { may_pass, .. } => *may_pass,
            Self::NoGrpcStatus | Self::TooLong => false,
        }
    }

    /// Returns the failure of a connection.
    pub(super) fn of(outermost: &(dyn StdError + 'static)) -> Self {
        if let Some(why) = cause_in_words(outermost) {
            return Self::Unreachable(why);
        }
        // What the client itself says is only which step failed.
        let chain = successors(Some(outermost), |&error| error.source());
        Self::Unreachable(chain.last().map(ToString::to_string).unwrap_or_default())
    }
}
