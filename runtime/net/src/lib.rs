//! Listening and TLS: connections with bounds, certificates that reload or are ordered, and the
//! authorities that outgoing connections trust.
//!
//! **Invariant:** certificates and authorities are read here alone, within bounds, and no private
//! key leaves this crate. Crates that open TLS connections of their own take their authorities from
//! [`trust`].

pub mod acme;
pub mod error_chain;
pub mod listen;
pub mod tls;
pub mod tls_error;
pub mod trust;
