//! Answers that many handlers give, and the one place that turns a refusal into a response.

use super::branding::Branding;
use super::forward_auth;
use super::page;
use super::site::Site;
use axum::Json;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use portcullis_auth::{Denial, DenialStatus, NoSession, RESUME_PATH, Role};
use portcullis_observe::accept_quality;
use portcullis_observe::telemetry::carried;
use serde_json::json;

/// Which security headers every answer carries.
#[derive(Clone, Copy, Debug)]
pub struct SecurityHeaders {
    /// Whether answers carry `Strict-Transport-Security`.
    pub https: bool,
}

/// Who reads a refusal: a program gets its status, a browser the way to the sign-in page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Audience {
    Browser,
    Program,
}

/// The types of a page, by which a browser asks for one.
const PAGES: [&str; 2] = ["text/html", "application/xhtml+xml"];

/// Returns whether the client shows a page to a person: it accepts one, or it is a browser that
/// navigates, which need not name a type in `Accept`.
pub(super) fn shows_pages(headers: &HeaderMap) -> bool {
    let navigates = headers
        .get("sec-fetch-mode")
        .is_some_and(|mode| mode == "navigate");
    navigates || PAGES.iter().any(|page| accept_quality(headers, page) > 0.0)
}

pub(super) const QUERY_VALUE: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');

/// An error with a code for programs and a sentence for people.
pub(super) fn error(status: StatusCode, code: &str, detail: &str) -> Response {
    (status, Json(json!({"error": code, "detail": detail}))).into_response()
}

/// Our own mistake. What it was is in the log.
pub(super) fn internal_error() -> Response {
    error(
        StatusCode::INTERNAL_SERVER_ERROR,
        "internal",
        "Internal Server Error",
    )
}

/// Does the work of a request in a task of its own, so that a caller that disconnects does not stop
/// it between a change and its audit line.
pub(super) async fn to_the_end(work: impl Future<Output = Response> + Send + 'static) -> Response {
    tokio::spawn(carried(work))
        .await
        .unwrap_or_else(|_| internal_error())
}

/// A complaint about a request, in the original's shape.
pub(super) fn bad_request(detail: &str) -> Response {
    (StatusCode::BAD_REQUEST, Json(json!({"detail": detail}))).into_response()
}

/// The answer to a form: success sends the browser to `url`.
pub(super) fn back_to(url: String, answer: Response) -> Response {
    if answer.status().is_success() {
        return (StatusCode::SEE_OTHER, [(header::LOCATION, url)]).into_response();
    }
    answer
}

/// The caller is a person whose role does not suffice.
pub(super) fn needs_role(role: Role) -> Response {
    let detail = format!("This needs the role {role} (dashboard.access)");
    error(StatusCode::FORBIDDEN, "forbidden", &detail)
}

/// A provider could not be asked, and no other can answer for it.
pub(super) fn unreachable(name: &str) -> Response {
    let body = json!({"detail": format!("Auth provider '{name}' unreachable")});
    (
        StatusCode::SERVICE_UNAVAILABLE,
        [(header::RETRY_AFTER, "1")],
        Json(body),
    )
        .into_response()
}

/// Longest address of a sign-in page in a header. With the other headers and the deletions of
/// cookies the head of an answer then stays below 4 KiB, the buffer that nginx has for it by
/// default (`proxy_buffer_size`).
const MAX_LOGIN_URL_BYTES: usize = 1_536;

/// Where a person signs in, to come back to `next`.
pub(super) fn login_url(site: &Site, next: &str) -> String {
    page_url(site, "/login", next)
}

/// An address that would be too long leads back to the path without its query, and else to the
/// root.
pub(super) fn page_url(site: &Site, page: &str, next: &str) -> String {
    let url = |next: &str| {
        site.path(&format!(
            "{page}?next={}",
            utf8_percent_encode(next, QUERY_VALUE)
        ))
    };
    let path = next.split(['?', '#']).next().unwrap_or_default();
    let fitting = [next, path]
        .into_iter()
        .map(url)
        .find(|url| url.len() <= MAX_LOGIN_URL_BYTES);
    fitting.unwrap_or_else(|| url("/"))
}

/// The one place where a refusal becomes a response. Only what may be known outside is in it.
pub(super) fn denial(
    denial: &Denial,
    site: &Site,
    branding: &Branding,
    audience: Audience,
) -> Response {
    match denial.status() {
        DenialStatus::BearerUnauthorized => {
            let challenge = [(header::WWW_AUTHENTICATE, "Bearer")];
            (
                challenge,
                error(StatusCode::UNAUTHORIZED, "unauthenticated", "Unauthorized"),
            )
                .into_response()
        }
        DenialStatus::Unauthorized(why) => no_session(why, denial.reason(), site, audience),
        DenialStatus::Forbidden => error(StatusCode::FORBIDDEN, "forbidden", "Forbidden"),
        DenialStatus::NoRole => match audience {
            Audience::Browser => page::no_role(site, branding),
            Audience::Program => needs_role(Role::Viewer),
        },
        DenialStatus::Unavailable(provider) => unreachable(provider.as_str()),
    }
}

