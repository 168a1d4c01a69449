//! Why a request of a provider failed: which error the provider gets, and what the operator reads.

use super::resolver::{NameNotFound, PrivateAddress};
use super::{ClientError, MAX_HEAD_BYTES, MAX_REQUEST_BYTES, MAX_REQUESTS, MAX_RESPONSE_BYTES};
use crate::guest_text::words;
use http_body_util::LengthLimitError;
use jiff::Timestamp;
use portcullis_net::error_chain::{causes, find};
use portcullis_net::tls_error::{self, alert_in_words, certificate_in_words, timestamp};
use rustls::pki_types::InvalidDnsNameError;
use rustls::{AlertDescription, CertificateError};
use std::error::Error as StdError;
use std::io::{self, ErrorKind};
use std::net::IpAddr;
use std::time::Duration;
use wasmtime_wasi_http::Error;

/// Names of a certificate that are shown.
const MAX_NAMES: usize = 5;

/// Why a request failed. Texts in it are bounded and escaped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// The operator did not grant the origin.
    NotGranted,
    /// The request has a form that is not sent, and which.
    BadForm(&'static str),
    TooManyRequests,
    RequestTooLarge,
    /// The provider did not complete the body that it announced.
    RequestIncomplete,
    NameNotFound(String),
    PrivateAddress(IpAddr),
    Refused,
    Unreachable,
    Certificate(BadCertificate),
    /// The server ended the handshake with this alert.
    TlsAlert(AlertDescription),
    Tls(String),
    SlowConnection,
    SlowHead,
    SlowBody,
    /// The provider's call ended, or the provider gave up, after this time of waiting.
    CallEnded(Duration),
    /// The same while the body of the answer came, this time after its head.
    CallEndedInBody(Duration),
    CutOff,
    NotHttp,
    HeadTooLarge,
    BodyTooLarge,
}

/// What is wrong with a server's certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum BadCertificate {
    UnknownAuthority,
    /// The certificate of an authority, which servers must not present as their own.
    IsAuthority,
    /// Its last moment, where that is known.
    Expired(Option<Timestamp>),
    /// Its first moment, where that is known.
    NotYetValid(Option<Timestamp>),
    /// The names that it is for.
    WrongName(Option<String>),
    Other(String),
}

impl Cause {
    /// Why no response came.
    pub(super) fn of_request(error: &ClientError) -> Self {
        let unnamed = if error.is_connect() {
            Self::Unreachable
        } else {
            Self::CutOff
        };
        Self::named(error).unwrap_or(unnamed)
    }

