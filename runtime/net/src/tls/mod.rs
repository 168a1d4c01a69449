//! TLS of the dashboard's own listener: its certificate and key, how another pair takes their
//! place, and what clients present.
//!
//! **Invariant:** a certificate serves only with the key that belongs to it, and a replacement with
//! any problem is kept out. No private key leaves this module.

mod client_certificate;
mod identity;
mod server;
mod x509;

pub use client_certificate::ClientCertificate;
pub use identity::{Identity, IdentityError, Problem};
pub(crate) use server::CHALLENGE_PROTOCOL;
pub use server::TlsServer;

use std::path::PathBuf;

/// Where certificate and key are, and whom the listener accepts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsSettings {
    /// A PEM file: the listener's certificate, then those that lead to its authority.
    pub certificate: PathBuf,
    /// A PEM file with the certificate's private key. May be the same file.
    pub key: PathBuf,
    /// A PEM file with the authorities of client certificates. `None`: no client is asked for one.
    pub client_ca: Option<PathBuf>,
    /// The oldest version of TLS that is accepted.
    pub min_version: MinVersion,
}

/// The oldest version of TLS that is accepted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MinVersion {
    /// TLS 1.2 or later.
    #[default]
    Tls12,
    /// TLS 1.3 alone.
    Tls13,
}
