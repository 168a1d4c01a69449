//! Certificates from an ACME directory (RFC 8555): the account, the orders, and the answers to
//! TLS-ALPN-01 (RFC 8737) and HTTP-01 challenges.
//!
//! **Invariant:** what the directory sends is bounded in size and time, and is escaped before it is
//! shown. Its answers lead to https alone, or to loopback if the directory is there itself.

mod account;
mod challenge;
mod client;
mod failure;
mod http_answers;
mod kept;
mod order;
mod pace;
mod settings;

pub use failure::OrderFailure;
pub use http_answers::HttpAnswers;
pub use kept::KeptCertificate;
pub use order::{Orders, Signed};
pub use pace::{pause_after, renewal_delay};
pub use settings::{
    AcmeSettings, Challenge, DEFAULT_DIRECTORY, DirectoryUrl, ExternalAccount, MAX_CONTACTS,
    MAX_DOMAINS, parse_contact, parse_domain,
};

/// The file in a home with the account's key, in JSON.
pub const ACCOUNT_FILE: &str = "acme/account.json";
/// The file in a home with the private key, the certificate, and those that lead to its authority,
/// in PEM.
pub const CERTIFICATE_FILE: &str = "acme/certificate.pem";
