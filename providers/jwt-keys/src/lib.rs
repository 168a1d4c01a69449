//! Checks JSON Web Tokens (RFC 7519) by an issuer's published keys (RFC 7517): RS256, ES256 and EdDSA, and no other
//! algorithm, whatever the token says (RFC 8725, section 3.1).

mod claims;
mod documents;
mod keys;

pub use claims::{Claims, Rules};
pub use documents::Documents;
pub use keys::{KeySet, KeySource};

/// Why a token is not believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenError {
    /// It is not one of this issuer's, or not for us, or not now: why, in words for an operator.
    Invalid(String),
    /// The issuer's keys are out of reach.
    Unavailable(String),
}

impl TokenError {
    fn invalid(why: &impl ToString) -> Self {
        Self::Invalid(why.to_string())
    }
}

impl From<portcullis_guest::Unavailable> for TokenError {
    fn from(unavailable: portcullis_guest::Unavailable) -> Self {
        Self::Unavailable(unavailable.0)
    }
}
