//! The spans of a request, named by OpenTelemetry's semantic conventions for HTTP. What the
//! conventions have no name for begins with `portcullis.`.
//!
//! A span holds no name of a person or service, no credential and no query: traces often have other
//! readers than the audit log.

use super::apps::OfApp;
use super::metrics::Route;
use super::site::Arrival;
use crate::drain::{Changed, DrainError};
use axum::extract::Request;
use axum::http::{StatusCode, Version};
use portcullis_auth::{Caller, Decision, Judgement, SessionEvent};
use portcullis_observe::request_id::RequestId;
use portcullis_observe::telemetry::{CallerTrace, Span, SpanKind, Telemetry};
use portcullis_observe::trace_context::TraceContext;

/// Bytes of a path that are kept.
const MAX_PATH_BYTES: usize = 512;
/// Replaces a segment of a path that may be a secret or an address.
const REDACTED: &str = "REDACTED";
/// Bytes of a segment with letters and digits that may be a credential: no key of the host is
/// shorter than this.
const LONG: usize = 16;
/// The same for a segment of any characters.
const CERTAINLY_LONG: usize = 40;
/// What the conventions call a method that is not known, in the attribute and in the name of a
/// span.
const OTHER_METHOD: (&str, &str) = ("_OTHER", "HTTP");

/// Begins the span of a request. Without telemetry it is empty.
pub(super) fn begin_server(
    telemetry: Option<&Telemetry>,
    request: &Request,
    method: &'static str,
    arrival: &Arrival,
    id: Option<&RequestId>,
) -> Span {
    let Some(telemetry) = telemetry else {
        return Span::default();
    };
    let named = TraceContext::of(request.headers());
    let caller = match &named {
        Some(named) if arrival.reached.is_proxied => CallerTrace::Trusted(named),
        Some(named) => CallerTrace::Stranger(named),
        None => CallerTrace::Absent,
    };

    let (attribute, name) = method_names(method);
    let span = telemetry.server_span(name, caller);
    if span.is_recorded() {
        span.set("http.request.method", attribute);
        span.set("url.path", shown_path(request.uri().path()));
        span.set(
            "url.scheme",
            if arrival.site.https { "https" } else { "http" },
        );
        span.set("network.protocol.version", version(request.version()));
        if let Some(id) = id.and_then(shown_id) {
            span.set("portcullis.request_id", id);
        }
    }

    span
}

/// Notes the answer. A request that an application owns has no route of the dashboard.
pub(super) fn end_server(
    span: &Span,
    method: &'static str,
    route: &Route,
    status: StatusCode,
    of_app: Option<&OfApp>,
) {
    if !span.is_recorded() {
        return;
    }

    span.set("http.response.status_code", i64::from(status.as_u16()));
    match (of_app, route.pattern()) {
        (Some(of_app), _) => span.set("portcullis.app", of_app.app.name().to_owned()),
        (None, Some(pattern)) => {
            span.set("http.route", pattern.to_owned());
            span.rename(format!("{} {pattern}", method_names(method).1));
        }
        (None, None) => {}
    }

    if status.is_server_error() {
        span.fail(status.as_str().to_owned());
    }
}

/// Notes what the gate decided: which kind of caller by which provider, or the reason of the
/// refusal.
pub(super) fn end_gate(span: &Span, judgement: &Judgement) {
    if !span.is_recorded() {
        return;
    }

    match &judgement.decision {
        Decision::Public => span.set("portcullis.gate.decision", "public"),
        Decision::Permitted(permit) => {
            span.set("portcullis.gate.decision", "permitted");
            span.set("portcullis.gate.caller", kind_of(permit.caller()));
            if let Some(provider) = permit.provider() {
                span.set("portcullis.provider", provider.to_string());
            }
        }
        Decision::Refused(denial) => {
            span.set("portcullis.gate.decision", "refused");
            span.set("portcullis.gate.reason", denial.reason());
            if let Some(provider) = denial.unanswered() {
                span.set("portcullis.provider", provider.to_string());
                span.fail(denial.reason());
            }
        }
    }

    if matches!(judgement.event, Some(SessionEvent::Refreshed(_))) {
        span.set("portcullis.session.refreshed", true);
    }
}

