//! `preset: hermes`: the dashboard of the Hermes agent, on loopback and without its own sign-in.
//!
//! Its page carries a token that its API asks for. The token is read from there, so that services can use the API as well.

use super::super::context::Context;
use super::super::{Dashboard, gate_layer, session_cookie};
use super::forward::Head;
use super::paths::covers;
use super::settings::AppSettings;
use super::table::App;
use crate::auth::Role;
use axum::Json;
use axum::body::{Body, HttpBody};
use axum::extract::Request;
use axum::http::header::{ACCEPT, CONTENT_ENCODING, CONTENT_TYPE, HOST};
use axum::http::uri::PathAndQuery;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use http_body_util::{BodyExt, Limited};
use serde_json::{Map, Value};
use std::time::{Duration, Instant};
use tokio::sync::Mutex;

/// The header in which its API takes the token.
pub(super) const TOKEN: HeaderName = HeaderName::from_static("x-hermes-session-token");
/// The variable of its page that holds it.
const TOKEN_VARIABLE: &str = "__HERMES_SESSION_TOKEN__";
/// Longest token, in bytes.
const MAX_TOKEN_BYTES: usize = 512;
/// Longest page or status that is read.
const MAX_READ_BYTES: usize = 4 * 1024 * 1024;
/// How long reading one may take.
const READ_TIMEOUT: Duration = Duration::from_secs(3);
/// Between two attempts to read the page after one that failed.
const READ_AGAIN_AFTER: Duration = Duration::from_secs(1);

const STATUS_PATH: &str = "/api/status";
/// Files without secrets. Its page stands at every path that is none of its own, and has the token in it.
const FILES: [&str; 4] = ["/assets", "/fonts", "/fonts-terminal", "/ds-assets"];
const ICON: &str = "/favicon.ico";
/// What other services call, with credentials of its own.
const CALLBACKS: [&str; 2] = ["/api/cron/fire", "/api/mcp/oauth/callback"];

/// Returns whether the path is open to everyone.
pub(super) fn is_public(path: &str) -> bool {
    let is_exact = [STATUS_PATH, ICON, CALLBACKS[0]].contains(&path);
    is_exact || FILES.iter().chain(&CALLBACKS[1..]).any(|root| path != *root && covers(root, path))
}

/// The answer at a path that is open to everyone, unless it is its page in place of what was asked for. Of what it answers
/// there, the callbacks of OAuth alone are pages; these are read, since its page stands below them as well.
pub(super) async fn without_its_page(path: &str, response: Response) -> Option<Response> {
    let kind = response.headers().get(CONTENT_TYPE);
    if !kind.is_some_and(|kind| kind.as_bytes().starts_with(b"text/html")) {
        return Some(response);
    }
    if !covers(CALLBACKS[1], path) {
        return None;
    }
    if response.body().is_end_stream() {
        return Some(response);
    }
    // A part, or an encoded page, cannot be searched.
    let is_plain = response.status() != StatusCode::PARTIAL_CONTENT
        && !response.headers().contains_key(CONTENT_ENCODING);
    if !is_plain {
        return None;
    }
    let (parts, body) = response.into_parts();
    let page = Limited::new(body, MAX_READ_BYTES).collect().await.ok()?.to_bytes();
    let has_token = page.windows(TOKEN_VARIABLE.len()).any(|part| part == TOKEN_VARIABLE.as_bytes());
    (!has_token).then(|| Response::from_parts(parts, Body::from(page)))
}

/// The token of its page.
pub(super) struct SessionToken {
    /// The operator's, which takes precedence over the page's.
    given: Option<HeaderValue>,
    read: Mutex<Read>,
}

#[derive(Default)]
struct Read {
    token: Option<HeaderValue>,
    failed_at: Option<Instant>,
}

impl SessionToken {
    pub(super) fn new(settings: &AppSettings) -> Self {
        let given = settings.headers.iter().find(|(name, _)| *name == TOKEN).map(|(_, value)| value.clone());
        Self { given, read: Mutex::default() }
    }

    /// The token. `None`: the page cannot be read, or has none.
    pub(super) async fn get(&self, app: &App) -> Option<HeaderValue> {
        if self.given.is_some() {
            return self.given.clone();
        }
        let mut read = self.read.lock().await;
        let is_too_soon = read.failed_at.is_some_and(|failed| failed.elapsed() < READ_AGAIN_AFTER);
        if read.token.is_none() && !is_too_soon {
            read.token = token_of_page(app).await;
            read.failed_at = read.token.is_none().then(Instant::now);
            if read.token.is_none() {
                tracing::warn!(
                    app = app.name(),
                    "the application's page with its session token cannot be read"
                );
            }
        }
        read.token.clone()
    }