    /// Why the body of a response broke off.
    pub(super) fn of_body(error: &(dyn StdError + 'static)) -> Self {
        Self::named(error).unwrap_or(Self::CutOff)
    }

    /// The most specific error of the chain decides.
    fn named(error: &(dyn StdError + 'static)) -> Option<Self> {
        if let Some(private) = find::<PrivateAddress>(error) {
            return Some(Self::PrivateAddress(private.address));
        }

        if let Some(NameNotFound(why)) = find::<NameNotFound>(error) {
            return Some(Self::NameNotFound(why.clone()));
        }

        if find::<InvalidDnsNameError>(error).is_some() {
            return Some(Self::NameNotFound("no host can have this name".to_owned()));
        }

        if find::<LengthLimitError>(error).is_some() {
            return Some(Self::BodyTooLarge);
        }

        if let Some(Error::HttpRequestBodySize(_)) = find::<Error>(error) {
            return Some(Self::RequestTooLarge);
        }

        if let Some(tls) = find::<rustls::Error>(error) {
            return Some(Self::of_tls(tls));
        }

        let mut io_errors = causes(error).filter_map(|cause| cause.downcast_ref::<io::Error>());
        if let Some(cause) = io_errors.find_map(|error| Self::of_io(error.kind())) {
            return Some(cause);
        }

        find::<hyper::Error>(error).map(Self::of_http)
    }

    fn of_tls(error: &rustls::Error) -> Self {
        match error {
            rustls::Error::InvalidCertificate(why) => Self::Certificate(BadCertificate::of(why)),
            rustls::Error::AlertReceived(alert) => Self::TlsAlert(*alert),
            other => Self::Tls(tls_error::in_words(other)),
        }
    }

    fn of_io(kind: ErrorKind) -> Option<Self> {
        match kind {
            ErrorKind::ConnectionRefused => Some(Self::Refused),
            ErrorKind::NetworkUnreachable
            | ErrorKind::HostUnreachable
            | ErrorKind::NetworkDown
            | ErrorKind::AddrNotAvailable
            | ErrorKind::PermissionDenied
            // What the connector says of a name without a usable address.
            | ErrorKind::NotConnected => Some(Self::Unreachable),
            ErrorKind::TimedOut => Some(Self::SlowConnection),
            ErrorKind::ConnectionReset
            | ErrorKind::ConnectionAborted
            | ErrorKind::BrokenPipe
            | ErrorKind::UnexpectedEof => Some(Self::CutOff),
            _ => None,
        }
    }

    fn of_http(error: &hyper::Error) -> Self {
        match error {
            error if error.is_parse_too_large() => Self::HeadTooLarge,
            error if error.is_parse() => Self::NotHttp,
            error if error.is_user() => Self::RequestIncomplete,
            _ => Self::CutOff,
        }
    }

    /// What the provider gets.
    pub(super) fn code(&self) -> Error {
        match self {
            Self::NotGranted => Error::HttpRequestDenied,
            Self::BadForm(_) => Error::HttpRequestUriInvalid,
            Self::TooManyRequests => Error::ConnectionLimitReached,
            Self::RequestTooLarge => Error::HttpRequestBodySize(Some(MAX_REQUEST_BYTES as u64)),
            Self::NameNotFound(_) => Error::DnsError {
                rcode: Some("address not available".to_owned()),
                info_code: None,
            },
            Self::PrivateAddress(_) => Error::DestinationIpProhibited,
            Self::Refused => Error::ConnectionRefused,
            Self::Unreachable => Error::DestinationIpUnroutable,
            Self::Certificate(_) => Error::TlsCertificateError,
            Self::TlsAlert(alert) => Error::TlsAlertReceived {
                alert_id: Some(u8::from(*alert)),
                alert_message: Some(alert_in_words(*alert)),
            },
            Self::Tls(_) => Error::TlsProtocolError,
            Self::SlowConnection => Error::ConnectionTimeout,
            Self::SlowHead | Self::CallEnded(_) => Error::HttpResponseTimeout,
            Self::SlowBody | Self::CallEndedInBody(_) => Error::ConnectionReadTimeout,
            Self::CutOff | Self::RequestIncomplete => Error::ConnectionTerminated,
            Self::NotHttp => Error::HttpProtocolError,
            Self::HeadTooLarge => {
                Error::HttpResponseHeaderSectionSize(u32::try_from(MAX_HEAD_BYTES).ok())
            }
            Self::BodyTooLarge => Error::HttpResponseBodySize(Some(MAX_RESPONSE_BYTES as u64)),
        }
    }

    /// Its name in the log, by which lines are counted.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::NotGranted => "not_granted",
            Self::BadForm(_) => "bad_form",
            Self::TooManyRequests => "too_many_requests",
            Self::RequestTooLarge => "request_too_large",
            Self::RequestIncomplete => "request_incomplete",
            Self::NameNotFound(_) => "name_not_found",
            Self::PrivateAddress(_) => "private_address",
            Self::Refused => "refused",
            Self::Unreachable => "unreachable",
            Self::Certificate(BadCertificate::UnknownAuthority) => "certificate_authority_unknown",
            Self::Certificate(BadCertificate::Expired(_)) => "certificate_expired",
            Self::Certificate(BadCertificate::WrongName(_)) => "certificate_name",
            Self::Certificate(_) => "certificate",
            Self::TlsAlert(_) | Self::Tls(_) => "tls",
            Self::SlowConnection
            | Self::SlowHead
            | Self::SlowBody
            | Self::CallEnded(_)
            | Self::CallEndedInBody(_) => "too_slow",
            Self::CutOff => "cut_off",
            Self::NotHttp => "not_http",
            Self::HeadTooLarge | Self::BodyTooLarge => "answer_too_large",
        }
    }

