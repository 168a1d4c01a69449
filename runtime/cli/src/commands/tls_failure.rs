//! Why a request of a command failed in TLS.

use portcullis_net::tls_error::{cause_in_words, is_unknown_issuer};
use std::error::Error;

/// A failure of TLS.
pub(super) struct TlsFailure {
    /// A clause for people.
    pub(super) text: String,
    /// Whether no authority that is trusted signed the certificate.
    pub(super) is_unknown_issuer: bool,
}

impl TlsFailure {
    /// Returns `None` if the request failed for another reason.
    pub(super) fn of(error: &ureq::Error) -> Option<Self> {
        let cause: &(dyn Error + 'static) = match error {
            ureq::Error::Io(error) => error,
            ureq::Error::Rustls(error) => error,
            _ => return None,
        };
        Some(Self {
            text: cause_in_words(cause)?,
            is_unknown_issuer: is_unknown_issuer(cause),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::{CertificateError, Error as TlsError};
    use std::io;

    #[test]
    fn failure_of_tls_is_told_from_others_and_has_words_of_its_own() {
        let unknown = || TlsError::InvalidCertificate(CertificateError::UnknownIssuer);
        for error in [
            ureq::Error::Rustls(unknown()),
            ureq::Error::Io(io::Error::new(io::ErrorKind::InvalidData, unknown())),
        ] {
            let failure = TlsFailure::of(&error).expect("a failure of TLS");
            assert!(failure.is_unknown_issuer);
            assert!(!failure.text.contains("UnknownIssuer"), "{}", failure.text);
        }
        let refused = io::Error::from(io::ErrorKind::ConnectionRefused);
        assert!(TlsFailure::of(&ureq::Error::Io(refused)).is_none());
    }
}
