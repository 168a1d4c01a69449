//! Why an application did not answer: what its user reads, and what the operator reads in the log.

use super::super::body::{MALFORMED, is_malformed};
use super::super::page::{self, PageFrame, respond_with};
use super::super::respond::{self, Audience};
use super::connector::NameNotFound;
use super::table::{MAX_HEAD_BYTES, MAX_HEADER_LINES};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use http_body_util::LengthLimitError;
use hyper_util::client::legacy::Error as ClientError;
use maud::html;
use portcullis_net::error_chain::{causes, find};
use portcullis_net::tls_error;
use std::io::{self, ErrorKind};
use std::time::Duration;

/// Why there is no answer of the application.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    Refused,
    NoSocket,
    NoAccess,
    NameNotFound(String),
    Unreachable,
    Tls(String),
    SlowConnection,
    /// No head of an answer was complete, and nothing of the request passed, for this long.
    Silent(Duration),
    /// The client sent nothing more of its request for this long.
    ClientSilent(Duration),
    CutOff,
    NotHttp,
    /// The head of the answer has too many lines or bytes.
    LongHead,
    /// The answer has another transfer coding than chunked.
    TransferCoding,
    /// The answer to the opening of a web socket is another protocol, or a success that opens none.
    NoWebSocket,
    /// Longest body of a request, in bytes.
    BodyTooLarge(usize),
    /// The client did not complete its request.
    Incomplete,
    /// The body of the client's request is not framed by the rules (RFC 9112 section 7.1).
    Malformed,
    Busy,
    TooManyStreams,
    /// The upstream leads to the dashboard itself.
    Loop,
}

impl Failure {
    /// Reads an error of the client.
    pub(super) fn of(error: &ClientError, body_bytes: usize) -> Self {
        if find::<LengthLimitError>(error).is_some() {
            return Self::BodyTooLarge(body_bytes);
        }

        if let Some(name) = find::<NameNotFound>(error) {
            return Self::NameNotFound(name.to_string());
        }

        if let Some(tls) = find::<rustls::Error>(error) {
            return Self::Tls(tls_error::in_words(tls));
        }

        if let Some(http) = find::<hyper::Error>(error) {
            if http.is_parse_too_large() {
                return Self::LongHead;
            }
            if http.is_parse() {
                return Self::NotHttp;
            }
            if http.is_user() {
                return Self::of_request(error);
            }
        }

        let mut io_errors = causes(error).filter_map(|cause| cause.downcast_ref::<io::Error>());
        let named = io_errors.find_map(|error| Self::of_io(error.kind()));

        named.unwrap_or(if error.is_connect() {
            Self::Unreachable
        } else {
            Self::CutOff
        })
    }

    /// Reads why the body of the request ended.
    fn of_request(error: &ClientError) -> Self {
        if is_malformed(error) {
            Self::Malformed
        } else {
            Self::Incomplete
        }
    }

    fn of_io(kind: ErrorKind) -> Option<Self> {
        match kind {
            ErrorKind::ConnectionRefused => Some(Self::Refused),
            ErrorKind::NotFound => Some(Self::NoSocket),
            ErrorKind::PermissionDenied => Some(Self::NoAccess),
            ErrorKind::TimedOut => Some(Self::SlowConnection),
            ErrorKind::NetworkUnreachable
            | ErrorKind::HostUnreachable
            | ErrorKind::AddrNotAvailable => Some(Self::Unreachable),
            ErrorKind::ConnectionReset
            | ErrorKind::ConnectionAborted
            | ErrorKind::BrokenPipe
            | ErrorKind::UnexpectedEof => Some(Self::CutOff),
            _ => None,
        }
    }

    fn status(&self) -> StatusCode {
        match self {
            Self::SlowConnection | Self::Silent(_) => StatusCode::GATEWAY_TIMEOUT,
            Self::ClientSilent(_) => StatusCode::REQUEST_TIMEOUT,
            Self::BodyTooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Incomplete | Self::Malformed => StatusCode::BAD_REQUEST,
            Self::Loop => StatusCode::LOOP_DETECTED,
            Self::Busy | Self::TooManyStreams => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::BAD_GATEWAY,
        }
    }