    /// The token after the application has refused this one, as it does when it was started anew. `None`: there is no other.
    pub(super) async fn after(&self, refused: &HeaderValue, app: &App) -> Option<HeaderValue> {
        let mut read = self.read.lock().await;
        if read.token.as_ref() == Some(refused) {
            read.token = None;
        }
        drop(read);
        self.get(app).await.filter(|token| token != refused)
    }
}

/// Puts the token on a request. Browsers cannot put a header on a web socket, so there it stands in the query.
pub(super) fn put_on(head: &mut Head, token: &HeaderValue, is_socket: bool) {
    head.headers.insert(TOKEN, token.clone());
    let (true, Ok(token)) = (is_socket, token.to_str()) else { return };
    let others = head.target.query().unwrap_or_default().split('&');
    let others = others.filter(|pair| !pair.is_empty() && !pair.starts_with("token="));
    let token = form_urlencoded::byte_serialize(token.as_bytes()).collect::<String>();
    let token = format!("token={token}");
    let query = others.chain([token.as_str()]).collect::<Vec<_>>().join("&");
    if let Ok(target) = PathAndQuery::try_from(format!("{}?{query}", head.target.path())) {
        head.target = target;
    }
}

async fn token_of_page(app: &App) -> Option<HeaderValue> {
    let page = read(app, "/", "text/html", None).await?;
    let mut token = HeaderValue::from_str(token_in(std::str::from_utf8(&page).ok()?)?).ok()?;
    token.set_sensitive(true);
    Some(token)
}

/// `window.__HERMES_SESSION_TOKEN__="..."`, in either kind of quotes.
fn token_in(page: &str) -> Option<&str> {
    page.match_indices(TOKEN_VARIABLE).find_map(|(at, name)| {
        let value = page[at + name.len()..].trim_start().strip_prefix('=')?.trim_start();
        let quote = value.chars().next().filter(|quote| matches!(quote, '"' | '\''))?;
        let (token, _) = value[1..].split_once(quote)?;
        let is_plain = |byte: u8| byte.is_ascii_graphic() && byte != b'\\';
        let is_token = (1..=MAX_TOKEN_BYTES).contains(&token.len()) && token.bytes().all(is_plain);
        is_token.then_some(token)
    })
}

/// A document of the application. `None`: it cannot be read in time and within bounds, or is not there.
async fn read(
    app: &App,
    path: &'static str,
    accept: &'static str,
    token: Option<HeaderValue>,
) -> Option<Vec<u8>> {
    let mut headers = HeaderMap::new();
    headers.insert(HOST, app.authority.clone());
    headers.insert(ACCEPT, HeaderValue::from_static(accept));
    headers.extend(token.map(|token| (TOKEN, token)));
    let head = Head { method: Method::GET, target: PathAndQuery::from_static(path), headers };
    let request = head.request(app, Body::empty())?;
    let reading = async {
        let response = app.client.request(request).await.ok()?;
        let body = response.status().is_success().then(|| response.into_body())?;
        let read = Limited::new(body, MAX_READ_BYTES).collect().await.ok()?;
        Some(read.to_bytes().to_vec())
    };
    tokio::time::timeout(READ_TIMEOUT, reading).await.ok()?
}

/// Returns whether the request asks for the status, which the dashboard answers.
pub(super) fn is_status(app: &App, request: &Request) -> bool {
    let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
    app.token.is_some() && is_read && request.uri().path() == STATUS_PATH
}

/// `GET /api/status`: the application's keys, and the dashboard's beside them. Callers whom the application does not admit are
/// strangers here.
pub(super) async fn status(
    dashboard: &Dashboard,
    app: &App,
    context: &Context,
    headers: &HeaderMap,
) -> Response {
    let (is_known, cookies) = match dashboard.page.auth_required {
        true => match gate_layer::good_session(dashboard, headers, context).await {
            Some(good) => (app.admits(dashboard.live.now().gate.access(), &good.session), good.cookies),
            None => (false, Vec::new()),
        },
        false => {
            let is_admitted = app.settings.allowed.admits_person(Role::Operator, &[]);
            (is_admitted && context.outside.is_none(), Vec::new())
        }
    };
    let token = match &app.token {
        Some(token) if is_known => token.get(app).await,
        _ => None,
    };
    let (theirs, ours) =
        tokio::join!(read(app, STATUS_PATH, "application/json", token), dashboard.gateway.observe());
    let theirs = theirs.and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default();
    let ours = ours.map(|observed| observed.status(dashboard.page.auth_required)).unwrap_or_default();
    let mut response = Json(merged(theirs, ours, is_known)).into_response();
    session_cookie::set(response.headers_mut(), cookies);
    response
}