/// Sends a browser to the page where a session begins or continues. A program learns the address of
/// that page.
fn no_session(why: &NoSession, reason: &str, site: &Site, audience: Audience) -> Response {
    let (page, next, error) = match why {
        NoSession::NoCookie { next } => ("/login", next.as_deref(), "unauthenticated"),
        NoSession::NotGood { next } => ("/login", next.as_deref(), "session_expired"),
        NoSession::Resumable { next } => (RESUME_PATH, Some(next.as_str()), "session_expired"),
    };
    let login_url = next.map_or_else(|| site.path(page), |next| page_url(site, page, next));
    if audience == Audience::Browser {
        return (StatusCode::FOUND, [(header::LOCATION, login_url)]).into_response();
    }

    let body =
        json!({"error": error, "detail": "Unauthorized", "reason": reason, "login_url": login_url});
    let login = HeaderValue::try_from(login_url).ok();
    let headers = login.map(|login| [(forward_auth::LOGIN, login)]);
    let headers = headers.map(HeaderMap::from_iter).unwrap_or_default();
    (StatusCode::UNAUTHORIZED, headers, Json(body)).into_response()
}

pub(super) async fn not_found() -> Response {
    error(StatusCode::NOT_FOUND, "not_found", "Not Found")
}

pub(super) async fn method_not_allowed() -> Response {
    error(
        StatusCode::METHOD_NOT_ALLOWED,
        "method_not_allowed",
        "Method Not Allowed",
    )
}

/// Headers that every answer carries, unless its handler set its own.
pub(super) fn add_security_headers(headers: &mut HeaderMap, settings: SecurityHeaders) {
    let mut default = |name: HeaderName, value: &'static str| {
        headers
            .entry(name)
            .or_insert(HeaderValue::from_static(value));
    };
    default(
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; frame-ancestors 'none'",
    );
    default(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    // Under `no-referrer` browsers send `Origin: null` with our own forms as well.
    default(header::REFERRER_POLICY, "same-origin");
    default(header::CACHE_CONTROL, "no-store");

    add_transport_security(headers, settings);
}

/// Says that browsers must keep to https, where the dashboard is reached by it.
pub(super) fn add_transport_security(headers: &mut HeaderMap, settings: SecurityHeaders) {
    if settings.https {
        let value = HeaderValue::from_static("max-age=31536000");
        headers
            .entry(header::STRICT_TRANSPORT_SECURITY)
            .or_insert(value);
    }
}

#[cfg(test)]
mod tests {
    use super::super::site::tests::site;
    use super::*;

    #[test]
    fn page_is_for_clients_that_accept_one_and_for_browsers_that_navigate() {
        let shows = |headers: &[(&'static str, &'static str)]| {
            let headers = headers.iter().copied().map(|(name, value)| {
                (
                    HeaderName::from_static(name),
                    HeaderValue::from_static(value),
                )
            });
            shows_pages(&headers.collect())
        };
        let navigates = ("sec-fetch-mode", "navigate");
        for headers in [
            &[("accept", "text/html")][..],
            &[("accept", "application/xhtml+xml;q=0.9")],
            &[("accept", "*/*"), navigates],
            &[("accept", "application/json"), navigates],
            &[navigates],
        ] {
            assert!(shows(headers), "{headers:?}");
        }
        for headers in [
            &[("accept", "*/*")][..],
            &[("accept", "text/html;q=0")],
            &[("accept", "*/*"), ("sec-fetch-mode", "no-cors")],
        ] {
            assert!(!shows(headers), "{headers:?}");
        }
    }

    #[test]
    fn address_of_the_sign_in_page_is_bounded() {
        let long = "x".repeat(MAX_LOGIN_URL_BYTES);
        for (next, expected) in [
            ("/app?q=1".to_owned(), "/a/login?next=%2Fapp%3Fq%3D1"),
            (format!("/app?q={long}"), "/a/login?next=%2Fapp"),
            (format!("/app#{long}"), "/a/login?next=%2Fapp"),
            (format!("/{long}?q"), "/a/login?next=%2F"),
        ] {
            assert_eq!(login_url(&site(true, "/a"), &next), expected);
        }
    }
}
