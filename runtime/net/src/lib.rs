//! Listening and TLS: connections with bounds, certificates that reload or are ordered, the
//! authorities that outgoing connections trust, and the runtimes that all of it runs on.
//!
//! **Invariant:** certificates and authorities are read here alone, within bounds, and no private
//! key leaves this crate. Crates that open TLS connections of their own take their authorities from
//! [`trust`].

pub mod acme;
pub mod error_chain;
pub mod listen;
pub mod runtime;
pub mod tls;
pub mod tls_error;
pub mod trust;
