use super::{BearerToken, Claims};
use std::pin::Pin;
use std::time::{Duration, Instant};

/// A future behind a pointer, so that native and sandboxed providers stand in one list.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What a provider made of a bearer token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenVerdict {
    /// "Not mine": the next provider is asked. This is an answer, not an error.
    NotRecognized,
    /// The provider vouches for the caller.
    Recognized(Claims),
}

/// Why a provider gave no verdict. A guest can only ever say [`Unavailable`](Self::Unavailable) of itself;
/// the host names every other fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProviderFault {
    /// The provider's backing store is out of reach, in its own words (bounded, control characters escaped).
    #[error("unavailable: {0}")]
    Unavailable(String),
    /// All of the provider's slots are taken, and stayed so: a caller is told rather than queued.
    #[error("saturated: {limit} calls in flight")]
    Saturated {
        /// The cap on calls in flight.
        limit: usize,
    },
    /// The call did not end within its deadline, wall clock.
    #[error("deadline of {} ms exceeded", limit.as_millis())]
    DeadlineExceeded {
        /// The deadline that was in force.
        limit: Duration,
    },
    /// The call wanted more memory (or tables, or instances) than it may have.
    #[error("out of memory: wanted {wanted} {unit}, limit {limit}")]
    OutOfMemory {
        /// How much it asked for.
        wanted: usize,
        /// How much it may have.
        limit: usize,
        /// What was counted.
        unit: &'static str,
    },
    /// The call trapped.
    #[error("trapped: {0}")]
    Trapped(String),
    /// The answer is not one that the host accepts: too long, out of bounds, not what the contract says.
    #[error("malformed answer: {0}")]
    Malformed(String),
    /// The host's own code around the guest failed: a bug of ours, kept to this one call.
    #[error("host error: {0}")]
    Host(String),
}

impl ProviderFault {
    /// Can the provider neither confirm nor deny, so that "try later" is the honest answer? Any other fault
    /// is a broken provider, which no retry mends.
    pub fn is_outage(&self) -> bool {
        matches!(self, Self::Unavailable(_) | Self::Saturated { .. } | Self::DeadlineExceeded { .. })
    }

    /// The fault's name in metrics and audit lines.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Unavailable(_) => "unavailable",
            Self::Saturated { .. } => "saturated",
            Self::DeadlineExceeded { .. } => "deadline_exceeded",
            Self::OutOfMemory { .. } => "out_of_memory",
            Self::Trapped(_) => "trapped",
            Self::Malformed(_) => "malformed",
            Self::Host(_) => "host",
        }
    }
}

/// Verifies bearer tokens of machines.
pub trait TokenProvider: Send + Sync {
    /// Whose token is this? Answers by `by` at the latest; the provider's own deadline may be earlier.
    ///
    /// # Errors
    /// The provider gave no verdict.
    fn verify_token<'a>(
        &'a self,
        token: &'a BearerToken,
        by: Instant,
    ) -> BoxFuture<'a, Result<TokenVerdict, ProviderFault>>;
}
