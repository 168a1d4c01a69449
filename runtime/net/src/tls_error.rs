//! Errors of TLS in words: one clause for each kind, since the errors of rustls and webpki print the
//! names of their own types.
//!
//! **Invariant:** no text of those crates is in a clause, and none of the other side.

use crate::error_chain::find;
use jiff::Timestamp;
use rustls::pki_types::UnixTime;
use rustls::{AlertDescription, CertificateError, Error};
use std::error::Error as StdError;

/// Returns why TLS failed, if that is a cause of this error.
pub fn cause_in_words(error: &(dyn StdError + 'static)) -> Option<String> {
    find::<Error>(error).map(in_words)
}

/// Returns whether TLS failed because no known authority signed the certificate.
pub fn is_unknown_issuer(error: &(dyn StdError + 'static)) -> bool {
    matches!(
        find::<Error>(error),
        Some(Error::InvalidCertificate(CertificateError::UnknownIssuer))
    )
}

/// Returns why TLS failed, as a clause with a subject of its own.
pub fn in_words(error: &Error) -> String {
    let text = match error {
        Error::InvalidCertificate(why) => {
            let why = certificate_in_words(why);
            return format!("the certificate cannot be accepted: {why}");
        }
        Error::AlertReceived(alert) => {
            let alert = alert_in_words(*alert);
            return format!("the other side ended the TLS handshake ({alert})");
        }
        Error::NoCertificatesPresented => "the other side presented no certificate",
        Error::PeerIncompatible(_) => {
            "the two sides have no version of TLS, or no algorithm, in common"
        }
        Error::NoApplicationProtocol => "the two sides have no protocol above TLS in common",
        Error::InvalidMessage(_) => "what the other side sent is not TLS",
        Error::PeerMisbehaved(_)
        | Error::InappropriateMessage { .. }
        | Error::InappropriateHandshakeMessage { .. }
        | Error::PeerSentOversizedRecord
        | Error::DecryptError => "the other side does not keep to TLS",
        Error::InconsistentKeys(_) => "the key does not belong to the certificate",
        Error::UnsupportedNameType => "no certificate can be for this name",
        _ => "the handshake failed",
    };

    text.to_owned()
}

/// Returns why a certificate is refused, as a clause about "it".
pub fn certificate_in_words(error: &CertificateError) -> String {
    let text = match error {
        CertificateError::BadEncoding => "it is no X.509",
        CertificateError::Expired => "it has expired",
        CertificateError::ExpiredContext { not_after, .. } => {
            return match timestamp(*not_after) {
                Some(end) => format!("it expired at {end}"),
                None => "it has expired".to_owned(),
            };
        }
        CertificateError::NotValidYet => "it is not valid yet",
        CertificateError::NotValidYetContext { not_before, .. } => {
            return match timestamp(*not_before) {
                Some(start) => format!("it is not valid before {start}"),
                None => "it is not valid yet".to_owned(),
            };
        }
        // A signature of another key than the known authority's of this name.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            "it is not signed by a known authority"
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "it is for other names"
        }
        CertificateError::Revoked => "it is revoked",
        CertificateError::UnhandledCriticalExtension => {
            "it has a critical extension that is not known"
        }
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            "it is for another purpose (extended key usage)"
        }
        CertificateError::UnsupportedSignatureAlgorithmContext { .. }
        | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => {
            "it is signed by an algorithm that is not supported"
        }
        // The variants of webpki that rustls has no kind for, which print their names.
        CertificateError::Other(other) => of_webpki(&format!("{:?}", other.0)),
        _ => UNVERIFIED,
    };

    text.to_owned()
}

/// Returns whether a certificate is an authority's in the place of a server's.
pub fn is_authority(error: &CertificateError) -> bool {
    matches!(error, CertificateError::Other(other) if format!("{:?}", other.0) == AUTHORITY)
}

const UNVERIFIED: &str = "it cannot be verified";
/// How webpki names an authority's certificate in the place of a server's.
const AUTHORITY: &str = "CaUsedAsEndEntity";

fn of_webpki(name: &str) -> &'static str {
    match name {
        AUTHORITY => "it is an authority's (CA:TRUE)",
        "EndEntityUsedAsCa" => "it is signed by a certificate that is no authority's (CA:FALSE)",
        "UnsupportedCertVersion" => "it is of an older version than 3 of X.509",
        "NameConstraintViolation" => "it is for names that its authority may not sign",
        "PathLenConstraintViolated" | "MaximumPathDepthExceeded" => {
            "too many authorities are between it and a known one"
        }
        "EmptyEkuExtension"
        | "ExtensionValueInvalid"
        | "InvalidNetworkMaskConstraint"
        | "InvalidSerialNumber"
        | "MalformedDnsIdentifier"
        | "MalformedExtensions"
        | "MalformedNameConstraint"
        | "SignatureAlgorithmMismatch" => "one of its fields is not as RFC 5280 prescribes",
        _ => UNVERIFIED,
    }
}

/// Returns the moment, if it is one that can be shown.
pub fn timestamp(time: UnixTime) -> Option<Timestamp> {
    Timestamp::from_second(i64::try_from(time.as_secs()).ok()?).ok()
}

