//! Draining: the secret, the leases, the marker, and its meaning.
//!
//! **Invariant:** no marker is written without an [`OperatorPermit`](crate::auth::OperatorPermit), and no provider in
//! a sandbox is ever asked about the drain secret.

mod control;
mod epoch;
mod leases;
mod marker;
mod secret;
mod verdict;

pub use control::{BeginRequest, Cancel, Changed, DrainControl, DrainError, EpochSource, MAX_TTL_SECONDS};
pub use epoch::{Epoch, ProcessState, has_own_proc, pid_namespace, process_start_time, process_state};
pub use leases::{Lease, Leases, MAX_LEASES, MAX_OWNER_CHARS, MAX_REASON_CHARS, TooManyLeases};
pub use marker::{MARKER_FILE, Marker, MarkerContent, MarkerFile, MarkerState};
pub use secret::{DRAIN_PRINCIPAL, DRAIN_PROVIDER, DrainSecret, DrainSecretProvider};
pub use verdict::{DrainView, StaleReason, Verdict, judge};