    /// What the operator reads, after the origin's name. `has_own_ca`: the origin's grant names its
    /// authorities.
    pub(super) fn in_words(&self, has_own_ca: bool) -> String {
        match self {
            Self::NotGranted => {
                "the origin is not granted: add it to the provider's grants.http".to_owned()
            }
            Self::BadForm(why) => format!("the request is not sent: {why}"),
            Self::TooManyRequests => format!("more than {MAX_REQUESTS} requests in one call"),
            Self::RequestTooLarge => format!("the request has more than {MAX_REQUEST_BYTES} bytes"),
            Self::RequestIncomplete => "the provider did not complete its request".to_owned(),
            Self::NameNotFound(why) => format!("the name is not found ({why})"),
            Self::PrivateAddress(address) => format!(
                "the name leads to {address}, which is not public: list it in grants.http[].networks if it may"
            ),
            Self::Refused => "the connection is refused: nothing listens there".to_owned(),
            Self::Unreachable => "no route leads there, or a firewall forbids it".to_owned(),
            Self::Certificate(certificate) => certificate.in_words(has_own_ca),
            Self::TlsAlert(alert) => {
                format!(
                    "the server ended the TLS handshake ({})",
                    alert_in_words(*alert)
                )
            }
            Self::Tls(why) => format!("no TLS that is accepted is spoken there ({why})"),
            Self::SlowConnection => "too slow: no connection in time".to_owned(),
            Self::SlowHead => {
                "too slow: no answer in time after the connection was made".to_owned()
            }
            Self::SlowBody => "too slow: the answer stopped half-way".to_owned(),
            Self::CallEnded(waited) => format!(
                "too slow: no answer in {} ms, when the provider's call ended or gave up (limits.deadline_ms)",
                waited.as_millis()
            ),
            Self::CallEndedInBody(waited) => format!(
                "too slow: the answer was not complete {} ms after its head, when the provider's call ended or gave up \
                 (limits.deadline_ms)",
                waited.as_millis()
            ),
            Self::CutOff => "the connection was cut off before the answer was complete".to_owned(),
            Self::NotHttp => "the answer is not HTTP/1.1".to_owned(),
            Self::HeadTooLarge => {
                format!("the answer's head is larger than {MAX_HEAD_BYTES} bytes")
            }
            Self::BodyTooLarge => format!("the answer is larger than {MAX_RESPONSE_BYTES} bytes"),
        }
    }
}

impl BadCertificate {
    fn of(error: &CertificateError) -> Self {
        match error {
            // A signature of another key than the known authority's of this name.
            CertificateError::UnknownIssuer | CertificateError::BadSignature => {
                Self::UnknownAuthority
            }
            CertificateError::Expired => Self::Expired(None),
            CertificateError::ExpiredContext { not_after, .. } => {
                Self::Expired(timestamp(*not_after))
            }
            CertificateError::NotValidYet => Self::NotYetValid(None),
            CertificateError::NotValidYetContext { not_before, .. } => {
                Self::NotYetValid(timestamp(*not_before))
            }
            CertificateError::NotValidForName => Self::WrongName(None),
            CertificateError::NotValidForNameContext { presented, .. } => {
                Self::WrongName(names(presented))
            }
            CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
                Self::Other("it is not for servers".to_owned())
            }
            other if tls_error::is_authority(other) => Self::IsAuthority,
            other => Self::Other(certificate_in_words(other)),
        }
    }

    fn in_words(&self, has_own_ca: bool) -> String {
        match self {
            Self::UnknownAuthority if has_own_ca => {
                "the certificate is not signed by an authority in the file of grants.http[].ca".to_owned()
            }
            Self::UnknownAuthority => {
                "the certificate is not signed by a known authority: give its PEM with grants.http[].ca"
                    .to_owned()
            }
            Self::IsAuthority => {
                "the server's certificate is an authority's (CA:TRUE): issue one for the server with it"
                    .to_owned()
            }
            Self::Expired(Some(end)) => format!("the certificate expired at {end}"),
            Self::Expired(None) => "the certificate has expired".to_owned(),
            Self::NotYetValid(Some(start)) => {
                format!("the certificate is valid from {start} on: check the clock of this machine")
            }
            Self::NotYetValid(None) => {
                "the certificate is not valid yet: check the clock of this machine".to_owned()
            }
            Self::WrongName(Some(names)) => {
                format!("the certificate is for other names than this one ({names})")
            }
            Self::WrongName(None) => "the certificate has another name than this one".to_owned(),
            Self::Other(why) => format!("the certificate cannot be accepted ({why})"),
        }
    }
}