/// Runs a change of the drain within a span. It notes how the drain stands then, or why it did not
/// change.
pub(super) async fn drain(
    name: &'static str,
    change: impl Future<Output = Result<Changed, DrainError>>,
) -> Result<Changed, DrainError> {
    let span = Span::begin(name, SpanKind::Internal);
    let changed = span.cover(change).await;
    match &changed {
        Ok(changed) => span.set("portcullis.drain.draining", changed.is_draining),
        Err(DrainError::NotWritten(_)) => span.fail("not_written"),
        Err(DrainError::NotRemoved(_)) => span.fail("not_removed"),
        Err(DrainError::TooManyOwners) => span.fail("too_many_owners"),
        Err(DrainError::Interrupted) => span.fail("interrupted"),
    }

    changed
}

fn kind_of(caller: &Caller) -> &'static str {
    match caller {
        Caller::Service(_) => "service",
        Caller::Person(_) => "person",
        Caller::ProcessTokenHolder => "process_token",
    }
}

/// The method as an attribute, and in a name.
pub(super) fn method_names(method: &'static str) -> (&'static str, &'static str) {
    if method == "other" {
        OTHER_METHOD
    } else {
        (method, method)
    }
}

fn version(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "1.0",
        Version::HTTP_2 => "2",
        _ => "1.1",
    }
}

/// The start of a path, without segments that may be an e-mail address or a credential:
/// applications put both into paths.
pub(super) fn shown_path(path: &str) -> String {
    let shown = |segment| {
        if may_be_address(segment) || may_be_credential(segment) {
            REDACTED
        } else {
            segment
        }
    };
    let mut path = path.split('/').map(shown).collect::<Vec<_>>().join("/");
    // Cut after that: the start of a credential would not be recognised.
    path.truncate(path.floor_char_boundary(MAX_PATH_BYTES));
    path
}

/// The id of a request, unless it may be an e-mail address: a trusted proxy may choose any id.
fn shown_id(id: &RequestId) -> Option<String> {
    let id = id.as_str();
    (!may_be_address(id)).then(|| id.to_owned())
}

fn may_be_address(segment: &str) -> bool {
    segment.contains('@') || segment.contains("%40")
}

/// Returns whether a segment is as long and as mixed as what a generator makes. Identifiers look
/// the same and are left out as well.
fn may_be_credential(segment: &str) -> bool {
    let has = |kind: fn(&u8) -> bool| segment.as_bytes().iter().any(kind);
    let has_letters_and_digits = has(u8::is_ascii_digit) && has(u8::is_ascii_alphabetic);
    // Of random tokens of 16 letters and digits, one in sixteen has no digit.
    let has_both_cases = has(u8::is_ascii_uppercase) && has(u8::is_ascii_lowercase);
    let is_mixed = has_letters_and_digits || has_both_cases;
    segment.len() >= CERTAINLY_LONG || segment.len() >= LONG && is_mixed
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    #[test]
    fn path_is_bounded_and_names_no_person() {
        for (path, expected) in [
            ("/", "/"),
            ("/api/status", "/api/status"),
            ("/users/ada@example.com/edit", "/users/REDACTED/edit"),
            ("/users/ada%40example.com", "/users/REDACTED"),
            ("/a//b/", "/a//b/"),
            (
                "/.well-known/openid-configuration",
                "/.well-known/openid-configuration",
            ),
            ("/hook/tQxmXbvKqsBzwEhr", "/hook/REDACTED"),
            (
                "/reset/9f3c1b7e2d8a4650c1e7b93f60d2a548/confirm",
                "/reset/REDACTED/confirm",
            ),
            ("/hook/tQ7mX2vK9sB4wE8rY1uI6oA3", "/hook/REDACTED"),
            (
                "/hook/abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrst",
                "/hook/REDACTED",
            ),
        ] {
            assert_eq!(shown_path(path), expected);
        }
        let long = shown_path(&"/é".repeat(10_000));
        assert!(
            long.len() <= MAX_PATH_BYTES && long.starts_with("/é/é/"),
            "{long}"
        );
    }

    #[test]
    fn request_id_that_may_be_an_address_is_left_out() {
        let shown = |id| {
            let id = RequestId::chosen(&HeaderValue::from_static(id)).unwrap();
            shown_id(&id)
        };
        assert_eq!(shown("5f0c-A_b.c:d").as_deref(), Some("5f0c-A_b.c:d"));
        assert_eq!(shown("ada@example.com"), None);
    }

    #[test]
    fn method_that_is_not_known_has_one_name() {
        assert_eq!(method_names("GET"), ("GET", "GET"));
        assert_eq!(method_names("other"), ("_OTHER", "HTTP"));
    }
}