/// The application's keys count where both have one, except for whether people must sign in. A caller who is not known gets
/// none that names a path, a process or a provider.
fn merged(mut theirs: Map<String, Value>, ours: Value, is_known: bool) -> Map<String, Value> {
    const PRIVATE: [&str; 6] = ["_dir", "_home", "_path", "_pid", "_providers", "_url"];
    if !is_known {
        theirs.retain(|key, _| !PRIVATE.iter().any(|ending| key.ends_with(ending)));
    }
    let Value::Object(ours) = ours else { return theirs };
    for (key, value) in ours {
        if key == "auth_required" || !theirs.contains_key(&key) {
            theirs.insert(key, value);
        }
    }
    theirs
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn token_is_read_from_the_page() {
        for (page, token) in [
            (r#"<script>window.__HERMES_SESSION_TOKEN__="abc-1_2";</script>"#, Some("abc-1_2")),
            ("window.__HERMES_SESSION_TOKEN__ = 'x';", Some("x")),
            ("if (window.__HERMES_SESSION_TOKEN__) {} window.__HERMES_SESSION_TOKEN__=\"y\"", Some("y")),
            ("window.__HERMES_SESSION_TOKEN__=\"\";", None),
            ("window.__HERMES_SESSION_TOKEN__=\"a b\";", None),
            ("window.__HERMES_SESSION_TOKEN__=token;", None),
            ("__HERMES_SESSION_TOKEN__", None),
            ("<html></html>", None),
        ] {
            assert_eq!(token_in(page), token, "{page}");
        }
    }

    #[test]
    fn token_replaces_that_of_the_query_of_a_socket() {
        for (target, is_socket, expected) in [
            ("/api/ws?token=old&a=1", true, "/api/ws?a=1&token=n%2Bw"),
            ("/api/ws", true, "/api/ws?token=n%2Bw"),
            ("/api/x?token=old", false, "/api/x?token=old"),
        ] {
            let target = target.parse().unwrap();
            let mut head = Head { method: Method::GET, target, headers: HeaderMap::new() };
            put_on(&mut head, &HeaderValue::from_static("n+w"), is_socket);
            assert_eq!(
                (head.target.as_str(), &head.headers[TOKEN]),
                (expected, &HeaderValue::from_static("n+w"))
            );
        }
    }

    #[test]
    fn only_files_and_callbacks_are_public() {
        for path in
            ["/assets/index.js", "/favicon.ico", "/api/status", "/api/cron/fire", "/api/mcp/oauth/callback/x"]
        {
            assert!(is_public(path), "{path}");
        }
        for path in
            ["/", "/assets", "/assetsx", "/api/cron/fire/x", "/api/mcp/oauth/callback", "/api/sessions"]
        {
            assert!(!is_public(path), "{path}");
        }
    }

    #[tokio::test]
    async fn page_with_the_token_stays_with_those_who_are_known() {
        let answer = |kind: &'static str, body: &'static str| ([(CONTENT_TYPE, kind)], body).into_response();
        let page = "text/html; charset=utf-8";
        let with_token = "<script>window.__HERMES_SESSION_TOKEN__=\"abc\";</script>";
        for (path, kind, body, is_passed) in [
            ("/assets/none", page, "<p>Hello</p>", false),
            ("/api/cron/fire", page, with_token, false),
            ("/api/mcp/oauth/callback/a/b", page, with_token, false),
            ("/api/mcp/oauth/callback/a", page, "<p>Done</p>", true),
            ("/api/mcp/oauth/callback/a", page, "", true),
            ("/assets/x.js", "text/javascript", with_token, true),
        ] {
            let passed = without_its_page(path, answer(kind, body)).await;
            assert_eq!(passed.is_some(), is_passed, "{path}");
            let Some(passed) = passed else { continue };
            let read = passed.into_body().collect().await.unwrap().to_bytes();
            assert_eq!(read, body.as_bytes(), "{path}");
        }
        let mut encoded = answer(page, "x");
        encoded.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        assert!(without_its_page("/api/mcp/oauth/callback/a", encoded).await.is_none());
    }

    #[test]
    fn status_has_the_keys_of_both() {
        let theirs =
            json!({"version": "0.19", "hermes_home": "/h", "gateway_pid": 7, "auth_required": false});
        let theirs = || theirs.as_object().cloned().unwrap_or_default();
        let ours = json!({"version": "0.1", "drained": true, "auth_required": true});
        let all = merged(theirs(), ours.clone(), true);
        assert_eq!(
            Value::from(all),
            json!({"version": "0.19", "hermes_home": "/h", "gateway_pid": 7, "auth_required": true, "drained": true})
        );
        let public = merged(theirs(), ours, false);
        assert_eq!(Value::from(public), json!({"version": "0.19", "auth_required": true, "drained": true}));
    }
}
