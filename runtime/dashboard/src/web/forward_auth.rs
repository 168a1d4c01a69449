//! `GET /auth/verify`: any application behind a reverse proxy can ask who calls (nginx
//! `auth_request`, Caddy `forward_auth`, Traefik ForwardAuth).

use super::context::Context;
use super::parameters::Parameters;
use super::respond::{Audience, shows_pages};
use super::site::Site;
use super::whoami::Permitted;
use axum::extract::Request;
use axum::http::header::LOCATION;
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use portcullis_auth::{Caller, Permit, RESUME_PATH, Scope, VERIFY_PATH, safe_target};
use std::borrow::Cow;

const USER: HeaderName = HeaderName::from_static("x-auth-user");
const EMAIL: HeaderName = HeaderName::from_static("x-auth-email");
const PROVIDER: HeaderName = HeaderName::from_static("x-auth-provider");
const SCOPES: HeaderName = HeaderName::from_static("x-auth-scopes");
const GROUPS: HeaderName = HeaderName::from_static("x-auth-groups");

/// What an application reads as one header value; `%` stays unambiguous.
const HEADER_VALUE: &AsciiSet = &CONTROLS.add(b'%').add(b'"');
/// The same for an item of a list that is separated by commas.
const LIST_ITEM: &AsciiSet = &HEADER_VALUE.add(b',');

/// Where Caddy and Traefik say what was asked for.
const FORWARDED_URI: &str = "x-forwarded-uri";
/// Where nginx says it, by its configuration. It understands 401 alone, and finds the way to the
/// sign-in page in [`LOGIN`].
const ORIGINAL_URI: &str = "x-original-uri";
/// Where to send a browser that was refused.
pub(super) const LOGIN: HeaderName = HeaderName::from_static("x-portcullis-login");

/// 200, and who it is.
pub(super) async fn verify(Permitted(permit): Permitted) -> Response {
    (StatusCode::OK, identity(&permit)).into_response()
}

/// The headers that name the caller to an application. Every header is always set, so that none of
/// the client's remains.
pub(super) fn identity(permit: &Permit) -> [(HeaderName, HeaderValue); 5] {
    let (email, provider, scopes) = match permit.caller() {
        Caller::Service(principal) => {
            let scopes: Vec<_> = principal.scopes().map(Scope::as_str).collect();
            ("", principal.provider().as_str(), scopes.join(" "))
        }
        Caller::Person(session) => (
            session.claims().email.as_str(),
            session.provider().as_str(),
            String::new(),
        ),
        Caller::ProcessTokenHolder => ("", "", String::new()),
    };

    [
        (USER, value(permit.name())),
        (EMAIL, value(email)),
        (PROVIDER, value(provider)),
        (SCOPES, value(&scopes)),
        (GROUPS, list(permit.groups())),
    ]
}

/// Beyond visible ASCII, percent-encoded.
fn value(text: &str) -> HeaderValue {
    // Nearly every text stays as it is, and is copied once.
    let encoded: Cow<'_, str> = utf8_percent_encode(text, HEADER_VALUE).into();
    HeaderValue::from_str(&encoded).expect("visible ASCII and spaces are a header's value")
}

/// Items that are separated by commas, each percent-encoded; empty without items.
fn list(items: &[String]) -> HeaderValue {
    let items: Vec<_> = items
        .iter()
        .map(|item| utf8_percent_encode(item, LIST_ITEM).to_string())
        .collect();
    HeaderValue::try_from(items.join(",")).expect("visible ASCII and spaces are a header's value")
}

/// `GET /auth/resume?next=`: the gate has renewed the session, and this answer carries it to the
/// browser, which [`verify`]'s does not.
pub(super) async fn resume(context: Context, _: Permitted, parameters: Parameters) -> Response {
    let next = safe_target(parameters.only("next").unwrap_or("/"));
    (StatusCode::FOUND, [(LOCATION, context.site.location(next))]).into_response()
}

/// Returns whether the path is `/auth/verify`, or an application's path behind it, as Envoy's
/// `ext_authz` asks.
pub(super) fn is_verify(path: &str) -> bool {
    path.strip_prefix(VERIFY_PATH)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// What the request is for, to come back to, without the dashboard's own prefix. A client that
/// sends something else only chooses where it is sent itself.
pub(super) fn target<'a>(request: &'a Request, site: &Site) -> Cow<'a, str> {
    let uri = request.uri();
    match uri.path() {
        path if is_verify(path) => {
            let headers = request.headers();
            let forwarded = headers
                .get(FORWARDED_URI)
                .or_else(|| headers.get(ORIGINAL_URI));
            let below = || {
                uri.path_and_query()
                    .and_then(|uri| uri.as_str().strip_prefix(VERIFY_PATH))
            };
            let asked = match forwarded {
                Some(uri) => uri.to_str().ok(),
                None => below().filter(|below| below.starts_with('/')),
            };
            site.without_prefix(asked.unwrap_or("/"))
        }
        RESUME_PATH => Parameters::of(uri)
            .only("next")
            .unwrap_or("/")
            .to_owned()
            .into(),
        _ => uri
            .path_and_query()
            .map_or("/", |target| target.as_str())
            .into(),
    }
}

/// A browser behind a proxy that passes our answer on is sent to sign in.
pub(super) fn audience(request: &Request) -> Audience {
    let headers = request.headers();
    match headers.contains_key(FORWARDED_URI)
        && !headers.contains_key(ORIGINAL_URI)
        && shows_pages(headers)
    {
        true => Audience::Browser,
        false => Audience::Program,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Body;

    #[test]
    fn browser_that_navigates_behind_a_proxy_is_sent_to_sign_in() {
        let of = |named: &'static str, header: (&'static str, &'static str)| {
            let mut request = Request::new(Body::empty());
            for (name, value) in [(named, "/app"), header] {
                request
                    .headers_mut()
                    .insert(name, HeaderValue::from_static(value));
            }
            audience(&request)
        };
        let navigates = ("sec-fetch-mode", "navigate");
        for header in [navigates, ("accept", "text/html")] {
            assert_eq!(of(FORWARDED_URI, header), Audience::Browser, "{header:?}");
            assert_eq!(of(ORIGINAL_URI, header), Audience::Program, "{header:?}");
        }
        assert_eq!(of(FORWARDED_URI, ("accept", "*/*")), Audience::Program);
    }

    #[test]
    fn list_keeps_its_items_apart() {
        let items = ["admins", "cn=ops,dc=b 100%", "\u{e4}"].map(str::to_owned);
        assert_eq!(list(&items), "admins,cn=ops%2Cdc=b 100%25,%C3%A4");
        assert_eq!(list(&[]), "");
    }
}
