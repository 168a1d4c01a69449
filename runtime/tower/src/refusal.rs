//! The answers to requests that are refused. Status, headers and body are those of the dashboard.

use bytes::Bytes;
use http::header::{
    CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE,
};
use http::{Response, StatusCode};
use http_body_util::Full;
use portcullis_auth::{Denial, DenialStatus};
use serde_json::{Value, json};

/// The one place where a refusal becomes a response. Only what may be known outside is in it.
pub(crate) fn response(denial: &Denial) -> Response<Full<Bytes>> {
    match denial.status() {
        DenialStatus::BearerUnauthorized | DenialStatus::Unauthorized(_) => {
            let body = json!({"error": "unauthenticated", "detail": "Unauthorized"});
            answer(
                StatusCode::UNAUTHORIZED,
                Some((WWW_AUTHENTICATE, "Bearer")),
                &body,
            )
        }
        DenialStatus::Forbidden | DenialStatus::NoRole => answer(
            StatusCode::FORBIDDEN,
            None,
            &json!({"error": "forbidden", "detail": "Forbidden"}),
        ),
        DenialStatus::Unavailable(provider) => {
            let body = json!({"detail": format!("Auth provider '{provider}' unreachable")});
            answer(
                StatusCode::SERVICE_UNAVAILABLE,
                Some((RETRY_AFTER, "1")),
                &body,
            )
        }
    }
}

fn answer(
    status: StatusCode,
    header: Option<(HeaderName, &'static str)>,
    body: &Value,
) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(body.to_string()));
    *response.status_mut() = status;
    let always = [
        (CONTENT_TYPE, "application/json"),
        (CACHE_CONTROL, "no-store"),
    ];

    for (name, value) in always.into_iter().chain(header) {
        response
            .headers_mut()
            .insert(name, HeaderValue::from_static(value));
    }

    response
}
