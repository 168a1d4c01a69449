//! The span of a request to an application, and the headers that name it there.

use super::super::metrics::known_method;
use super::super::spans::{method_names, shown_path};
use super::failure::Failure;
use super::forward::Head;
use super::table::App;
use axum::http::Response;
use portcullis_observe::telemetry::{Span, SpanKind};

/// Begins the span and puts `traceparent` and `tracestate` on the request. Without telemetry the
/// client's own headers stay.
pub(super) fn begin(app: &App, head: &mut Head) -> Span {
    let (attribute, name) = method_names(known_method(&head.method));
    let span = Span::begin(name, SpanKind::Client);
    if let Some(trace) = span.trace_context() {
        trace.put_on(&mut head.headers);
    }
    if span.is_recorded() {
        span.set("http.request.method", attribute);
        span.set("url.path", shown_path(head.target.path()));
        span.set("portcullis.app", app.name().to_owned());
        set_server(&span, app);
    }
    span
}

/// Notes the head of the answer, or why there is none.
pub(super) fn end<B>(span: &Span, answer: &Result<Response<B>, Failure>) {
    match answer {
        Ok(answer) => {
            let status = answer.status();
            span.set("http.response.status_code", i64::from(status.as_u16()));
            // For a client every status of these classes is an error.
            if span.is_recorded() && (status.is_client_error() || status.is_server_error()) {
                span.fail(status.as_str().to_owned());
            }
        }
        Err(failure) => span.fail(failure.code()),
    }
}

fn set_server(span: &Span, app: &App) {
    if let Some(socket) = app.settings.upstream.socket() {
        return span.set("server.address", socket.display().to_string());
    }

    let upstream = &app.uri;
    let default_port = if upstream.scheme_str() == Some("https") {
        443
    } else {
        80
    };
    span.set(
        "server.address",
        upstream.host().unwrap_or_default().to_owned(),
    );
    span.set(
        "server.port",
        i64::from(upstream.port_u16().unwrap_or(default_port)),
    );
}