/// Returns the alert as the standard names it (RFC 8446, section 6). A rare one is named by its
/// number.
pub fn alert_in_words(alert: AlertDescription) -> String {
    let name = match alert {
        AlertDescription::HandshakeFailure => "handshake_failure",
        AlertDescription::BadCertificate => "bad_certificate",
        AlertDescription::UnsupportedCertificate => "unsupported_certificate",
        AlertDescription::CertificateRevoked => "certificate_revoked",
        AlertDescription::CertificateExpired => "certificate_expired",
        AlertDescription::CertificateUnknown => "certificate_unknown",
        AlertDescription::UnknownCA => "unknown_ca",
        AlertDescription::AccessDenied => "access_denied",
        AlertDescription::ProtocolVersion => "protocol_version",
        AlertDescription::InsufficientSecurity => "insufficient_security",
        AlertDescription::InternalError => "internal_error",
        AlertDescription::UnrecognisedName => "unrecognized_name",
        AlertDescription::CertificateRequired => "certificate_required",
        AlertDescription::NoApplicationProtocol => "no_application_protocol",
        rare => return format!("alert {}", u8::from(rare)),
    };

    name.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::{InconsistentKeys, InvalidMessage, OtherError, PeerIncompatible, PeerMisbehaved};
    use std::sync::Arc;
    use std::time::Duration;
    use std::{fmt, io};

    /// An error that prints its name, as those of webpki do.
    struct Named(&'static str);

    impl fmt::Debug for Named {
        fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
            out.write_str(self.0)
        }
    }

    impl fmt::Display for Named {
        fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
            out.write_str(self.0)
        }
    }

    impl StdError for Named {}

    fn other(name: &'static str) -> CertificateError {
        CertificateError::Other(OtherError(Arc::new(Named(name))))
    }

    fn at(seconds: u64) -> UnixTime {
        UnixTime::since_unix_epoch(Duration::from_secs(seconds))
    }

    #[test]
    fn every_kind_has_words_without_names_of_types() {
        let certificates = [
            CertificateError::BadEncoding,
            CertificateError::Expired,
            CertificateError::ExpiredContext {
                time: at(2),
                not_after: at(1),
            },
            CertificateError::NotValidYet,
            CertificateError::NotValidYetContext {
                time: at(1),
                not_before: at(2),
            },
            CertificateError::UnknownIssuer,
            CertificateError::BadSignature,
            CertificateError::NotValidForName,
            CertificateError::Revoked,
            CertificateError::UnknownRevocationStatus,
            CertificateError::UnhandledCriticalExtension,
            CertificateError::InvalidPurpose,
            CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext {
                signature_algorithm_id: Vec::new(),
                public_key_algorithm_id: Vec::new(),
            },
            CertificateError::ApplicationVerificationFailure,
        ];
        let errors = [
            Error::NoCertificatesPresented,
            Error::PeerIncompatible(PeerIncompatible::NoCipherSuitesInCommon),
            Error::PeerMisbehaved(PeerMisbehaved::InvalidCertCompression),
            Error::InvalidMessage(InvalidMessage::InvalidContentType),
            Error::InconsistentKeys(InconsistentKeys::KeyMismatch),
            Error::AlertReceived(AlertDescription::HandshakeFailure),
            Error::AlertReceived(AlertDescription::DecodeError),
            Error::General("SomeType { field: 1 }".to_owned()),
            Error::EncryptError,
        ];
        let errors = certificates
            .map(Error::InvalidCertificate)
            .into_iter()
            .chain(errors);

        for error in errors {
            let text = in_words(&error);
            let debugged = format!("{error:?}");
            let is_name = |word: &&str| word.chars().filter(char::is_ascii_uppercase).count() > 1;
            let mut names = debugged
                .split(|c: char| !c.is_ascii_alphanumeric())
                .filter(is_name);
            assert_eq!(names.find(|name| text.contains(*name)), None, "{text}");
            assert!(!text.contains(['{', '"']), "{text}");
        }
    }

    #[test]
    fn error_of_webpki_is_named_by_a_sentence() {
        for (name, expected) in [
            ("UnsupportedCertVersion", "older version than 3"),
            ("EndEntityUsedAsCa", "CA:FALSE"),
            ("CaUsedAsEndEntity", "CA:TRUE"),
            ("NameConstraintViolation", "may not sign"),
            ("MalformedExtensions", "RFC 5280"),
            ("SomethingNew", UNVERIFIED),
        ] {
            let text = certificate_in_words(&other(name));
            assert!(text.contains(expected), "{text}");
            assert!(!text.contains(name), "{text}");
        }
        assert!(is_authority(&other("CaUsedAsEndEntity")));
        assert!(!is_authority(&other("EndEntityUsedAsCa")));
    }

    #[test]
    fn cause_of_an_outer_error_is_found() {
        let unknown = Error::InvalidCertificate(CertificateError::UnknownIssuer);
        let outer = io::Error::new(io::ErrorKind::InvalidData, unknown);
        assert_eq!(
            cause_in_words(&outer).as_deref(),
            Some("the certificate cannot be accepted: it is not signed by a known authority")
        );
        assert!(is_unknown_issuer(&outer));
        let refused = io::Error::from(io::ErrorKind::ConnectionRefused);
        assert_eq!(cause_in_words(&refused), None);
    }
}
