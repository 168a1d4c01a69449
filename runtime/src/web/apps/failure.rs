//! Why an application did not answer: what its user reads, and what the operator reads in the log.

use super::super::page::{Page, respond_with};
use super::super::respond::{self, Audience};
use super::connector::NameNotFound;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use http_body_util::LengthLimitError;
use hyper_util::client::legacy::Error as ClientError;
use maud::html;
use std::error::Error as StdError;
use std::io::{self, ErrorKind};
use std::iter::successors;
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
    /// Nothing passed for this long.
    Silent(Duration),
    CutOff,
    NotHttp,
    /// Longest body of a request, in bytes.
    BodyTooLarge(usize),
    /// The client did not complete its request.
    Incomplete,
    Busy,
    TooManyStreams,
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
            return Self::Tls(tls.to_string());
        }
        if let Some(http) = find::<hyper::Error>(error) {
            if http.is_parse() {
                return Self::NotHttp;
            }
            if http.is_user() {
                return Self::Incomplete;
            }
        }
        let mut io_errors = chain(error).filter_map(|cause| cause.downcast_ref::<io::Error>());
        let named = io_errors.find_map(|error| Self::of_io(error.kind()));
        named.unwrap_or(if error.is_connect() { Self::Unreachable } else { Self::CutOff })
    }

    fn of_io(kind: ErrorKind) -> Option<Self> {
        match kind {
            ErrorKind::ConnectionRefused => Some(Self::Refused),
            ErrorKind::NotFound => Some(Self::NoSocket),
            ErrorKind::PermissionDenied => Some(Self::NoAccess),
            ErrorKind::TimedOut => Some(Self::SlowConnection),
            ErrorKind::NetworkUnreachable | ErrorKind::HostUnreachable | ErrorKind::AddrNotAvailable => {
                Some(Self::Unreachable)
            }
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
            Self::BodyTooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Incomplete => StatusCode::BAD_REQUEST,
            Self::Busy | Self::TooManyStreams => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::BAD_GATEWAY,
        }
    }

    fn code(&self) -> &'static str {
        match self.status() {
            StatusCode::GATEWAY_TIMEOUT => "upstream_timeout",
            StatusCode::PAYLOAD_TOO_LARGE => "body_too_large",
            StatusCode::BAD_REQUEST => "bad_request",
            StatusCode::SERVICE_UNAVAILABLE => "upstream_busy",
            _ => "bad_gateway",
        }
    }

    /// One sentence. It names the application and no address.
    pub(super) fn sentence(&self, name: &str) -> String {
        match self {
            Self::Refused => format!("The application {name} is not running: its connection is refused."),
            Self::NoSocket => format!("The application {name} is not running: its socket does not exist."),
            Self::NoAccess => {
                format!("The dashboard may not connect to the socket of the application {name}.")
            }
            Self::NameNotFound(why) => {
                format!("The host name of the application {name} is not found ({why}).")
            }
            Self::Unreachable => format!("No route leads to the application {name}."),
            Self::Tls(why) => format!("TLS with the application {name} failed: {why}."),
            Self::SlowConnection => format!("The application {name} accepted no connection in time."),
            Self::Silent(limit) => {
                format!("The application {name} sent nothing for {} s.", limit.as_secs())
            }
            Self::CutOff => format!("The application {name} closed the connection before it had answered."),
            Self::NotHttp => format!("The application {name} answered with something that is not HTTP/1.1."),
            Self::BodyTooLarge(most) => {
                format!("The request is larger than {} MiB, the limit of the application {name}.", most >> 20)
            }
            Self::Incomplete => "The request broke off before it was complete.".to_owned(),
            Self::Busy => format!("The application {name} has as many requests in flight as it may have."),
            Self::TooManyStreams => {
                format!("Too many streams of the application {name} are open in this session.")
            }
        }
    }

    /// The answer to the client.
    pub(super) fn answer(&self, name: &str, audience: Audience) -> Response {
        let (status, sentence) = (self.status(), self.sentence(name));
        let answer = match audience {
            Audience::Program => respond::error(status, self.code(), &sentence),
            Audience::Browser => {
                let body = html! {
                    main.narrow {
                        h1 { "Portcullis" }
                        p.alert role="alert" { (sentence) }
                    }
                };
                let title = "No answer · Portcullis";
                let page = Page { title, insecure: false, script: None, signs_out: false };
                respond_with(status, &page, &body)
            }
        };
        match status {
            StatusCode::SERVICE_UNAVAILABLE => ([("retry-after", "1")], answer).into_response(),
            _ => answer,
        }
    }
}

/// The error, and what caused it, outermost first. `io::Error::source` leaves out what the error wraps.
fn chain<'a>(error: &'a (dyn StdError + 'static)) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    successors(Some(error), |&error| match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
        Some(wrapped) => Some(wrapped as &(dyn StdError + 'static)),
        None => error.source(),
    })
}

fn find<'a, T: StdError + 'static>(error: &'a (dyn StdError + 'static)) -> Option<&'a T> {
    chain(error).find_map(|cause| cause.downcast_ref::<T>())
}
