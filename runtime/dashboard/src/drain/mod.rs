//! Beginning and cancelling a drain: the secret, and the one writer of the marker.
//!
//! **Invariant:** no marker is written without an
//! [`OperatorPermit`](portcullis_auth::OperatorPermit), and no provider in a sandbox is ever asked
//! about the drain secret.

mod control;
mod secret;

pub use control::{BeginRequest, Cancel, Changed, DrainControl, DrainError, EpochSource};
pub use secret::{DRAIN_PRINCIPAL, DRAIN_PROVIDER, DrainSecret, DrainSecretProvider};
