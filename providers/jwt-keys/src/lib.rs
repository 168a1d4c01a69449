//! Checks JSON Web Tokens (RFC 7519) by an issuer's published keys (RFC 7517), with the algorithms
//! of RSA, of elliptic curves and of Ed25519. A token that names another algorithm is refused (RFC
//! 8725, section 3.1).
//!
//! It owns what providers of issuers share beside that: requests for documents, and the rule for
//! scopes.
//!
//! **Invariant:** no text of an issuer or of a token makes it panic.

mod address;
mod algorithm;
mod claims;
mod documents;
mod fetch;
mod key;
mod keys;
mod scope;
mod settings;
mod token;

pub use address::{is_address, is_loopback, origin};
pub use claims::{ClaimsSet, Rules};
pub use documents::Documents;
pub use fetch::{get, with_user_agent};
pub use keys::{KeySet, KeySource};
pub use scope::is_scope;
pub use settings::{check_names, leeway};

/// Why a token is not believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenError {
    /// It is not one of this issuer's, or not for us, or not now: why, in words for an operator.
    Invalid(String),
    /// No key that the issuer publishes signed it, of those that are tried.
    UnknownKey,
    /// The issuer's keys are out of reach.
    Unavailable(String),
}

impl TokenError {
    fn invalid(why: &str) -> Self {
        Self::Invalid(why.to_owned())
    }
}

impl std::fmt::Display for TokenError {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Invalid(why) | Self::Unavailable(why) => out.write_str(why),
            Self::UnknownKey => write!(
                out,
                "signed by none of the issuer's keys; of those that fit, the first {} are tried",
                keys::MAX_TRIED
            ),
        }
    }
}

impl From<portcullis_guest::Unavailable> for TokenError {
    fn from(unavailable: portcullis_guest::Unavailable) -> Self {
        Self::Unavailable(unavailable.0)
    }
}