    /// One of few words for the failure.
    pub(super) fn code(&self) -> &'static str {
        match self.status() {
            StatusCode::GATEWAY_TIMEOUT => "upstream_timeout",
            StatusCode::REQUEST_TIMEOUT => "timeout",
            StatusCode::LOOP_DETECTED => "loop_detected",
            StatusCode::PAYLOAD_TOO_LARGE => "body_too_large",
            StatusCode::BAD_REQUEST => "bad_request",
            StatusCode::SERVICE_UNAVAILABLE => "upstream_busy",
            _ => "bad_gateway",
        }
    }

    /// One sentence. It names the application and no address.
    pub(super) fn sentence(&self, name: &str) -> String {
        match self {
            Self::Refused => {
                format!("The application {name} is not running: its connection is refused.")
            }
            Self::NoSocket => {
                format!("The application {name} is not running: its socket does not exist.")
            }
            Self::NoAccess => {
                format!("The dashboard may not connect to the socket of the application {name}.")
            }
            Self::NameNotFound(why) => {
                format!("The host name of the application {name} is not found ({why}).")
            }
            Self::Unreachable => format!("No route leads to the application {name}."),
            Self::Tls(why) => format!("TLS with the application {name} failed: {why}."),
            Self::SlowConnection => {
                format!(
                    "No connection to the application {name} was ready in time (with https, this includes the TLS handshake)."
                )
            }
            Self::Silent(limit) => {
                format!(
                    "The application {name} sent no complete head of an answer for {} s.",
                    limit.as_secs()
                )
            }
            Self::ClientSilent(limit) => {
                format!(
                    "The client sent nothing more of its request for {} s.",
                    limit.as_secs()
                )
            }
            Self::CutOff => {
                format!("The application {name} closed the connection before it had answered.")
            }
            Self::NotHttp => {
                format!("The application {name} answered with something that is not HTTP/1.1.")
            }
            Self::LongHead => {
                format!(
                    "The head of the answer of the application {name} has more than {MAX_HEADER_LINES} lines or {} KiB.",
                    MAX_HEAD_BYTES >> 10
                )
            }
            Self::TransferCoding => {
                format!(
                    "The application {name} answered with another Transfer-Encoding than chunked."
                )
            }
            Self::NoWebSocket => {
                format!("The application {name} did not open the web socket that was asked for.")
            }
            Self::BodyTooLarge(most) => {
                format!(
                    "The request is larger than {} MiB, the limit of the application {name}.",
                    most >> 20
                )
            }
            Self::Incomplete => "The request broke off before it was complete.".to_owned(),
            Self::Malformed => format!("The request cannot be read: {MALFORMED}."),
            Self::Busy => {
                format!("The application {name} has as many requests in flight as it may have.")
            }
            Self::Loop => {
                format!(
                    "The request came back to this dashboard: the upstream of the application {name}, or what stands there, leads to the dashboard itself."
                )
            }
            Self::TooManyStreams => {
                format!(
                    "Too many streams of the application {name} are open in this session, or by this person."
                )
            }
        }
    }

    /// The answer to the client.
    pub(super) fn answer(&self, name: &str, audience: Audience) -> Response {
        let (status, sentence) = (self.status(), self.sentence(name));
        let answer = match audience {
            Audience::Program => respond::error(status, self.code(), &sentence),
            Audience::Browser => {
                let body = page::alone(&page::mark(), "No answer", &sentence, &html! {});
                respond_with(status, &PageFrame::plain("No answer"), &body)
            }
        };
        match status {
            StatusCode::SERVICE_UNAVAILABLE => ([("retry-after", "1")], answer).into_response(),
            _ => answer,
        }
    }
}