/// The names of a certificate, which its server chose. Each stands as in
/// `DnsName("idp.example.com")`.
fn names(presented: &[String]) -> Option<String> {
    let plain = |name: &String| {
        let inner = name
            .split_once('(')
            .and_then(|(_, rest)| rest.strip_suffix(')'));
        inner.unwrap_or(name).trim_matches('"').to_owned()
    };
    let shown: Vec<_> = presented.iter().take(MAX_NAMES).map(plain).collect();
    (!shown.is_empty()).then(|| words(shown.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::pki_types::UnixTime;

    fn wrapped(error: impl Into<Box<dyn StdError + Send + Sync>>) -> io::Error {
        io::Error::other(io::Error::other(error))
    }

    #[test]
    fn end_of_a_call_says_what_was_waited_for_and_how_long() {
        let waited = Duration::from_millis(998);
        let of_head = Cause::CallEnded(waited).in_words(false);
        assert!(of_head.contains("no answer in 998 ms"), "{of_head}");
        let of_body = Cause::CallEndedInBody(waited).in_words(false);
        assert!(
            of_body.contains("not complete 998 ms after its head"),
            "{of_body}"
        );
    }

    #[test]
    fn most_specific_error_of_the_chain_is_the_cause() {
        let tls = |error: rustls::Error| io::Error::new(ErrorKind::InvalidData, error);
        let unknown = tls(CertificateError::UnknownIssuer.into());
        assert_eq!(
            Cause::of_body(&wrapped(unknown)),
            Cause::Certificate(BadCertificate::UnknownAuthority)
        );

        let alert = tls(rustls::Error::AlertReceived(
            AlertDescription::HandshakeFailure,
        ));
        assert_eq!(
            Cause::of_body(&alert),
            Cause::TlsAlert(AlertDescription::HandshakeFailure)
        );
        let sentence = Cause::of_body(&alert).in_words(false);
        assert_eq!(
            sentence,
            "the server ended the TLS handshake (handshake_failure)"
        );
        assert_eq!(alert_in_words(AlertDescription::DecodeError), "alert 50");

        let end = io::Error::new(ErrorKind::UnexpectedEof, "tls handshake eof");
        assert_eq!(Cause::of_body(&wrapped(end)), Cause::CutOff);

        let refused = wrapped(io::Error::from(ErrorKind::ConnectionRefused));
        assert_eq!(Cause::of_body(&refused), Cause::Refused);

        let name = NameNotFound("no such name".to_owned());
        assert_eq!(
            Cause::of_body(&wrapped(name)),
            Cause::NameNotFound("no such name".to_owned())
        );
    }

    #[test]
    fn every_certificate_error_is_named_with_what_to_do() {
        let expired = BadCertificate::of(&CertificateError::ExpiredContext {
            time: UnixTime::since_unix_epoch(Duration::from_secs(2)),
            not_after: UnixTime::since_unix_epoch(Duration::from_secs(1)),
        });
        assert_eq!(
            expired.in_words(false),
            "the certificate expired at 1970-01-01T00:00:01Z"
        );
        let unknown = BadCertificate::of(&CertificateError::BadSignature);
        assert!(
            unknown
                .in_words(false)
                .ends_with("give its PEM with grants.http[].ca")
        );
        assert!(
            unknown
                .in_words(true)
                .ends_with("in the file of grants.http[].ca")
        );
        let presented = [
            "DnsName(\"a\u{1b}[2J.test\")".to_owned(),
            "IpAddress(10.0.0.1)".to_owned(),
        ];
        assert_eq!(names(&presented).unwrap(), "a\\u{1b}[2J.test, 10.0.0.1");
        assert_eq!(names(&[]), None);
    }
}
