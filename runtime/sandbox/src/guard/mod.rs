//! What surrounds the calls of a provider: its health, its quarantine, and what was already found
//! out.
//!
//! - [`monitored_provider`]: a provider as the gate sees it, whose calls are counted and timed.
//! - [`health`]: its last faults and figures; [`quarantine`]: when it is not asked any more.
//! - [`verification_cache`]: what it said of a token or a session, for a while.
//!
//! **Invariant:** a provider that keeps failing is not asked, and only its own faults count against
//! it.

pub(crate) mod health;
pub(crate) mod monitored_provider;
pub(crate) mod quarantine;
pub(crate) mod verification_cache;
